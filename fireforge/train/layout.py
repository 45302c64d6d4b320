# SPDX-License-Identifier: Apache-2.0
"""Pictures and weights in memory, and the one layout of which a processor's kernels are not sound."""

from __future__ import annotations

import torch
from torch import nn

from fireforge.base.trial import Recipe

LANES = 16  # float32 numbers that the widest vectors of a processor hold


def sound(recipe: Recipe, module: nn.Module, device: torch.device) -> Recipe:
    """The recipe with a layout that the device trains the module in without harm.

    On x86 processors the gradient of a 1x1 convolution's weights writes past its workspace where the convolution has
    a stride, reads fewer channels than a vector holds, and channels lie last: the process ends, hangs, or computes
    with damaged numbers. Residual networks have such shortcuts.

    Args:
      recipe: its layout is used.
      module: what will be trained.
      device: where.

    Returns:
      The recipe, with the layout "contiguous" where the other one is not sound.

    Source:
      oneDNN issue 6035; seen with torch 2.13 (oneDNN 3) on AVX-512 with float32 and bfloat16 on maps of 56 px and more.
    """
    if recipe.layout == "contiguous" or device.type != "cpu" or not any(map(_is_harmed, module.modules())):
        return recipe
    return recipe.replace(layout="contiguous")


def layout_of(recipe: Recipe) -> torch.memory_format:
    """A recipe's layout as torch names it."""
    return torch.channels_last if recipe.layout == "channels_last" else torch.contiguous_format


def _is_harmed(layer: nn.Module) -> bool:
    return (
        isinstance(layer, nn.Conv2d)
        and layer.kernel_size == (1, 1)
        and max(layer.stride) > 1
        and layer.in_channels // layer.groups < LANES
    )
