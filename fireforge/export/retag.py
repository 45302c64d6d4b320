# SPDX-License-Identifier: Apache-2.0
"""Another card in a file that is written already: no byte of its graph or its numbers is made anew."""

from __future__ import annotations

from fireforge.base.errors import FireforgeError
from fireforge.base.model import METADATA_KEY, Tag
from fireforge.base.value import canonical_json
from fireforge.base.wire import LENGTH, parts
from fireforge.export.lean import lean_json

METADATA_PROPS, KEY, VALUE = 14, 1, 2  # ModelProto's entries, and the fields of each


def retag(data: bytes, tag: Tag) -> bytes:
    """The bytes of an ONNX file with another tag; all else stays as it is, byte for byte.

    Args:
      data: of a file with a tag.
      tag: in place of the one that it has.

    Returns:
      The new file's bytes; the tag stands where the old one stood.

    Raises:
      FireforgeError: BAD_MODEL_FILE, if the bytes are no messages; NO_CARD, if the file has no tag, or several.
    """
    before, after = split_tag(data)
    text = canonical_json(lean_json(tag)).encode("utf-8")
    entry = _field(KEY, METADATA_KEY.encode("ascii")) + _field(VALUE, text)
    return before + _field(METADATA_PROPS, entry) + after


def split_tag(data: bytes) -> tuple[bytes, bytes]:
    """What stands before a file's tag and what stands behind it.

    Args:
      data: as for `retag`.

    Returns:
      All bytes of the file but those of the tag.

    Raises:
      FireforgeError: as `retag`.
    """
    found: list[tuple[int, int]] = []
    start = 0  # of the field with its number and length, where the one before it ends
    try:
        for part in parts(data, 0, len(data)):
            if part.number == METADATA_PROPS and part.wire == LENGTH and _is_tag(data, part.start, part.stop):
                found.append((start, part.stop))
            start = part.stop
    except ValueError as error:
        raise FireforgeError("BAD_MODEL_FILE", f"its bytes cannot be decoded: {error}", where="bytes") from error
    if len(found) != 1:
        raise FireforgeError("NO_CARD", f"{len(found)} fireforge entries", where="metadata", allowed="one")
    return data[: found[0][0]], data[found[0][1] :]


def _is_tag(data: bytes, start: int, stop: int) -> bool:
    keys = [data[part.start : part.stop] for part in parts(data, start, stop) if part.number == KEY]
    return keys[-1:] == [METADATA_KEY.encode("ascii")]


def _field(number: int, content: bytes) -> bytes:
    """A field of bytes in protobuf's wire format."""
    return _varint(number << 3 | LENGTH) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    out = bytearray()
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)
