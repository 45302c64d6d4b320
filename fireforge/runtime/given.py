# SPDX-License-Identifier: Apache-2.0
"""What a user hands over as a picture, checked before it is decoded: the errors say what was meant to come."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from fireforge.base.errors import FireforgeError
from fireforge.base.pixels import Picture

ACCEPTED = "a path, an image file's bytes, a Pillow image, or a uint8 array (H, W), (H, W, 1) or (H, W, 3)"
ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")


def checked(picture: Any) -> Picture:
    """The picture as the decoder takes it.

    Args:
      picture: whatever came; a bytearray or memoryview counts as bytes.

    Returns:
      A path, bytes, a Pillow image whose pixels are there, or a uint8 array.

    Raises:
      FireforgeError: BAD_PICTURE, if it is no picture at all; NO_FILE for an address; BAD_ARRAY for an array of another
        dtype or shape; IMG_CORRUPT or IMG_SHAPE for a Pillow image without pixels.
    """
    if isinstance(picture, np.ndarray):
        return _array(picture)
    if isinstance(picture, (bytes, bytearray, memoryview)):
        return bytes(picture)
    if isinstance(picture, Image.Image):
        return _image(picture)
    if isinstance(picture, (str, os.PathLike)):
        return _path(os.fspath(picture))
    do = "hand over its .read()" if hasattr(picture, "read") else "np.asarray(it)" if hasattr(picture, "numpy") else ""
    raise FireforgeError("BAD_PICTURE", f"a {type(picture).__name__} is no picture", allowed=ACCEPTED, do=do)


def _array(array: np.ndarray) -> np.ndarray:
    if array.dtype != np.uint8:
        do = "values of 0 to 255 as .astype('uint8')" if array.dtype.kind in "fiu" else ""
    elif array.ndim == 4:
        do = "list(array) for several pictures"
    elif array.ndim == 3 and array.shape[0] in (1, 3) and array.shape[2] not in (1, 3):
        do = "array.transpose(1, 2, 0): the channels come last"
    elif array.ndim == 3 and array.shape[2] == 4:
        do = "array[:, :, :3], or Image.fromarray(array) where the fourth is transparency"
    else:
        return array  # the decoder judges what is left
    raise FireforgeError(
        "BAD_ARRAY",
        f"{array.dtype} array of shape {array.shape}",
        allowed="uint8 (H, W), (H, W, 1) or (H, W, 3)",
        do=do,
    )


def _image(image: Image.Image) -> Image.Image:
    """A Pillow image reads its file late: what is wrong with that shows here."""
    if 0 in image.size:
        raise FireforgeError("IMG_SHAPE", f"a Pillow image of {image.width} x {image.height} px")
    try:
        image.load()
    except (OSError, SyntaxError, ValueError, EOFError, IndexError) as error:
        raise FireforgeError("IMG_CORRUPT", f"a Pillow image that cannot be decoded whole: {error}") from error
    return image


def _path(path: str | bytes) -> Path:
    text = os.fsdecode(path)
    if ADDRESS.match(text) and not os.path.exists(text):
        do = "curl -s ADDRESS | fireforge predict MODEL -"
        raise FireforgeError("NO_FILE", "an address; nothing is fetched", where=text, allowed=ACCEPTED, do=do)
    if "\0" in text:
        raise FireforgeError("NO_FILE", "a path that holds a zero byte", where=repr(text), allowed=ACCEPTED)
    return Path(text)
