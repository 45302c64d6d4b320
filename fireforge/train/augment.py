# SPDX-License-Identifier: Apache-2.0
"""Variation of training pictures, a function of (seed, epoch, sample id) alone."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from fireforge.base.rng import permutation, rng, uniform
from fireforge.base.trial import Augment

DRAWS = (
    *("dx", "dy", "turn", "size", "flip", "cut_x", "cut_y", "mix_a", "mix_b"),
    *("area", "aspect", "brightness", "contrast", "saturation"),
)
ASPECT = 4 / 3  # most that a random crop's sides are to each other
GRAY = (0.299, 0.587, 0.114)  # ITU-R 601 luma


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

    def mirrored(self) -> torch.Tensor:
        """Whether each sample is mirrored: drawn once, then in turns, so that two epochs show both; bool (N,).

        Source:
          Jordan 2024, "94% on CIFAR-10 in 3.29 seconds", section 3.6.
        """
        first = dataclasses.replace(self, epoch=0)
        return (first.draw("flip") < 0.5) ^ bool(self.epoch % 2)


def vary(
    pixels: torch.Tensor, augment: Augment, moment: Moment, *, size: tuple[int, int] | None = None
) -> torch.Tensor:
    """Crop, shift, turn, scale, mirror, colour and cut a batch.

    Args:
      pixels: float32 (N, C, H', W') on any device, values 0 to 255, as the training pictures are kept.
      augment: the amounts.
      moment: what the amounts are drawn from.
      size: (H, W) of the result; None for that of the pixels.

    Returns:
      A batch (N, C, H, W); what comes from outside the picture repeats its border.
    """
    size = size or (pixels.shape[2], pixels.shape[3])
    moved = augment.shift_px or augment.rotate_deg or augment.scale or augment.flip or augment.crop_area < 1
    if moved or size != tuple(pixels.shape[2:]):
        theta = _affine(augment, moment, *size).to(pixels.device)
        grid = F.affine_grid(theta, [*pixels.shape[:2], *size], align_corners=False)
        pixels = F.grid_sample(pixels, grid, mode="bilinear", padding_mode="border", align_corners=False)
    if augment.colour:
        pixels = _coloured(pixels, augment.colour, moment)
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
    return torch.lerp(inputs[partner], inputs, share), torch.lerp(targets[partner], targets, share)


def _affine(augment: Augment, moment: Moment, height: int, width: int) -> torch.Tensor:
    """Matrices (N, 2, 3) from output to input positions, both in [-1, 1]."""
    turn = (moment.draw("turn") * 2 - 1) * math.radians(augment.rotate_deg)
    size = 1 + (moment.draw("size") * 2 - 1) * augment.scale
    mirror = torch.where(moment.mirrored(), -1.0, 1.0) if augment.flip else torch.ones(len(turn))
    dx = _shift(augment, moment.draw("dx")) * 2 / width
    dy = _shift(augment, moment.draw("dy")) * 2 / height
    cos, sin = torch.cos(turn) / size, torch.sin(turn) / size
    aspect = height / width  # a turn in pixels, not in the stretched unit square
    wide, high, left, down = _window(augment, moment)
    top = torch.stack([cos * mirror * wide, -sin * aspect * wide, dx + left], dim=1)
    bottom = torch.stack([sin * mirror / aspect * high, cos * high, dy + down], dim=1)
    return torch.stack([top, bottom], dim=1)


def _shift(augment: Augment, drawn: torch.Tensor) -> torch.Tensor:
    """Pixels, (N,): whole ones where nothing else moves the picture, since between pixels it would be blurred."""
    pixels = (drawn * 2 - 1) * augment.shift_px
    return pixels if augment.rotate_deg or augment.scale or augment.crop_area < 1 else pixels.round()


def _window(augment: Augment, moment: Moment) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Width and height of the random crops as shares of the picture, and their centres in [-1, 1]: (N,) each."""
    if augment.crop_area >= 1:
        one = torch.ones(len(moment.ids))
        return one, one, one * 0, one * 0
    area = augment.crop_area + (1 - augment.crop_area) * moment.draw("area")
    aspect = torch.exp((moment.draw("aspect") * 2 - 1) * math.log(ASPECT))
    wide = torch.sqrt(area * aspect).clamp(max=1)
    high = torch.sqrt(area / aspect).clamp(max=1)
    return wide, high, (moment.draw("dx") * 2 - 1) * (1 - wide), (moment.draw("dy") * 2 - 1) * (1 - high)


def _coloured(pixels: torch.Tensor, amount: float, moment: Moment) -> torch.Tensor:
    """Brightness, contrast and saturation times a share in 1 - amount to 1 + amount each, held within 0 to 255.

    The three are linear, so one matrix a picture does what three passes over it would.
    """

    def share(name: str) -> torch.Tensor:
        return (1 + (moment.draw(name) * 2 - 1) * amount).to(pixels.device)[:, None, None]

    count, channels, *size = pixels.shape
    brightness, contrast = share("brightness"), share("contrast")
    matrix = torch.eye(channels, device=pixels.device).expand(count, -1, -1)
    if channels == len(GRAY):
        luma = torch.tensor(GRAY, device=pixels.device).expand(count, channels, channels)
        matrix = torch.lerp(luma, matrix, share("saturation"))
    gray = (1 - contrast) * brightness * pixels.mean(dim=(1, 2, 3))[:, None, None]
    flat = pixels.reshape(count, channels, -1)
    varied = torch.baddbmm(gray.expand(count, channels, 1), matrix * (brightness * contrast), flat)
    return varied.clamp_(0, 255).reshape(count, channels, *size)


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
