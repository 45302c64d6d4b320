# SPDX-License-Identifier: Apache-2.0
"""The manner of one training: as it was asked for, or chosen by a short measured trial that is written down first."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import get_args

from fireforge.base.errors import FireforgeError, lookup
from fireforge.base.graph import Graph
from fireforge.base.machine import usable_cores
from fireforge.base.settings import Manner
from fireforge.base.trial import Layout, Precision, Recipe, Trial
from fireforge.base.value import Json
from fireforge.jobs.folder import RunFolder
from fireforge.jobs.pace import COMPILED_FASTER, FASTER, MANNERS, knows
from fireforge.train.feed import steps_per_epoch
from fireforge.train.kernels import compilable
from fireforge.train.rehearsal import step_seconds
from fireforge.train.trial import batching_of
from fireforge.train.world import make_world

SHARE = 0.05  # of the training's expected time that trials may take
TIMED = (2, 10)  # fewest and most steps of a trial that count; one more goes before
COMPILED_S = 600.0  # a training that is to take so long is worth the time in which kernels are made


def manner_of(
    precision: str | None, layout: str | None, *, threads: int | None, compile: bool | None, tune: bool
) -> Manner:
    """What was asked for, checked.

    Args:
      precision: a name of Recipe's; None where nothing was said, as below.
      layout: likewise.
      threads: of a CPU.
      compile: whether kernels are made.
      tune: whether the rest is chosen by measurement.

    Returns:
      The manner.

    Raises:
      FireforgeError: UNKNOWN_NAME, if there is no such precision or layout; BAD_USAGE for more threads than cores.
    """
    for name, known, what in ((precision, Precision, "precision"), (layout, Layout, "layout")):
        if name is not None:
            lookup(dict.fromkeys(get_args(known)), name, what)
    if threads is not None and threads > usable_cores():
        raise FireforgeError("BAD_USAGE", f"--threads {threads}", allowed=f"1 to {usable_cores()}, the usable cores")
    asked = {"precision": precision, "layout": layout, "threads": threads, "compile": compile, "tune": tune}
    return Manner.from_json(asked)


def in_manner(run: RunFolder, trial: Trial, manner: Manner, *, pictures: int, graph: Graph, device: str) -> Trial:
    """The trial in the manner that it is trained in.

    Args:
      run: keeps the choice, so that a resume repeats it.
      trial: in the recipe's manner.
      manner: what was asked for; where it says so, the rest is chosen by measurement.
      pictures: of the training part.
      graph: of the network.
      device: see `fireforge.train.world.make_world`.

    Returns:
      The trial with precision, layout, kernels and threads.
    """
    trial = _asked(trial, manner)
    if not manner.tune:
        return trial
    steps = trial.recipe.epochs * steps_per_epoch(pictures, batching_of(trial))
    why = "the fastest in a trial of some steps, in a twentieth of the training's time"
    found = run.choice("manner", lambda: _fastest(_Trials(trial, graph, device, steps), manner), why=why)
    recipe = {name: found[name] for name in ("precision", "layout", "compile")}
    return trial.replace(recipe=_with(trial.recipe, **recipe), threads=found["threads"])


def _asked(trial: Trial, manner: Manner) -> Trial:
    """With what was asked for in the place of what the recipe says."""
    asked = {name: value for name, value in manner.to_json().items() if value is not None}
    recipe = {name: asked[name] for name in ("precision", "layout", "compile") if name in asked}
    return trial.replace(recipe=_with(trial.recipe, **recipe), threads=asked.get("threads", trial.threads))


def _with(recipe: Recipe, **changes: Json) -> Recipe:
    return Recipe.from_json({**recipe.to_json(), **changes})


class _Trials:
    """Short trainings on numbers that mean nothing, within a share of what the training is to take.

    Args:
      trial: whose recipe and threads are the start.
      graph: of its network.
      device: where.
      steps: of the whole training.
    """

    def __init__(self, trial: Trial, graph: Graph, device: str, steps: int) -> None:
        self.trial, self.on_cpu = trial, make_world(device).device.type == "cpu"
        self._graph, self._device = graph, device
        self._begun = time.monotonic()
        self.step_s = self._measured(trial, TIMED[0])
        self._steps = steps

    def whole_s(self) -> float:
        """What the training would take as it stands."""
        return self._steps * self.step_s

    def take(self, trial: Trial, *, gain: float = FASTER) -> None:
        """Try a manner where the time allows it, and go on with it where it is so many times as fast.

        Args:
          trial: in that manner.
          gain: that it must have.
        """
        left_s = SHARE * self.whole_s() - (time.monotonic() - self._begun)
        timed = min(TIMED[1], int(left_s / self.step_s / len(MANNERS)) - 1)
        if timed < TIMED[0]:
            return
        try:
            step_s = self._measured(trial, timed)
        except FireforgeError as error:
            if error.code != "NOT_COMPILED":
                raise
            return
        if step_s * gain < self.step_s:
            self.trial, self.step_s = trial, step_s

    def _measured(self, trial: Trial, timed: int) -> float:
        """Seconds of the fastest of some steps; one goes before."""
        return step_seconds(self._graph, trial.recipe, threads=trial.threads, device=self._device, timed=timed)


def _fastest(trials: _Trials, manner: Manner) -> Json:
    """Precision and layout first, then threads, then compiled kernels where the training is long."""
    for precision, layout in _free(manner, on_cpu=trials.on_cpu):
        recipe = trials.trial.recipe
        if (precision, layout) != (recipe.precision, recipe.layout):
            trials.take(trials.trial.replace(recipe=_with(recipe, precision=precision, layout=layout)))
    cores = usable_cores()
    if manner.threads is None and trials.on_cpu and cores > 1:
        trials.take(trials.trial.replace(threads=cores))
    worth = trials.whole_s() >= COMPILED_S and compilable(on_cpu=trials.on_cpu)
    if manner.compile is None and worth:
        compiled = trials.trial.replace(recipe=trials.trial.recipe.replace(compile=True))
        trials.take(compiled, gain=COMPILED_FASTER)
    chosen = trials.trial
    fields = {name: getattr(chosen.recipe, name) for name in ("precision", "layout", "compile")}
    return {**fields, "threads": chosen.threads}


def _free(manner: Manner, *, on_cpu: bool) -> Iterator[tuple[str, str]]:
    """Precisions and layouts that are not fixed and that the device knows."""
    for precision, layout in MANNERS:
        fixed = manner.precision not in (None, precision) or manner.layout not in (None, layout)
        if not fixed and knows(precision, on_cpu=on_cpu):
            yield precision, layout
