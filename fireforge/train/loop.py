# SPDX-License-Identifier: Apache-2.0
"""The training loop: one visible step, one visible epoch."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from fireforge.base.deadline import Deadline
from fireforge.base.errors import FireforgeError
from fireforge.base.progress import Progress, Update, silent
from fireforge.base.rng import key_of
from fireforge.base.trial import Recipe
from fireforge.train.checkpoint import Course, load_checkpoint, save_checkpoint
from fireforge.train.ema import Ema
from fireforge.train.evaluate import judge, logits_of
from fireforge.train.feed import Batching, Ready, batches, steps_per_epoch
from fireforge.train.gradients import GradientLooks
from fireforge.train.kernels import Forward, forward_of, making
from fireforge.train.layout import layout_of, sound
from fireforge.train.norms import refresh_norms
from fireforge.train.optimizer import make_optimizer
from fireforge.train.schedule import learning_rate
from fireforge.train.stopwatch import Stopwatch
from fireforge.train.world import World

TOLD_S = 1.0  # between two words of progress within an epoch
HEADS_SHARE = 0.3  # of each auxiliary head's loss in the sum that is trained (Szegedy et al. 2014, section 5)
NORMS_SHARE = 8  # one in so many pictures that were trained on are seen once more for the norms' statistics ...
NORMS_LEAST, NORMS_MOST = 512, 4096  # ... and at least and at most so many


@dataclass(frozen=True, kw_only=True)
class Task:
    """What a training does.

    Args:
      recipe: how.
      ready: on what.
      batching: how pictures become batches.
      world: where.
    """

    recipe: Recipe
    ready: Ready
    batching: Batching
    world: World


@dataclass(frozen=True, kw_only=True)
class Keeping:
    """Where a training keeps its state.

    Args:
      folder: of the checkpoint; None keeps none.
      owner: digest of what is trained.
      every: epochs between two states.
    """

    folder: Path | None = None
    owner: str = ""
    every: int = 1


@dataclass(frozen=True, kw_only=True)
class Watch:
    """Who watches a training and when it must stop.

    Args:
      progress: receives an update an epoch, and one a second within it.
      deadline: the training stops after the batch in which it runs out.
      judge_every: epochs between two looks at the validation part; the last epoch is always judged.
      until: epochs after which the training stops like one that the deadline cuts, such as 3.25; infinity for none.
    """

    progress: Progress = silent
    deadline: Deadline
    judge_every: int = 1
    until: float = math.inf

    def over(self, epochs: float) -> bool:
        """Whether a training that has come so far must stop."""
        return self.deadline.over() or epochs >= self.until


@dataclass(frozen=True, kw_only=True)
class Tools:
    """What an epoch is done with.

    Args:
      forward: the module, or its compiled form.
      optimizer: of the module's parameters.
      ema: the average that follows, or None.
      clock: is told what each stage takes.
      gradients: looks at those of some steps.
    """

    forward: Forward
    optimizer: torch.optim.Optimizer
    ema: Ema | None
    clock: Stopwatch
    gradients: GradientLooks


def fit(module: nn.Module, task: Task, *, keeping: Keeping, watch: Watch) -> Course:
    """Train a module and leave the weights to use in it: averaged where the recipe averages, with their own statistics.

    Args:
      module: on the world's device; changed in place.
      task: what to do.
      keeping: checkpoints; a state of the same owner is taken up.
      watch: progress and deadline; a training that the deadline cuts is finished and judged like a whole one.

    Returns:
      How far it came. Its metrics are "train/loss", "train/accuracy", "lr" and "train/epoch", one number an epoch, and
      "val/loss", "val/accuracy" and "val/epoch", one each time the validation part was judged. Where the last epoch
      was cut, its numbers are those of the part that was trained.

    Raises:
      FireforgeError: DIVERGED, if the loss is not finite.
    """
    start, epochs = time.monotonic(), task.recipe.epochs
    clock = Stopwatch(task.world.device)
    task = dataclasses.replace(task, recipe=sound(task.recipe, module, task.world.device))
    module.to(memory_format=layout_of(task.recipe))  # type: ignore[call-overload]  # torch's stubs leave it out
    optimizer = make_optimizer(module, task.recipe)
    ema = Ema(module, task.recipe.ema) if task.recipe.ema else None
    forward = forward_of(module, task.recipe)
    parts = {"module": module, "optimizer": optimizer, "ema": ema}
    course = Course()
    if keeping.folder is not None:
        course = load_checkpoint(keeping.folder, owner=keeping.owner, parts=parts, progress=watch.progress)
    start -= course.seconds
    clock.lap("prepare")
    clock.add(course.stages)
    per_epoch = steps_per_epoch(len(task.ready.train), task.batching)
    gradients = GradientLooks(module, epochs=epochs, per_epoch=per_epoch, found=course.gradients)
    for epoch in range(int(course.epochs), epochs):
        with _seeded(task.batching.seed, epoch, task.world.device):
            tools = Tools(forward=forward, optimizer=optimizer, ema=ema, clock=clock, gradients=gradients)
            found = train_epoch(module, task, epoch=epoch, tools=tools, watch=watch)
        done = found["train/epoch"]
        over = watch.over(done)
        if len(task.ready.val) and done < epochs and done % watch.judge_every == 0:
            clock.start()
            found |= _judge_val(module, task, epoch=done, state=ema.state if ema is not None else None)
            clock.lap("evaluate")
        course = Course(
            epochs=done,
            metrics=_with(course.metrics, found),
            seconds=time.monotonic() - start,
            stages=dict(clock.seconds),
            gradients=gradients.found,
        )
        due = over or done == epochs or done % keeping.every == 0
        if keeping.folder is not None and done == epoch + 1 and due:  # a cut epoch is trained anew by who resumes
            clock.start()
            save_checkpoint(keeping.folder, owner=keeping.owner, course=course, parts=parts)
            clock.lap("checkpoint")
        if over or done == epochs:
            break
        watch.progress(_told(done, epochs, course.metrics))
    trained = time.monotonic()
    metrics = _finish(module, task, ema=ema, course=course)
    watch.progress(_told(course.epochs, epochs, metrics))
    finish = time.monotonic() - trained
    return dataclasses.replace(
        course, metrics=metrics, seconds=trained - start, stages=dict(clock.seconds), finish=finish
    )


def train_epoch(
    module: nn.Module,
    task: Task,
    *,
    epoch: int,
    tools: Tools,
    watch: Watch,
) -> dict[str, float]:
    """One pass over the training pictures, or its first batches where the time is up.

    Args:
      module: changed in place.
      task: what to do.
      epoch: from 0.
      tools: what it is done with.
      watch: no batch begins when it is over, but the first.

    Returns:
      Means over the samples seen: "train/loss", "train/accuracy" (against the most likely target), the last "lr", and
      "train/epoch", the epochs behind it: a whole number unless this one was cut.

    Raises:
      FireforgeError: DIVERGED, if the loss is not finite.
    """
    module.train()
    per_epoch = steps_per_epoch(len(task.ready.train), task.batching)
    sums = torch.zeros(2, device=task.world.device)
    rate, steps, seen, told = 0.0, 0, 0, time.monotonic()
    tools.clock.start()
    for batch in batches(task.ready.train, task.batching, epoch=epoch, world=task.world, clock=tools.clock):
        rate = learning_rate(task.recipe, epoch * per_epoch + steps, per_epoch)
        with making(task.recipe), tools.gradients.look(tools.forward, epoch=epoch, step=steps) as forward:
            loss, right = train_step(forward, tools.optimizer, batch, rate=rate, recipe=task.recipe, clock=tools.clock)
        sums += torch.stack([loss * len(batch[0]), right])
        if tools.ema is not None:
            tools.ema.update(module)
        tools.clock.lap("update")
        steps, seen = steps + 1, seen + len(batch[0])
        if watch.over(epoch + steps / per_epoch):
            break
        if time.monotonic() - told >= TOLD_S:
            told, done = time.monotonic(), round(epoch + steps / per_epoch, 2)
            watch.progress(Update(stage="train", done=done, total=task.recipe.epochs, unit="epoch"))
    loss_mean, accuracy = (sums / seen).tolist()
    _check_finite(loss_mean, f"the loss of epoch {epoch + 1}")
    return {"train/loss": loss_mean, "train/accuracy": accuracy, "lr": rate, "train/epoch": epoch + steps / per_epoch}


def train_step(
    forward: Forward,
    optimizer: torch.optim.Optimizer,
    batch: tuple[torch.Tensor, torch.Tensor],
    *,
    rate: float,
    recipe: Recipe,
    clock: Stopwatch,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Forward, backward, update.

    Args:
      forward: a module in training mode, or its compiled form. Where it has several outputs, the first one answers and
        the others are auxiliary heads for the same targets, each of which adds HEADS_SHARE of its loss.
      optimizer: of the module's parameters.
      batch: inputs float32 (N, C, H, W) and targets float32 (N, K), rows sum to 1.
      rate: learning rate of this step.
      recipe: label smoothing, precision and layout are used.
      clock: is told what the three take.

    Returns:
      Mean loss and number of right answers of the first output, as scalars on the device.
    """
    inputs, targets = batch
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.zero_grad(set_to_none=True)
    with _precision(recipe, inputs.device):
        outputs = forward(inputs.contiguous(memory_format=layout_of(recipe)))
    first, *heads = (outputs,) if isinstance(outputs, torch.Tensor) else outputs
    loss, *others = (
        F.cross_entropy(part.float(), targets, label_smoothing=recipe.label_smoothing) for part in (first, *heads)
    )
    whole = loss + HEADS_SHARE * sum(others) if others else loss
    clock.lap("forward")
    torch.autograd.backward(whole)
    clock.lap("backward")
    optimizer.step()
    right = (first.detach().argmax(dim=1) == targets.argmax(dim=1)).sum()
    return loss.detach().float(), right.float()


def _with(metrics: dict[str, list[float]], found: dict[str, float]) -> dict[str, list[float]]:
    """The metrics with one more number each, as a new dict."""
    return metrics | {name: [*metrics.get(name, ()), value] for name, value in found.items()}


def _finish(module: nn.Module, task: Task, *, ema: Ema | None, course: Course) -> dict[str, list[float]]:
    """Leave the weights to use in the module and judge them; a look at the same epoch before gives way to this one."""
    if ema is not None:
        module.load_state_dict(ema.state)
    most = min(NORMS_MOST, max(NORMS_LEAST, int(course.epochs * len(task.ready.train)) // NORMS_SHARE))
    refresh_norms(module, task.ready.train, task.batching, world=task.world, most=most)
    if not len(task.ready.val):
        return course.metrics
    metrics = course.metrics
    if metrics.get("val/epoch", [0.0])[-1] == course.epochs:
        metrics = {name: numbers[: -1 if name.startswith("val/") else None] for name, numbers in metrics.items()}
    return _with(metrics, _judge_val(module, task, epoch=course.epochs, state=None))


def _judge_val(
    module: nn.Module, task: Task, *, epoch: float, state: Mapping[str, torch.Tensor] | None
) -> dict[str, float]:
    logits = logits_of(module, task.ready.val, task.batching, world=task.world, state=state)
    found = judge(logits, task.ready.val.labels)
    _check_finite(found["loss"], "the loss on the validation part")
    return {**{f"val/{name}": value for name, value in found.items()}, "val/epoch": epoch}


def _check_finite(loss: float, name: str) -> None:
    if not math.isfinite(loss):
        raise FireforgeError("DIVERGED", f"{name} is {loss}", do="a lower learning rate")


@contextlib.contextmanager
def _seeded(seed: int, epoch: int, device: torch.device) -> Iterator[None]:
    """Dropout of an epoch depends on (seed, epoch) and leaves the caller's generator as it was."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(key_of(seed, epoch) >> 1)
        yield


def _precision(recipe: Recipe, device: torch.device) -> contextlib.AbstractContextManager[None]:
    if recipe.precision == "float32":
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16)


def _told(done: float, epochs: int, metrics: dict[str, list[float]]) -> Update:
    """Where the training stands after an epoch, with the epoch's numbers."""
    note = f"loss {metrics['train/loss'][-1]:.3f}"
    judged = metrics.get("val/epoch", [0.0])[-1] == metrics["train/epoch"][-1]
    note = f"{note}, val {metrics['val/accuracy'][-1]:.1%}" if judged else note
    kept = {name: values for name, values in metrics.items() if not name.endswith("/epoch")}
    last = {name: values[-1] for name, values in kept.items() if judged or not name.startswith("val/")}
    return Update(stage="train", done=done, total=epochs, unit="epoch", note=note, numbers=last)
