# SPDX-License-Identifier: Apache-2.0
"""The front door of encoded pictures: sniffed, walked over, held to the limits, then decoded whole or refused."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable

from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    WebPImagePlugin,
)

from fireforge.base.errors import FireforgeError
from fireforge.base.picture.bmp import walk_bmp
from fireforge.base.picture.deep import decode_deep
from fireforge.base.picture.gif import walk_gif
from fireforge.base.picture.jpeg import lean_jpeg, walk_jpeg
from fireforge.base.picture.orientation import DECODER_ERRORS, orientation
from fireforge.base.picture.png import walk_png
from fireforge.base.picture.sniff import HEAD_BYTES, refusal, sniff
from fireforge.base.picture.structure import Structure
from fireforge.base.picture.webp import walk_webp

# format -> the walk over its bytes, and Pillow's reader; Image.open would refuse more than 179 Mpx and load TIFF code
READERS: dict[str, tuple[Callable[..., Structure], type[ImageFile.ImageFile]]] = {
    "JPEG": (walk_jpeg, JpegImagePlugin.JpegImageFile),
    "PNG": (walk_png, PngImagePlugin.PngImageFile),
    "WEBP": (walk_webp, WebPImagePlugin.WebPImageFile),
    "BMP": (walk_bmp, BmpImagePlugin.BmpImageFile),
    "GIF": (walk_gif, GifImagePlugin.GifImageFile),
}
MAX_LOCAL_PIXELS = 250_000_000
MAX_ASPECT = 200
LEAST_SIDE = 4  # px; a smaller side is noted
ENDS = (b"\xff\xd9", b"\xaa" * 64 + b"\xff\xd9", b"\x55" * 64 + b"\xff\xd9")  # put behind a JPEG without one


def decode_noted(
    data: bytes, *, where: str = "image", max_pixels: int = MAX_LOCAL_PIXELS
) -> tuple[Image.Image, tuple[str, ...]]:
    """Decode an image file whole, with remarks.

    Args:
      data: the file's bytes, in one of FORMATS.
      where: named in errors.
      max_pixels: checked from the header, before decoding.

    Returns:
      The picture as stored, not yet turned by EXIF, 16 bits a channel brought to 8; and codes of
      `fireforge.base.picture.notes`.

    Raises:
      FireforgeError: IMG_EMPTY, IMG_NOT_IMAGE, IMG_FORMAT, IMG_TOO_LARGE, IMG_TOO_SLOW, IMG_SHAPE, IMG_TRUNCATED or
        IMG_CORRUPT.
    """
    kind, structure = examine(data, where, max_pixels)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # broken metadata is no reason to lose the picture, and sizes were checked
        image, end = _whole(kind, structure, where, max_pixels)
    return image, (*structure.notes, *end, *_remarks(image))


def read_head(
    data: bytes, *, where: str = "image", max_pixels: int = MAX_LOCAL_PIXELS
) -> tuple[Image.Image, tuple[str, ...]]:
    """What `decode_noted` gives, but without pixels: only what the picture's head and the order of its parts tell.

    Args:
      data: the file's bytes, in one of FORMATS.
      where: named in errors.
      max_pixels: checked from the header.

    Returns:
      A Pillow image that is not loaded, and codes of `fireforge.base.picture.notes`.

    Raises:
      FireforgeError: what `decode_noted` raises, as far as it shows without decoding.
    """
    kind, structure = examine(data, where, max_pixels)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image = _open(kind, structure.data, where, max_pixels)
    return image, (*structure.notes, *_remarks(image))


def examine(data: bytes, where: str, max_pixels: int) -> tuple[str, Structure]:
    """The format, and what the walk over the bytes tells; sizes are checked here, before anything is set aside.

    Args:
      data: the file's bytes.
      where: named in errors.
      max_pixels: checked from the header.

    Returns:
      One of FORMATS, and the structure.

    Raises:
      FireforgeError: what `decode_noted` raises, as far as it shows without decoding.
    """
    kind = sniff(data)
    if not kind:
        raise refusal(data[:HEAD_BYTES], where=where)
    structure = READERS[kind][0](data, where=where)
    width, height = structure.size
    _check_size(width, height, max_pixels, where)
    if structure.held_bytes < structure.least_bytes:
        what = f"the head promises {width} x {height} px, which {structure.held_bytes} bytes cannot hold"
        raise FireforgeError("IMG_TRUNCATED", what, where=where)
    return kind, structure


def _open(kind: str, data: bytes, where: str, max_pixels: int) -> Image.Image:
    """The header read by Pillow; nothing is decoded yet. Metadata that it stumbles over is taken out."""
    try:
        image: Image.Image = READERS[kind][1](io.BytesIO(data))
    except Image.DecompressionBombError as error:
        most = min(max_pixels, 2 * (Image.MAX_IMAGE_PIXELS or max_pixels))  # Pillow's own limit for WebP
        raise _too_large(f"a {kind} of more pixels than can be decoded", most, where) from error
    except MemoryError as error:
        raise _too_large("more than fits into memory", max_pixels, where) from error
    except DECODER_ERRORS as error:
        lean = lean_jpeg(data, where=where) if kind == "JPEG" else data
        if len(lean) < len(data):
            return _open(kind, lean, where, max_pixels)
        what = f"begins like {kind}, but its head is damaged: {error}"
        raise FireforgeError("IMG_CORRUPT", what, where=where) from error
    _check_size(image.width, image.height, max_pixels, where)
    return image


def _whole(kind: str, structure: Structure, where: str, max_pixels: int) -> tuple[Image.Image, tuple[str, ...]]:
    """The picture decoded, and the remark that its end mark was lost.

    A JPEG without one is whole if what is put in the place of the end changes none of its pixels.
    """
    if not structure.end_lost:
        return _load(kind, structure, structure.data, where, max_pixels), ()
    data = structure.data.rstrip(b"\xff")
    image = _load(kind, structure, data + ENDS[0], where, max_pixels)
    seen = image.tobytes()
    for end in ENDS[1:]:
        if _load(kind, structure, data + end, where, max_pixels).tobytes() != seen:
            raise FireforgeError("IMG_TRUNCATED", "ends before its pixels do", where=where)
    return image, ("IMG_NO_END",)


def _load(kind: str, structure: Structure, data: bytes, where: str, max_pixels: int) -> Image.Image:
    image = _open(kind, data, where, max_pixels)
    try:
        if structure.depth == 16:
            return decode_deep(data, structure.colour)
        image.load()
    except MemoryError as error:
        raise _too_large(f"{image.width} x {image.height} px do not fit into memory", max_pixels, where) from error
    except DECODER_ERRORS as error:
        code = "IMG_TRUNCATED" if "truncated" in str(error) and kind != "PNG" else "IMG_CORRUPT"
        raise FireforgeError(code, f"cannot be decoded whole: {error}", where=where) from error
    key = image.info.get("transparency")
    if structure.depth < 8 and structure.colour == 0 and isinstance(key, int):
        image.info["transparency"] = min(255, key * 255 // (2**structure.depth - 1))  # Pillow scales the pixels only
    return image


def _remarks(image: Image.Image) -> tuple[str, ...]:
    """Notes that only the opened picture tells."""
    broken = image.format != "JPEG" and not orientation(image)[1]
    return ("IMG_EXIF",) * broken + ("IMG_TINY",) * (min(image.size) < LEAST_SIDE)


def _check_size(width: int, height: int, max_pixels: int, where: str) -> None:
    if width * height > max_pixels:
        raise _too_large(f"{width} x {height} px", max_pixels, where)
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise FireforgeError("IMG_SHAPE", f"{width} x {height} px", where=where, allowed=f"aspect up to {MAX_ASPECT}:1")


def _too_large(what: str, max_pixels: int, where: str) -> FireforgeError:
    return FireforgeError("IMG_TOO_LARGE", what, where=where, allowed=f"up to {max_pixels / 1e6:.0f} Mpx")
