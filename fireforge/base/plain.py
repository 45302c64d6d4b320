# SPDX-License-Identifier: Apache-2.0
"""Preprocessing and scores written a second time, plainly and in numpy, so that the gate can hold the first to it.

Nothing here calls `fireforge.base.pixels` or Pillow's resizing. What both sides share is how a file's bytes become the
pixels that it stores: Pillow decodes JPEG and palettes for both, and what Pillow does not read whole (damaged metadata,
PNGs of other than 8 bits) `fireforge.base.picture` decodes for both.
"""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Callable
from typing import Literal

import numpy as np
import PIL
from PIL import Image

from fireforge.base.picture.decode import decode_noted
from fireforge.base.picture.exif import ORIENTATION
from fireforge.base.picture.orientation import DECODER_ERRORS, orientation
from fireforge.base.preprocess import ImageSteps

BITS = 22  # Pillow's resampling weights are whole numbers of 2 ** -22
HEIGHT_FIRST = int(PIL.__version__.split(".")[0]) >= 13
LUMA = (19595, 38470, 7471)  # red, green, blue, of 65536
BYTES = {3: 2, 4: 4}  # of a short and a long in EXIF data
Turn = Callable[[np.ndarray], np.ndarray]
TURNS: dict[int, Turn] = {  # EXIF orientation -> (H, W, C) made upright
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: a[::-1].transpose(1, 0, 2),
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: lambda a: a[:, ::-1].transpose(1, 0, 2),
}


def plain_taps(data: bytes, steps: ImageSteps) -> dict[str, np.ndarray]:
    """What becomes of a picture, step by step; in bits what `fireforge.base.pixels.to_pixels` and `normalize` make.

    Args:
      data: an image file's bytes.
      steps: how it is made ready.

    Returns:
      "decode", "orient", "resize" uint8 (H, W, C); "crop" uint8 and "normalize" float32 (C, H, W), which are absent
      where the picture is smaller than the crop.

    Raises:
      FireforgeError: what decoding raises.
    """
    image = _stored(data)
    pixels = _channels(image, steps)
    upright = TURNS.get(_lies(image), lambda a: a)(pixels)
    high, wide = _size(upright.shape[0], upright.shape[1], steps)
    sized = resample(upright, high, wide, steps.filter)
    found = {"decode": pixels, "orient": upright, "resize": sized}
    top, left = (high - steps.crop[0]) // 2, (wide - steps.crop[1]) // 2
    if top < 0 or left < 0:
        return found
    cut = sized[top : top + steps.crop[0], left : left + steps.crop[1]]
    planes = [cut[:, :, c] for c in ({"BGR": (2, 1, 0), "RGB": (0, 1, 2), "L": (0,)}[steps.order])]
    found["crop"] = np.stack(planes)
    found["normalize"] = np.stack([_normal(*given) for given in zip(planes, steps.mean, steps.std)])
    return found


def plain_scores(logits: np.ndarray, temperature: float) -> np.ndarray:
    """Softmax of rows.

    Args:
      logits: (N, K).
      temperature: that they are divided by.

    Returns:
      float64 (N, K).
    """
    rows = []
    for row in logits.astype(np.float64) / temperature:
        total = math.fsum(math.exp(value - row.max()) for value in row)
        rows.append([math.exp(value - row.max()) / total for value in row])
    return np.asarray(rows)


def resample(pixels: np.ndarray, high: int, wide: int, how: str) -> np.ndarray:
    """Pillow's resampling of 8 bits: antialiased, an axis after the other, rounded to whole levels; equal in every bit.

    Args:
      pixels: uint8 (H, W, C).
      high: rows of the result.
      wide: its columns.
      how: "nearest", "bilinear", "bicubic" or "lanczos".

    Returns:
      uint8 (high, wide, C).

    Source:
      Pillow, src/libImaging/Resample.c and Geometry.c, as documented: weights from the filter stretched by the scale
      of shrinking, brought to a sum of 1, rounded to 22 bits behind the point; sums rounded half up and clipped. From
      Pillow 13 on the height goes first where it shrinks by more than twice as many lines as the width (found by
      comparing 900 sizes), which changes pixels by a level; before, the width always went first.
    """
    if pixels.shape[:2] == (high, wide):
        return pixels
    if how == "nearest":
        return np.asarray(pixels[_nearest(pixels.shape[0], high)][:, _nearest(pixels.shape[1], wide)])
    less = pixels.shape[0] - high
    if HEIGHT_FIRST and less > max(0, 2 * (pixels.shape[1] - wide)):
        return _across(_pass(pixels, high, how), wide, how)
    return _pass(_across(pixels, wide, how), high, how)


def _across(pixels: np.ndarray, size: int, how: str) -> np.ndarray:
    return _pass(pixels.transpose(1, 0, 2), size, how).transpose(1, 0, 2)


def _pass(pixels: np.ndarray, size: int, how: str) -> np.ndarray:
    """The first axis brought to another size."""
    if len(pixels) == size:
        return pixels
    kernel, reach = FILTERS[how]
    lines = np.ascontiguousarray(pixels.reshape(len(pixels), -1))
    scale = len(lines) / size
    stretch = max(scale, 1.0)
    out = np.empty((size, lines.shape[1]), np.uint8)
    for place in range(size):
        centre = (place + 0.5) * scale
        first = max(0, int(centre - reach * stretch + 0.5))
        last = min(len(lines), int(centre + reach * stretch + 0.5))
        weights = [kernel((x - centre + 0.5) * (1.0 / stretch)) for x in range(first, last)]
        total = 0.0
        for weight in weights:
            total += weight
        whole = [int(math.copysign(0.5, weight) + weight / total * (1 << BITS)) for weight in weights]
        sums = np.asarray(whole, np.float64) @ lines[first:last].astype(np.float64)  # whole numbers below 2 ** 53
        out[place] = np.clip(np.floor((sums + (1 << (BITS - 1))) / (1 << BITS)), 0, 255)
    return out.reshape(size, *pixels.shape[1:])


def _nearest(size: int, wanted: int) -> np.ndarray:
    """Which line each line of the result repeats; the place is summed up step by step."""
    step = size / wanted
    places = np.floor(np.cumsum([step * 0.5] + [step] * (wanted - 1))).astype(int)
    return np.asarray(np.minimum(places, size - 1))


def _triangle(x: float) -> float:
    return max(0.0, 1.0 - abs(x))


def _cubic(x: float) -> float:
    x, a = abs(x), -0.5
    if x < 1.0:
        return ((a + 2.0) * x - (a + 3.0)) * x * x + 1
    return (((x - 5) * x + 8) * x - 4) * a if x < 2.0 else 0.0


def _lanczos(x: float) -> float:
    return _sinc(x) * _sinc(x / 3) if -3.0 <= x < 3.0 else 0.0


def _sinc(x: float) -> float:
    return 1.0 if x == 0.0 else math.sin(x * math.pi) / (x * math.pi)


FILTERS: dict[str, tuple[Callable[[float], float], float]] = {
    "bilinear": (_triangle, 1.0),
    "bicubic": (_cubic, 2.0),
    "lanczos": (_lanczos, 3.0),
}


def _stored(data: bytes) -> Image.Image:
    """The picture as its file stores it."""
    odd = data[:4] == b"\x89PNG" and data[24:25] != b"\x08"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            image = None if odd else Image.open(io.BytesIO(data))
            if image is not None:
                image.load()
        except (*DECODER_ERRORS, Image.DecompressionBombError):
            image = None
    return decode_noted(data)[0] if image is None else image


def _lies(image: Image.Image) -> int:
    """EXIF orientation of the first directory; one that is not sound is read by the package on both sides."""
    block = image.info.get("exif")
    known, sound = orientation(image)
    if not isinstance(block, bytes) or not sound:
        return known
    while block.startswith(b"Exif\0\0"):
        block = block[6:]
    order: Literal["little", "big"] = "little" if block[:2] == b"II" else "big"
    start = int.from_bytes(block[4:8], order)
    for place in range(int.from_bytes(block[start : start + 2], order)):
        entry = block[start + 2 + 12 * place :][:12]
        kind, value = int.from_bytes(entry[2:4], order), 0
        if int.from_bytes(entry[:2], order) == ORIENTATION and int.from_bytes(entry[4:8], order) == 1:
            value = int.from_bytes(entry[8 : 8 + BYTES.get(kind, 0)], order)
        if value:
            return value
    return 1


def _channels(image: Image.Image, steps: ImageSteps) -> np.ndarray:
    """uint8 (H, W, C) over the background, gray by ITU-R 601 where one channel is wanted."""
    if image.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in image.info:
        rgba = np.asarray(image.convert("RGBA")).astype(np.int64)
        share = rgba[:, :, 3:] * 128  # 7 bits behind the point
        mixed = rgba[:, :, :3] * share + steps.background * (255 * 128 - share) + (128 << 7)
        pixels = (((mixed >> 8) + mixed) >> 8) >> 7  # divided by 255, rounded, as Pillow does
    elif image.mode in ("L", "1"):
        pixels = np.asarray(image.convert("L")).astype(np.int64)[:, :, None].repeat(3, axis=2)
        return pixels[:, :, : steps.channels].astype(np.uint8)
    else:
        pixels = np.asarray(image.convert("RGB")).astype(np.int64)
    if steps.channels == 1:
        pixels = (pixels @ np.asarray(LUMA) + 0x8000 >> 16)[:, :, None]
    return pixels.astype(np.uint8)


def _size(high: int, wide: int, steps: ImageSteps) -> tuple[int, int]:
    if steps.resize is None:
        return high, wide
    if isinstance(steps.resize, int):
        share = [math.floor(side * steps.resize / min(high, wide) + 0.5) for side in (high, wide)]
        return max(1, share[0]), max(1, share[1])
    return steps.resize


def _normal(plane: np.ndarray, mean: float, std: float) -> np.ndarray:
    """(level - mean) / std for each of the 256 levels in float32, then looked up."""
    levels = [(np.float32(level) - np.float32(mean)) / np.float32(std) for level in range(256)]
    return np.asarray(np.asarray(levels, np.float32)[plane])
