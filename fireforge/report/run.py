# SPDX-License-Identifier: Apache-2.0
"""A run's record, sorted by what its entries are."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from fireforge.base.answer import Answer
from fireforge.base.baseline import BaselineResult
from fireforge.base.calibration import Calibration
from fireforge.base.candidates import Candidates
from fireforge.base.choice import Choice
from fireforge.base.counted import Counted
from fireforge.base.datacard import DataCard
from fireforge.base.errors import FireforgeError
from fireforge.base.evaluation import Evaluation
from fireforge.base.exported import Exported
from fireforge.base.files import sha256_of_file
from fireforge.base.journal import Entry, Journal
from fireforge.base.parity import ParityReport
from fireforge.base.prediction import Foretold, Prediction
from fireforge.base.record import RunRecord, StageReport
from fireforge.base.spec import NetSpec
from fireforge.base.start import Start
from fireforge.base.value import Value
from fireforge.report.spent import Note, Spent, spent

RECORD = "record.jsonl"
T = TypeVar("T", bound=Value)


@dataclass(frozen=True, kw_only=True)
class Earlier(Value):
    """What a run took over from another one.

    Args:
      run: the other's folder.
      trials: its trials, the winner first.
    """

    run: str
    trials: tuple[RunRecord, ...]


@dataclass(frozen=True, kw_only=True)
class Longer(Value):
    """A longer time that a run was given.

    Args:
      seconds: in all.
      command: what was typed.
    """

    seconds: float
    command: str


@dataclass(frozen=True, kw_only=True)
class Run:
    """What a run folder's record says; what it does not say is empty or None.

    Args:
      folder: the run folder.
      sha256: of record.jsonl.
      start: how the run began; None where the record lacks it.
      choices: made by a clock, in order.
      baselines: one a name.
      candidates: how many were counted and rejected.
      counted: costs of the networks that could have been trained; None where the record lacks them.
      trials: one a digest, in order.
      earlier: what was taken over from another run; None for nothing.
      longer: longer times that the run was given, in order.
      calibration: temperature and threshold; None where the record lacks them.
      stages: of compression, one a name, in order.
      exports: one a path.
      parities: one a model.
      evaluations: one a model.
      predictions: what was foretold of the answer's file, one a name.
      foretold: latencies of networks before they were trained, beside those of their files.
      spent: where the time went.
      answer: the content of result.json; None where the run has not ended.
    """

    folder: Path
    sha256: str
    start: Start | None = None
    choices: tuple[Choice, ...] = ()
    baselines: tuple[BaselineResult, ...] = ()
    candidates: Candidates | None = None
    counted: Counted | None = None
    trials: tuple[RunRecord, ...] = ()
    earlier: Earlier | None = None
    longer: tuple[Longer, ...] = ()
    calibration: Calibration | None = None
    stages: tuple[StageReport, ...] = ()
    exports: tuple[Exported, ...] = ()
    parities: tuple[ParityReport, ...] = ()
    evaluations: tuple[Evaluation, ...] = ()
    predictions: tuple[Prediction, ...] = ()
    foretold: tuple[Foretold, ...] = ()
    spent: tuple[Spent, ...] = ()
    answer: Answer | None = None

    def dataset(self) -> DataCard | None:
        """The data's description; None where the record lacks it."""
        return self.start.dataset if self.start else None

    def judged(self) -> tuple[RunRecord, ...]:
        """Networks with an accuracy and a count: trials, and baselines that are networks."""
        records = (*self.trials, *(row.record for row in self.baselines if row.record is not None))
        return tuple(record for record in records if record.accuracy is not None and record.trial.cost is not None)

    def seconds_given(self) -> float | None:
        """The longest time that a build was given; None for no limit, or where the record does not say."""
        first = self.start.budget.seconds if self.start and self.start.budget else None
        return max((row.seconds for row in self.longer), default=first)

    def varied(self) -> frozenset[str]:
        """Parameters in which networks of one family differ, and all of a family that was tried with one network."""
        families: dict[str, list[NetSpec]] = {}
        for trial in self.judged() or self.trials:
            families.setdefault(trial.trial.spec.family, []).append(trial.trial.spec)
        found: set[str] = set()
        for specs in families.values():
            names = {name for spec in specs for name in spec.params}
            found |= {name for name in names if len({spec.params.get(name) for spec in specs}) > 1} or names
        return frozenset(found)

    def chosen(self) -> RunRecord | None:
        """The trial behind the answer, in older records the last one of its network; None without such a trial."""
        if self.answer is None:
            return None
        if self.answer.trial:
            return next((trial for trial in self.trials if trial.trial_digest == self.answer.trial), None)
        digest = self.answer.spec.digest()
        return next((trial for trial in reversed(self.trials) if trial.trial.spec.digest() == digest), None)

    def evaluation(self) -> Evaluation | None:
        """The evaluation of the answer's file; None without an answer or such an evaluation."""
        path = self.answer.model.path if self.answer else None
        return next((found for found in self.evaluations if found.model == path), None)

    def best(self) -> RunRecord | None:
        """The most accurate trial on the highest rung that has an accuracy; None without trials."""
        judged = [trial for trial in self.trials if trial.accuracy is not None]
        return max(judged, key=lambda trial: (trial.trial.rung, trial.accuracy), default=None)


def read_run(run_folder: str | Path) -> Run:
    """Read the record of a run, finished or not.

    Args:
      run_folder: holds record.jsonl.

    Returns:
      The evidence; where an entry came twice (a run that was resumed), the later one counts.

    Raises:
      FireforgeError: NO_RUN, if the folder holds no record; BAD_RECORD, if a line is damaged or is not what its type
        says.
    """
    folder = Path(run_folder)
    path = folder / RECORD
    if not path.is_file():
        raise FireforgeError("NO_RUN", f"no {RECORD}", where=str(folder), do="the folder that a build wrote")
    entries = Journal(path).read()
    values = _Values(path, entries)
    values.all("clock", Note)  # so that what `spent` reads is what it should be
    run = Run(
        folder=folder,
        sha256=sha256_of_file(path),
        start=values.last("start", Start),
        choices=values.all("choice", Choice),
        baselines=values.unique("baseline", BaselineResult, lambda value: value.name),
        candidates=values.last("candidates", Candidates),
        counted=values.last("counted", Counted),
        trials=values.unique("trial", RunRecord, lambda value: value.trial_digest),
        earlier=values.last("earlier", Earlier),
        longer=values.all("longer", Longer),
        calibration=values.last("calibration", Calibration),
        stages=values.unique("stage", StageReport, lambda value: value.stage),
        exports=values.unique("export", Exported, lambda value: value.path),
        parities=values.unique("parity", ParityReport, lambda value: value.model),
        evaluations=values.unique("evaluation", Evaluation, lambda value: value.model),
        predictions=values.unique("prediction", Prediction, lambda value: value.name),
        foretold=values.all("foretold", Foretold),
        answer=values.last("answer", Answer),
    )
    return dataclasses.replace(run, spent=spent(entries))


class _Values:
    """The entries of a record as values; one that is not what its type says is an error that names its line."""

    def __init__(self, path: Path, entries: list[Entry]) -> None:
        self._path, self._entries = path, entries

    def all(self, type: str, kind: type[T]) -> tuple[T, ...]:
        lines = [number for number, entry in enumerate(self._entries, 1) if entry.type == type]
        return tuple(self._value(number, kind) for number in lines)

    def last(self, type: str, kind: type[T]) -> T | None:
        return next(reversed(self.all(type, kind)), None)

    def unique(self, type: str, kind: type[T], key: Callable[[T], str]) -> tuple[T, ...]:
        return tuple({key(value): value for value in self.all(type, kind)}.values())

    def _value(self, number: int, kind: type[T]) -> T:
        entry = self._entries[number - 1]
        try:
            return kind.from_json(entry.value)
        except FireforgeError as error:
            where = f"{self._path} line {number} ({entry.type})"
            raise FireforgeError(
                "BAD_RECORD", f"{error.where}: {error.what}", where=where, allowed=error.allowed
            ) from error
