# SPDX-License-Identifier: Apache-2.0
"""One file of an archive, and what its name may be."""

from __future__ import annotations

import re
import stat
from typing import NamedTuple

from fireforge.base.errors import FireforgeError
from fireforge.base.sample import Skipped
from fireforge.data.archive.limits import DO, place
from fireforge.data.tree import printable

MAX_NAME, MAX_DEPTH = 4096, 64
STORED, DEFLATED = 0, 8  # the methods that are read, by their zip numbers


class Member(NamedTuple):
    """Where a file lies in an archive, or in its unpacked stream.

    Args:
      name: tidy, with "/" between its parts.
      at: where its bytes begin.
      stored: bytes that it takes there.
      size: bytes unpacked.
      method: 0 as it is, 8 deflated.
      crc: CRC-32 of the unpacked bytes; -1 where the archive holds none.
    """

    name: str
    at: int
    stored: int
    size: int
    method: int = STORED
    crc: int = -1


def tidy(name: str, *, source: str) -> str:
    """A member's name without "." parts and doubled slashes; "" for the root itself.

    Nothing is ever written under these names, but one that would leave its folder shows an archive that was made to
    attack, and is refused.

    Args:
      name: as stored, with "/" between its parts.
      source: the archive, for messages.

    Returns:
      The name; a folder's without the slash at its end.

    Raises:
      FireforgeError: ARC_PATH, if it is absolute, has a drive letter, a ".." part or a NUL, or is longer than 4,096
        characters or 64 folders.
    """
    slashed = name.replace("\\", "/")
    reason = ""
    if len(name) > MAX_NAME:
        reason = f"a name of {len(name):,} characters"
    elif slashed.startswith("/"):
        reason = "an absolute name"
    elif re.match(r"[A-Za-z]:", slashed):
        reason = "a name with a drive letter"
    elif ".." in slashed.split("/"):
        reason = 'a name with ".." in it'
    elif slashed.count("/") > MAX_DEPTH:
        reason = f"a name of more than {MAX_DEPTH} folders"
    elif "\0" in name:
        reason = "a name with a NUL in it"
    if reason:
        raise FireforgeError(
            "ARC_PATH",
            f"{reason}; nothing was read",
            where=place(source, name),
            allowed="names below the archive's top",
        )
    return "/".join(part for part in name.split("/") if part not in ("", "."))


def refuse_link(name: str, kind: str, *, source: str) -> FireforgeError:
    """The error of a member that is neither file nor folder."""
    return FireforgeError(
        "ARC_LINK", f"{kind}; nothing was read", where=place(source, name), allowed="files and folders", do=DO
    )


def kind_of_mode(mode: int) -> str:
    """What a Unix mode says a member is; "" for a file, a folder or nothing said."""
    kind = stat.S_IFMT(mode)
    if kind in (0, stat.S_IFREG, stat.S_IFDIR):
        return ""
    return "a symbolic link" if kind == stat.S_IFLNK else "a device or pipe"


def without_doubles(members: list[Member]) -> tuple[dict[str, Member], list[Skipped]]:
    """Members by name, where each name is there once, upper and lower case alike.

    Of several members of one name none is used, since nobody can say which is meant. Of names that differ in case only
    the first is used.

    Args:
      members: in the order of the archive.

    Returns:
      Name to member, sorted by name; and those left out, with the code ARC_DUP.
    """
    times: dict[str, int] = {}
    for member in members:
        times[member.name] = times.get(member.name, 0) + 1
    kept: dict[str, Member] = {}
    folded: dict[str, str] = {}
    skipped = []
    for member in members:
        reason = ""
        first = folded.setdefault(member.name.casefold(), member.name)
        if times[member.name] > 1:
            reason = f"{times[member.name]} members have this name"
        elif first != member.name:
            reason = f"differs from {printable(first)} in case only"
        if reason:
            skipped.append(Skipped(name=printable(member.name), code="ARC_DUP", reason=reason))
        else:
            kept[member.name] = member
    return dict(sorted(kept.items())), skipped
