# SPDX-License-Identifier: Apache-2.0
"""From an image's bytes to pixels: the execution of a Preprocess, with Pillow's pixels as the reference."""

from __future__ import annotations

import io
import re
import warnings
from pathlib import Path

import numpy as np
from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageFile,
    ImageOps,
    JpegImagePlugin,
    PngImagePlugin,
    WebPImagePlugin,
)

from fireforge.base.errors import FireforgeError
from fireforge.base.files import read_bytes
from fireforge.base.preprocess import ImageSteps

# first bytes -> Pillow's reader; Image.open would refuse more than 179 Mpx, whatever our own limit is
READERS: dict[str, tuple[re.Pattern[bytes], type[ImageFile.ImageFile]]] = {
    "JPEG": (re.compile(rb"\xff\xd8\xff"), JpegImagePlugin.JpegImageFile),
    "PNG": (re.compile(rb"\x89PNG\r\n\x1a\n"), PngImagePlugin.PngImageFile),
    "WEBP": (re.compile(rb"RIFF....WEBP", re.DOTALL), WebPImagePlugin.WebPImageFile),
    "BMP": (re.compile(rb"BM"), BmpImagePlugin.BmpImageFile),
    "GIF": (re.compile(rb"GIF8[79]a"), GifImagePlugin.GifImageFile),
}
FORMATS = tuple(READERS)
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif")  # of file names that promise a picture
MAX_LOCAL_PIXELS = 250_000_000
MAX_ASPECT = 200
FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
Picture = bytes | str | Path | np.ndarray | Image.Image


def decode(data: bytes, *, where: str = "image", max_pixels: int = MAX_LOCAL_PIXELS) -> Image.Image:
    """Decode an image file whole; the first frame of an animation.

    Args:
      data: the file's bytes, in one of FORMATS.
      where: named in errors.
      max_pixels: checked from the header, before decoding.

    Returns:
      The decoded picture as stored, not yet turned by EXIF.

    Raises:
      FireforgeError: IMG_EMPTY, IMG_NOT_IMAGE, IMG_TOO_LARGE, IMG_SHAPE, IMG_TRUNCATED or IMG_CORRUPT.
    """
    if not data:
        raise FireforgeError("IMG_EMPTY", "the file holds no bytes", where=where)
    image = _open(data, where, max_pixels)
    _check_size(image.width, image.height, max_pixels, where)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # broken metadata is no reason to lose the picture
            image.load()
    except (OSError, SyntaxError, ValueError, EOFError, IndexError) as error:
        code = "IMG_TRUNCATED" if "truncated" in str(error) else "IMG_CORRUPT"
        raise FireforgeError(code, f"cannot be decoded whole: {error}", where=where) from error
    return image


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
    if isinstance(picture, Image.Image):
        return orient(picture)
    if isinstance(picture, np.ndarray):
        return _from_array(picture)
    if isinstance(picture, bytes):
        return orient(decode(picture, max_pixels=max_pixels))
    return orient(decode(read_bytes(picture), where=str(picture), max_pixels=max_pixels))


def orient(image: Image.Image) -> Image.Image:
    """The picture upright: its EXIF orientation applied; broken EXIF is ignored."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return ImageOps.exif_transpose(image)
        except (OSError, ValueError, SyntaxError, KeyError, TypeError, IndexError, OverflowError):
            return image


def to_channels(image: Image.Image, steps: ImageSteps) -> Image.Image:
    """The picture in mode L or RGB: 16-bit gray scaled by 1 / 257, transparency laid over the background.

    Args:
      image: any mode that the five formats give.
      steps: channels and background are used.

    Returns:
      An image of mode "L" or "RGB".
    """
    if image.mode.startswith("I") or image.mode == "F":
        deep = np.asarray(image, np.float64)
        image = Image.fromarray(np.clip(np.rint(deep / 257.0), 0, 255).astype(np.uint8))
    if image.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in image.info:
        solid = image.convert("RGBA")
        under = Image.new("RGBA", solid.size, (steps.background,) * 3 + (255,))
        image = Image.alpha_composite(under, solid).convert("RGB")
    return image.convert("L" if steps.channels == 1 else "RGB")


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


def to_pixels(picture: Picture, steps: ImageSteps, *, max_pixels: int = MAX_LOCAL_PIXELS) -> np.ndarray:
    """Everything before normalization.

    Args:
      picture: what `open_picture` takes.
      steps: how it is made ready.
      max_pixels: limit for files and bytes.

    Returns:
      uint8 array (C, H, W).
    """
    return crop(resize(to_channels(open_picture(picture, max_pixels=max_pixels), steps), steps), steps)


def taps(data: bytes, steps: ImageSteps, *, where: str = "image") -> dict[str, np.ndarray]:
    """Every intermediate picture on the way from bytes to input, for comparing two executions.

    Args:
      data: an image file's bytes.
      steps: how it is made ready.
      where: named in errors.

    Returns:
      "decode", "orient", "resize" uint8 (H, W) or (H, W, 3); "crop" uint8 (C, H, W); "normalize" float32 (C, H, W).
    """
    decoded = decode(data, where=where)
    upright = orient(decoded)
    sized = resize(to_channels(upright, steps), steps)
    cut = crop(sized, steps)
    return {
        "decode": np.asarray(to_channels(decoded, steps)),
        "orient": np.asarray(to_channels(upright, steps)),
        "resize": np.asarray(sized),
        "crop": cut,
        "normalize": normalize(cut, steps),
    }


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


def _open(data: bytes, where: str, max_pixels: int) -> Image.Image:
    """The header read, by the reader that the first bytes name; nothing is decoded yet."""
    for name, (magic, reader) in READERS.items():
        if magic.match(data) is None:
            continue
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # Pillow's size warning: our own limit follows, as an error
                return reader(io.BytesIO(data))
        except Image.DecompressionBombError as error:
            raise _too_large(str(error), max_pixels, where) from error
        except (OSError, SyntaxError, ValueError, EOFError) as error:
            what = f"begins like {name}, but its head is cut off or damaged"
            raise FireforgeError("IMG_CORRUPT", what, where=where) from error
    raise FireforgeError("IMG_NOT_IMAGE", _guess(data), where=where, allowed=", ".join(FORMATS))


def _from_array(array: np.ndarray) -> Image.Image:
    flat = array[:, :, 0] if array.ndim == 3 and array.shape[2] == 1 else array
    if flat.dtype != np.uint8 or flat.ndim not in (2, 3) or (flat.ndim == 3 and flat.shape[2] != 3) or not flat.size:
        raise FireforgeError(
            "BAD_ARRAY", f"{array.dtype} array of shape {array.shape}", allowed="uint8 (H, W), (H, W, 1) or (H, W, 3)"
        )
    return Image.fromarray(np.ascontiguousarray(flat))


def _check_size(width: int, height: int, max_pixels: int, where: str) -> None:
    if width * height > max_pixels:
        raise _too_large(f"{width} x {height} px", max_pixels, where)
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise FireforgeError("IMG_SHAPE", f"{width} x {height} px", where=where, allowed=f"aspect up to {MAX_ASPECT}:1")


def _too_large(what: str, max_pixels: int, where: str) -> FireforgeError:
    return FireforgeError("IMG_TOO_LARGE", what, where=where, allowed=f"up to {max_pixels / 1e6:.0f} Mpx")


def _guess(data: bytes) -> str:
    """What bytes that are no accepted image look like."""
    head = data[:512].lstrip().lower()
    known = {
        b"%pdf": "a PDF",
        b"%!ps": "a PostScript file",
        b"<!doctype html": "an HTML page",
        b"<html": "an HTML page",
        b"<svg": "an SVG",
        b"<?xml": "an XML file",
        b"ii*\0": "a TIFF",
        b"mm\0*": "a TIFF",
        b"8bps": "a Photoshop file",
        b"pk\x03\x04": "a zip archive",
    }
    for magic, name in known.items():
        if head.startswith(magic):
            return f"not an accepted image, it looks like {name}"
    if b"ftyphei" in head or b"ftypmif" in head:
        return "not an accepted image, it looks like a HEIC"
    return "not an image that can be read"
