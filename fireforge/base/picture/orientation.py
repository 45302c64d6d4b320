# SPDX-License-Identifier: Apache-2.0
"""How a picture lies, by its EXIF data or what stands in its place."""

from __future__ import annotations

import struct
import warnings
import zlib

from PIL import Image

from fireforge.base.picture.exif import ORIENTATION, raw_profile, read_orientation

DECODER_ERRORS = (  # what Pillow raises on damaged files
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)
RAW_PROFILE = "Raw profile type exif"
TURNED = ("exif", "xmp", "XML:com.adobe.xmp", RAW_PROFILE)  # what may hold the orientation, and goes with it


def orientation(image: Image.Image) -> tuple[int, bool]:
    """How a picture lies.

    Args:
      image: any, loaded or not.

    Returns:
      Its EXIF orientation, 1 to 8, and whether its EXIF data is sound; a picture without any is.
    """
    exif = image.info.get("exif")
    if isinstance(exif, bytes):
        return read_orientation(exif)
    profile = image.info.get(RAW_PROFILE)
    if isinstance(profile, str):
        return read_orientation(raw_profile(profile))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            found = image.getexif().get(ORIENTATION, 1)  # XMP, or what a Pillow image of the caller's own holds
        except DECODER_ERRORS:
            return 1, False
    return (found, True) if found in range(1, 9) else (1, True)
