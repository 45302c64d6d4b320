# SPDX-License-Identifier: Apache-2.0
"""A run's folder: its record, its choices, its lock, and where each file stands."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

from fireforge.base.errors import Exit, FireforgeError
from fireforge.base.files import make_folder
from fireforge.base.journal import Journal
from fireforge.base.record import RunRecord
from fireforge.base.value import Json

LOCK = "lock"


class RunFolder:
    """One run on disk.

    Args:
      path: the folder; made when the run is entered (`with RunFolder(path) as run`), not before.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.journal = Journal(self.path / "record.jsonl")

    def entry(self, type: str) -> Json | None:
        """The newest entry of a type.

        Args:
          type: such as "start" or "answer".

        Returns:
          Its value, or None.
        """
        values = [entry.value for entry in self.journal.read() if entry.type == type]
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
            found = make()
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
        for entry in self.journal.read():
            if entry.type == "choice" and entry.value["name"] == name:
                return entry.value["value"]
        value = make()
        self.journal.append("choice", {"name": name, "value": value, "why": why})
        return value

    def seconds_used(self) -> float:
        """Seconds that finished trials of earlier runs in this folder took; used time counts."""
        return sum(sum(record.seconds.values()) for record in self.trials().values())

    def trials(self) -> dict[str, RunRecord]:
        """Finished trials by their digest."""
        records = [RunRecord.from_json(entry.value) for entry in self.journal.read() if entry.type == "trial"]
        return {record.trial_digest: record for record in records}

    def __enter__(self) -> RunFolder:
        """Make the folder and take its lock; a lock whose process is gone is taken over."""
        path = make_folder(self.path) / LOCK
        while True:
            try:
                handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
            except FileExistsError:
                _refuse_if_alive(path)
                path.unlink(missing_ok=True)
                continue
            with os.fdopen(handle, "w") as stream:
                stream.write(f"{os.getpid()} {socket.gethostname()}")
            return self

    def __exit__(self, *_: object) -> None:
        """Give the lock back."""
        (self.path / LOCK).unlink(missing_ok=True)


def default_folder(source: str) -> Path:
    """runs/<name> for a source: the last part of its path without suffix."""
    return Path("runs") / (Path(source).stem or "run")


def _refuse_if_alive(path: Path) -> None:
    words = path.read_text().split() if path.exists() else []
    if len(words) != 2 or words[1] != socket.gethostname() or not words[0].isdigit():
        return
    try:
        os.kill(int(words[0]), 0)
    except OSError:
        return
    raise FireforgeError(
        "RUN_LOCKED",
        f"another process ({words[0]}) works in this folder",
        where=str(path.parent),
        do="wait for it, or another --out",
        exit_code=Exit.ENVIRONMENT,
    )
