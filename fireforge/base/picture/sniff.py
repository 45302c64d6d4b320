# SPDX-License-Identifier: Apache-2.0
"""What bytes are by how they begin: an accepted picture, another format, or something else altogether."""

from __future__ import annotations

import os
import re

from fireforge.base.errors import FireforgeError

HEAD_BYTES = 512  # enough for `sniff` and `refusal`
MAX_FILE_BYTES = 1_100_000_000  # 250 Mpx of 4 bytes, and a head
ACCEPTED: dict[str, re.Pattern[bytes]] = {
    "JPEG": re.compile(rb"\xff\xd8\xff"),
    "PNG": re.compile(rb"\x89PNG\r\n\x1a\n"),
    "WEBP": re.compile(rb"RIFF....WEBP", re.DOTALL),
    "BMP": re.compile(rb"BM.{12}[\x0c\x10\x28\x34\x38\x40\x6c\x7c]\0\0\0", re.DOTALL),
    "GIF": re.compile(rb"GIF8[79]a"),
}
FORMATS = tuple(ACCEPTED)
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif")  # of file names that promise a picture
SUFFIX_FORMATS = dict(zip(SUFFIXES, ("JPEG", "JPEG", "PNG", "WEBP", "BMP", "GIF")))

OTHER_PICTURES: tuple[tuple[re.Pattern[bytes], str], ...] = tuple(
    (re.compile(pattern, re.DOTALL), name)
    for pattern, name in (
        (rb"II[*+]\x00|MM\x00[*+]", "a TIFF"),
        (rb"....ftyp(avif|avis)", "an AVIF"),
        (rb"....ftyp(hei|hev|mif|msf)", "a HEIC"),
        (rb"8BPS", "a Photoshop file"),
        (rb"\x00\x00[\x01\x02]\x00", "an icon (ICO)"),
        (rb"SIMPLE  =", "a FITS file"),
        (rb"\s*%!PS|\xc5\xd0\xd3\xc6", "a PostScript file (EPS)"),
        (rb"\s*%PDF", "a PDF"),
        (rb"(\xef\xbb\xbf)?\s*(<\?xml.{0,400}?)?(<!DOCTYPE svg|<svg)", "an SVG"),
        (rb"\x00\x00\x00\x0cjP  |\xff\x4f\xff\x51", "a JPEG 2000"),
        (rb"\xff\x0a|\x00\x00\x00\x0cJXL ", "a JPEG XL"),
        (rb"P[1-7]\s", "a PNM (PPM, PGM, PBM)"),
        (rb"v/1\x01", "an OpenEXR file"),
        (rb"#\?RADIANCE", "a Radiance HDR file"),
        (rb"gimp xcf", "a GIMP file"),
        (rb"DDS ", "a DDS texture"),
        (rb".{128}DICM", "a DICOM file"),
    )
)
OTHER_FILES: tuple[tuple[re.Pattern[bytes], str], ...] = tuple(
    (re.compile(pattern, re.DOTALL | re.IGNORECASE), name)
    for pattern, name in (
        (rb"version https://git-lfs", "a Git LFS pointer, the picture itself was not fetched"),
        (rb"(\xef\xbb\xbf)?\s*<(!doctype html|html|head|body)", "an HTML page"),
        (rb"(\xef\xbb\xbf)?\s*<\?xml", "an XML file"),
        (rb"PK[\x03\x05]", "a zip archive"),
        (rb"\x1f\x8b", "a gzip archive"),
        (rb"Rar!|7z\xbc\xaf", "an archive"),
        (rb"....ftyp|\x1aE\xdf\xa3", "a video"),
        (rb"\x89HDF", "an HDF5 file"),
        (rb"\x93NUMPY", "a numpy array"),
        (rb"\x7fELF|MZ", "a program"),
    )
)


def sniff(head: bytes) -> str:
    """Name of the accepted format whose first bytes these are, one of FORMATS; "" for all else."""
    return next((name for name, magic in ACCEPTED.items() if magic.match(head)), "")


def refusal(head: bytes, *, where: str = "") -> FireforgeError:
    """Why bytes that `sniff` does not know are refused.

    Args:
      head: the first HEAD_BYTES bytes of a file, or all that it has.
      where: named in the error.

    Returns:
      IMG_EMPTY, IMG_FORMAT for a picture of another format, or IMG_NOT_IMAGE.
    """
    allowed = ", ".join(FORMATS)
    if not head:
        return FireforgeError("IMG_EMPTY", "the file holds no bytes", where=where)
    for magic, name in OTHER_PICTURES:
        if magic.match(head):
            return FireforgeError("IMG_FORMAT", f"it looks like {name}", where=where, allowed=allowed)
    known = (name for magic, name in OTHER_FILES if magic.match(head))
    looks = next(known, "text" if _is_text(head[:HEAD_BYTES]) else "")
    what = f"not an image, it looks like {looks}" if looks else "not an image that can be read"
    return FireforgeError("IMG_NOT_IMAGE", what, where=where, allowed=allowed)


def promised(name: str) -> str:
    """The format that a file's name promises, one of FORMATS; "" where it promises none."""
    return SUFFIX_FORMATS.get(os.path.splitext(name)[1].lower(), "")


def _is_text(head: bytes) -> bool:
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 3:
            return False
        text = head[: error.start].decode("utf-8")  # a letter of several bytes was cut
    return all(letter.isprintable() or letter in "\t\r\n\f\ufeff" for letter in text)
