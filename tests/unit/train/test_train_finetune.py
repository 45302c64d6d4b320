# SPDX-License-Identifier: Apache-2.0
"""Finetuning: what it minimises by hand, how it stops, what it leaves alone."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from fireforge.base.deadline import Deadline
from fireforge.base.errors import FireforgeError
from fireforge.base.preprocess import ImageSteps
from fireforge.base.progress import Update
from fireforge.base.trial import Augment
from fireforge.train.feed import Batching, Pictures
from fireforge.train.finetune import Lesson, finetune, passes, update_seconds
from fireforge.train.world import make_world

STEPS = ImageSteps(channels=1, resize=None, crop=(2, 2), order="L", mean=(0.0,), std=(1.0,))


def lesson(number: int = 24, *, batch: int = 8, lr: float = 0.05, teacher: float = 1.0) -> Lesson:
    draw = np.random.default_rng(0)
    pictures = Pictures(
        pixels=draw.integers(0, 3, (number, 1, 2, 2)).astype(np.uint8),
        labels=draw.integers(0, 3, number),
        ids=np.arange(number),
    )
    batching = Batching(batch=batch, classes=3, steps=STEPS, augment=Augment(), seed=1)
    return Lesson(pictures=pictures, batching=batching, world=make_world("cpu"), lr=lr, teacher=teacher)


def net(seed: int) -> nn.Sequential:
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Flatten(), nn.Linear(4, 3))


def losses(student: nn.Module, teacher: nn.Module, given: Lesson) -> tuple[float, float]:
    """KL to the teacher and cross-entropy with the labels, over all pictures, by their definitions."""
    x = torch.from_numpy(given.pictures.pixels).float()
    with torch.no_grad():
        p, q = teacher(x).softmax(1), student(x).softmax(1)
    kl = float((p * (p / q).log()).sum(1).mean())
    return kl, float(F.nll_loss(q.log(), torch.from_numpy(given.pictures.labels)))


def test_it_goes_to_the_teacher_and_leaves_it_alone() -> None:
    student, teacher, given = net(0), net(1), lesson()
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    first = losses(student, teacher, given)
    assert finetune(student, teacher, given, updates=300) == 300
    last = losses(student, teacher, given)
    assert last[0] < 0.01 < 0.1 < first[0]
    assert all(torch.equal(before[name], value) for name, value in teacher.state_dict().items())
    assert not student.training


def test_without_a_teacher_it_goes_to_the_labels() -> None:
    student, teacher, given = net(0), net(1), lesson(teacher=0.0)
    first = losses(student, teacher, given)
    finetune(student, teacher, given, updates=300)
    last = losses(student, teacher, given)
    assert last[1] < first[1] - 0.1
    assert last[0] > first[0] / 10


def test_the_first_update_is_adams_by_hand() -> None:
    """With one update Adam moves each number by lr against the sign of its gradient, up to eps; 1e-6 for that."""
    student, teacher, given = net(0), net(1), lesson(batch=24, lr=0.05, teacher=0.5)
    x = torch.from_numpy(given.pictures.pixels).float()
    start = [p.detach().clone() for p in student.parameters()]
    p, q = teacher(x).softmax(1).detach(), student(x).log_softmax(1)
    loss = 0.5 * (p * (p.log() - q)).sum(1).mean() + 0.5 * F.nll_loss(q, torch.from_numpy(given.pictures.labels))
    grads: Any = torch.autograd.grad(loss, list(student.parameters()))
    finetune(student, teacher, given, updates=1)
    for old, grad, new in zip(start, grads, student.parameters()):
        torch.testing.assert_close(new.detach(), old - 0.05 * grad.sign(), atol=1e-5, rtol=0)


def test_the_same_call_gives_the_same_bits() -> None:
    made = []
    for _ in range(2):
        student = net(0)
        finetune(student, net(1), lesson(), updates=7)
        made.append([p.detach().clone() for p in student.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*made))


def test_a_deadline_ends_it_after_the_first_update_and_progress_is_told() -> None:
    told: list[Update] = []
    done = finetune(net(0), net(1), lesson(), updates=50, deadline=Deadline(0.0), progress=told.append)
    assert done == 1
    assert (told[-1].done, told[-1].total, told[-1].unit) == (1, 50, "updates")


class Freezing(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = net(0)
        self.seen, self.frozen_at = 0, -1

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen += 1
        out: torch.Tensor = self.inner(x)
        return out

    def freeze(self) -> None:
        self.frozen_at = self.seen


def test_freeze_is_called_half_way() -> None:
    student = Freezing()
    finetune(student, net(1), lesson(), updates=10)
    assert (student.frozen_at, student.seen) == (5, 10)


def test_timing_changes_nothing() -> None:
    student = Freezing()
    before = [p.detach().clone() for p in student.parameters()]
    assert 0 < update_seconds(student, net(1), lesson()) < 10
    assert student.seen == 0
    assert all(torch.equal(a, b.detach()) for a, b in zip(before, student.parameters()))


def test_passes_count_updates() -> None:
    """24 pictures in batches of 8 are 3 updates."""
    assert (passes(lesson(), 2), passes(lesson(), 0.1)) == (6, 1)


def test_a_loss_that_is_not_finite_is_named() -> None:
    student = net(0)
    with torch.no_grad():
        next(student.parameters()).fill_(math.nan)
    with pytest.raises(FireforgeError, match="DIVERGED"):
        finetune(student, net(1), lesson(), updates=3)
