# SPDX-License-Identifier: Apache-2.0
"""A trained network that was changed is trained on for some updates, towards the answers of what it was before."""

from __future__ import annotations

import copy
import itertools
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fireforge.base.deadline import Deadline
from fireforge.base.errors import FireforgeError
from fireforge.base.progress import Progress, Update, silent
from fireforge.train.feed import Batching, Source, batches, steps_per_epoch
from fireforge.train.world import World

PROBES = 3  # updates that are timed, after one that is not
SHOWN = 20  # updates between two of the progress


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """What a finetuning goes by.

    Args:
      pictures: of the training part.
      batching: order, variation and normalization.
      world: where.
      lr: greatest rate of Adam, on a half cosine down to 0.
      teacher: share of the loss that holds the answers to the teacher's; the rest holds them to the labels.
    """

    pictures: Source
    batching: Batching
    world: World
    lr: float
    teacher: float = 1.0


def finetune(
    student: nn.Module,
    teacher: nn.Module,
    lesson: Lesson,
    *,
    updates: int,
    deadline: Deadline | None = None,
    progress: Progress = silent,
) -> int:
    """Train a module towards another one's answers, in place.

    The loss is share * KL(teacher || student) + (1 - share) * cross-entropy with the labels, in nats. A student with a
    method `freeze` has it called after half of the updates.

    Args:
      student: gives logits (N, K); moved to the lesson's device.
      teacher: gives logits (N, K); not trained.
      lesson: what it goes by.
      updates: of the parameters, at least 1; the data is gone through as often as that takes.
      deadline: no update begins after it, but the first.
      progress: receives updates.

    Returns:
      Updates that were made.

    Raises:
      FireforgeError: DIVERGED, if the loss is not finite.

    Source:
      Hinton et al. 2015, at temperature 1; Kingma and Ba 2015.
    """
    clock = deadline or Deadline()
    student.to(lesson.world.device).train()
    teacher.to(lesson.world.device).eval()
    optimizer = torch.optim.Adam([p for p in student.parameters() if p.requires_grad], lr=lesson.lr)
    done, loss = 0, 0.0
    for inputs, targets in itertools.islice(_endless(lesson), updates):
        if done == updates // 2:
            _freeze(student)
        rate = lesson.lr * 0.5 * (1 + math.cos(math.pi * done / updates))
        loss = _update(student, teacher, inputs, targets, optimizer=_at(optimizer, rate), share=lesson.teacher)
        done += 1
        if done % SHOWN == 0:
            progress(Update(stage="finetune", done=done, total=updates, unit="updates", note=f"loss {loss:.4f}"))
        if clock.over():
            break
    student.eval()
    progress(Update(stage="finetune", done=done, total=updates, unit="updates", note=f"loss {loss:.4f}"))
    return done


def update_seconds(student: nn.Module, teacher: nn.Module, lesson: Lesson) -> float:
    """Wall-clock seconds of one update on this machine, by three of a copy of the student.

    Args:
      student: not changed.
      teacher: as in `finetune`.
      lesson: what it goes by.

    Returns:
      The mean, the first update of all left out.
    """
    probe = copy.deepcopy(student)
    finetune(probe, teacher, lesson, updates=1)
    start = time.monotonic()
    done = finetune(probe, teacher, lesson, updates=PROBES)
    return (time.monotonic() - start) / done


def passes(lesson: Lesson, epochs: float) -> int:
    """Updates of so many passes over the pictures, at least 1."""
    return max(1, round(epochs * steps_per_epoch(len(lesson.pictures), lesson.batching)))


def _endless(lesson: Lesson) -> Iterator[tuple[Tensor, Tensor]]:
    for epoch in itertools.count():
        yield from batches(lesson.pictures, lesson.batching, epoch=epoch, world=lesson.world)


def _at(optimizer: torch.optim.Optimizer, rate: float) -> torch.optim.Optimizer:
    for group in optimizer.param_groups:
        group["lr"] = rate
    return optimizer


def _update(
    student: nn.Module,
    teacher: nn.Module,
    inputs: Tensor,
    targets: Tensor,
    *,
    optimizer: torch.optim.Optimizer,
    share: float,
) -> float:
    """One update; the loss before it."""
    answers = F.log_softmax(student(inputs).float(), dim=1)
    with torch.no_grad():
        wanted = F.log_softmax(teacher(inputs).float(), dim=1)
    loss = share * F.kl_div(answers, wanted, reduction="batchmean", log_target=True)
    if share < 1:
        loss = loss - (1 - share) * (targets * answers).sum(dim=1).mean()
    optimizer.zero_grad(set_to_none=True)
    torch.autograd.backward(loss)
    optimizer.step()
    found = float(loss.detach())
    if not math.isfinite(found):
        raise FireforgeError("DIVERGED", f"the loss of a finetuning is {found}", do="a lower learning rate")
    return found


def _freeze(student: nn.Module) -> None:
    method: Callable[[], None] | None = getattr(student, "freeze", None)
    if method is not None:
        method()
