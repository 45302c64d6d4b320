# SPDX-License-Identifier: Apache-2.0
"""The segments of a JPEG: its size, its kind, its scans, and what stands before and behind the pixels."""

from __future__ import annotations

from dataclasses import dataclass, field

from fireforge.base.errors import FireforgeError
from fireforge.base.picture.exif import read_orientation, write_orientation
from fireforge.base.picture.structure import Structure, check_sides

SOI, EOI, SOS, APP0, APP1, APP14, COM = 0xD8, 0xD9, 0xDA, 0xE0, 0xE1, 0xEE, 0xFE
ALONE = frozenset((0x00, 0x01, SOI, *range(0xD0, 0xD8)))  # markers that no length follows
FRAMES = frozenset((*range(0xC0, 0xC4), *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0), 0xDE))
DECODED = frozenset((0xC0, 0xC1, 0xC2, 0xC9, 0xCA))  # baseline, extended, progressive; the last two arithmetic
PROGRESSIVE = frozenset((0xC2, 0xCA))
HUFFMAN = frozenset((0xC0, 0xC1, 0xC2))
LEAST_BITS = 0.25  # for 8 x 8 px, by the channel that is stored finest
MAX_MARKS = 10_000  # before the first scan
MAX_HEAD_BYTES = 262_144  # metadata beyond this is not handed to the decoder
FREE_SCANS = 64
MAX_SCAN_PIXELS = 400_000_000  # pixels times scans that decode within two seconds
LEAST_COLOUR_BYTES = 16  # of the segments JFIF and Adobe
EXIF = b"Exif\0\0"


@dataclass
class _Head:
    """Everything before the first scan; segments are (marker, first byte, past the last byte), marker included."""

    start: int = 0  # of the first scan's segment
    segments: list[tuple[int, int, int]] = field(default_factory=list)
    frame: tuple[int, int, int] = (0, 0, 0)  # marker, width, height
    channels: int = 0
    several_scans: bool = False


def walk_jpeg(data: bytes, *, where: str) -> Structure:
    """The structure of a JPEG.

    Args:
      data: the file's bytes.
      where: named in errors.

    Returns:
      Its size; `data` without metadata where that is damaged or large.

    Raises:
      FireforgeError: IMG_TRUNCATED, IMG_CORRUPT, IMG_FORMAT or IMG_TOO_SLOW.
    """
    head = _head(data, where)
    kind, width, height = head.frame
    check_sides((width, height), where=where)
    end = data.rfind(b"\xff\xd9", head.start)
    stop = len(data) if end < 0 else end
    least = int(width * height / 64 * LEAST_BITS / 8) if kind in HUFFMAN else 0
    scans = data.count(b"\xff\xda", head.start, stop) if head.several_scans else 1
    if scans > FREE_SCANS and scans * width * height > MAX_SCAN_PIXELS:
        raise FireforgeError(
            "IMG_TOO_SLOW", f"{scans} scans of {width} x {height} px", where=where, allowed=f"{FREE_SCANS} scans"
        )
    notes = ["IMG_TRAILING"] if 0 <= end < len(data) - 2 else []
    orientation, sound = _orientation(data, head)
    if not sound:
        notes.append("IMG_EXIF")
    if not sound or head.start > MAX_HEAD_BYTES:
        data = _lean(data, head, orientation)
    return Structure(
        data=data,
        size=(width, height),
        least_bytes=least,
        held_bytes=stop - head.start,
        notes=tuple(notes),
        end_lost=end < 0,
        plain=end >= 0 and head.channels != 4 and sound and orientation == 1 and not _has_more(data, head),
    )


def lean_jpeg(data: bytes, *, where: str) -> bytes:
    """A JPEG without its metadata but for the orientation, for a decoder that stumbled over it.

    Args:
      data: the file's bytes.
      where: named in errors.

    Returns:
      The file's bytes from which the segments that are not needed for its pixels are gone.
    """
    head = _head(data, where)
    return _lean(data, head, _orientation(data, head)[0])


def _head(data: bytes, where: str) -> _Head:
    head, at = _Head(), 2
    for _ in range(MAX_MARKS):
        at = data.find(b"\xff", at)
        if at < 0 or at + 4 > len(data):
            raise FireforgeError("IMG_TRUNCATED", "ends before its pixels begin", where=where)
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        if marker in ALONE:
            at += 2
            continue
        stop = at + 2 + (data[at + 2] << 8) + data[at + 3]
        if marker == EOI:
            raise FireforgeError("IMG_CORRUPT", "holds no pixels", where=where)
        if stop < at + 4:
            raise FireforgeError("IMG_CORRUPT", f"a segment of a wrong length at byte {at}", where=where)
        if stop > len(data):
            raise FireforgeError("IMG_TRUNCATED", "ends before its pixels begin", where=where)
        if marker in FRAMES:
            _take_frame(head, data[at + 1 : stop], where)
        if marker == SOS:
            if not head.frame[0]:
                raise FireforgeError("IMG_CORRUPT", "no frame before the first scan", where=where)
            head.start = at
            head.several_scans = head.frame[0] in PROGRESSIVE or data[at + 4] < head.channels
            return head
        head.segments.append((marker, at, stop))
        at = stop
    raise FireforgeError("IMG_TOO_SLOW", f"more than {MAX_MARKS} marks before its pixels", where=where)


def _take_frame(head: _Head, body: bytes, where: str) -> None:
    """Body: marker, two bytes of length, bits, two bytes of height, two of width, channels."""
    if head.frame[0] or len(body) < 9:
        raise FireforgeError("IMG_CORRUPT", "a frame that is cut off or stands twice", where=where)
    marker, bits, channels = body[0], body[3], body[8]
    if marker not in DECODED or bits != 8 or channels not in (1, 3, 4):
        what = f"a JPEG of a rare kind: frame 0x{marker:X}, {bits} bits, {channels} channels"
        allowed = "baseline or progressive, 8 bits, 1, 3 or 4 channels"
        raise FireforgeError("IMG_FORMAT", what, where=where, allowed=allowed)
    head.channels = channels
    head.frame = (marker, int.from_bytes(body[6:8], "big"), int.from_bytes(body[4:6], "big"))


def _orientation(data: bytes, head: _Head) -> tuple[int, bool]:
    """Orientation, and whether the EXIF data is sound; a picture without any is."""
    blocks = [
        data[first + 4 : stop]
        for marker, first, stop in head.segments
        if marker == APP1 and data.startswith(EXIF, first + 4)
    ]
    if not blocks:
        return 1, True
    orientation, sound = read_orientation(blocks[0])
    return orientation, sound and len(blocks) == 1


def _has_more(data: bytes, head: _Head) -> bool:
    """Whether a segment like that of EXIF holds something else, such as XMP, which may tell the orientation too."""
    return any(marker == APP1 and not data.startswith(EXIF, first + 4) for marker, first, _ in head.segments)


def _lean(data: bytes, head: _Head, orientation: int) -> bytes:
    """The two markers that change colours stay, JFIF and Adobe; of EXIF the orientation."""
    parts = [b"\xff\xd8"]
    if orientation != 1:
        block = write_orientation(orientation)
        parts.append(b"\xff\xe1" + (len(block) + 2).to_bytes(2, "big") + block)
    for marker, first, stop in head.segments:
        colours = marker in (APP0, APP14) and stop - first >= LEAST_COLOUR_BYTES
        if colours or not (APP0 <= marker <= 0xEF or marker == COM):
            parts.append(data[first:stop])
    return b"".join((*parts, data[head.start :]))
