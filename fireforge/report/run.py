# SPDX-License-Identifier: Apache-2.0
"""A run's record, sorted by what its entries are."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from fireforge.base.errors import FireforgeError
from fireforge.base.files import sha256_of_file
from fireforge.base.journal import Entry, Journal
from fireforge.base.record import RunRecord, StageReport
from fireforge.base.value import Json, sha256_of

RECORD = "record.jsonl"


@dataclass(frozen=True, kw_only=True)
class Run:
    """What a run folder's record says; what it does not say is empty or None.

    Args:
      folder: the run folder.
      sha256: of record.jsonl.
      start: command, data, budget, hardware, versions, seed and dataset; empty where the record lacks it.
      choices: made by a clock, in order.
      baselines: one a name.
      candidates: how many were counted and rejected.
      trials: one a digest, in order.
      stages: of compression, in order.
      exports: one a path.
      parities: one a model.
      evaluations: one a model.
      answer: the content of result.json; None where the run has not ended.
    """

    folder: Path
    sha256: str
    start: dict[str, Json] = field(default_factory=dict)
    choices: tuple[dict[str, Json], ...] = ()
    baselines: tuple[dict[str, Json], ...] = ()
    candidates: dict[str, Json] | None = None
    trials: tuple[RunRecord, ...] = ()
    stages: tuple[StageReport, ...] = ()
    exports: tuple[dict[str, Json], ...] = ()
    parities: tuple[dict[str, Json], ...] = ()
    evaluations: tuple[dict[str, Json], ...] = ()
    answer: dict[str, Json] | None = None

    def dataset(self) -> dict[str, Json]:
        """The data's description; empty where the record lacks it."""
        found = self.start.get("dataset")
        return found if isinstance(found, dict) else {}

    def varied(self) -> frozenset[str]:
        """Parameters in which the trials' networks differ; all of them where there is one network only."""
        specs = [trial.trial.spec for trial in self.trials]
        names = {name for spec in specs for name in spec.params}
        differ = {name for name in names if len({spec.params.get(name) for spec in specs}) > 1}
        return frozenset(differ or names)

    def chosen(self) -> RunRecord | None:
        """The last trial of the network that the answer names; None without an answer or such a trial."""
        spec = (self.answer or {}).get("spec")
        if not spec:
            return None
        digest = sha256_of(spec)
        return next((trial for trial in reversed(self.trials) if trial.trial.spec.digest() == digest), None)

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
      FireforgeError: NO_RUN, if the folder holds no record; BAD_RECORD or BAD_JSON, if it is damaged.
    """
    folder = Path(run_folder)
    path = folder / RECORD
    if not path.is_file():
        raise FireforgeError("NO_RUN", f"no {RECORD}", where=str(folder), do="the folder that a build wrote")
    entries = Journal(path).read()
    for entry in entries:
        if not isinstance(entry.value, dict):
            raise FireforgeError("BAD_RECORD", f"a {entry.type!r} entry that is no object", where=str(path))
    trials = {record.trial_digest: record for record in map(RunRecord.from_json, _of(entries, "trial"))}
    return Run(
        folder=folder,
        sha256=sha256_of_file(path),
        start=_last(entries, "start") or {},
        choices=tuple(_of(entries, "choice")),
        baselines=_unique(entries, "baseline", "name"),
        candidates=_last(entries, "candidates"),
        trials=tuple(trials.values()),
        stages=tuple(StageReport.from_json(value) for value in _unique(entries, "stage", "stage")),
        exports=_unique(entries, "export", "path"),
        parities=_unique(entries, "parity", "model"),
        evaluations=_unique(entries, "evaluation", "model"),
        answer=_last(entries, "answer"),
    )


def _of(entries: list[Entry], kind: str) -> list[dict[str, Json]]:
    return [entry.value for entry in entries if entry.type == kind]


def _last(entries: list[Entry], kind: str) -> dict[str, Json] | None:
    values = _of(entries, kind)
    return values[-1] if values else None


def _unique(entries: list[Entry], kind: str, key: str) -> tuple[dict[str, Json], ...]:
    return tuple({value.get(key): value for value in _of(entries, kind)}.values())
