# SPDX-License-Identifier: Apache-2.0
"""The baseline that is a small standard ConvNet: trained in this process, judged as the file that it would be."""

from __future__ import annotations

import math
import tempfile
from dataclasses import dataclass

import numpy as np

from fireforge.base.baseline import BaselineResult
from fireforge.base.deadline import Deadline
from fireforge.base.errors import FireforgeError
from fireforge.base.model import Model
from fireforge.base.pixels import normalize
from fireforge.base.record import RunRecord
from fireforge.base.trial import Recipe, Trial
from fireforge.base.value import Json, Value
from fireforge.baseline.lesson import Fitted, Lesson
from fireforge.baseline.pace import pays_for, too_little
from fireforge.baseline.result import examine, left_out
from fireforge.baseline.sample import stratified
from fireforge.compress.fold import folded
from fireforge.cost.count import count
from fireforge.export.targets import pack
from fireforge.jobs.deliver import model_of
from fireforge.jobs.folder import RunFolder
from fireforge.jobs.scene import Scene
from fireforge.nets.convnet import small_convnet
from fireforge.nets.families import build_graph
from fireforge.runtime.onnx_runtime import OnnxSession
from fireforge.train.feed import Pictures, Ready
from fireforge.train.trial import run_trial

NET = "convnet"
WEIGHT = 0.42  # of the time, beside the other baselines
RUNG = -2  # no rung of the search
EPOCHS = (3, 40)  # where fewer are affordable it learns from a sample; more are not trained
LEAST_SEEN = 1_000  # pictures, each counted as often as it is seen, below which it is not worth training
PROBE = (32, 256)  # pictures of a first training that does not count, and of the one that does
SAFETY = 0.6  # of the time left that the training should take by the measured rate
ANSWER_SHARE = 0.3  # of the seconds of a trained picture that an answered one takes, at most
BATCH, LR = 32, 0.1  # plain SGD, pictures as they are
CHUNK = 256  # pictures answered at once
WHY = "what its part of the time pays for, by the rate of a short training"


@dataclass(frozen=True, kw_only=True)
class Plan(Value):
    """What the clock decided for the network.

    Args:
      pictures: that it learns from; 0 where it is left out.
      epochs: passes over them.
      why: it is left out, or learns from so few.
    """

    pictures: int
    epochs: int
    why: str


@dataclass(frozen=True, kw_only=True)
class Given:
    """The time that a network is given.

    Args:
      seconds: in all.
      left_s: seconds that are left after measuring.
      a_picture_s: seconds that one picture of an epoch takes.
    """

    seconds: float
    left_s: float
    a_picture_s: float


def plan_for(given: Given, lesson: Lesson, *, asked: int) -> Plan:
    """As many epochs as the time pays for; where these are fewer than three, three on a sample.

    Args:
      given: the time.
      lesson: the training part.
      asked: pictures that are answered in the same time.

    Returns:
      The plan; no pictures where the time does not pay for what is worth training.
    """
    left_s = SAFETY * given.left_s - ANSWER_SHARE * given.a_picture_s * asked
    seen, total = max(0, int(left_s / given.a_picture_s)), len(lesson)
    least = max(LEAST_SEEN, EPOCHS[0] * lesson.classes)
    if seen < least:
        need_s = (least + ANSWER_SHARE * asked) * given.a_picture_s / SAFETY
        return Plan(pictures=0, epochs=0, why=too_little(need_s, given.seconds, given.left_s))
    if seen >= EPOCHS[0] * total:
        return Plan(pictures=total, epochs=min(EPOCHS[1], seen // total), why="")
    return Plan(pictures=seen // EPOCHS[0], epochs=EPOCHS[0], why=pays_for(given.seconds))


class NetBaseline:
    """A small standard ConvNet on one run's data.

    Args:
      run: its trials folder gets the weights.
      scene: the data.
      lesson: the training part.
      exam: the pictures that are asked about.
      device: see `fireforge.train.world.make_world`.
    """

    def __init__(self, run: RunFolder, scene: Scene, lesson: Lesson, exam: Lesson, *, device: str) -> None:
        self._run, self._scene, self._lesson, self._exam, self._device = run, scene, lesson, exam, device

    def result(self, clock: Deadline) -> tuple[BaselineResult, Fitted | None]:
        """Plan, train, pack, answer.

        Args:
          clock: its part of the time.

        Returns:
          The result with the training's record, and what answers; None for that where it was left out, because the time
          is too short or the loss is not finite.
        """
        plan = Plan.from_json(self._run.choice(f"baseline {NET}", lambda: self._plan(clock), why=WHY))
        if not plan.pictures:
            return left_out(NET, plan.why), None
        trial = self._trial(epochs=plan.epochs)
        ready = self._ready(plan.pictures)
        try:
            record = run_trial(trial, folder=self._run.path, ready=ready, device=self._device, keep=False)
        except FireforgeError as error:
            if error.code != "DIVERGED":
                raise
            return left_out(NET, error.line()), None
        return self._judged(record, plan)

    def _judged(self, record: RunRecord, plan: Plan) -> tuple[BaselineResult, Fitted]:
        """Accuracy and bytes of the network as a file."""
        model = folded(model_of(self._scene, record, self._run.path))[0]
        result, fitted = examine(NET, lambda _: self._fitted(model), self._lesson.first(plan.pictures), self._exam)
        made = (
            f"{plan.epochs} epochs, {record.trial.spec.family} of {count(model.graph).params:,} parameters in float32"
        )
        result = result.replace(
            seconds=result.seconds + record.seconds["train"],
            notes=(*filter(None, (plan.why,)), made),
            record=record.replace(accuracy=result.accuracy),
        )
        return result, fitted

    def _fitted(self, model: Model) -> Fitted:
        data = pack(model)
        session = OnnxSession(data)
        name, output = session.inputs[0].name, model.card.postprocess.outputs[0]

        def answer(pictures: np.ndarray) -> np.ndarray:
            parts = [
                session.run({name: normalize(pictures[i : i + CHUNK], self._scene.steps)})[output].argmax(axis=1)
                for i in range(0, len(pictures), CHUNK)
            ]
            return np.concatenate(parts)

        return Fitted(answer=answer, bytes=len(data))

    def _plan(self, clock: Deadline) -> Json:
        """As many epochs as the time pays for; below the fewest, a sample."""
        seconds = clock.left()
        if not np.isfinite(seconds):
            return Plan(pictures=len(self._lesson), epochs=EPOCHS[1], why="").to_json()
        a_picture_s = self._probe(clock) if seconds else math.inf
        if clock.over():
            why = f"too little time: its {seconds:.2g} s ended before it was measured"
            return Plan(pictures=0, epochs=0, why=why).to_json()
        given = Given(seconds=seconds, left_s=clock.left(), a_picture_s=a_picture_s)
        return plan_for(given, self._lesson, asked=len(self._exam)).to_json()

    def _probe(self, clock: Deadline) -> float:
        """Seconds of one picture in one epoch, by a short training in a folder that is thrown away."""
        trial = self._trial(epochs=1)
        with tempfile.TemporaryDirectory() as folder:
            for pictures in PROBE:
                record = run_trial(
                    trial,
                    folder=folder,
                    ready=self._ready(pictures),
                    device=self._device,
                    deadline=clock,
                    keep=False,
                )
        return record.seconds["train"] / (record.samples["train"] * record.metrics["train/epoch"][-1])

    def _trial(self, *, epochs: int) -> Trial:
        spec = small_convnet(self._lesson.classes, input_shape=self._scene.input_shape)
        recipe = Recipe(epochs=epochs, batch=BATCH, lr=LR, warmup_epochs=min(1.0, epochs / 5))
        return Trial(
            spec=spec,
            recipe=recipe,
            data=self._scene.ref,
            preprocess=self._scene.preprocess,
            seed=self._lesson.seed,
            rung=RUNG,
            cost=count(build_graph(spec)),
        )

    def _ready(self, pictures: int) -> Ready:
        """A stratified sample to learn from; nothing is judged while it trains."""
        rows = stratified(self._lesson.labels, pictures, seed=self._lesson.seed)
        ids = self._scene.part("train")[rows]
        train = Pictures(pixels=self._lesson.pixels[rows], labels=self._lesson.labels[rows], ids=ids)
        none = np.arange(0)
        return Ready(train=train, val=Pictures(pixels=self._exam.pixels[none], labels=none, ids=none))
