# SPDX-License-Identifier: Apache-2.0
"""Runs that a build goes back to: one whose winner and trials it starts from, one whose choices it takes again."""

from __future__ import annotations

from collections.abc import Sequence

from fireforge.base.answer import Answer
from fireforge.base.budget import Budget
from fireforge.base.errors import FireforgeError
from fireforge.base.files import make_folder, read_bytes, sha256_of_file, write_bytes
from fireforge.base.record import RunRecord
from fireforge.base.settings import Wish
from fireforge.base.spec import NetSpec
from fireforge.base.start import Start
from fireforge.jobs.folder import RunFolder
from fireforge.jobs.scene import Scene
from fireforge.space.halving import winner_of


def open_past(path: str) -> RunFolder:
    """A run that was built before.

    Args:
      path: its folder.

    Returns:
      The run, not entered.

    Raises:
      FireforgeError: NO_RUN, if it has no record of a build with a trial.
    """
    run = RunFolder(path)
    start = run.entry("start")
    if start is None or Start.from_json(start).budget is None or not run.trials():
        raise FireforgeError("NO_RUN", "no build with a trained network", where=path, allowed="the folder of a build")
    return run


def as_replayed(past: RunFolder, budget: Budget, wish: Wish) -> tuple[Budget, Wish]:
    """What a replay is asked for: all that the run was, with nothing that it was not.

    Args:
      past: the run.
      budget: as given; no limits stand for those of the run.
      wish: as given; defaults stand for those of the run.

    Returns:
      Budget and wish of the run; the device as given.

    Raises:
      FireforgeError: OTHER_RUN, if something was given that the run was not asked; NO_CHOICE, if the run has no answer
        or went on after one.
    """
    start = Start.from_json(past.entry("start"))
    was = (start.wish or Wish(seed=start.seed)).replace(device=wish.device, replay=wish.replay)
    limits = (start.budget or Budget()).replace(seconds=None)
    given = budget.replace(seconds=None)
    if given not in (Budget(), limits) or wish not in (Wish(device=wish.device, replay=wish.replay), was):
        what = "other limits, seed, image size or earlier run than the run that is replayed"
        raise FireforgeError("OTHER_RUN", what, where=str(past.path), do="--replay without them")
    if past.answered() is None or past.answered_before() is not None:
        what = "has not ended" if past.answered() is None else "went on with a longer time after its answer"
        raise FireforgeError("NO_CHOICE", f"the run {what}", where=str(past.path), allowed="a run of one answer")
    return limits, was


def same_data(past: RunFolder, scene: Scene) -> None:
    """Refuse to replay a run on other data than it saw.

    Args:
      past: the run that is replayed.
      scene: of the new one.

    Raises:
      FireforgeError: OTHER_RUN.
    """
    was = Start.from_json(past.entry("start")).data
    if was.sha256 != scene.ref.sha256:
        what = f"the run that is replayed saw other data ({was.source})"
        raise FireforgeError("OTHER_RUN", what, where=str(past.path), do="its data, or no --replay")


def take_over(past: RunFolder, run: RunFolder, scene: Scene) -> None:
    """Write the trials of a run into the record of a new one, its winner first, with the weights that may be used.

    Weights are taken only where data, seed and parts are the same. Trials whose network cannot take the new data,
    because they see another number of channels, are left out.

    Args:
      past: the run.
      run: the new one; weights stand in it under the names that they had.
      scene: of the new run.

    Raises:
      FireforgeError: NO_RUN, if no trial is left; BAD_WEIGHTS, if weights are not those of the record.
    """
    kept = [_adapted(record, scene) for record in _winner_first(past) if _fits(record, scene)]
    if not kept:
        what = f"no network for pictures of {scene.input_shape[0]} channels"
        raise FireforgeError("NO_RUN", what, where=str(past.path))
    trials = [_with_weights(record, past, run).to_json() for record in kept]
    run.journal.append("earlier", {"run": str(past.path), "trials": trials})


def _winner_first(past: RunFolder) -> Sequence[RunRecord]:
    records = [record for record in past.trials().values() if not record.error]
    answer = past.entry("answer")
    spec = Answer.from_json(answer).spec if answer else None
    own = [record for record in records if record.trial.spec == spec]
    first = own[-1] if own else winner_of(records or list(past.trials().values()))
    rest = sorted((r for r in records if r is not first), key=lambda r: -(r.accuracy or 0.0))
    return (first, *rest)


def _fits(record: RunRecord, scene: Scene) -> bool:
    return record.trial.spec.input_shape[0] == scene.input_shape[0]


def _adapted(record: RunRecord, scene: Scene) -> RunRecord:
    """The record with the number of classes of the new data, and without weights unless the parts are the same.

    Weights that were trained on other parts have seen pictures that validate and test now; its network starts afresh.
    """
    spec: NetSpec = record.trial.spec
    classes = len(scene.dataset.labels)
    if spec.classes == classes and record.trial.data.replace(source="") == scene.ref.replace(source=""):
        return record
    return record.replace(trial=record.trial.replace(spec=spec.replace(classes=classes)), weights="", weights_sha256="")


def _with_weights(record: RunRecord, past: RunFolder, run: RunFolder) -> RunRecord:
    if not record.weights:
        return record
    source = past.path / record.weights
    if not source.is_file():
        return record.replace(weights="", weights_sha256="")
    if sha256_of_file(source) != record.weights_sha256:
        raise FireforgeError("BAD_WEIGHTS", "not the weights of the record", where=str(source))
    make_folder((run.path / record.weights).parent)
    write_bytes(run.path / record.weights, read_bytes(source))
    return record
