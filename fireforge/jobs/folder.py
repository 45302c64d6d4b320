# SPDX-License-Identifier: Apache-2.0
"""A run's folder: its record, its choices, its lock, and where each file stands."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable
from pathlib import Path

from fireforge.base.choice import Choice
from fireforge.base.errors import Exit, FireforgeError
from fireforge.base.files import cannot_write, make_folder
from fireforge.base.journal import Entry, Journal
from fireforge.base.record import RunRecord
from fireforge.base.value import Json, canonical_json

LOCK = "lock"
TICK_S = 10.0  # seconds between two notes of the time used


class RunFolder:
    """One run on disk.

    Args:
      path: the folder; made when the run is entered (`with RunFolder(path) as run`), not before.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.journal = Journal(self.path / "record.jsonl")
        self._handle = -1
        self._ticked = -TICK_S

    def entries(self) -> list[Entry]:
        """What the record holds since the run last began; what came before was asked otherwise and trained nothing."""
        entries = self.journal.read()
        begun = [place for place, entry in enumerate(entries) if entry.type == "start"]
        return entries[begun[-1] :] if begun else entries

    def entry(self, type: str) -> Json | None:
        """The newest entry of a type.

        Args:
          type: such as "start" or "answer".

        Returns:
          Its value, or None.
        """
        values = [entry.value for entry in self.entries() if entry.type == type]
        return values[-1] if values else None

    def once(self, type: str, make: Callable[[], Json]) -> Json:
        """The entry of a type, made and written only where it is absent.

        Args:
          type: of the entry.
          make: gives the value.

        Returns:
          The value that stands in the record.
        """
        found = self.entry(type)
        if found is None:
            found = _as_read(make())
            self.journal.append(type, found)
        return found

    def choice(self, name: str, make: Callable[[], Json], *, why: str) -> Json:
        """A choice that depends on a clock or a measurement: written before it is used, read again on resume.

        Args:
          name: of the choice.
          make: measures and chooses.
          why: in words, for the report.

        Returns:
          The choice.
        """
        choices = [Choice.from_json(entry.value) for entry in self.entries() if entry.type == "choice"]
        for choice in choices:
            if choice.name == name:
                return choice.value
        value = _as_read(make())
        self.journal.append("choice", Choice(name=name, value=value, why=why).to_json())
        return value

    def seconds_used(self) -> float:
        """Wall-clock seconds that earlier runs of this folder used, by their last "clock" entry; used time counts."""
        clock = self.entry("clock")
        return float(clock["used"]) if clock else 0.0

    def tick(self, used_s: float) -> None:
        """Write how much time is used, every ten seconds at most, so that it counts when the run is resumed."""
        if used_s >= self._ticked + TICK_S:
            self._ticked = used_s
            self.journal.append("clock", {"used": round(used_s, 3)})

    def trials(self) -> dict[str, RunRecord]:
        """Finished trials by their digest."""
        records = [RunRecord.from_json(entry.value) for entry in self.entries() if entry.type == "trial"]
        return {record.trial_digest: record for record in records}

    def __enter__(self) -> RunFolder:
        """Make the folder and take its lock, which the system gives back when this process ends, however it ends."""
        path = make_folder(self.path) / LOCK
        while True:
            handle = os.open(path, os.O_CREAT | os.O_RDWR)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                os.close(handle)
                raise _locked(path) from error
            except OSError as error:
                os.close(handle)
                raise cannot_write(path, error) from error
            if _is_file(path, handle):
                break
            os.close(handle)  # the one that had it removed the file meanwhile: take the new file's lock
        os.ftruncate(handle, 0)
        os.write(handle, str(os.getpid()).encode("ascii"))
        self._handle = handle
        return self

    def __exit__(self, *_: object) -> None:
        """Give the lock back."""
        (self.path / LOCK).unlink(missing_ok=True)
        os.close(self._handle)


def default_folder(source: str) -> Path:
    """runs/<name> for a source: the last part of its path without suffix."""
    return Path("runs") / (Path(source).stem or "run")


def _is_file(path: Path, handle: int) -> bool:
    """Whether the path still names the open file."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(handle))
    except FileNotFoundError:
        return False


def _locked(path: Path) -> FireforgeError:
    owner = path.read_text() if path.exists() else ""
    return FireforgeError(
        "RUN_LOCKED",
        f"another process ({owner or 'unknown'}) works in this folder",
        where=str(path.parent),
        do="wait for it, or another --out",
        exit_code=Exit.ENVIRONMENT,
    )


def _as_read(value: Json) -> Json:
    """The value as a later run will read it: tuples are lists there."""
    return json.loads(canonical_json(value))
