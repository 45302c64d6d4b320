# SPDX-License-Identifier: Apache-2.0
"""One step of a training: forward, backward, update."""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from fireforge.base.trial import Recipe
from fireforge.train.ema import Ema
from fireforge.train.guard import Guard
from fireforge.train.kernels import Forward, forward_of
from fireforge.train.layout import layout_of
from fireforge.train.optimizer import make_optimizer, set_rate
from fireforge.train.stopwatch import Stopwatch

HEADS_SHARE = 0.3  # of each auxiliary head's loss in the sum that is trained (Szegedy et al. 2014, section 5)
HALVES = {"bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True, kw_only=True)
class Tools:
    """What steps are done with.

    Args:
      module: that is trained.
      forward: the module, or its compiled form.
      optimizer: of the module's parameters.
      ema: the average that follows, or None.
      scaler: of the loss; does nothing but in float16.
      guard: counts the steps that are left out.
      clock: is told what each stage takes.
    """

    module: nn.Module
    forward: Forward
    optimizer: torch.optim.Optimizer
    ema: Ema | None
    scaler: torch.amp.GradScaler
    guard: Guard
    clock: Stopwatch


@dataclass(frozen=True, kw_only=True)
class Step:
    """What a step told.

    Args:
      loss: mean of the first output, a scalar on the device.
      right: number of right answers of the first output, likewise.
      whole: the loss that was trained, with those of the heads, likewise.
      taken: whether the weights were changed: only where the loss and each number of its gradient are finite.
    """

    loss: torch.Tensor
    right: torch.Tensor
    whole: torch.Tensor
    taken: bool


def make_tools(module: nn.Module, recipe: Recipe, device: torch.device) -> Tools:
    """Everything that steps on a module are done with.

    Args:
      module: on the device; its layout is changed in place.
      recipe: optimizer, average, precision, layout and compile are used.
      device: where.

    Returns:
      The tools, new.
    """
    clock = Stopwatch(device)
    module.to(memory_format=layout_of(recipe))  # type: ignore[call-overload]  # torch's stubs leave it out
    return Tools(
        module=module,
        forward=forward_of(module, recipe),
        optimizer=make_optimizer(module, recipe),
        ema=Ema(module, recipe.ema) if recipe.ema else None,
        scaler=torch.amp.GradScaler(device.type, enabled=recipe.precision == "float16"),
        guard=Guard(),
        clock=clock,
    )


def train_step(tools: Tools, batch: tuple[torch.Tensor, torch.Tensor], *, rate: float, recipe: Recipe) -> Step:
    """Forward, backward, update.

    Args:
      tools: the module in training mode. Where it has several outputs, the first one answers and the others are
        auxiliary heads for the same targets, each of which adds HEADS_SHARE of its loss.
      batch: inputs float32 (N, C, H, W) and targets float32 (N, K), rows sum to 1.
      rate: learning rate of this step.
      recipe: label smoothing, precision and layout are used.

    Returns:
      What it told; where loss or gradient is not finite, no weight was changed.

    Source:
      Micikevicius et al. 2018, section 3.2: in float16 the loss is scaled, and the scale halved where it overflows.
    """
    inputs, targets = batch
    set_rate(tools.optimizer, rate)
    tools.optimizer.zero_grad(set_to_none=True)
    with _precision(recipe, inputs.device):
        outputs = tools.forward(inputs.contiguous(memory_format=layout_of(recipe)))
    first, *heads = (outputs,) if isinstance(outputs, torch.Tensor) else outputs
    loss, *others = (
        F.cross_entropy(part.float(), targets, label_smoothing=recipe.label_smoothing) for part in (first, *heads)
    )
    whole = loss + HEADS_SHARE * sum(others) if others else loss
    tools.clock.lap("forward")
    torch.autograd.backward(tools.scaler.scale(whole))
    tools.clock.lap("backward")
    tools.scaler.unscale_(tools.optimizer)
    right = (first.detach().argmax(dim=1) == targets.argmax(dim=1)).sum()
    taken = _finite(whole, tools.optimizer)
    if taken:
        tools.optimizer.step()
    tools.scaler.update()
    return Step(loss=loss.detach().float(), right=right.float(), whole=whole.detach(), taken=taken)


def gradient_norm(optimizer: torch.optim.Optimizer) -> float:
    """Norm of the gradient over all weights of an optimizer, after a backward pass."""
    return float(nn.utils.get_total_norm(_gradients(optimizer), foreach=True))


def _finite(loss: torch.Tensor, optimizer: torch.optim.Optimizer) -> bool:
    """Whether the loss and each number of the gradient are finite, by what GradScaler looks with; fetched at once."""
    found, one = torch.zeros(1, device=loss.device), torch.ones(1, device=loss.device)
    torch._amp_foreach_non_finite_check_and_unscale_(_gradients(optimizer), found, one)
    number, bad = torch.stack([loss.detach().float(), found[0]]).tolist()
    return math.isfinite(number) and not bad


def _gradients(optimizer: torch.optim.Optimizer) -> list[torch.Tensor]:
    return [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]


def _precision(recipe: Recipe, device: torch.device) -> contextlib.AbstractContextManager[None]:
    if recipe.precision == "float32":
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=HALVES[recipe.precision])
