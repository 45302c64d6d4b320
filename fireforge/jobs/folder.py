# SPDX-License-Identifier: Apache-2.0
"""A run's folder: its record, its laps, its choices, its lock, and where each file stands."""

from __future__ import annotations

import fcntl
import json
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path

from fireforge.base.answer import Answer
from fireforge.base.choice import Choice
from fireforge.base.errors import Exit, FireforgeError
from fireforge.base.files import cannot_write, make_folder, sweep
from fireforge.base.journal import Entry, Journal
from fireforge.base.record import RunRecord
from fireforge.base.value import Json, canonical_json
from fireforge.data.remote.address import file_name, is_address

LOCK = "lock"
TICK_S = 5.0  # seconds between two notes of the time used


class RunFolder:
    """One run on disk.

    A run has a lap for each answer: a longer time that is given after an answer begins another lap, which makes its
    choices anew and trains nothing that was trained before.

    Args:
      path: the folder; made when the run is entered (`with RunFolder(path) as run`), not before.
      replay: the run whose choices this one takes instead of making its own; None to make them.
    """

    def __init__(self, path: str | Path, *, replay: RunFolder | None = None) -> None:
        self.path = Path(path)
        self.journal = Journal(self.path / "record.jsonl")
        self._replay = replay
        self._handle = -1
        self._ticked = -TICK_S

    def entries(self) -> list[Entry]:
        """What the record holds since the run last began; what came before was asked otherwise and trained nothing."""
        entries = self.journal.read()
        begun = [place for place, entry in enumerate(entries) if entry.type == "start"]
        return entries[begun[-1] :] if begun else entries

    def laps(self) -> list[list[Entry]]:
        """The entries, cut at each longer time that was given after an answer; the last lap is the present one."""
        laps: list[list[Entry]] = [[]]
        for entry in self.entries():
            if entry.type == "longer" and any(before.type == "answer" for before in laps[-1]):
                laps.append([])
            laps[-1].append(entry)
        return laps

    def began_training(self) -> bool:
        """Whether there is a trained network, or a part of a training that can go on."""
        return bool(self.trials()) or any(self.path.glob("checkpoint/*/state-*.json"))

    def answered(self) -> Answer | None:
        """The answer of the present lap; None where it has not ended."""
        values = [entry.value for entry in self.laps()[-1] if entry.type == "answer"]
        return Answer.from_json(values[-1]) if values else None

    def answered_before(self) -> Answer | None:
        """The answer that the present lap must better; None in the first lap."""
        values = [entry.value for lap in self.laps()[:-1] for entry in lap if entry.type == "answer"]
        return Answer.from_json(values[-1]) if values else None

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
          make: measures and chooses; in a replay it is not called.
          why: in words, for the report.

        Returns:
          The choice of the present lap.

        Raises:
          FireforgeError: NO_CHOICE, if a replayed run did not make it.
        """
        made = self._choices()
        if name not in made:
            made[name] = _as_read(make()) if self._replay is None else self._replay._chosen(name)
            self.journal.append("choice", Choice(name=name, value=made[name], why=why).to_json())
        return made[name]

    def replayed(self) -> dict[str, RunRecord]:
        """Trials of the run that is replayed, by their digest: where each training was stopped; empty in other runs."""
        return {} if self._replay is None else self._replay.trials()

    def earlier(self) -> tuple[RunRecord, ...]:
        """What this search may start from: the run that was named as an earlier one, and the laps before this one.

        Returns:
          The newest winner first, then the others by falling accuracy on validation. Where a record names weights they
          lie in this folder and fit its network.
        """
        laps = self.laps()
        taken = self.entry("earlier")
        found = [RunRecord.from_json(trial) for trial in taken["trials"]] if taken else []
        own = [RunRecord.from_json(e.value) for lap in laps[:-1] for e in lap if e.type == "trial"]
        records = sorted((r for r in (*own, *found) if not r.error), key=lambda r: -(r.accuracy or 0.0))
        before = self.answered_before()
        first = [r for r in reversed(own) if before and r.trial.spec == before.spec][:1] or found[:1]
        return (*first, *(r for r in records if r not in first))

    def seconds_used(self) -> float:
        """Wall-clock seconds that earlier runs of this folder used, by their last "clock" entry; used time counts."""
        clock = self.entry("clock")
        return float(clock["used"]) if clock else 0.0

    def tick(self, used_s: float, *, now: bool = False) -> None:
        """Write how much time is used, so that it counts when the run is resumed.

        Args:
          used_s: seconds, those of earlier runs counted.
          now: write it even if the last note is fresh.
        """
        if now or used_s >= self._ticked + TICK_S:
            self._ticked = used_s
            self.journal.append("clock", {"used": round(used_s, 3)})

    def trials(self) -> dict[str, RunRecord]:
        """Finished trials by their digest."""
        records = [RunRecord.from_json(entry.value) for entry in self.entries() if entry.type == "trial"]
        return {record.trial_digest: record for record in records}

    def _choices(self) -> dict[str, Json]:
        """Name to value of the present lap."""
        made = [Choice.from_json(entry.value) for entry in self.laps()[-1] if entry.type == "choice"]
        return {choice.name: choice.value for choice in reversed(made)}

    def _chosen(self, name: str) -> Json:
        made = self._choices()
        if name not in made:
            what = f"the run did not choose {name!r}, so this build has no choice to take"
            raise FireforgeError("NO_CHOICE", what, where=str(self.path), do="a run of this version that has ended")
        return made[name]

    def __enter__(self) -> RunFolder:
        """Make the folder and take its lock, which the system gives back when this process ends, however it ends.

        What a killed process had half written is removed.
        """
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
        os.write(handle, f"{os.getpid()} on {platform.node()} since {time.strftime('%Y-%m-%d %H:%M')}".encode())
        self._handle = handle
        if self.journal.path.exists():  # a folder that was something else before is left alone
            for place in (self.path, self.path / "weights"):
                sweep(place)
        return self

    def __exit__(self, *_: object) -> None:
        """Give the lock back."""
        (self.path / LOCK).unlink(missing_ok=True)
        os.close(self._handle)


def check_place(path: Path) -> None:
    """Refuse a place where no run's folder can be, before anything is done; nothing is made.

    Args:
      path: of the folder, which may be there or not.

    Raises:
      FireforgeError: CANNOT_WRITE with exit code 3.
    """
    above = next(place for place in (path, *path.absolute().parents) if os.path.lexists(place))
    if not above.is_dir():
        what = "is a file, not a folder"
    elif not os.access(above, os.W_OK | os.X_OK):
        what = "the folder may not be written"
    else:
        return
    raise FireforgeError("CANNOT_WRITE", what, where=str(above), do="another --out", exit_code=Exit.ENVIRONMENT)


def default_folder(source: str) -> Path:
    """runs/<name> for a source: the last part of its path without suffix."""
    return Path("runs") / (Path(file_name(source) if is_address(source) else source).stem or "run")


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
