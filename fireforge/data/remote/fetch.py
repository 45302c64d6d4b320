# SPDX-License-Identifier: Apache-2.0
"""From a URL to a file or folder of this machine: fetched once, checked, and from then on only asked about."""

from __future__ import annotations

import concurrent.futures
import threading
from dataclasses import dataclass
from pathlib import Path

from fireforge.base.errors import Exit, FireforgeError
from fireforge.base.progress import Progress, Update, silent
from fireforge.data.braces import has_braces, spelt_out
from fireforge.data.remote.address import file_name, is_address, public, scheme_of
from fireforge.data.remote.filesystem import FsspecSource
from fireforge.data.remote.http import HttpSource
from fireforge.data.remote.shelf import Shelf, Wanted, in_cache, version_of
from fireforge.data.remote.source import NotReached, Source
from fireforge.data.remote.transfer import check_room, transfer

HTTP = ("http", "https")
AT_ONCE = 8  # files of a folder
MOST_FILES = 1_000_000
OFFLINE = "URL_OFFLINE"  # note: the copy of an earlier time is used, since the source could not be asked
SHARDS = "shards"  # name of the folder of what a URL with braces stands for
UNKNOWN = "unknown"  # name of the version of a source that tells nothing of its files


@dataclass(frozen=True, kw_only=True)
class Fetched:
    """The data of a URL on this machine.

    Args:
      path: of the file or folder.
      shown: the URL without anything secret.
      notes: codes: URL_OFFLINE.
    """

    path: Path
    shown: str
    notes: tuple[str, ...] = ()


def fetch(url: str, *, progress: Progress = silent) -> Fetched:
    """The data of a URL, fetched if this machine has no copy of its present version.

    A URL may have braces, train-{000..003}.tar, and then is a folder of several files. Where the source cannot be
    asked, an earlier copy serves.

    Args:
      url: of a file, or of a folder where its file system lists folders.
      progress: told how many MB are there.

    Returns:
      Where it is.

    Raises:
      FireforgeError: NO_DATA (exit 3 where nothing answers), NO_PACKAGE, DATA_CHANGED, CANNOT_WRITE or BAD_LAYOUT.
    """
    if "::" in url or not is_address(url):
        do = "the URL of the file alone; archives are recognised"
        raise FireforgeError("NO_DATA", "not one URL", where=public(url), do=do)
    shelf = Shelf(url)
    try:
        source: Source = HttpSource() if scheme_of(url) in HTTP else FsspecSource(url)
        wanted = _wanted(url, source)
    except NotReached as error:
        kept = shelf.earlier() if error.is_passing or error.status in (401, 403) else None
        if kept is None:
            raise _no_data(error, url) from None
        progress(Update(stage="fetch", note=f"{error.what}; the copy of an earlier time is used"))
        return Fetched(path=kept, shown=public(url), notes=(OFFLINE,))
    version = version_of(wanted)
    kept = shelf.holds(version)
    if kept is None:
        with in_cache(), shelf.alone():
            kept = shelf.holds(version)  # another process may have fetched it in the meantime
            kept = kept or _bring(shelf, source, wanted, progress)
    return Fetched(path=kept, shown=public(url))


def _wanted(url: str, source: Source) -> list[Wanted]:
    """The files that a URL stands for, with what is known of each; those of a folder lie in one of its name."""
    path, mark, query = url.partition("?")
    if has_braces(path):
        urls = [f"{each}{mark}{query}" for each in spelt_out(path)]
        with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
            facts = list(pool.map(source.facts, urls))
        names = [file_name(each) for each in urls]
        if len(set(names)) < len(names):
            raise FireforgeError("BAD_LAYOUT", "several files of one name", where=public(url))
        return [Wanted(url=each, name=f"{SHARDS}/{name}", facts=own) for each, name, own in zip(urls, names, facts)]
    listed = source.listing(url)
    if listed is None:
        return [Wanted(url=url, name=file_name(url), facts=source.facts(url))]
    if not listed or len(listed) > MOST_FILES:
        what = f"a folder of {len(listed):,} files" if listed else "an empty folder"
        raise FireforgeError("NO_DATA", what, where=public(url), allowed=f"1 to {MOST_FILES:,} files")
    for _, name, _ in listed:
        if any(part in ("", ".", "..") for part in name.split("/")) or "\\" in name or not name.isprintable():
            raise FireforgeError("NO_DATA", f"a file called {name[:100]!a}", where=public(url), allowed="plain names")
    return [Wanted(url=each, name=f"{file_name(url)}/{name}", facts=facts) for each, name, facts in listed]


def _bring(shelf: Shelf, source: Source, wanted: list[Wanted], progress: Progress) -> Path:
    """Fetch every file; those of a folder several at once."""
    version = version_of(wanted) or UNKNOWN
    folder = shelf.path / version
    check_room(folder, wanted)
    tell = _Teller(progress, sum(max(0, item.facts.size) for item in wanted))
    work = [(source, item, folder / item.name) for item in wanted]
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE if len(work) > 1 else 1) as pool:
        done = [pool.submit(transfer, each, item, path, tell=tell) for each, item, path in work]
        try:
            for future in done:
                future.result()
        except NotReached as error:
            raise _no_data(error, shelf.url) from None
        finally:
            tell.stop = True  # of a failure or Ctrl-C: those that still run end with their next piece
            pool.shutdown(wait=False, cancel_futures=True)
    return shelf.keep(version, wanted)


class _Teller:
    """Tells how many bytes of all files are there; safe for several threads."""

    def __init__(self, progress: Progress, total: int) -> None:
        self._progress = progress
        self._total = total
        self._done = 0
        self._lock = threading.Lock()
        self.stop = False

    def __call__(self, count: int) -> None:
        if self.stop:
            raise concurrent.futures.CancelledError
        with self._lock:
            self._done += count
            done, total = round(self._done / 1e6, 2), round(self._total / 1e6, 2)
            note = "" if total else f"{done:.1f} MB"
            self._progress(Update(stage="fetch", done=min(done, total), total=total, unit="MB", note=note))


def _no_data(error: NotReached, url: str) -> FireforgeError:
    do = "the same command again, which goes on" if error.is_passing else ""
    if error.is_passing:
        return FireforgeError("NO_DATA", error.what, where=public(url), do=do, exit_code=Exit.ENVIRONMENT)
    return FireforgeError("NO_DATA", error.what, where=public(url))
