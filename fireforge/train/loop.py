# SPDX-License-Identifier: Apache-2.0
"""The training loop: one visible epoch of visible steps."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import time
from collections.abc import Iterator, Mapping

import torch
from torch import nn

from fireforge.base.errors import FireforgeError
from fireforge.base.progress import Update
from fireforge.base.rng import key_of
from fireforge.train.course import Course, Part
from fireforge.train.evaluate import judge, logits_of
from fireforge.train.feed import batches, ids_of, steps_per_epoch
from fireforge.train.gradients import due, looking
from fireforge.train.guard import Place
from fireforge.train.keeper import Keeper
from fireforge.train.kernels import making
from fireforge.train.layout import sound
from fireforge.train.norms import refresh_norms
from fireforge.train.schedule import learning_rate
from fireforge.train.step import Step, Tools, gradient_norm, make_tools, train_step
from fireforge.train.task import Keeping, Task, Watch

TOLD_S = 1.0  # between two words of progress within an epoch
NORMS_SHARE = 8  # one in so many pictures that were trained on are seen once more for the norms' statistics ...
NORMS_LEAST, NORMS_MOST = 512, 4096  # ... and at least and at most so many


def fit(module: nn.Module, task: Task, *, keeping: Keeping, watch: Watch) -> Course:
    """Train a module and leave the weights to use in it: averaged where the recipe averages, with their own statistics.

    Args:
      module: on the world's device; changed in place.
      task: what to do.
      keeping: states on disk; one of the same owner is taken up.
      watch: progress and deadline; a training that the deadline cuts is finished and judged like a whole one.

    Returns:
      How far it came. Its metrics are "train/loss", "train/accuracy", "lr" and "train/epoch", one number an epoch, and
      "val/loss", "val/accuracy" and "val/epoch", one each time the validation part was judged. Where the last epoch
      was cut, its numbers are those of the part that was trained.

    Raises:
      FireforgeError: DIVERGED, if a loss is not finite, or too many gradients one after the other.
      KeyboardInterrupt: where it was halted; its state is on disk.
    """
    start, epochs = time.monotonic(), task.recipe.epochs
    task = dataclasses.replace(task, recipe=sound(task.recipe, module, task.world.device))
    tools = make_tools(module, task.recipe, task.world.device)
    keeper = Keeper(keeping, tools, start)
    course = keeper.resume(watch.progress)
    tools.clock.lap("prepare")
    tools.clock.add(course.stages)
    while course.epochs < epochs:
        with _seeded(task.world.device):
            course = train_epoch(task, course, tools=tools, keeper=keeper, watch=watch)
        whole = course.part is None
        over = watch.over(course.epochs) or course.epochs == epochs
        if whole and course.epochs < epochs and len(task.ready.val) and course.epochs % watch.judge_every == 0:
            tools.clock.start()
            state = tools.ema.state if tools.ema is not None else None
            course = course.told(_judge_val(module, task, epoch=course.epochs, state=state))
            tools.clock.lap("evaluate")
        if whole:  # within an epoch it is the epoch that keeps
            keeper.keep(course, now=over or watch.deadline.halted())
        if watch.deadline.halted():
            raise KeyboardInterrupt
        if over:
            break
        watch.progress(_told(course, epochs))
    course = keeper.timed(course)
    trained = time.monotonic()
    course = _finish(module, task, tools=tools, course=course)
    watch.progress(_told(course, epochs))
    return dataclasses.replace(course, finish=time.monotonic() - trained)


def train_epoch(task: Task, course: Course, *, tools: Tools, keeper: Keeper, watch: Watch) -> Course:
    """One pass over the training pictures: what is left of it, and no more than the time allows.

    Args:
      task: what to do.
      course: how far the training came.
      tools: what steps are done with; the module is changed in place.
      keeper: writes a state when it is due.
      watch: no batch begins when it is over, but the first.

    Returns:
      The course behind it, with means over the samples seen: "train/loss", "train/accuracy" (against the most likely
      target), the last "lr", and "train/epoch". It has a part where this epoch was cut.

    Raises:
      FireforgeError: DIVERGED, see `fireforge.train.guard`.
      KeyboardInterrupt: where it was halted within the epoch; its state is on disk, or where data workers were stopped
        an earlier one.
    """
    tools.module.train()
    epoch, part, recipe = int(course.epochs), course.part or Part(), task.recipe
    per_epoch = steps_per_epoch(len(task.ready.train), task.batching)
    sums = torch.tensor([part.loss, part.right], device=task.world.device)
    rate, told, over = part.rate, time.monotonic(), False
    tools.clock.halted = watch.deadline.halted
    tools.clock.start()
    train = batches(task.ready.train, task.batching, epoch=epoch, world=task.world, clock=tools.clock, first=part.steps)
    for batch in train:
        _seed(task.batching.seed, epoch, part.steps, task.world.device)
        rate = learning_rate(recipe, epoch * per_epoch + part.steps, per_epoch)
        with making(recipe), looking(tools, due(course, recipe, step=part.steps, per_epoch=per_epoch)) as look:
            step = train_step(look.tools, batch, rate=rate, recipe=recipe)
        _count(step, task, tools=tools, epoch=epoch, steps=part.steps, rate=rate)
        sums += torch.stack([step.loss * len(batch[0]), step.right])
        course = look.into(course) if step.taken else course
        if step.taken and tools.ema is not None:
            tools.ema.update(tools.module)
        tools.clock.lap("update")
        part = dataclasses.replace(part, steps=part.steps + 1, seen=part.seen + len(batch[0]), rate=rate)
        done, halted = epoch + part.steps / per_epoch, watch.deadline.halted()
        over = watch.over(done)
        if part.steps < per_epoch and (over or halted or keeper.due()):
            part = part.of(sums)
            keeper.keep(dataclasses.replace(course, part=part), now=True)
            if halted:
                raise KeyboardInterrupt
        if over:
            break
        if time.monotonic() - told >= TOLD_S:
            told = time.monotonic()
            watch.progress(Update(stage="train", done=round(done, 2), total=recipe.epochs, unit="epoch"))
    part = part.of(sums)
    done = epoch + part.steps / per_epoch
    means = {"train/loss": part.loss / part.seen, "train/accuracy": part.right / part.seen}
    cut = part if part.steps < per_epoch else None
    return dataclasses.replace(course, epochs=done, part=cut).told({**means, "lr": rate, "train/epoch": done})


def _count(step: Step, task: Task, *, tools: Tools, epoch: int, steps: int, rate: float) -> None:
    """Tell the guard of a step."""
    if step.taken:
        return tools.guard.good()
    ids = ids_of(task.ready.train, task.batching, epoch=epoch, step=steps)
    names = [task.ready.where(int(i)) for i in ids]
    place = Place(step=steps + 1, epoch=epoch + 1, rate=rate, names=names)
    searching = tools.scaler.is_enabled() and tools.scaler.get_scale() > 1
    return tools.guard.bad(float(step.whole), gradient_norm(tools.optimizer), place, searching=searching)


def _finish(module: nn.Module, task: Task, *, tools: Tools, course: Course) -> Course:
    """Leave the weights to use in the module and judge them; a look at the same epoch before gives way to this one."""
    if tools.ema is not None:
        module.load_state_dict(tools.ema.state)
    most = min(NORMS_MOST, max(NORMS_LEAST, int(course.epochs * len(task.ready.train)) // NORMS_SHARE))
    refresh_norms(module, task.ready.train, task.batching, world=task.world, most=most)
    if not len(task.ready.val):
        return course
    metrics = course.metrics
    if metrics.get("val/epoch", [0.0])[-1] == course.epochs:
        metrics = {name: numbers[: -1 if name.startswith("val/") else None] for name, numbers in metrics.items()}
    found = _judge_val(module, task, epoch=course.epochs, state=None)
    return dataclasses.replace(course, metrics=metrics).told(found)


def _judge_val(
    module: nn.Module, task: Task, *, epoch: float, state: Mapping[str, torch.Tensor] | None
) -> dict[str, float]:
    logits = logits_of(module, task.ready.val, task.batching, world=task.world, state=state)
    found = judge(logits, task.ready.val.labels)
    if not math.isfinite(found["loss"]):
        what = f"the loss on the validation part is {found['loss']} after epoch {epoch:g}"
        raise FireforgeError("DIVERGED", what, do="a lower learning rate")
    return {**{f"val/{name}": value for name, value in found.items()}, "val/epoch": epoch}


@contextlib.contextmanager
def _seeded(device: torch.device) -> Iterator[None]:
    """What is seeded within leaves the caller's generators as they were."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        yield


def _seed(seed: int, epoch: int, step: int, device: torch.device) -> None:
    """Dropout depends on (seed, epoch, step), wherever in an epoch a training goes on."""
    key = key_of(seed, epoch, step) >> 1
    torch.default_generator.manual_seed(key)
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(key)


def _told(course: Course, epochs: int) -> Update:
    """Where the training stands after an epoch, with the epoch's numbers."""
    metrics = course.metrics
    note = f"loss {metrics['train/loss'][-1]:.3f}"
    judged = metrics.get("val/epoch", [0.0])[-1] == metrics["train/epoch"][-1]
    note = f"{note}, val {metrics['val/accuracy'][-1]:.1%}" if judged else note
    kept = {name: values for name, values in metrics.items() if not name.endswith("/epoch")}
    last = {name: values[-1] for name, values in kept.items() if judged or not name.startswith("val/")}
    return Update(stage="train", done=course.epochs, total=epochs, unit="epoch", note=note, numbers=last)
