# SPDX-License-Identifier: Apache-2.0
"""What an archive holds, as found by one look through it."""

from __future__ import annotations

from dataclasses import dataclass, field

from fireforge.base.errors import FireforgeError
from fireforge.base.sample import Skipped
from fireforge.data.archive.member import Member

PREFIX, TRAILING = "ARC_PREFIX", "ARC_TRAILING"  # notes: bytes before or after the archive, which were not read


@dataclass
class Index:
    """What was met so far.

    Args:
      members: the files, in the order of the archive.
      folders: names of the folders that the archive names.
      skipped: files that cannot be used, each with its reason.
      notes: codes of what is odd about it, though it can be read.
    """

    members: list[Member] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def damaged(source: str, reason: str, *, readable: int, last: str = "") -> FireforgeError:
    """The error of an archive that is cut short or damaged.

    Args:
      source: the archive.
      reason: what shows it.
      readable: how many files before the damage can be read whole.
      last: name of the last of them.

    Returns:
      The error, ARC_TRUNCATED.
    """
    count = "no file can be read" if not readable else f"{readable:,} files before that can be read, to {last[:200]!a}"
    return FireforgeError(
        "ARC_TRUNCATED",
        f"{reason}; {count}",
        where=source,
        allowed="a whole archive",
        do="copy or download it again; or unpack what is left and name the folder",
    )
