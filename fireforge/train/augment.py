# SPDX-License-Identifier: Apache-2.0
"""Variation of training pictures, a function of (seed, epoch, sample id) alone."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from fireforge.base.rng import permutation, rng, uniform
from fireforge.base.trial import Augment

DRAWS = ("dx", "dy", "turn", "size", "flip", "cut_x", "cut_y", "mix_a", "mix_b")


@dataclass(frozen=True, kw_only=True)
class Moment:
    """When and on which samples a batch is varied.

    Args:
      seed: of the run.
      epoch: from 0.
      ids: sample ids of the batch, int64 (N,).
    """

    seed: int
    epoch: int
    ids: np.ndarray

    def draw(self, name: str) -> torch.Tensor:
        """One number for each sample: float32 (N,), uniform in [0, 1)."""
        numbers = uniform(self.seed, self.epoch, self.ids, DRAWS.index(name))
        return torch.from_numpy(numbers.astype(np.float32))


def vary(pixels: torch.Tensor, augment: Augment, moment: Moment) -> torch.Tensor:
    """Shift, turn, scale, mirror and cut a batch.

    Args:
      pixels: float32 (N, C, H, W) on any device, values 0 to 255.
      augment: the amounts.
      moment: what the amounts are drawn from.

    Returns:
      A batch of the same shape; what comes from outside the picture repeats its border.
    """
    if augment.shift_px or augment.rotate_deg or augment.scale or augment.flip:
        theta = _affine(augment, moment, *pixels.shape[2:]).to(pixels.device)
        grid = F.affine_grid(theta, list(pixels.shape), align_corners=False)
        pixels = F.grid_sample(pixels, grid, mode="bilinear", padding_mode="border", align_corners=False)
    if augment.cutout_px:
        pixels = _cut(pixels, augment.cutout_px, moment)
    return pixels


def mix(
    inputs: torch.Tensor, targets: torch.Tensor, augment: Augment, moment: Moment
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mixup: each sample and a partner of the same batch, blended with their targets.

    Args:
      inputs: float32 (N, C, H, W).
      targets: class probabilities (N, K).
      augment: mixup is the alpha of Beta(alpha, alpha).
      moment: what the share is drawn from; one share a batch.

    Returns:
      Blended inputs and targets.

    Source:
      Zhang et al. 2018, equation 1; one share for the batch as in the authors' code.
    """
    if not augment.mixup:
        return inputs, targets
    key = int(moment.ids[0])
    share = float(rng(moment.seed, moment.epoch, key).beta(augment.mixup, augment.mixup))
    partner = torch.from_numpy(permutation(moment.seed, moment.epoch * 2**20 + key, len(inputs))).to(inputs.device)
    return inputs * share + inputs[partner] * (1 - share), targets * share + targets[partner] * (1 - share)


def _affine(augment: Augment, moment: Moment, height: int, width: int) -> torch.Tensor:
    """Matrices (N, 2, 3) from output to input positions, both in [-1, 1]."""
    turn = (moment.draw("turn") * 2 - 1) * math.radians(augment.rotate_deg)
    size = 1 + (moment.draw("size") * 2 - 1) * augment.scale
    mirror = torch.where(moment.draw("flip") < 0.5, -1.0, 1.0) if augment.flip else torch.ones(len(turn))
    dx = (moment.draw("dx") * 2 - 1) * augment.shift_px * 2 / width
    dy = (moment.draw("dy") * 2 - 1) * augment.shift_px * 2 / height
    cos, sin = torch.cos(turn) / size, torch.sin(turn) / size
    aspect = height / width  # a turn in pixels, not in the stretched unit square
    top = torch.stack([cos * mirror, -sin * aspect, dx], dim=1)
    bottom = torch.stack([sin * mirror / aspect, cos, dy], dim=1)
    return torch.stack([top, bottom], dim=1)


def _cut(pixels: torch.Tensor, side: int, moment: Moment) -> torch.Tensor:
    height, width = pixels.shape[2:]
    left = (moment.draw("cut_x") * width).to(pixels.device) - side / 2
    top = (moment.draw("cut_y") * height).to(pixels.device) - side / 2
    x = torch.arange(width, device=pixels.device)
    y = torch.arange(height, device=pixels.device)
    inside_x = (x >= left[:, None]) & (x < left[:, None] + side)
    inside_y = (y >= top[:, None]) & (y < top[:, None] + side)
    hole = (inside_y[:, :, None] & inside_x[:, None, :])[:, None]
    return torch.where(hole, pixels.mean(dim=(2, 3), keepdim=True), pixels)
