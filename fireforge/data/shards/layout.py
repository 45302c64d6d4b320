# SPDX-License-Identifier: Apache-2.0
"""What stands where in the index of a packed dataset."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np

from fireforge.base.errors import FireforgeError

INDEX = "index.ffs"
SHARD = "shard-{:05d}.bin"
MAGIC = b"\x89FFS\r\n\x1a\n"  # a high bit, line ends and an end-of-file byte: a transfer as text is found
VERSION = (1, 0)
DECODED, ENCODED = 0, 1
HEAD = struct.Struct("<8sHHIQQQQIIIHHBB30s32s")
ALIGN = 64  # bytes that every column begins on
DIGEST = 32  # bytes of a sha256
MAX_SIDE_PX = 16_384
MAX_CLASSES = 1_000_000
MAX_SHARDS = 65_536
MAX_PICTURES = 2**31 - 1
MAX_TEXT_BYTES = 2**32 - 1  # of all names
MAX_JSON_BYTES = 1 << 26


@dataclass(frozen=True, kw_only=True)
class Head:
    """The head of an index, 128 bytes little-endian; fields in their order, after magic, version and flags.

    Args:
      total: bytes of the index.
      count: pictures.
      name_bytes: of all names.
      json_bytes: of the text with classes and what was left out.
      classes: number of them.
      shards: files of pictures.
      each: pictures of a full shard, of decoded pictures; 0 for encoded ones.
      height_px: of decoded pictures, otherwise 0.
      width_px: likewise.
      kind: DECODED or ENCODED.
      channels: 1 or 3 of decoded pictures, otherwise 0.
      sha256: of the dataset, 32 bytes.
    """

    total: int
    count: int
    name_bytes: int
    json_bytes: int
    classes: int
    shards: int
    each: int
    height_px: int
    width_px: int
    kind: int
    channels: int
    sha256: bytes

    @property
    def shape(self) -> tuple[int, int, int]:
        """(H, W, C) of decoded pictures."""
        return self.height_px, self.width_px, self.channels

    @property
    def picture_bytes(self) -> int:
        """Bytes of a decoded picture."""
        return self.height_px * self.width_px * self.channels

    def pack(self) -> bytes:
        """The 128 bytes."""
        fields = (getattr(self, name) for name in self.__dataclass_fields__)
        *numbers, digest = fields
        return HEAD.pack(MAGIC, *VERSION, 0, *numbers, bytes(30), digest)

    @staticmethod
    def parse(data: bytes, *, where: str) -> Head:
        """The head of 128 bytes, each number within its limits.

        Args:
          data: how the index begins.
          where: named in errors.

        Returns:
          The head.

        Raises:
          FireforgeError: BAD_SHARDS.
        """
        if len(data) < HEAD.size or data[:8] != MAGIC:
            raise bad(f"begins with {data[:8].hex(' ')}", where, f"an index of fireforge pack, {MAGIC.hex(' ')}")
        _, major, minor, flags, *numbers, rest, digest = HEAD.unpack(data[: HEAD.size])
        if (major, minor, flags) != (*VERSION, 0) or rest != bytes(30):
            raise bad(f"version {major}.{minor}, flags {flags}", where, "version {}.{}, flags 0".format(*VERSION))
        names = [name for name in Head.__dataclass_fields__ if name != "sha256"]
        head = Head(**dict(zip(names, numbers)), sha256=digest)
        head.check(where)
        return head

    def check(self, where: str) -> None:
        """Hold every number to its limit, and the whole length to the numbers.

        Args:
          where: named in errors.

        Raises:
          FireforgeError: BAD_SHARDS.
        """
        decoded = self.kind == DECODED
        side = 1 if decoded else 0, MAX_SIDE_PX if decoded else 0
        limits: dict[str, tuple[int, int]] = {
            "count": (1, MAX_PICTURES),
            "name_bytes": (0, MAX_TEXT_BYTES),
            "json_bytes": (2, MAX_JSON_BYTES),
            "classes": (1, MAX_CLASSES),
            "shards": (1, min(MAX_SHARDS, self.count)),
            "each": (1, MAX_PICTURES) if decoded else (0, 0),
            "height_px": side,
            "width_px": side,
            "kind": (DECODED, ENCODED),
            "channels": (1, 3) if decoded else (0, 0),
        }
        for name, (least, most) in limits.items():
            value = getattr(self, name)
            if not least <= value <= most or (name == "channels" and value == 2):
                raise bad(f"{name} is {value:,}", where, f"{least:,} to {most:,}")
        if self.total != whole_bytes(self):
            raise bad(f"a length of {self.total:,} bytes for what it names", where, f"{whole_bytes(self):,} bytes")


Column = tuple[str, str, tuple[int, ...]]


def columns(head: Head) -> tuple[Column, ...]:
    """The columns behind the head, in their order: name, dtype and shape; each begins on a multiple of 64 bytes."""
    count = head.count
    return (
        ("shards", "<u8", (head.shards, 2)),  # first picture, bytes
        ("labels", "<i4", (count,)),
        ("owners", "|u1", (count,)),  # 0 none, 1 train, 2 val, 3 test
        ("crcs", "<u4", (count,)),  # of each picture as it lies in its shard
        ("digests", "|u1", (count, DIGEST)),
        ("ends", "<u8", (count if head.kind == ENCODED else 0,)),  # of each picture, all shards end to end
        ("name_ends", "<u4", (count,)),
        ("names", "|u1", (head.name_bytes,)),
        ("json", "|u1", (head.json_bytes,)),
    )


def places(head: Head) -> dict[str, tuple[int, str, tuple[int, ...]]]:
    """Where each column begins, with its dtype and shape."""
    found, at = {}, HEAD.size
    for name, dtype, shape in columns(head):
        found[name] = (at, dtype, shape)
        at = aligned(at + nbytes(dtype, shape))
    return found


def whole_bytes(head: Head) -> int:
    """Bytes of an index, the sha256 at its end included."""
    at = HEAD.size
    for _, dtype, shape in columns(head):
        at = aligned(at + nbytes(dtype, shape))
    return at + DIGEST


def nbytes(dtype: str, shape: tuple[int, ...]) -> int:
    """Bytes of a column."""
    total = np.dtype(dtype).itemsize
    for size in shape:
        total *= size
    return total


def aligned(at: int) -> int:
    """The next place that a column may begin on."""
    return -(-at // ALIGN) * ALIGN


def bad(what: str, where: str, allowed: str = "") -> FireforgeError:
    """The error for an index that is refused."""
    return FireforgeError(
        "BAD_SHARDS", what, where=where, allowed=allowed, do="fireforge pack once more, from the original data"
    )
