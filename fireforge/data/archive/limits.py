# SPDX-License-Identifier: Apache-2.0
"""How much an archive may hold, and the running sum that is held against it."""

from __future__ import annotations

from dataclasses import dataclass

from fireforge.base.errors import FireforgeError

DO = "unpack it yourself and name the folder"


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Bounds on what one archive may ask for.

    Args:
      total_bytes: all members unpacked.
      member_bytes: one member unpacked, since it is read whole.
      ratio: unpacked over packed bytes, of a member and in total.
      free_bytes: up to this size a ratio is not asked for: a blank picture packs very well.
      members: files, folders and other entries.
      names_bytes: all names together.
    """

    total_bytes: int = 10 * 2**30
    member_bytes: int = 2 * 2**30
    ratio: int = 200
    free_bytes: int = 2**20
    members: int = 1_000_000
    names_bytes: int = 128 * 2**20


LIMITS = Limits()


class Tally:
    """What the entries seen so far add up to.

    Args:
      source: the archive, for messages.
      packed_bytes: size of the archive file.
      limits: what is allowed.
    """

    def __init__(self, source: str, *, packed_bytes: int, limits: Limits) -> None:
        self.source = source
        self.packed_bytes = packed_bytes
        self.limits = limits
        self.members = 0
        self.total_bytes = 0
        self.names_bytes = 0

    def check_members(self, members: int) -> None:
        """Refuse a number of entries that is over the limit.

        Args:
          members: as counted, or as an archive declares it.

        Raises:
          FireforgeError: ARC_BOMB.
        """
        if members > self.limits.members:
            raise self.bomb(f"{members:,} members", f"{self.limits.members:,} members")

    def add(self, name: str, *, size: int, stored: int) -> None:
        """Count one more entry.

        Args:
          name: of the entry.
          size: bytes that it declares to unpack to.
          stored: bytes that it takes in the archive; equal to size where that is not known.

        Raises:
          FireforgeError: ARC_BOMB, if the entry or the sum is over a limit.
        """
        limits = self.limits
        self.members += 1
        self.names_bytes += len(name)
        self.total_bytes += size
        self.check_members(self.members)
        if self.names_bytes > limits.names_bytes:
            raise self.bomb("names of members too long", f"{limits.names_bytes:,} characters in all")
        if size > limits.member_bytes:
            raise self.bomb(f"{size:,} bytes", f"{limits.member_bytes:,} bytes a member", name)
        if size > max(limits.free_bytes, limits.ratio * stored):
            raise self.bomb(f"{stored:,} bytes unpack to {size:,}", f"{limits.ratio} to 1", name)
        self.check_total(self.total_bytes, self.packed_bytes)

    def check_total(self, unpacked: int, packed: int) -> None:
        """Refuse a sum that is over the limit, or too great for the packed bytes that it comes from.

        Args:
          unpacked: bytes.
          packed: bytes.

        Raises:
          FireforgeError: ARC_BOMB.
        """
        limits = self.limits
        if unpacked > limits.total_bytes:
            raise self.bomb(f"{unpacked:,} bytes unpacked, or more", f"{limits.total_bytes:,} bytes")
        if unpacked > max(limits.free_bytes, limits.ratio * packed):
            raise self.bomb(f"{packed:,} bytes unpack to {unpacked:,} or more", f"{limits.ratio} to 1 in total")

    def bomb(self, what: str, allowed: str, member: str = "") -> FireforgeError:
        """The error of an archive that asks for too much."""
        return FireforgeError("ARC_BOMB", what, where=place(self.source, member), allowed=allowed, do=DO)


def place(source: str, member: str = "") -> str:
    """Archive and member for messages, the member with its odd characters escaped."""
    return f"{source}: {member[:200]!a}" if member else source
