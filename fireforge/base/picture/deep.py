# SPDX-License-Identifier: Apache-2.0
"""PNGs of 16 bits a channel brought to 8 by 1 / 257, which Pillow's own decoding would cut to their upper half."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, PngImagePlugin

GRAY, RGB, GRAY_ALPHA, RGB_ALPHA = 0, 2, 4, 6  # colour types of a PNG
HALVES = {RGB: ("RGB;16B", "RGB;16L"), RGB_ALPHA: ("RGBA;16B", "RGBA;16L")}  # unpack the upper, the lower byte
SCALED = ((np.arange(65_536, dtype=np.uint32) + 128) // 257).astype(np.uint8)  # round(value / 257)


def decode_deep(data: bytes, colour: int) -> Image.Image:
    """A PNG of 16 bits a channel, decoded.

    Args:
      data: the file's bytes.
      colour: its colour type.

    Returns:
      An image of 8 bits a channel, mode "L", "LA", "RGB" or "RGBA"; a transparent colour has become alpha.
    """
    image, first = _unpacked(data, "")
    key = image.info.pop("transparency", None)
    if colour == GRAY:
        deep = np.asarray(image, np.uint16)[..., None]
    elif colour == GRAY_ALPHA:
        deep = _joined(_unpacked(data, "RGBA")[1].reshape(*first.shape[:2], 2, 2))
    else:
        upper, lower = (_unpacked(data, half)[1] for half in HALVES[colour])
        deep = _joined(np.stack([upper, lower], axis=-1))
    pixels = SCALED[deep]
    if key is not None:
        seen = (deep != np.asarray(key, np.uint16).reshape(-1)).any(axis=2)
        pixels = np.concatenate([pixels, np.where(seen, 255, 0).astype(np.uint8)[..., None]], axis=2)
    planes = [Image.fromarray(np.ascontiguousarray(pixels[..., i])) for i in range(pixels.shape[2])]
    out = Image.merge(("L", "LA", "RGB", "RGBA")[len(planes) - 1], planes)
    out.format = image.format
    out.info.update(image.info)
    return out


def _unpacked(data: bytes, rawmode: str) -> tuple[PngImagePlugin.PngImageFile, np.ndarray]:
    """The picture with its stored bytes unpacked in another way than Pillow chooses, and its array (H, W, ...)."""
    image = PngImagePlugin.PngImageFile(io.BytesIO(data))
    if rawmode:
        image.tile = [(*tile[:3], rawmode) for tile in image.tile]  # type: ignore[misc]  # plain tuples before Pillow 11
    image.load()
    return image, np.asarray(image)


def _joined(halves: np.ndarray) -> np.ndarray:
    """Values of 16 bits from their bytes, upper first: (..., 2) to (...)."""
    return np.asarray(halves[..., 0].astype(np.uint16) << 8 | halves[..., 1])
