# SPDX-License-Identifier: Apache-2.0
"""The learning rate as a function of the step."""

from __future__ import annotations

import math

from fireforge.base.trial import Recipe


def learning_rate(recipe: Recipe, step: int, steps_per_epoch: int) -> float:
    """Linear warm-up from 0, then the recipe's decay, which would reach 0 one step after the last.

    Args:
      recipe: lr, epochs, warmup_epochs and schedule are used.
      step: from 0, over the whole training.
      steps_per_epoch: at least 1.

    Returns:
      The rate of this step.

    Source:
      Warm-up at every iteration: Goyal et al. 2017, section 2.2; cosine: Loshchilov and Hutter 2017, equation 5;
      linear: the SqueezeNet solver's poly policy with power 1.
    """
    total = max(1, recipe.epochs * steps_per_epoch)
    warmup = min(round(recipe.warmup_epochs * steps_per_epoch), total - 1)
    if step < warmup:
        return recipe.lr * (step + 1) / (warmup + 1)
    share = (step - warmup) / max(1, total - warmup)
    if recipe.schedule == "cosine":
        return recipe.lr * 0.5 * (1 + math.cos(math.pi * share))
    if recipe.schedule == "linear":
        return recipe.lr * (1 - share)
    return recipe.lr
