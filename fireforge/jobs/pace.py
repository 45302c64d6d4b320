# SPDX-License-Identifier: Apache-2.0
"""How fast candidates train on this machine: measured by short trainings, then by the trials that ran."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from fireforge.base.cost import Cost
from fireforge.base.deadline import Deadline
from fireforge.base.errors import FireforgeError
from fireforge.base.machine import this_machine
from fireforge.base.record import RunRecord
from fireforge.base.spec import NetSpec
from fireforge.base.trial import Recipe, Trial
from fireforge.base.value import Json
from fireforge.cost.count import count
from fireforge.jobs.crew import Crew, Orders
from fireforge.jobs.folder import RunFolder
from fireforge.nets.families import build_graph
from fireforge.space.survey import Candidate
from fireforge.train.kernels import compilable

WARM_UP = 32  # pictures of the first probe, which does not count
PROBE = (64, 512)  # fewest and most pictures of one that does ...
PROBE_SHARE = 0.005  # ... and the share of the time left that it may take
PROBE_SEED = 2**31  # one that no trial has
MANNERS = (
    ("float32", "contiguous"),
    ("float32", "channels_last"),
    ("bfloat16", "channels_last"),
    ("float16", "channels_last"),
)
PLAIN: Json = {"precision": "float32", "layout": "contiguous"}
# MACs in whose time one activation is computed, normalized, kept and read again, and one pixel of the input is varied:
# least squares over the trials of a search on photographs (AMD EPYC, one thread, bfloat16; MobileNet float32)
ACTIVATION = {"firenet": 70, "resnet": 280, "mobilenet": 4_000}
PLAIN_ACTIVATION = 280
PIXEL = 3_000
LEAST_RATIO = 0.3  # of the nearest network's time that a lighter one takes at least
TOGETHER = 0.25  # a winner that trains longer is worth more than a second network beside it
TYPICAL = 4e9  # work that one core of 2020 does in a second
FASTER = 1.05  # another manner must gain so much ...
COMPILED_FASTER = 1.1  # ... and compiled kernels so much, since some seconds go before they are there
COMPILED_PROBE = (2, 42)  # batches of the two trainings that tell a compiled step's time from what comes before it ...
FEWEST_COMPILED = 5  # ... of which the longer one must have so many times as many


@dataclass(frozen=True, kw_only=True)
class Rate:
    """What a short training told.

    Args:
      spec: digest of the network.
      family: of the network.
      work: of one training picture, see `work_of`.
      seconds: for one training picture, on one worker.
    """

    spec: str
    family: str
    work: float
    seconds: float


def work_of(spec: NetSpec, cost: Cost) -> float:
    """What a training picture takes, in MACs: those of the network, and what moving its numbers costs beside them.

    Args:
      spec: its family and its input's size are used.
      cost: counted.

    Returns:
      MACs; good for ratios within one family.
    """
    height, width = spec.input_shape[1:]
    return cost.macs + ACTIVATION.get(spec.family, PLAIN_ACTIVATION) * cost.activations + PIXEL * height * width


class Pace:
    """Seconds of a training picture, for the candidates of one search.

    Args:
      run: whose finished trials tell more than a probe.
      clock: the time of the search.
      crew: that trains.
      orders: cache and folder of its orders.
    """

    def __init__(self, run: RunFolder, clock: Deadline, crew: Crew, orders: Orders) -> None:
        self._run, self._clock, self._crew, self._orders = run, clock, crew, orders
        self._middling: list[Trial] = []
        self._probed: list[Rate] = []
        self._read: tuple[int, list[Rate]] = (-1, [])  # length of the record, and what it told then

    def manners(self, trials: Iterable[Trial]) -> dict[str, Json]:
        """The fastest precision and layout of each family, by a short training of each.

        Args:
          trials: one of a middling network of each family.

        Returns:
          Family to the fields of Recipe that differ.
        """
        chosen = {}
        self._middling = list(trials)
        for trial in self._middling:
            family = trial.spec.family
            name, why = f"manner of {family}", "the fastest in a short training of a middling network"
            chosen[family] = self._run.choice(name, lambda trial=trial: self._manner(trial), why=why)  # type: ignore[misc]
        return chosen

    def seconds(self, candidate: Candidate) -> float:
        """For one training picture on one worker: as it was measured, or from the nearest of its family.

        Args:
          candidate: any.

        Returns:
          Seconds.
        """
        rates = self._told() or self._probed
        if not rates:  # the manners were chosen in an earlier run of this folder
            for trial in self._middling:
                self._manner(trial)
            rates = self._probed
        if not rates:  # the time was over before anything could be measured
            return work_of(candidate.spec, candidate.cost) / TYPICAL
        spec, work = candidate.spec, work_of(candidate.spec, candidate.cost)
        own, family = spec.digest(), spec.family

        def distance(rate: Rate) -> tuple[bool, bool, float]:
            return rate.spec != own, rate.family != family, abs(math.log(work / rate.work))

        nearest = min(reversed(rates), key=distance)
        return nearest.seconds * max(LEAST_RATIO, work / nearest.work)

    def speedup(self, trial: Trial) -> float:
        """How many times faster one training is with all cores than with one while the others train too.

        Args:
          trial: the network that would train.

        Returns:
          The ratio of times; 1 where there is one worker alone, or where it gains less than TOGETHER of what it could.
        """
        if self._crew.size < 2:
            return 1.0
        pictures = 4 * self._pictures(trial)
        with_all = trial.replace(threads=self._crew.size)
        alone = fmean(self._short([trial.replace(threads=1)] * self._crew.size, pictures))
        self._short([with_all], WARM_UP)
        together = fmean(self._short([with_all], pictures)[0] for _ in range(2))  # while the other workers rest
        return alone / together if alone / together > 1 + (self._crew.size - 1) * TOGETHER else 1.0

    def compiled_gain(self, trial: Trial, *, samples: int) -> float:
        """How many times faster a training is with compiled kernels, once these are there.

        Making them takes some ten seconds, so a short training of few batches goes first and counts for nothing; two
        more, of few and of many batches, tell what a step takes apart from loading the kernels.

        Args:
          trial: the network that would train, in the manner and on the threads that it would have.
          samples: pictures that there are.

        Returns:
          The ratio of times; 1 where this machine has no compiler, where the network cannot be compiled or diverges
          when it is, where pictures or time do not suffice for a trial, or where it gains less than COMPILED_FASTER.
        """
        most = samples // trial.recipe.batch
        few, many = (min(number, most) * trial.recipe.batch for number in COMPILED_PROBE)
        if not compilable(on_cpu=self._crew.on_cpu) or many < FEWEST_COMPILED * few:
            return 1.0
        compiled = trial.replace(recipe=trial.recipe.replace(compile=True))
        try:
            self._short([compiled], few)
            a_picture_s = [self._short([compiled], pictures)[0] for pictures in (few, many)]
        except FireforgeError as error:
            if error.code not in ("NOT_COMPILED", "ALL_DIVERGED"):
                raise
            return 1.0
        self._short([trial], WARM_UP)
        steps_s = many * a_picture_s[1] - few * a_picture_s[0]
        gain = self._short([trial], many)[0] * (many - few) / max(steps_s, 1e-9)
        return gain if gain > COMPILED_FASTER and not self._clock.over() else 1.0

    def _told(self) -> list[Rate]:
        """Of the trials in the record, which is read again only when it has grown."""
        path = self._run.journal.path
        length = path.stat().st_size if path.exists() else 0
        if self._read[0] != length:
            self._read = (length, [_rate_of(record) for record in self._run.trials().values() if _tells(record)])
        return self._read[1]

    def _manner(self, trial: Trial) -> Json:
        """Try each manner, as many at a time as there are workers, and remember the fastest one's rate.

        Where the time is over nothing is tried: what is left to do shall not wait for probes.
        """
        if self._clock.over():
            return PLAIN
        manners = [manner for manner in MANNERS if knows(manner[0], on_cpu=self._crew.on_cpu)]
        trials = [trial.replace(recipe=_in_manner(trial.recipe, *manner)) for manner in manners]
        self._short([trials[0]] * self._crew.size, WARM_UP)
        seconds = self._short(trials, self._pictures(trial))
        best = int(np.argmin(seconds))
        best = best if seconds[best] * FASTER < seconds[0] else 0
        self._probed.append(_rate(trial, seconds[best]))
        return {"precision": manners[best][0], "layout": manners[best][1]}

    def _pictures(self, trial: Trial) -> int:
        """Pictures of a probe, by how long the first few take."""
        each_s = self._short([trial], WARM_UP)[0]
        left_s = self._clock.left() if math.isfinite(self._clock.seconds) else math.inf
        return int(np.clip(left_s * PROBE_SHARE / max(each_s, 1e-9), *PROBE))

    def _short(self, trials: Sequence[Trial], pictures: int) -> list[float]:
        """Seconds a picture of one epoch on few pictures, in the order of the trials; nothing is kept."""
        distinct = [
            trial.replace(
                seed=PROBE_SEED + place, pictures=pictures, val_pictures=1, recipe=trial.recipe.replace(epochs=1)
            )
            for place, trial in enumerate(trials)
        ]
        orders = Orders(
            trials=distinct, folder=self._orders.folder, cache=self._orders.cache, deadline=self._clock, keep=False
        )
        found: dict[str, float] = {}
        lost = ""
        for record in self._crew.run(orders):
            if not isinstance(record, RunRecord):
                continue
            if record.error:
                lost = record.error
                continue
            (self._run.path / record.weights).unlink(missing_ok=True)
            found[record.trial_digest] = _seconds_a_picture(record)
        if lost and not found:
            raise FireforgeError("ALL_DIVERGED", "not even a short training went well", where=lost)
        worst = max(found.values(), default=0.1)  # of what diverged, and of what the deadline kept from beginning
        return [found.get(trial.digest(), worst) for trial in distinct]


def knows(precision: str, *, on_cpu: bool) -> bool:
    """Whether the device multiplies such numbers itself; elsewhere they are emulated and not worth a try.

    Args:
      precision: of a Recipe.
      on_cpu: whether the device is this machine's processor.

    Returns:
      Whether it is worth a try.
    """
    if precision == "float16":
        return not on_cpu
    return precision != "bfloat16" or not on_cpu or any("bf16" in name for name in this_machine().instructions)


def _in_manner(recipe: Recipe, precision: str, layout: str) -> Recipe:
    return Recipe.from_json({**recipe.to_json(), "precision": precision, "layout": layout})


def _tells(record: RunRecord) -> bool:
    usual = record.trial.threads == 1 and not record.trial.recipe.compile
    return not record.error and usual and record.metrics["train/epoch"][-1] > 0


def _rate_of(record: RunRecord) -> Rate:
    return _rate(record.trial, _seconds_a_picture(record))


def _rate(trial: Trial, seconds: float) -> Rate:
    cost = trial.cost or count(build_graph(trial.spec))
    return Rate(
        spec=trial.spec.digest(), family=trial.spec.family, work=max(1.0, work_of(trial.spec, cost)), seconds=seconds
    )


def _seconds_a_picture(record: RunRecord) -> float:
    pictures = max(1.0, record.samples["train"] * record.metrics["train/epoch"][-1])  # a cut epoch counts its part
    return record.seconds["train"] / pictures
