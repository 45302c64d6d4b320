# SPDX-License-Identifier: Apache-2.0
"""What users hand over as a picture: what is taken, and what each error says; each line by hand."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fireforge.base.errors import FireforgeError
from fireforge.base.pixels import encode_png
from fireforge.runtime.given import checked
from fireforge.runtime.predictor import load

PIXELS = np.arange(12 * 10 * 3, dtype=np.uint8).reshape(12, 10, 3)


def cut(mode: str = "PNG") -> Image.Image:
    """A Pillow image whose file ends in its middle; Pillow reads it only when asked for pixels."""
    stream = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    Image.fromarray(noise).save(stream, mode)
    return Image.open(io.BytesIO(stream.getvalue()[: len(stream.getvalue()) // 2]))


def test_bytes_of_every_kind_and_paths_of_every_kind_are_taken(tmp_path: Path) -> None:
    data = encode_png(PIXELS)
    assert checked(bytearray(data)) == checked(memoryview(data)) == checked(data) == data
    path = tmp_path / "a.png"
    assert checked(str(path)) == checked(path) == path
    assert checked(PIXELS) is PIXELS


@pytest.mark.parametrize(
    ("picture", "code", "words"),
    [
        (None, "BAD_PICTURE", "a NoneType is no picture; allowed: a path"),
        (5, "BAD_PICTURE", "a int is no picture"),
        ({"a": 1}, "BAD_PICTURE", "a dict is no picture"),
        (io.BytesIO(b"x"), "BAD_PICTURE", r"try: hand over its .read\(\)"),
        (b"", "IMG_EMPTY", "holds no bytes"),
        (bytearray(), "IMG_EMPTY", "holds no bytes"),
        (b"<html>", "IMG_NOT_IMAGE", "HTML"),
        (
            "https://example.org/cat.jpg",
            "NO_FILE",
            r"https://example.org/cat.jpg: an address; nothing is fetched.*curl",
        ),
        ("S3://bucket/cat.jpg", "NO_FILE", "an address"),
        ("a\0b.png", "NO_FILE", "zero byte"),
        ("absent.png", "NO_FILE", "absent.png: No such file"),
        ("", "NO_FILE", r"\."),
        (PIXELS.astype(np.float32) / 255, "BAD_ARRAY", r"float32 array of shape \(12, 10, 3\).*astype\('uint8'\)"),
        (PIXELS.astype(np.int64), "BAD_ARRAY", "int64 array"),
        (PIXELS > 3, "BAD_ARRAY", "bool array"),
        (PIXELS[None], "BAD_ARRAY", r"try: list\(array\)"),
        (PIXELS.transpose(2, 0, 1), "BAD_ARRAY", "the channels come last"),
        (np.zeros((8, 8, 4), np.uint8), "BAD_ARRAY", "transparency"),
        (np.zeros((8, 8, 2), np.uint8), "BAD_ARRAY", r"\(8, 8, 2\)"),
        (np.zeros((0, 8, 3), np.uint8), "BAD_ARRAY", r"\(0, 8, 3\)"),
        (np.zeros(8, np.uint8), "BAD_ARRAY", r"\(8,\)"),
        (Image.new("RGB", (0, 3)), "IMG_SHAPE", "0 x 3 px"),
        (cut(), "IMG_CORRUPT", "cannot be decoded whole"),
    ],
)
def test_what_is_no_picture_is_one_clear_line(picture: Any, code: str, words: str, float_file: Path) -> None:
    predictor = load(float_file)
    for asked in (picture, [PIXELS, picture]):
        with pytest.raises(FireforgeError, match=words) as caught:
            predictor.predict(asked)
        assert caught.value.code == code
        assert "\n" not in caught.value.line()


def test_an_address_that_is_a_file_is_a_file(float_file: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ab:").mkdir()
    (tmp_path / "ab:" / "x.png").write_bytes(encode_png(PIXELS))
    assert load(float_file).predict("ab://x.png") == load(float_file).predict(PIXELS)
