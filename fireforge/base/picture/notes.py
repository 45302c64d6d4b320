# SPDX-License-Identifier: Apache-2.0
"""Remarks about pictures that are used all the same."""

from __future__ import annotations

NOTES: dict[str, str] = {
    "ARC_PREFIX": "bytes stand before the archive, which were not read",
    "ARC_TRAILING": "bytes follow the end of the archive, which were not read",
    "IMG_EXIF": "its EXIF data is damaged and was not used beyond the orientation",
    "IMG_FRAMES": "an animation, of which the first frame is used",
    "IMG_NAME_MISMATCH": "its name ends like that of another format",
    "IMG_NO_END": "its end mark is missing, its pixels are all there",
    "IMG_TINY": "a side of fewer than 4 px",
    "IMG_TRAILING": "bytes follow the end of the picture",
}
