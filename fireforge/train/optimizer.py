# SPDX-License-Identifier: Apache-2.0
"""Optimizers of a recipe."""

from __future__ import annotations

import torch
from torch import nn

from fireforge.base.trial import Recipe


def make_optimizer(module: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """SGD with Nesterov momentum, or AdamW; weight decay on matrices and kernels only.

    Args:
      module: whose parameters are trained.
      recipe: optimizer, lr, momentum and weight_decay are used.

    Returns:
      The optimizer; its rate is set anew at each step.

    Source:
      No decay on biases and norms: Goyal et al. 2017, section 5.1.
    """
    kernels = [p for p in module.parameters() if p.ndim > 1]
    others = [p for p in module.parameters() if p.ndim <= 1]
    groups = [{"params": kernels, "weight_decay": recipe.weight_decay}, {"params": others, "weight_decay": 0.0}]
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=recipe.lr, betas=(recipe.momentum, 0.999))
    return torch.optim.SGD(groups, lr=recipe.lr, momentum=recipe.momentum, nesterov=recipe.momentum > 0)


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
