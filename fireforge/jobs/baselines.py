# SPDX-License-Identifier: Apache-2.0
"""The baselines of a build: what a network must beat, each within its part of the time, judged on validation."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fireforge.base.answer import Answer
from fireforge.base.baseline import BaselineResult
from fireforge.base.budget import Budget, judge
from fireforge.base.deadline import Deadline
from fireforge.base.pixels import Picture, to_pixels
from fireforge.base.progress import Progress, Update
from fireforge.base.value import Value
from fireforge.baseline.baselines import BASELINES
from fireforge.baseline.lesson import Fitted, Lesson
from fireforge.baseline.method import Method
from fireforge.baseline.pace import affordable
from fireforge.baseline.result import examine, left_out, memory_of, one_answer_ms
from fireforge.baseline.sample import sample_words
from fireforge.baseline.scikit import one_thread, warm_up
from fireforge.jobs.convnet import NET, WEIGHT, NetBaseline
from fireforge.jobs.folder import RunFolder
from fireforge.jobs.scene import Scene, encoded
from fireforge.runtime.pictures import as_array

MOST_ASKED = 5_000  # validation pictures that are asked about
SHOWN = 16  # pictures that the latency is measured with
WEIGHTS = {**{name: method.weight for name, method in BASELINES.items()}, NET: WEIGHT}
WHY = "how many training pictures its part of the time pays for, by the rate of small samples"


def run_baselines(
    run: RunFolder, scene: Scene, *, seconds: float, seed: int, device: str, progress: Progress
) -> list[BaselineResult]:
    """Run every baseline that the record does not hold yet; each is written as a "baseline" entry when it is done.

    The time is shared out by weight; what one leaves the others get. How many pictures a baseline learns from is a
    choice of the run, so that a run that goes on or is replayed measures nothing. Where the time does not pay for a
    baseline's least sample, its entry says that it was left out and why.

    Args:
      run: whose record is read and written; its trials folder gets the network's weights.
      scene: the data; its training part is learned from, its validation part is asked about.
      seconds: for all baselines together, what earlier runs of this folder spent on them included.
      seed: of samples and of everything else that is drawn.
      device: where the network trains; see `fireforge.train.world.make_world`.
      progress: receives one update a baseline.

    Returns:
      The seven results, also those of earlier runs, in the order of WEIGHTS.
    """
    entries = [BaselineResult.from_json(entry.value) for entry in run.entries() if entry.type == "baseline"]
    done = {result.name: result for result in entries}
    missing = [name for name in WEIGHTS if name not in done]
    work = _Work(run, scene, seed=seed, device=device)
    clock = Deadline(seconds - sum(result.seconds for result in entries))
    if missing:
        warm_up()
    for place, name in enumerate(missing):
        progress(Update(stage="baselines", done=len(done), total=len(WEIGHTS), unit="baselines", note=name))
        weight = WEIGHTS[name]
        share = weight / sum(WEIGHTS[later] for later in missing[place:]) if weight else 0.0
        with one_thread():
            result = work.result(name, clock.part(share))
        run.journal.append("baseline", result.to_json())
        done[name] = result
        progress(Update(stage="baselines", done=len(done), total=len(WEIGHTS), unit="baselines", note=_told(result)))
    return [done[name] for name in WEIGHTS]


def baseline_answer(results: Sequence[BaselineResult], answer: Answer, budget: Budget) -> BaselineResult | None:
    """The baseline that makes the network needless: all limits met, at no less accuracy on the validation part.

    Args:
      results: of `run_baselines`.
      answer: the network's.
      budget: the limits; accuracy is held against the validation part, and what was not measured is not met.

    Returns:
      The most accurate one, of equally accurate ones the smallest; None where there is none, or where the network's
      accuracy on the validation part is not known.
    """
    own = answer.on_validation()
    if own is None:
        return None
    good = [
        result
        for result in results
        if not result.left_out
        and result.accuracy >= own
        and all(verdict.met for verdict in judge(budget, result.figures(), {}))
    ]
    return max(good, key=lambda result: (result.accuracy, -result.bytes), default=None)


@dataclass(frozen=True, kw_only=True)
class Sample(Value):
    """What the clock decided for one baseline.

    Args:
      pictures: that it learns from; 0 where it is left out.
      why: it is left out, or learns from so few.
    """

    pictures: int
    why: str


class _Work:
    """What the baselines of one run share: the data, the questions, the pictures that latency is measured with."""

    def __init__(self, run: RunFolder, scene: Scene, *, seed: int, device: str) -> None:
        self._run, self._scene = run, scene
        classes = len(scene.dataset.labels)
        self._lesson, self._all = (
            Lesson(pixels=scene.pixels[part], labels=scene.truth[scene.part(part)], classes=classes, seed=seed)
            for part in ("train", "val")
        )
        self._exam = self._all.first(MOST_ASKED)
        self._net = NetBaseline(run, scene, self._lesson, self._exam, device=device)

    def result(self, name: str, clock: Deadline) -> BaselineResult:
        """One baseline, or the entry that says why it was left out."""
        result, fitted = self._net.result(clock) if name == NET else self._method(BASELINES[name], clock)
        if fitted is None:
            return result
        notes = [sample_words(result.trained_on, len(self._lesson), kind="training", seed=self._lesson.seed)]
        if len(self._exam) < len(self._all):
            notes.append(sample_words(len(self._exam), len(self._all), kind="validation", seed=self._lesson.seed))
        return result.replace(
            latency_ms=self._latency_ms(fitted.answer),
            memory_bytes=None if name == NET else memory_of(fitted, self._exam.pixels),
            notes=(*notes, *result.notes),
        )

    def _method(self, method: Method, clock: Deadline) -> tuple[BaselineResult, Fitted | None]:
        sample = Sample(pictures=len(self._lesson), why="")
        if method.weight:
            made = self._run.choice(f"baseline {method.name}", lambda: self._sample(method, clock).to_json(), why=WHY)
            sample = Sample.from_json(made)
        if not sample.pictures:
            return left_out(method.name, sample.why), None
        result, fitted = examine(method.name, method.learn, self._lesson.first(sample.pictures), self._exam)
        return result.replace(notes=(*filter(None, (sample.why,)), *result.notes)), fitted

    def _sample(self, method: Method, clock: Deadline) -> Sample:
        pictures, why = affordable(method, self._lesson, self._exam, seconds=clock.left())
        return Sample(pictures=pictures, why=why)

    def _latency_ms(self, answer: Callable[..., object]) -> float:
        """From a decoded picture to a class, as a network's latency is measured."""
        steps = self._scene.steps
        return one_answer_ms(lambda picture: answer(to_pixels(picture, steps)[None]), self._shown)

    @functools.cached_property
    def _shown(self) -> list[Picture]:
        ids = self._scene.part("val")[:SHOWN]
        return [as_array(encoded(self._scene.dataset, int(i))) for i in ids]


def _told(result: BaselineResult) -> str:
    if result.left_out:
        return f"{result.name}: left out, {result.left_out}"
    return f"{result.name}: {result.accuracy:.1%} on validation"
