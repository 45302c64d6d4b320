# SPDX-License-Identifier: Apache-2.0
"""Optimizers of a recipe."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from fireforge.base.trial import Recipe
from fireforge.train.muon import Muon


def make_optimizer(module: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """SGD with Nesterov momentum, AdamW, or SGD that turns convolutions; weight decay on matrices and kernels only.

    Args:
      module: whose parameters are trained.
      recipe: optimizer, lr, momentum, weight_decay, bias_times and turn are used.

    Returns:
      The optimizer; its rate is set anew at each step by `set_rate`. What asks for no gradient is not in it.

    Source:
      No decay on biases and norms: Goyal et al. 2017, section 5.1. A rate of their own for biases: Jordan 2024,
      section 3.4, after Page 2019.
    """
    trained = [(name, p) for name, p in module.named_parameters() if p.requires_grad]
    turned = {name for name, p in trained if p.ndim > 2 and recipe.optimizer == "muon"}
    kernels = [p for name, p in trained if p.ndim > 1 and name not in turned]
    quick = {name for name, p in trained if p.ndim <= 1 and recipe.bias_times != 1 and name.endswith("bias")}
    others = [p for name, p in trained if p.ndim <= 1 and name not in quick]
    groups: list[dict[str, Any]] = [
        {"params": kernels, "weight_decay": recipe.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    if quick:
        biases = [p for name, p in trained if name in quick]
        groups.append({"params": biases, "weight_decay": 0.0, "times": recipe.bias_times})
    if turned:
        convolutions = [p for name, p in trained if name in turned]
        groups.append({"params": convolutions, "turned": True, "times": recipe.turn / recipe.lr if recipe.lr else 0.0})
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=recipe.lr, betas=(recipe.momentum, 0.999))
    if recipe.optimizer == "muon":
        return Muon(groups, lr=recipe.lr, momentum=recipe.momentum)
    return torch.optim.SGD(groups, lr=recipe.lr, momentum=recipe.momentum, nesterov=recipe.momentum > 0)


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """The rate of the next step; biases may have a multiple of it.

    Args:
      optimizer: made by `make_optimizer`.
      rate: of all others; the angle of kernels that are turned grows and falls with it.
    """
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get("times", 1.0)


def slots_of(optimizer: torch.optim.Optimizer) -> tuple[str, ...]:
    """What an optimizer keeps of each parameter once that was stepped.

    Args:
      optimizer: one of `make_optimizer`.

    Returns:
      Names in its state; "step" is a number, each other one has the parameter's shape.
    """
    if isinstance(optimizer, torch.optim.AdamW):
        return ("step", "exp_avg", "exp_avg_sq")
    return ("momentum_buffer",) if any(group["momentum"] for group in optimizer.param_groups) else ()
