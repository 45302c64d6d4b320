# SPDX-License-Identifier: Apache-2.0
"""The members of a zip file: refused as a whole where it is hostile, one by one where a member is damaged."""

from __future__ import annotations

from typing import BinaryIO

import numpy as np

from fireforge.base.errors import FireforgeError
from fireforge.base.sample import Skipped
from fireforge.data.archive.index import PREFIX, TRAILING, Index, damaged
from fireforge.data.archive.limits import DO, Tally, place
from fireforge.data.archive.member import DEFLATED, STORED, kind_of_mode, refuse_link, tidy
from fireforge.data.archive.zip_data import LOCAL, locate, readable
from fireforge.data.archive.zip_directory import Directory, Entry, find_directory, walk
from fireforge.data.tree import is_hidden, printable

METHODS = {1: "shrink", 6: "implode", 9: "deflate64", 12: "bzip2", 14: "lzma", 93: "zstd", 95: "xz", 98: "PPMd"}


def index_zip(stream: BinaryIO, file_bytes: int, tally: Tally) -> Index:
    """Walk over a zip's directory, then read every file once to see that it is whole.

    The directory is walked twice: nothing is kept before all of it is known to be within the limits.

    Args:
      stream: the file.
      file_bytes: its length.
      tally: what entries are held against.

    Returns:
      Its files and folders; hidden ones are left out, damaged ones are skipped with the code ARC_CRC.

    Raises:
      FireforgeError: ARC_PATH, ARC_LINK, ARC_BOMB, ARC_METHOD or ARC_TRUNCATED.
    """
    try:
        directory = find_directory(stream, file_bytes)
        tally.check_members(directory.entries)
        for entry in walk(stream, directory):
            _check(entry, tally)
        entries = [entry for entry in walk(stream, directory) if not is_hidden(tidy(entry.name, source=tally.source))]
    except ValueError as error:
        again = Tally(tally.source, packed_bytes=file_bytes, limits=tally.limits)
        count, last = readable(stream, file_bytes, again)
        raise damaged(tally.source, str(error), readable=count, last=last) from error
    _check_overlap(entries, tally)
    index = Index()
    for entry in entries:
        _take(index, entry, stream, directory, tally.source)
    if directory.prefix:
        index.notes.append(PREFIX)
    if directory.tail:
        index.notes.append(TRAILING)
    return index


def _check(entry: Entry, tally: Tally) -> None:
    name = tidy(entry.name, source=tally.source)
    link = kind_of_mode(entry.mode)
    if link:
        raise refuse_link(entry.name, link, source=tally.source)
    tally.add(name, size=entry.size, stored=entry.stored)
    if is_hidden(name) or entry.name.endswith("/"):
        return
    what = ""
    if entry.encrypted:
        what = "it is encrypted"
    elif entry.method not in (STORED, DEFLATED):
        what = f"it is packed by method {METHODS.get(entry.method, entry.method)}"
    elif entry.method == STORED and entry.size != entry.stored:
        raise ValueError(f"{entry.name[:200]!a} has two sizes")
    if what:
        raise FireforgeError(
            "ARC_METHOD", what, where=place(tally.source, entry.name), allowed="stored or deflated, no password", do=DO
        )


def _check_overlap(entries: list[Entry], tally: Tally) -> None:
    """No two members may share bytes: a few that do can pretend to be very many."""
    at = np.array([entry.at for entry in entries], np.float64)  # whole to 2^53
    end = at + np.array([LOCAL.size + len(entry.raw) + entry.stored for entry in entries], np.float64)
    order = np.argsort(at, kind="stable")
    shared = np.flatnonzero(end[order][:-1] > at[order][1:])
    if len(shared):
        first, second = entries[order[shared[0]]], entries[order[shared[0] + 1]]
        raise tally.bomb(f"it shares its bytes with {first.name[:200]!a}", "members one after the other", second.name)


def _take(index: Index, entry: Entry, stream: BinaryIO, directory: Directory, source: str) -> None:
    name = tidy(entry.name, source=source)
    if not name:
        return
    if entry.name.endswith("/"):
        index.folders.append(name)
        return
    try:
        member = locate(stream, entry, directory.at)
    except ValueError as error:
        index.skipped.append(Skipped(name=printable(name), code="ARC_CRC", reason=str(error)))
        return
    index.members.append(member._replace(name=name))
