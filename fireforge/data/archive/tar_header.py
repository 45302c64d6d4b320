# SPDX-License-Identifier: Apache-2.0
"""The 512-byte headers of tar files and the extended ones, read with every length checked.

Source: POSIX.1-2017, pax, "ustar Interchange Format" and "pax Extended Header"; GNU tar manual, "Basic Tar Format".
"""

from __future__ import annotations

from typing import NamedTuple

BLOCK = 512
ZERO = bytes(BLOCK)
SPACES = 8 * ord(" ")


class Header(NamedTuple):
    """What one header block says.

    Args:
      name: bytes before the first NUL, the prefix of ustar before it.
      size: bytes of data that follow it.
      kind: its type flag, one byte; b"0" for a file.
    """

    name: bytes
    size: int
    kind: bytes


def is_header(block: bytes) -> bool:
    """Whether a block of 512 bytes is a header: its checksum holds and it is not all zero."""
    if len(block) != BLOCK or block == ZERO:
        return False
    try:
        stated = _number(block[148:156])
    except ValueError:
        return False
    rest = block[:148] + block[156:]
    over = SPACES + sum(rest) - stated
    return not over or over == 256 * sum(byte > 127 for byte in rest)  # some old writers summed signed bytes


def read_header(block: bytes) -> Header:
    """The header in a block.

    Args:
      block: 512 bytes.

    Returns:
      The header.

    Raises:
      ValueError: if the checksum or a number is wrong.
    """
    if not is_header(block):
        raise ValueError("a damaged header")
    name, kind = _text(block[:100]), block[156:157]
    if block[257:263] == b"ustar\0" and block[345:346] != b"\0":
        name = _text(block[345:500]) + b"/" + name
    if kind in (b"\0", b"7"):
        kind = b"5" if name.endswith(b"/") else b"0"
    return Header(name, _number(block[124:136]), kind)


def read_pax(data: bytes) -> dict[str, bytes]:
    """The records "length key=value" of an extended header.

    Args:
      data: the records end to end, perhaps with NULs behind them.

    Returns:
      Key to value; a key without a value is absent.

    Raises:
      ValueError: if a length or a key is wrong.
    """
    found: dict[str, bytes] = {}
    at, end = 0, len(data.rstrip(b"\0"))
    while at < end:
        space = data.find(b" ", at, at + 20)
        length = data[at:space]
        if space < 0 or not length.isdigit():
            raise ValueError("a damaged extended header")
        after = at + int(length)
        if after > len(data) or after < space + 4 or data[after - 1] != ord("\n"):
            raise ValueError("a damaged extended header")
        key, equals, value = data[space + 1 : after - 1].partition(b"=")
        if not equals:
            raise ValueError("a damaged extended header")
        found[key.decode("utf-8", "replace")] = value
        at = after
    return {key: value for key, value in found.items() if value}


def _number(field: bytes) -> int:
    """An octal number, or the base-256 one of GNU; never below zero."""
    if field[0] & 0x80:
        if field[0] != 0x80:
            raise ValueError("a number that is negative or too great")
        return int.from_bytes(field[1:], "big")
    text = field.strip(b" \0").partition(b"\0")[0].strip(b" ") or b"0"
    if not text.isdigit():
        raise ValueError("a number that is not octal")
    return int(text, 8)


def _text(field: bytes) -> bytes:
    return field.partition(b"\0")[0]
