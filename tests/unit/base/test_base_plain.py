# SPDX-License-Identifier: Apache-2.0
"""The second implementation of the preprocessing: equal in every bit to Pillow, and to the first one.

References: Pillow's resize, convert and alpha_composite; the path that is executed, fireforge.base.pixels.
"""

from __future__ import annotations

import ast
import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import fireforge.base.plain as plain
from fireforge.base.pixels import FILTERS, taps
from fireforge.base.plain import plain_scores, plain_taps, resample
from fireforge.base.postprocess import softmax
from fireforge.base.preprocess import ImageSteps

DATA = os.environ.get("FIREFORGE_DATA")


def steps_of(channels: int, **others: object) -> ImageSteps:
    given = {"resize": (12, 9), "crop": (11, 8), "background": 77, **others}
    return ImageSteps(
        channels=channels,
        order=given.pop("order", "L" if channels == 1 else "RGB"),
        mean=(104.0, 117.0, 123.0)[:channels],
        std=(57.0, 58.5, 1.0)[:channels],
        **given,
    )


def same(data: bytes, steps: ImageSteps) -> None:
    want, got = plain_taps(data, steps), taps(data, steps)
    assert want.keys() == got.keys()
    for tap, array in want.items():
        assert array.dtype == got[tap].dtype
        np.testing.assert_array_equal(array, got[tap].reshape(array.shape), err_msg=tap)


def saved(image: Image.Image, kind: str, **others: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **others)
    return stream.getvalue()


@pytest.mark.parametrize("how", FILTERS)
def test_resampling_is_pillows_in_every_bit(how: str) -> None:
    """Black and white pixels among them: bicubic and lanczos are clipped between the passes, in whichever order."""
    rng = np.random.default_rng(0)
    for turn in range(40):
        high, wide, new_high, new_wide = (int(size) for size in rng.integers(1, 70, 4))
        pixels = rng.integers(0, 256, (high, wide, 3)).astype(np.uint8)
        pixels = pixels // 128 * 255 if turn % 2 else pixels
        want = np.asarray(Image.fromarray(pixels).resize((new_wide, new_high), FILTERS[how]))
        np.testing.assert_array_equal(resample(pixels, new_high, new_wide, how), want, err_msg=f"{pixels.shape}")


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("mode", "kind"),
    [
        *(("RGB", kind) for kind in ("PNG", "JPEG", "BMP", "WEBP", "GIF")),
        *(("L", "PNG"), ("L", "JPEG"), ("1", "PNG"), ("CMYK", "JPEG"), ("I;16", "PNG")),
        *(("RGBA", "PNG"), ("LA", "PNG"), ("RGBA", "WEBP"), ("P", "PNG"), ("P", "GIF")),
    ],
)
def test_every_kind_of_picture_goes_the_same_way(mode: str, kind: str, channels: int) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (20, 30, 4)).astype(np.uint8)
    image = Image.fromarray(noise[..., 0].astype(np.uint16) * 250) if mode == "I;16" else Image.fromarray(noise)
    if mode not in ("I;16", "RGBA"):
        image = (image if mode == "LA" else image.convert("RGB")).convert(mode)
    same(saved(image, kind, **({"transparency": 3} if mode == "P" else {})), steps_of(channels))


@pytest.mark.parametrize("orientation", range(10))
def test_every_orientation_is_turned_alike(orientation: int) -> None:
    noise = np.random.default_rng(2).integers(0, 256, (20, 30, 3)).astype(np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    same(saved(Image.fromarray(noise), "PNG", exif=exif), steps_of(3, order="BGR"))


def test_mangled_exif_is_read_alike() -> None:
    """Whatever stands in the directory: no picture may be refused for how two readers take its damage."""
    rng = np.random.default_rng(5)
    noise = Image.fromarray(rng.integers(0, 256, (12, 20, 3)).astype(np.uint8))
    for turn in range(300):
        exif = Image.Exif()
        exif[0x010F], exif[0x0112], exif[0x011A] = "maker", turn % 8 + 1, 2.5
        block = bytearray(exif.tobytes())
        for _ in range(turn % 4):
            block[rng.integers(6, len(block))] = rng.integers(0, 256)
        same(saved(noise, "JPEG", exif=bytes(block)), steps_of(3))


@pytest.mark.parametrize("resize", [None, 13, 40, (17, 15)])
def test_sizes_and_margins_are_alike(resize: int | tuple[int, int] | None) -> None:
    noise = np.random.default_rng(3).integers(0, 256, (25, 38, 3)).astype(np.uint8)
    same(saved(Image.fromarray(noise), "PNG"), steps_of(3, resize=resize, crop=(10, 13)))


def test_a_picture_smaller_than_the_crop_goes_as_far_as_it_can() -> None:
    found = plain_taps(saved(Image.new("L", (6, 7)), "PNG"), steps_of(1, resize=None))
    assert set(found) == {"decode", "orient", "resize"}


def test_scores_are_the_softmax() -> None:
    """1e-15: both in float64, added up in another order."""
    logits = np.random.default_rng(4).normal(size=(5, 7)).astype(np.float32) * 30
    np.testing.assert_allclose(plain_scores(logits, 1.7), softmax(logits, temperature=1.7), rtol=0, atol=1e-15)


def test_it_shares_no_code_with_what_it_judges() -> None:
    tree = ast.parse(Path(plain.__file__).read_text())
    names = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not names & {"fireforge.base.pixels", "fireforge.base.postprocess"}
    calls = {node.func for node in ast.walk(tree) if isinstance(node, ast.Call)}
    called = {func.attr for func in calls if isinstance(func, ast.Attribute)}
    assert not called & {"resize", "crop", "exif_transpose", "alpha_composite"}


@pytest.mark.skipif(not DATA, reason="needs FIREFORGE_DATA")
def test_photos_go_the_same_way() -> None:
    photos = sorted(Path(str(DATA)).rglob("*.jp*g"))[::37][:8] or pytest.skip("no photos")
    for photo in photos:
        same(photo.read_bytes(), steps_of(3, resize=256, crop=(227, 227), order="BGR"))
