# SPDX-License-Identifier: Apache-2.0
"""The cache of fetched data: a folder for each URL, in it one for each version, and which one is known to be whole."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fireforge.base.errors import FireforgeError
from fireforge.base.files import cannot_write, make_folder, read_json, write_json
from fireforge.data.remote.address import identity, public
from fireforge.data.remote.source import Facts

CACHE = "XDG_CACHE_HOME"  # the variable that names the user's folder of things that can be made again
ELSEWHERE = f"more room, or another folder in {CACHE}"
KNOWN = "known.json"
LAST = "last.json"  # in the folder of a URL without its secrets: with which ones it was fetched last
DIGEST = re.compile(r"[0-9a-f]{24}")


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """One file to be fetched.

    Args:
      url: of it.
      name: below the folder of its version, with "/" between its parts.
      facts: what its source says of it.
    """

    url: str
    name: str
    facts: Facts


@dataclass(frozen=True)
class Shelf:
    """The place of one URL in the cache.

    Args:
      url: as the user gave it.
    """

    url: str

    @property
    def path(self) -> Path:
        """Its folder."""
        return _folder(identity(self.url))

    def known(self) -> Path | None:
        """The data that was last fetched whole; None where there is none, or not all of it."""
        return _whole(self.path)

    def earlier(self) -> Path | None:
        """What serves where the source gives nothing: `known`, or else what came last by this URL with a key in it.

        A record names data without the keys of its URL, so that what it names would else never be found again.
        """
        return self.known() or _whole(_folder(_last(self.path / LAST)))

    def holds(self, version: str) -> Path | None:
        """The data that was last fetched whole if it is of this version."""
        found = _known(self.path / KNOWN)
        return self.known() if found is not None and version and found["version"] == version else None

    def keep(self, version: str, wanted: list[Wanted]) -> Path:
        """Write down that a version is whole.

        Args:
          version: name of its folder.
          wanted: the files in it: one, or those of one folder.

        Returns:
          The path of the data.

        Raises:
          FireforgeError: CANNOT_WRITE.
        """
        files = {item.name: (self.path / version / item.name).stat().st_size for item in wanted}
        write_json(self.path / KNOWN, {"url": public(self.url), "version": version, "files": files})
        bare = _folder(identity(public(self.url)))
        if bare != self.path:
            write_json(make_folder(bare) / LAST, {"last": self.path.name})
        return self.path / version / wanted[0].name.split("/")[0]

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Wait until no other process fetches the same.

        Yields:
          Nothing.

        Raises:
          FireforgeError: CANNOT_WRITE.
        """
        make_folder(self.path)
        try:
            stream = open(self.path / ".lock", "w")  # noqa: SIM115 - closed below
        except OSError as error:
            raise cannot_write(self.path, error) from error
        with stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            yield


def version_of(wanted: list[Wanted]) -> str:
    """Name of the folder of a version, from what the sources say of its files; "" where they say too little."""
    versions = [[item.name, item.facts.version] for item in wanted]
    if not wanted or any(not version for _, version in versions):
        return ""
    return hashlib.sha256(json.dumps(versions).encode()).hexdigest()[:16]


@contextlib.contextmanager
def in_cache() -> Iterator[None]:
    """What is done within writes into the cache, and an error says which folder that goes by.

    Yields:
      Nothing.

    Raises:
      FireforgeError: CANNOT_WRITE.
    """
    try:
        yield
    except FireforgeError as error:
        if error.code == "CANNOT_WRITE":
            error = FireforgeError(error.code, error.what, where=error.where, do=ELSEWHERE, exit_code=error.exit_code)
        raise error from None


def _folder(digest: str) -> Path:
    home = Path(os.environ.get(CACHE) or Path.home() / ".cache")
    return home / "fireforge" / "data" / digest


def _last(path: Path) -> str:
    """Whose copy was fetched last; a name that no folder has where that is not written down."""
    try:
        found = read_json(path)
    except FireforgeError:
        return "none"
    last = found.get("last") if isinstance(found, dict) else None
    return last if isinstance(last, str) and DIGEST.fullmatch(last) else "none"


def _whole(shelf: Path) -> Path | None:
    """The data that was last fetched whole into a folder of the cache."""
    found = _known(shelf / KNOWN)
    if found is None:
        return None
    folder = shelf / str(found["version"])
    for name, size in found["files"].items():
        if not _is_whole(folder / name, size):
            return None
    first: str = next(iter(found["files"]))
    return folder / first.split("/")[0]


def _is_whole(path: Path, size: int) -> bool:
    try:
        return path.is_file() and path.stat().st_size == size
    except OSError:
        return False


def _known(path: Path) -> dict[str, Any] | None:
    """What was written down, if it is that."""
    try:
        found = read_json(path)
    except FireforgeError:
        return None
    if not isinstance(found, dict) or set(found) != {"url", "version", "files"}:
        return None
    good = isinstance(found["version"], str) and isinstance(found["files"], dict) and bool(found["files"])
    names = [found["version"], *(part for name in found["files"] for part in name.split("/"))] if good else [".."]
    return None if any(name in ("", ".", "..") for name in names) else found
