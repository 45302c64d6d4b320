# SPDX-License-Identifier: Apache-2.0
"""What a compression stage may train on, and for how long."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import nn

from fireforge.base.deadline import Deadline
from fireforge.base.progress import Progress
from fireforge.base.record import RunRecord
from fireforge.compress.stage import Finetune
from fireforge.jobs.folder import RunFolder
from fireforge.jobs.scene import Scene
from fireforge.train.feed import Batching, Pictures
from fireforge.train.finetune import Lesson, finetune, update_seconds
from fireforge.train.world import make_world

MOST = 400  # updates
LEAST = 20  # fewer change nothing for the better
BATCH = 64
TEACHER = 0.5  # of the loss; the rest is the labels'
SHARE = 0.5  # of what is left once the file's own time is put aside; the rest is for the answer


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """What a tuner works with.

    Args:
      scene: whose training part is trained on.
      run: where the number of updates is written before they are made.
      winner: its recipe says how pictures vary, its seed in which order they come.
      device: see `fireforge.train.world.make_world`.
      clock: what is left of the time.
      progress: receives updates.
    """

    scene: Scene
    run: RunFolder
    winner: RunRecord
    device: str
    clock: Deadline
    progress: Progress


def tuner(tuning: Tuning, *, reserve_s: float) -> Finetune:
    """The finetuning of a stage: as many updates as the time allows, within MOST.

    Args:
      tuning: what it works with.
      reserve_s: seconds that writing, verifying and measuring the file will take.

    Returns:
      A function for `fireforge.compress.stage.Context`.
    """

    def tune(student: nn.Module, teacher: nn.Module, *, lr: float) -> int:
        lesson = _lesson(tuning, lr)
        allowed_s = SHARE * (tuning.clock.left() - reserve_s)

        def updates() -> int:
            if allowed_s <= 0:
                return 0
            each_s = update_seconds(student.to(lesson.world.device), teacher.to(lesson.world.device), lesson)
            fitting = int(min(MOST, allowed_s / each_s))
            return fitting if fitting >= LEAST else 0

        number = tuning.run.choice("qat updates", updates, why="half of the time that is left, by four timed updates")
        if not number:
            return 0
        return finetune(student, teacher, lesson, updates=number, deadline=tuning.clock, progress=tuning.progress)

    return tune


def _lesson(tuning: Tuning, lr: float) -> Lesson:
    scene, trial = tuning.scene, tuning.winner.trial
    ids = scene.part("train")
    augment = trial.recipe.augment.replace(source_px=0, mixup=0.0)  # pictures lie in the size of the input here
    batching = Batching(
        batch=min(BATCH, trial.recipe.batch),
        classes=len(scene.dataset.labels),
        steps=scene.steps,
        augment=augment,
        seed=trial.seed + 1,
    )
    return Lesson(
        pictures=Pictures(pixels=np.asarray(scene.pixels["train"]), labels=scene.truth[ids], ids=ids),
        batching=batching,
        world=make_world(tuning.device),
        lr=lr,
        teacher=TEACHER,
    )
