# SPDX-License-Identifier: Apache-2.0
"""Numbers that are not finite: the step is left out, counted, named; faults F19 and F20 are put into a training."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from fireforge.base.errors import FireforgeError
from fireforge.base.trial import Augment, Recipe, Trial
from fireforge.train import step as steps
from fireforge.train.guard import MOST_IN_A_ROW, Guard, Place
from fireforge.train.step import make_tools, train_step
from fireforge.train.trial import run_trial

PLACE = Place(step=3, epoch=2, rate=0.05, names=[f"{n}.png" for n in range(10)])
MakeTrial = Callable[..., Trial]


def test_a_loss_that_is_not_finite_names_step_rate_norm_and_pictures() -> None:
    with pytest.raises(FireforgeError) as raised:
        Guard().bad(math.nan, math.inf, PLACE)
    assert raised.value.line().startswith(
        "DIVERGED: the loss is nan, the norm of the gradient inf, at step 3 of epoch 2, learning rate 0.05, "
        "pictures 0.png, 1.png, 2.png, 3.png, 4.png, 5.png, 6.png, 7.png and 2 more"
    )


def test_ten_gradients_in_a_row_are_left_out_and_the_next_one_ends_the_training() -> None:
    guard = Guard()
    for _ in range(3):
        for _ in range(MOST_IN_A_ROW):
            guard.bad(1.0, math.inf, PLACE)
        guard.good()
    assert (guard.left_out, guard.row) == (30, 0)
    for _ in range(10):
        guard.bad(1.0, math.nan, PLACE)
    with pytest.raises(FireforgeError, match="in 11 steps in a row"):
        guard.bad(1.0, math.nan, PLACE)


def test_a_scale_that_is_still_lowered_makes_no_row() -> None:
    guard = Guard()
    for _ in range(16):
        guard.bad(1.0, math.inf, PLACE, searching=True)
    assert (guard.left_out, guard.row) == (16, 0)


class Spoilt(torch.autograd.Function):
    """The identity, with a gradient that is not finite."""

    @staticmethod
    def forward(ctx: object, x: torch.Tensor) -> torch.Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: object, slope: torch.Tensor) -> torch.Tensor:
        return slope * math.inf


@pytest.mark.parametrize("fault", ["loss", "gradient"])
def test_a_step_that_is_not_finite_changes_no_weight(fault: str) -> None:
    module = nn.Linear(3, 2)
    recipe = Recipe(epochs=1, lr=0.1)
    tools = make_tools(module, recipe, torch.device("cpu"))
    batch = torch.randn(4, 3), torch.eye(2)[[0, 1, 0, 1]]
    assert train_step(tools, batch, rate=0.1, recipe=recipe).taken
    before = [weight.clone() for weight in module.parameters()]
    if fault == "loss":
        batch = (batch[0] * math.nan, batch[1])
    else:
        spoilt = make_tools(nn.Sequential(module), recipe, torch.device("cpu"))
        tools = steps.Tools(
            **{**vars(spoilt), "forward": lambda x: Spoilt.apply(module(x)), "optimizer": tools.optimizer}
        )
    step = train_step(tools, batch, rate=0.1, recipe=recipe)
    assert not step.taken
    assert math.isfinite(step.whole.item()) is (fault == "gradient")
    assert all(torch.equal(a, b) for a, b in zip(before, module.parameters()))


def test_in_float16_the_scale_is_halved_where_it_overflows_and_comes_back_with_the_state() -> None:
    """torch's GradScaler: 65,536 at first, half after each overflow; the gradient is the unscaled one."""
    torch.manual_seed(0)
    module = nn.Linear(64, 2)
    recipe = Recipe(epochs=1, lr=0.1, precision="float16")
    tools = make_tools(module, recipe, torch.device("cpu"))
    batch = 300 * torch.randn(8, 64), torch.eye(2)[torch.arange(8) % 2]
    taken = [train_step(tools, batch, rate=1e-6, recipe=recipe).taken for _ in range(12)]
    first = taken.index(True)
    assert first >= 1  # 65,536 times a gradient of some hundreds is more than float16 holds
    assert tools.scaler.get_scale() <= 65_536 / 2**first
    assert train_step(tools, batch, rate=0.0, recipe=recipe).taken
    norm = steps.gradient_norm(tools.optimizer)
    slopes = torch.autograd.grad(nn.functional.cross_entropy(module(batch[0]), batch[1]), list(module.parameters()))
    assert norm == pytest.approx(torch.cat([one.flatten() for one in slopes]).norm().item(), rel=0.02)  # 11 bits


def spoil(monkeypatch: pytest.MonkeyPatch, bad: Callable[[int], bool]) -> None:
    """The gradient is told as infinite in some steps, counted from 0 over the training."""
    real, count = steps._finite, iter(range(10**6))
    monkeypatch.setattr(steps, "_finite", lambda loss, optimizer: not bad(next(count)) and real(loss, optimizer))


def test_infinite_gradients_are_counted_in_the_record(
    make_trial: MakeTrial, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """4 batches an epoch, 4 epochs: the steps 2, 5 and 6 are left out, the others taken."""
    trial = make_trial()
    spoil(monkeypatch, lambda step: step in (2, 5, 6))
    record = run_trial(trial, folder=tmp_path, device="cpu")
    assert record.steps == {"taken": 13, "left_out": 3}
    monkeypatch.undo()
    assert run_trial(trial, folder=tmp_path / "whole", device="cpu").steps == {"taken": 16, "left_out": 0}


def test_eleven_infinite_gradients_in_a_row_end_it(
    make_trial: MakeTrial, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil(monkeypatch, lambda step: step >= 2)
    with pytest.raises(FireforgeError, match="in 11 steps in a row, at step 1 of epoch 4"):
        run_trial(make_trial(), folder=tmp_path, device="cpu")


def test_the_guard_costs_under_two_percent_of_a_small_networks_step() -> None:
    """The look at 60 gradients of 1,000 numbers, fetched, against a step of a network of that many; see docs/train.md.

    Counted in processor time, since the machine has other work: five runs of each, and the least of both.
    """
    layers = [layer for _ in range(15) for layer in (nn.Conv2d(16, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16))]
    module = nn.Sequential(nn.Conv2d(3, 16, 3), *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10))
    recipe = Recipe(epochs=1, augment=Augment())
    tools = make_tools(module, recipe, torch.device("cpu"))
    batch = torch.randn(32, 3, 16, 16), torch.eye(10)[torch.arange(32) % 10]
    whole, guard = [], []
    for _ in range(5):
        begun = time.process_time()
        loss = train_step(tools, batch, rate=0.01, recipe=recipe).loss
        between = time.process_time()
        steps._finite(loss, tools.optimizer)
        whole.append(between - begun)
        guard.append(time.process_time() - between)
    assert min(guard) < 0.02 * min(whole)
