# SPDX-License-Identifier: Apache-2.0
"""From an image's bytes to pixels: the execution of a Preprocess, with Pillow's pixels as the reference."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from fireforge.base.errors import FireforgeError
from fireforge.base.files import read_bytes
from fireforge.base.picture.decode import MAX_LOCAL_PIXELS, decode_noted
from fireforge.base.picture.orientation import TURNED, orientation
from fireforge.base.picture.sniff import FORMATS, MAX_FILE_BYTES, SUFFIXES
from fireforge.base.preprocess import ImageSteps

__all__ = ["FORMATS", "SUFFIXES"]

STRIP_PIXELS = 8_000_000  # laid over a background at a time
FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
TURNS = {  # EXIF orientation -> what makes the picture upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
Picture = bytes | str | Path | np.ndarray | Image.Image
Note = Callable[[str, Image.Image | np.ndarray], None]


def decode(data: bytes, *, where: str = "image", max_pixels: int = MAX_LOCAL_PIXELS) -> Image.Image:
    """Decode an image file whole; the first frame of an animation.

    Args:
      data: the file's bytes, in one of FORMATS.
      where: named in errors.
      max_pixels: checked from the header, before decoding.

    Returns:
      The decoded picture as stored, not yet turned by EXIF; 16 bits a channel are brought to 8.

    Raises:
      FireforgeError: IMG_EMPTY, IMG_NOT_IMAGE, IMG_FORMAT, IMG_TOO_LARGE, IMG_TOO_SLOW, IMG_SHAPE, IMG_TRUNCATED or
        IMG_CORRUPT.
    """
    return decode_noted(data, where=where, max_pixels=max_pixels)[0]


def open_picture(picture: Picture, *, max_pixels: int = MAX_LOCAL_PIXELS) -> Image.Image:
    """A Pillow image of whatever a user hands over.

    Args:
      picture: a file's path, its bytes, a Pillow image, or a uint8 array (H, W), (H, W, 1) or (H, W, 3).
      max_pixels: limit for files and bytes.

    Returns:
      The picture, upright by its EXIF orientation.

    Raises:
      FireforgeError: NO_FILE, BAD_ARRAY, or what `decode` raises.
    """
    return orient(_as_stored(picture, max_pixels))


def orient(image: Image.Image) -> Image.Image:
    """The picture upright: its EXIF orientation applied; broken EXIF is ignored."""
    turn = TURNS.get(orientation(image)[0])
    if turn is None:
        return image
    upright = image.transpose(turn)
    for name in TURNED:
        upright.info.pop(name, None)
    return upright


def to_channels(image: Image.Image, steps: ImageSteps) -> Image.Image:
    """The picture in mode L or RGB: 16-bit gray scaled by 1 / 257, transparency laid over the background.

    Args:
      image: any mode that the five formats give.
      steps: channels and background are used.

    Returns:
      An image of mode "L" or "RGB"; the same one where nothing is to be done.
    """
    if image.mode.startswith("I") or image.mode == "F":
        deep = np.asarray(image, np.float64)
        image = Image.fromarray(np.clip(np.rint(deep / 257.0), 0, 255).astype(np.uint8))
    if image.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in image.info:
        image = _over(image, steps.background)
    mode = "L" if steps.channels == 1 else "RGB"
    return image if image.mode == mode else image.convert(mode)


def resize(image: Image.Image, steps: ImageSteps) -> Image.Image:
    """Resize to (H, W), or the shorter side to a whole number with the aspect kept, or not at all.

    Args:
      image: mode "L" or "RGB".
      steps: resize and filter are used.

    Returns:
      The resized picture; Pillow's antialiased resampling is the specification.
    """
    if steps.resize is None:
        return image
    if isinstance(steps.resize, int):
        short = min(image.size)
        wide, high = (max(1, (side * steps.resize + short // 2) // short) for side in image.size)
        size = (wide, high)
    else:
        size = (steps.resize[1], steps.resize[0])
    return image if size == image.size else image.resize(size, FILTERS[steps.filter])


def crop(image: Image.Image, steps: ImageSteps) -> np.ndarray:
    """The centre crop as an array in the channel order of the steps.

    Args:
      image: mode "L" or "RGB", no smaller than the crop.
      steps: crop, order and channels are used; an odd margin leaves one pixel more below and right.

    Returns:
      uint8 array (C, H, W).

    Raises:
      FireforgeError: IMG_SHAPE, if the picture is smaller than the crop.
    """
    high, wide = steps.crop
    top, left = (image.height - high) // 2, (image.width - wide) // 2
    if top < 0 or left < 0:
        raise FireforgeError("IMG_SHAPE", f"{image.height} x {image.width} px is smaller than the crop {high} x {wide}")
    array = np.asarray(image, np.uint8).reshape(image.height, image.width, steps.channels)
    array = array[top : top + high, left : left + wide]
    if steps.order == "BGR":
        array = array[:, :, ::-1]
    return np.ascontiguousarray(array.transpose(2, 0, 1))


def normalize(pixels: np.ndarray, steps: ImageSteps) -> np.ndarray:
    """The network's input: (pixel - mean) / std for each channel.

    Args:
      pixels: uint8 array (..., C, H, W).
      steps: mean and std are used.

    Returns:
      float32 array of the same shape.
    """
    mean = np.asarray(steps.mean, np.float32).reshape(-1, 1, 1)
    std = np.asarray(steps.std, np.float32).reshape(-1, 1, 1)
    return np.asarray((pixels.astype(np.float32) - mean) / std)


def to_pixels(
    picture: Picture, steps: ImageSteps, *, max_pixels: int = MAX_LOCAL_PIXELS, note: Note | None = None
) -> np.ndarray:
    """Everything before normalization.

    Args:
      picture: what `open_picture` takes.
      steps: how it is made ready.
      max_pixels: limit for files and bytes.
      note: is shown what became of the picture after "decode", "orient", "resize" (images) and "crop" (an array).

    Returns:
      uint8 array (C, H, W).
    """
    note = note or _unseen
    stored = _as_stored(picture, max_pixels)
    note("decode", stored)
    upright = orient(stored)
    note("orient", upright)
    sized = resize(to_channels(upright, steps), steps)
    note("resize", sized)
    cut = crop(sized, steps)
    note("crop", cut)
    return cut


def taps(data: bytes, steps: ImageSteps) -> dict[str, np.ndarray]:
    """Every intermediate picture on the way from bytes to input.

    Args:
      data: an image file's bytes.
      steps: how it is made ready.

    Returns:
      "decode", "orient", "resize" uint8 (H, W) or (H, W, 3); "crop" uint8 (C, H, W); "normalize" float32 (C, H, W).
    """
    found: dict[str, np.ndarray] = {}
    cut = to_pixels(data, steps, note=lambda name, seen: found.update({name: seen_as(seen, steps)}))
    return {**found, "normalize": normalize(cut, steps)}


def seen_as(seen: Image.Image | np.ndarray, steps: ImageSteps) -> np.ndarray:
    """What `to_pixels` shows to its note, as an array.

    Args:
      seen: an image of any mode, or an array.
      steps: channels and background are used.

    Returns:
      uint8 (H, W) or (H, W, 3) of an image, an array as it is.
    """
    return seen if isinstance(seen, np.ndarray) else np.asarray(to_channels(seen, steps))


def encode_png(pixels: np.ndarray) -> bytes:
    """PNG bytes of a picture.

    Args:
      pixels: uint8 array (H, W) or (H, W, 3).

    Returns:
      A PNG file, lossless.
    """
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def _unseen(_name: str, _seen: Image.Image | np.ndarray) -> None:
    """Nobody looks."""


def _as_stored(picture: Picture, max_pixels: int) -> Image.Image:
    """A Pillow image of whatever a user hands over, not yet turned."""
    if isinstance(picture, Image.Image):
        return picture
    if isinstance(picture, np.ndarray):
        return _from_array(picture)
    if isinstance(picture, bytes):
        return decode(picture, max_pixels=max_pixels)
    _check_file(picture)
    return decode(read_bytes(picture), where=str(picture), max_pixels=max_pixels)


def _check_file(path: str | Path) -> None:
    """Refuse a file too large to be a picture, before it is read."""
    path = Path(path)
    if path.is_file() and path.stat().st_size > MAX_FILE_BYTES:
        raise FireforgeError("IMG_TOO_LARGE", f"{path.stat().st_size} bytes", where=str(path))


def _over(image: Image.Image, background: int) -> Image.Image:
    """A transparent picture laid over a gray background, strip by strip so that memory stays low; mode "RGB"."""
    out = Image.new("RGB", image.size)
    rows = max(1, STRIP_PIXELS // image.width)
    for top in range(0, image.height, rows):
        box = (0, top, image.width, min(top + rows, image.height))
        solid = (image if box[3] - top == image.height else image.crop(box)).convert("RGBA")
        under = Image.new("RGBA", solid.size, (background,) * 3 + (255,))
        out.paste(Image.alpha_composite(under, solid).convert("RGB"), box)
    return out


def _from_array(array: np.ndarray) -> Image.Image:
    flat = array[:, :, 0] if array.ndim == 3 and array.shape[2] == 1 else array
    if flat.dtype != np.uint8 or flat.ndim not in (2, 3) or (flat.ndim == 3 and flat.shape[2] != 3) or not flat.size:
        raise FireforgeError(
            "BAD_ARRAY", f"{array.dtype} array of shape {array.shape}", allowed="uint8 (H, W), (H, W, 1) or (H, W, 3)"
        )
    return Image.fromarray(np.ascontiguousarray(flat))
