# SPDX-License-Identifier: Apache-2.0
"""From bytes to pixels: Pillow's resize is the specification, everything else is worked by hand."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from fireforge.base.errors import FireforgeError
from fireforge.base.pixels import (
    FILTERS,
    crop,
    decode,
    encode_png,
    normalize,
    open_picture,
    resize,
    taps,
    to_channels,
    to_pixels,
)
from fireforge.base.preprocess import ImageSteps

R = np.random.default_rng(0)
PIXELS = R.integers(0, 256, (20, 30, 3), dtype=np.uint8)


def colour(**changes: object) -> ImageSteps:
    return ImageSteps(**{"channels": 3, "resize": None, "crop": (1, 1), **changes})  # type: ignore[arg-type]


def gray(**changes: object) -> ImageSteps:
    return colour(channels=1, order="L", mean=(0.0,), std=(255.0,), **changes)


def saved(image: Image.Image | np.ndarray, kind: str = "PNG", **options: object) -> bytes:
    image = Image.fromarray(image) if isinstance(image, np.ndarray) else image
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png_header(width: int, height: int) -> bytes:
    """A PNG that says it is this large and holds next to nothing."""
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


# --- resize, crop, normalize -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["nearest", "bilinear", "bicubic", "lanczos"])
@pytest.mark.parametrize("size", [(7, 9), (40, 31)])
def test_resize_is_pillows(name: str, size: tuple[int, int]) -> None:
    image = Image.fromarray(PIXELS)
    got = resize(image, colour(resize=size, filter=name))
    want = image.resize((size[1], size[0]), getattr(Image.Resampling, name.upper()))
    assert np.array_equal(np.asarray(got), np.asarray(want))
    assert FILTERS[name] == getattr(Image.Resampling, name.upper())


@pytest.mark.parametrize(
    ("size", "short", "want"),
    [((30, 20), 10, (15, 10)), ((20, 30), 10, (10, 15)), ((3, 2), 5, (8, 5)), ((200, 1), 1, (200, 1))],
)
def test_shorter_side_by_hand(size: tuple[int, int], short: int, want: tuple[int, int]) -> None:
    """(width, height): the longer side is rounded half up, 3 * 5 / 2 = 7.5 -> 8."""
    assert resize(Image.new("RGB", size), colour(resize=short)).size == want


def test_centre_crop_by_hand_odd_margin_goes_below_and_right() -> None:
    cut = crop(Image.fromarray(PIXELS), colour(crop=(5, 9)))
    assert np.array_equal(cut, PIXELS[7:12, 10:19].transpose(2, 0, 1))  # margins 7 + 8 and 10 + 11
    with pytest.raises(FireforgeError, match=r"IMG_SHAPE.*20 x 30 px"):
        crop(Image.fromarray(PIXELS), colour(crop=(21, 30)))


def test_order_bgr_and_normalize_by_hand() -> None:
    steps = colour(crop=(20, 30), order="BGR", mean=(1.0, 2.0, 3.0), std=(2.0, 4.0, 8.0))
    pixels = to_pixels(PIXELS, steps)
    assert np.array_equal(pixels[0], PIXELS[:, :, 2])
    got = normalize(pixels, steps)
    want = (PIXELS[:, :, ::-1].astype(np.float32) - np.float32([1, 2, 3])) / np.float32([2, 4, 8])
    assert got.dtype == np.float32
    assert np.array_equal(got, want.transpose(2, 0, 1))


def test_luma_is_itu_r_601_by_hand() -> None:
    rgb = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]]], np.uint8)
    got = to_pixels(rgb, gray(crop=(1, 4)))
    assert got.ravel().tolist() == [76, 150, 29, 255]  # .299, .587, .114 of 255, rounded


# --- orientation -----------------------------------------------------------------------------------------------------

TURNS = {  # stored picture of an upright one, by EXIF orientation
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, 1),
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: lambda a: np.rot90(a, -1),
}


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientations_equal_the_upright_original(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = np.ascontiguousarray(TURNS[orientation](PIXELS))
    data = saved(stored, kind, exif=exif, lossless=True)
    assert np.array_equal(to_pixels(data, colour(crop=(20, 30))), PIXELS.transpose(2, 0, 1))


def test_orientation_of_a_jpeg_is_applied_too(tmp_path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = saved(np.ascontiguousarray(np.rot90(PIXELS)), "JPEG", exif=exif)
    (tmp_path / "p.jpg").write_bytes(data)
    for picture in (data, tmp_path / "p.jpg", decode(data)):
        assert open_picture(picture).size == (30, 20)
    assert decode(data).size == (20, 30)


def test_broken_exif_is_ignored() -> None:
    plain = saved(PIXELS, "JPEG")
    broken = saved(PIXELS, "JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff\x01")
    assert np.array_equal(to_pixels(broken, colour(crop=(20, 30))), to_pixels(plain, colour(crop=(20, 30))))


# --- modes -----------------------------------------------------------------------------------------------------------


def test_16_bit_gray_keeps_the_64_levels_of_a_ramp() -> None:
    ramp = (np.arange(64, dtype=np.uint16) * 1040).reshape(8, 8)  # 63 * 1040 = 65,520
    got = to_pixels(saved(ramp), gray(crop=(8, 8)))
    assert len(np.unique(got)) == 64
    assert np.array_equal(got[0], np.rint(ramp / 257.0).astype(np.uint8))
    ends = np.array([[0, 65_535, 257, 128]], np.uint16)
    assert to_pixels(saved(ends), gray(crop=(1, 4))).ravel().tolist() == [0, 255, 1, 0]
    assert to_pixels(saved(ends), colour(crop=(1, 4)))[:, 0, 1].tolist() == [255, 255, 255]


def test_16_bit_gray_is_not_resampled_before_it_is_scaled() -> None:
    flat = np.full((8, 8), 40_000, np.uint16)
    got = to_pixels(saved(flat), gray(resize=(4, 4), crop=(4, 4)))
    assert np.unique(got).tolist() == [156]  # 40,000 / 257 = 155.6


def test_palette_by_hand() -> None:
    image = Image.new("P", (3, 1))
    image.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    for x, entry in enumerate((2, 0, 1)):
        image.putpixel((x, 0), entry)
    got = to_pixels(saved(image), colour(crop=(1, 3)))
    assert got.transpose(1, 2, 0)[0].tolist() == [[70, 80, 90], [10, 20, 30], [40, 50, 60]]


@pytest.mark.parametrize("kind", ["PNG", "GIF"])
def test_palette_with_a_transparent_entry_over_the_background(kind: str) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putpixel((1, 0), 1)
    got = to_pixels(saved(image, kind, transparency=0), colour(crop=(1, 2), background=200))
    assert got.transpose(1, 2, 0)[0].tolist() == [[200, 200, 200], [40, 50, 60]]


def test_rgba_over_the_background_by_hand() -> None:
    rgba = np.array([[[10, 20, 30, 255], [10, 20, 30, 0], [0, 100, 200, 51]]], np.uint8)
    got = to_pixels(saved(rgba), colour(crop=(1, 3), background=250))
    # alpha 51 is a fifth: 0.2 * c + 0.8 * 250 = 200, 220, 240
    assert got.transpose(1, 2, 0)[0].tolist() == [[10, 20, 30], [250, 250, 250], [200, 220, 240]]


def test_gray_with_alpha_over_the_background_by_hand() -> None:
    parts = (np.full((1, 3), 100, np.uint8), np.array([[255, 0, 51]], np.uint8))
    image = Image.merge("LA", [Image.fromarray(part) for part in parts])
    assert to_pixels(saved(image), gray(crop=(1, 3), background=0)).ravel().tolist() == [100, 0, 20]
    assert to_pixels(saved(image), gray(crop=(1, 3))).ravel().tolist() == [100, 255, 224]


def test_transparent_colour_of_an_rgb_png() -> None:
    rgb = np.array([[[1, 2, 3], [4, 5, 6]]], np.uint8)
    data = saved(rgb, transparency=(1, 2, 3))
    assert to_pixels(data, colour(crop=(1, 2), background=9)).transpose(1, 2, 0)[0].tolist() == [[9, 9, 9], [4, 5, 6]]


def test_one_bit_by_hand() -> None:
    image = Image.fromarray(np.array([[0, 255, 255]], np.uint8)).convert("1")
    assert to_pixels(saved(image), gray(crop=(1, 3))).ravel().tolist() == [0, 255, 255]


def test_cmyk_jpeg_by_hand() -> None:
    """Flat ink: red is (1 - C)(1 - K), so (51, 0, 255, 0) of 255 gives (204, 255, 0); 3 levels for JPEG's rounding."""
    data = saved(Image.new("CMYK", (16, 16), (51, 0, 255, 0)), "JPEG", quality=100)
    assert decode(data).mode == "CMYK"
    got = to_pixels(data, colour(crop=(1, 1))).ravel().astype(int)
    assert np.abs(got - [204, 255, 0]).max() <= 3


def test_the_first_frame_of_an_animation() -> None:
    first, second = Image.new("RGB", (4, 4), (255, 0, 0)), Image.new("RGB", (4, 4), (0, 0, 255))
    for kind in ("GIF", "WEBP", "PNG"):
        data = saved(first, kind, save_all=True, append_images=[second])
        assert to_pixels(data, colour()).ravel().argmax() == 0


# --- what is no picture ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "code", "says"),
    [
        (b"", "IMG_EMPTY", "no bytes"),
        (b"\n<!DOCTYPE HTML><html>", "IMG_NOT_IMAGE", "HTML"),
        (b"<html><body>404", "IMG_NOT_IMAGE", "HTML"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "IMG_FORMAT", "PostScript"),
        (b"%PDF-1.7", "IMG_FORMAT", "PDF"),
        (b"II*\0aaaaaaaa", "IMG_FORMAT", "TIFF"),
        (b"PK\x03\x04aaaa", "IMG_NOT_IMAGE", "zip"),
        (b"\0\0\0\x18ftypheic\0\0", "IMG_FORMAT", "HEIC"),
        (b"\0" * 100, "IMG_NOT_IMAGE", "not an image"),
        (b"\xff\xd8\xff\xe0", "IMG_TRUNCATED", "before its pixels"),
    ],
)
def test_other_bytes_are_named(data: bytes, code: str, says: str) -> None:
    with pytest.raises(FireforgeError, match=f"{code}.*cat.jpg.*{says}"):
        decode(data, where="cat.jpg")


def code_or_picture(data: bytes) -> str | np.ndarray:
    try:
        return np.asarray(to_channels(open_picture(data), colour()))
    except FireforgeError as error:
        return error.code


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "GIF"])
def test_cut_off_at_many_lengths_is_an_error_or_the_whole_picture(kind: str) -> None:
    data = saved(PIXELS, kind)
    whole = np.asarray(to_channels(decode(data), colour()))
    failed = 0
    for length in range(1, len(data), 7):
        got = code_or_picture(data[:length])
        if isinstance(got, str):
            assert got in ("IMG_NOT_IMAGE", "IMG_CORRUPT", "IMG_TRUNCATED"), length
            failed += 1
        else:
            assert np.array_equal(got, whole), length
    assert failed > len(data) // 7 * 0.95


def test_bytes_flipped_never_escape_as_another_error() -> None:
    data = bytearray(saved(PIXELS, "JPEG"))
    for _ in range(200):
        broken = bytearray(data)
        for place in R.integers(0, len(data), 3):
            broken[place] = R.integers(0, 256)
        got = code_or_picture(bytes(broken))
        assert not isinstance(got, str) or got.startswith("IMG_")


def test_a_header_of_a_huge_picture_is_refused_before_decoding() -> None:
    for size in ((100_000, 100_000), (2**31 - 1, 2**31 - 1)):
        with pytest.raises(FireforgeError, match=r"IMG_TOO_LARGE.*250 Mpx"):
            decode(png_header(*size))
    with pytest.raises(FireforgeError, match=r"IMG_TOO_LARGE: up.png.*25 Mpx"):
        decode(png_header(6000, 5000), where="up.png", max_pixels=25_000_000)


@pytest.mark.parametrize("mega", [100, 200, 240])
def test_pictures_up_to_the_limit_are_not_too_large(mega: int) -> None:
    """Pillow alone would refuse more than 179 Mpx; the pixels are absent here, which is the error that must come."""
    with pytest.raises(FireforgeError, match=r"IMG_TRUNCATED|IMG_CORRUPT"):
        decode(png_header(10_000, mega * 100))


@pytest.mark.parametrize("size", [(1, 20_000), (20_000, 1), (0, 5), (201, 1)])
def test_extreme_shapes_are_refused(size: tuple[int, int]) -> None:
    with pytest.raises(FireforgeError, match=r"IMG_SHAPE|IMG_CORRUPT"):
        decode(png_header(*size))
    assert decode(saved(Image.new("L", (200, 1)))).size == (200, 1)


# --- what users hand over --------------------------------------------------------------------------------------------


def test_path_bytes_array_and_image_give_the_same_pixels(tmp_path) -> None:
    data = encode_png(PIXELS)
    (tmp_path / "p.png").write_bytes(data)
    steps = colour(crop=(20, 30))
    want = PIXELS.transpose(2, 0, 1)
    for picture in (tmp_path / "p.png", str(tmp_path / "p.png"), data, PIXELS, Image.fromarray(PIXELS)):
        assert np.array_equal(to_pixels(picture, steps), want)
    assert np.array_equal(to_pixels(PIXELS[:, :, :1], gray(crop=(20, 30)))[0], PIXELS[:, :, 0])
    assert np.array_equal(to_pixels(PIXELS[:, :, 0], gray(crop=(20, 30)))[0], PIXELS[:, :, 0])


@pytest.mark.parametrize(
    "array",
    [
        PIXELS.astype(np.float32),
        PIXELS.transpose(2, 0, 1),
        np.zeros((0, 3), np.uint8),
        np.zeros((2, 2, 4), np.uint8),
        PIXELS[0, 0],
    ],
)
def test_other_arrays_are_refused(array: np.ndarray) -> None:
    with pytest.raises(FireforgeError, match="BAD_ARRAY"):
        open_picture(array)


def test_absent_file_is_named(tmp_path) -> None:
    with pytest.raises(FireforgeError, match=r"NO_FILE.*nope.png"):
        open_picture(tmp_path / "nope.png")


def test_taps_end_in_the_input() -> None:
    steps = colour(resize=(10, 10), crop=(8, 8))
    found = taps(encode_png(PIXELS), steps)
    assert list(found) == ["decode", "orient", "resize", "crop", "normalize"]
    assert np.array_equal(found["crop"], to_pixels(PIXELS, steps))
    assert np.array_equal(found["normalize"], normalize(found["crop"], steps))
    assert np.array_equal(found["decode"], PIXELS)
