# SPDX-License-Identifier: Apache-2.0
"""The training loop: one visible step, one visible epoch."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
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
from fireforge.train.checkpoint import load_checkpoint, save_checkpoint
from fireforge.train.ema import Ema
from fireforge.train.evaluate import judge, logits_of
from fireforge.train.feed import Batching, Ready, batches, steps_per_epoch
from fireforge.train.optimizer import make_optimizer
from fireforge.train.schedule import learning_rate
from fireforge.train.world import World

DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16}


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
      progress: receives one update an epoch.
      deadline: the training stops after the epoch in which it runs out.
      judge_every: epochs between two looks at the validation part; the last epoch is always judged.
    """

    progress: Progress = silent
    deadline: Deadline
    judge_every: int = 1


def fit(module: nn.Module, task: Task, *, keeping: Keeping, watch: Watch) -> dict[str, list[float]]:
    """Train a module and leave the weights to use in it: the averaged ones where the recipe averages.

    Args:
      module: on the world's device; changed in place.
      task: what to do.
      keeping: checkpoints; a state of the same owner is taken up.
      watch: progress and deadline.

    Returns:
      "train/loss", "train/accuracy", "lr": one number an epoch; "val/loss", "val/accuracy" and "val/epoch": one each
      time the validation part was judged.

    Raises:
      FireforgeError: DIVERGED, if the loss is not finite.
    """
    recipe = task.recipe
    optimizer = make_optimizer(module, recipe)
    ema = Ema(module, recipe.ema) if recipe.ema else None
    parts = {"module": module, "optimizer": optimizer, "ema": ema}
    first, metrics = 0, dict[str, list[float]]()
    if keeping.folder is not None:
        first, metrics = load_checkpoint(keeping.folder, owner=keeping.owner, parts=parts, progress=watch.progress)
    for epoch in range(first, recipe.epochs):
        with _seeded(task.batching.seed, epoch, task.world.device):
            found = train_epoch(module, task, epoch=epoch, optimizer=optimizer, ema=ema)
        last = epoch + 1 == recipe.epochs or watch.deadline.over()
        if len(task.ready.val) and (last or (epoch + 1) % watch.judge_every == 0):
            found.update(_judge_val(module, task, ema), **{"val/epoch": epoch + 1.0})
        # a look that only the deadline asked for is told but not kept, so that a resumed training equals a whole one
        regular = epoch + 1 == recipe.epochs or (epoch + 1) % watch.judge_every == 0
        kept = _with(metrics, {k: v for k, v in found.items() if regular or not k.startswith("val/")})
        if keeping.folder is not None and (last or (epoch + 1) % keeping.every == 0):
            save_checkpoint(keeping.folder, owner=keeping.owner, epoch=epoch + 1, parts=parts, metrics=kept)
        metrics = _with(metrics, found)
        watch.progress(Update(stage="train", done=epoch + 1, total=recipe.epochs, unit="epoch", note=_note(found)))
        if last:
            break
    if ema is not None:
        module.load_state_dict(ema.state)
    return metrics


def train_epoch(
    module: nn.Module, task: Task, *, epoch: int, optimizer: torch.optim.Optimizer, ema: Ema | None
) -> dict[str, float]:
    """One pass over the training pictures.

    Args:
      module: changed in place.
      task: what to do.
      epoch: from 0.
      optimizer: of the module's parameters.
      ema: the average that follows, or None.

    Returns:
      Means over the samples: "train/loss", "train/accuracy" (against the most likely target), and the last "lr".

    Raises:
      FireforgeError: DIVERGED, if the loss is not finite.
    """
    module.train()
    count = len(task.ready.train)
    per_epoch = steps_per_epoch(count, task.batching)
    sums = torch.zeros(2, device=task.world.device)
    rate = 0.0
    epoch_batches = batches(task.ready.train, task.batching, epoch=epoch, world=task.world)
    for index, (inputs, targets) in enumerate(epoch_batches):
        rate = learning_rate(task.recipe, epoch * per_epoch + index, per_epoch)
        loss, right = train_step(module, optimizer, inputs, targets, rate=rate, recipe=task.recipe)
        sums += torch.stack([loss * len(inputs), right])
        if ema is not None:
            ema.update(module)
    loss_mean, accuracy = (sums / count).tolist()
    _check_finite(loss_mean, f"the loss of epoch {epoch + 1}")
    return {"train/loss": loss_mean, "train/accuracy": accuracy, "lr": rate}


def train_step(
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    inputs: torch.Tensor,
    targets: torch.Tensor,
    *,
    rate: float,
    recipe: Recipe,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Forward, backward, update.

    Args:
      module: in training mode.
      optimizer: of the module's parameters.
      inputs: float32 (N, C, H, W).
      targets: float32 (N, K), rows sum to 1.
      rate: learning rate of this step.
      recipe: label smoothing and precision are used.

    Returns:
      Mean loss and number of right answers, as scalars on the device.
    """
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.zero_grad(set_to_none=True)
    with _precision(recipe, inputs.device):
        outputs = module(inputs)
    loss = F.cross_entropy(outputs.float(), targets, label_smoothing=recipe.label_smoothing)
    torch.autograd.backward(loss)
    optimizer.step()
    right = (outputs.detach().argmax(dim=1) == targets.argmax(dim=1)).sum()
    return loss.detach().float(), right.float()


def _with(metrics: dict[str, list[float]], found: dict[str, float]) -> dict[str, list[float]]:
    """The metrics with one more number each, as a new dict."""
    return metrics | {name: [*metrics.get(name, ()), value] for name, value in found.items()}


def _judge_val(module: nn.Module, task: Task, ema: Ema | None) -> dict[str, float]:
    state = ema.state if ema is not None else None
    logits = logits_of(module, task.ready.val, task.batching, world=task.world, state=state)
    found = judge(logits, task.ready.val.labels)
    _check_finite(found["loss"], "the loss on the validation part")
    return {f"val/{name}": value for name, value in found.items()}


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
    return torch.autocast(device.type, dtype=DTYPES[recipe.precision])


def _note(found: dict[str, float]) -> str:
    note = f"loss {found['train/loss']:.3f}"
    return f"{note}, val {found['val/accuracy']:.1%}" if "val/accuracy" in found else note
