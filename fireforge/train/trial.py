# SPDX-License-Identifier: Apache-2.0
"""Run one trial: the same call in this process, in a child, or on a cluster."""

from __future__ import annotations

import contextlib
import math
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import torch

from fireforge.base.deadline import Deadline
from fireforge.base.errors import FireforgeError
from fireforge.base.files import make_folder
from fireforge.base.machine import this_machine, versions
from fireforge.base.preprocess import ImageSteps
from fireforge.base.progress import Progress, silent
from fireforge.base.record import RunRecord
from fireforge.base.trial import Trial
from fireforge.data.cache import PictureCache
from fireforge.nets.families import build_graph, fillers_of
from fireforge.nets.module import GraphModule, arrays_of, initialise, load_arrays
from fireforge.train.course import Course
from fireforge.train.feed import Batching, Pictures, Ready, Source, steps_per_epoch
from fireforge.train.loop import fit
from fireforge.train.stream import Streamed
from fireforge.train.task import Keeping, Task, Watch
from fireforge.train.weights import read_weights, write_weights
from fireforge.train.whitening import whiten
from fireforge.train.world import accelerator_name, make_world, with_threads

CHECKPOINT = "checkpoint"
VAL_SHARE = 0.1  # of the memory that a validation part may take beside streamed pictures
Reader = Callable[[Trial], Ready]  # takes a trial and gives the pictures that it is trained and judged on


def run_trial(
    trial: Trial,
    *,
    folder: str | Path,
    ready: Ready | Reader | None = None,
    device: str = "auto",
    progress: Progress = silent,
    deadline: Deadline | None = None,
    keep: bool = True,
    until: float = math.inf,
) -> RunRecord:
    """Train what a trial describes and write its weights.

    Args:
      trial: what to train, on what, how.
      folder: of the run; weights go to trials/<first 12 digits of the trial's digest>.safetensors, the training's
        state to checkpoint/<these digits>, where the same call takes it up; see `give_up_state`.
      ready: the trial's pictures where the caller has them at hand, or who gives them; None for `make_ready`.
      device: see `fireforge.train.world.make_world`.
      progress: receives one update an epoch.
      deadline: training stops after the batch in which it runs out, and not before the first; where it is halted, the
        state is kept and the training ends by a KeyboardInterrupt.
      keep: whether the state is written, and taken up where there is one.
      until: epochs after which training stops, where an earlier run of the same trial was stopped by its deadline.

    Returns:
      The record; its accuracy is that of the written weights on the validation part, its seconds["train"] count what
      was trained before an interruption too.

    Raises:
      FireforgeError: CANNOT_WRITE; NO_FILE, if the trial starts from weights that are not in the folder.
    """
    start = time.monotonic()
    world = make_world(device)
    pictures = ready if isinstance(ready, Ready) else (ready or make_ready)(trial)
    loaded = time.monotonic()
    with torch.random.fork_rng([]):  # torch's layers draw their first numbers from the caller's generator
        module = GraphModule(build_graph(trial.spec))
    initialise(module, trial.seed, fillers=fillers_of(trial.spec))
    if trial.recipe.whiten:
        whiten(module, pictures.train, batching_of(trial))
    if trial.start:
        load_arrays(module, read_weights(weights_path(folder, trial.start)))
    module.to(world.device)
    state, weights = _state_path(folder, trial.digest()), weights_path(folder, trial.digest())
    for place in (weights.parent, *([state] if keep else [])):
        make_folder(place)  # a place that cannot be written is found now, not after the training
    task = Task(recipe=trial.recipe, ready=pictures, batching=batching_of(trial), world=world)
    every = max(1, trial.recipe.epochs // 20)
    keeping = Keeping(folder=state if keep else None, owner=trial.digest())
    watch = Watch(progress=progress, deadline=deadline or Deadline(), judge_every=every, until=until)
    with contextlib.closing(pictures), with_threads(trial.threads, world):
        course = fit(module, task, keeping=keeping, watch=watch)
    sha256 = write_weights(weights, arrays_of(module))
    return RunRecord(
        trial=trial,
        trial_digest=trial.digest(),
        metrics=course.metrics,
        accuracy=course.metrics["val/accuracy"][-1] if len(pictures.val) else None,
        seconds={"data": loaded - start, "train": course.seconds, "finish": course.finish},
        stages=course.stages,
        workers=pictures.train.workers if isinstance(pictures.train, Streamed) else None,
        notes=tuple(pictures.train.deaths()) if isinstance(pictures.train, Streamed) else (),
        gradients=course.gradients,
        steps=_steps(course, pictures, task.batching),
        resumed=course.resumed,
        samples={"train": len(pictures.train), "val": len(pictures.val)},
        weights=str(weights.relative_to(folder)),
        weights_sha256=sha256,
        hardware=this_machine(accelerator=accelerator_name(world)),
        versions=versions(),
    )


def give_up_state(folder: str | Path, record: RunRecord) -> None:
    """Remove the state of a training that was trained whole, once its record is safe, and not before.

    Args:
      folder: of the run.
      record: as it was written; the state of a training that its deadline cut stays.
    """
    if record.metrics.get("train/epoch", (0.0,))[-1] == record.trial.recipe.epochs:
        shutil.rmtree(_state_path(folder, record.trial_digest), ignore_errors=True)


def _state_path(folder: str | Path, digest: str) -> Path:
    return Path(folder) / CHECKPOINT / digest[:12]


def _steps(course: Course, pictures: Ready, batching: Batching) -> dict[str, int]:
    """Updates that were taken and left out."""
    each = steps_per_epoch(len(pictures.train), batching)
    done = int(course.epochs) * each + (course.part.steps if course.part else 0)
    return {"taken": done - course.left_out, "left_out": course.left_out}


def weights_path(folder: str | Path, digest: str) -> Path:
    """Where a trial's weights stand.

    Args:
      folder: of the run.
      digest: of the trial.

    Returns:
      trials/<first 12 digits of the digest>.safetensors in it.
    """
    return Path(folder) / "trials" / f"{digest[:12]}.safetensors"


def lost_trial(trial: Trial, error: FireforgeError) -> RunRecord:
    """The record of a trial whose training diverged: no weights, no accuracy, the reason.

    Args:
      trial: what was asked.
      error: what ended it.

    Returns:
      A record that ranks below every other and is kept, so that the trial is not tried again.
    """
    return RunRecord(
        trial=trial,
        trial_digest=trial.digest(),
        metrics={},
        accuracy=None,
        seconds={},
        samples={},
        weights="",
        weights_sha256="",
        hardware=this_machine(),
        versions=versions(),
        error=error.line(),
    )


def make_ready(trial: Trial, *, cache: Path | None = None, workers: int = 0) -> Ready:
    """Read a trial's pictures.

    Args:
      trial: data, preprocess, parts and the variation's source size are used.
      cache: folder where pictures that were made ready before are read, and written for the next; None for none.
      workers: processes that decode, where the trial is streamed; none of its numbers depends on it.

    Returns:
      The training pictures (of all parts the trial trains on) and the validation pictures.

    Raises:
      FireforgeError: DATA_CHANGED, if the data is not what the trial was made for.
    """
    return ready_from(PictureCache(cache, trial.data), trial, workers=workers)


def ready_from(cache: PictureCache, trial: Trial, *, workers: int = 0) -> Ready:
    """A trial's pictures from a cache; see `make_ready`."""
    steps, judged = trial.preprocess.steps(), () if "val" in trial.parts else ("val",)
    if trial.streamed:
        train = Streamed(*cache.samples(trial.parts), steps, workers=workers)
        return Ready(train=train, val=_judged(cache, judged, steps, train), where=cache.where)
    kept = cache.pictures(trial.parts, kept_steps(steps, trial.recipe.augment.source_px))
    return Ready(train=Pictures(*kept), val=Pictures(*cache.pictures(judged, steps)), where=cache.where)


def _judged(cache: PictureCache, parts: tuple[str, ...], steps: ImageSteps, train: Streamed) -> Source:
    """The validation part beside streamed pictures: kept where there is room, since that changes none of its bits."""
    _, ids = cache.samples(parts)
    if len(ids) * math.prod((steps.channels, *steps.crop)) <= this_machine().memory_bytes * VAL_SHARE:
        return Pictures(*cache.pictures(parts, steps))
    return train.beside(ids)


def kept_steps(steps: ImageSteps, source_px: int) -> ImageSteps:
    """How a training picture is kept: as the network's input, or larger, so that crops can be taken from it."""
    return steps.replace(resize=source_px, crop=(source_px, source_px)) if source_px else steps


def batching_of(trial: Trial) -> Batching:
    """How a trial's pictures become training batches."""
    recipe = trial.recipe
    return Batching(
        batch=recipe.batch,
        classes=trial.spec.classes,
        steps=trial.preprocess.steps(),
        augment=recipe.augment,
        seed=trial.seed,
    )
