# SPDX-License-Identifier: Apache-2.0
"""Pictures as torch batches: order, variation and normalization."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from fireforge.base.preprocess import ImageSteps
from fireforge.base.rng import permutation
from fireforge.base.trial import Augment
from fireforge.train.augment import Moment, mix, vary
from fireforge.train.stopwatch import Stopwatch
from fireforge.train.world import World


@dataclass(frozen=True)
class Pictures:
    """Pictures of one or more parts, ready but for normalization.

    Args:
      pixels: uint8 (N, C, H, W), or larger where the variation crops from larger pictures.
      labels: int64 (N,).
      ids: sample ids, int64 (N,).
    """

    pixels: np.ndarray
    labels: np.ndarray
    ids: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, kw_only=True)
class Ready:
    """What a trial needs of its data.

    Args:
      train: pictures that are trained on.
      val: pictures that are judged on; may hold none.
    """

    train: Pictures
    val: Pictures


@dataclass(frozen=True, kw_only=True)
class Batching:
    """How pictures become batches.

    Args:
      batch: samples a batch; the last one may be smaller, none is left out. In training a single sample that would
        be left over joins the batch before it, since batch norm needs two values.
      classes: K of the targets.
      steps: normalization.
      augment: variation; None for none, in the order given.
      seed: of order and variation.
    """

    batch: int
    classes: int
    steps: ImageSteps
    augment: Augment | None = None
    seed: int = 0


def steps_per_epoch(count: int, batching: Batching) -> int:
    """Number of batches in an epoch.

    Args:
      count: of pictures.
      batching: how they become batches.

    Returns:
      Updates of one epoch.
    """
    alone = batching.augment is not None and count > batching.batch > 1 and count % batching.batch == 1
    return -(-count // batching.batch) - alone


def batches(
    pictures: Pictures,
    batching: Batching,
    *,
    epoch: int,
    world: World,
    clock: Stopwatch | None = None,
    first: int = 0,
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """One epoch, or what is left of it.

    Args:
      pictures: all of them, each comes once.
      batching: how.
      epoch: from 0; order and variation depend on (seed, epoch, sample id) only.
      world: where the batches go.
      clock: is told what collating, copying and varying take; None for nobody.
      first: number of the epoch's batch to begin with; nothing is done for those before it.

    Yields:
      Inputs float32 (N, C, H, W), normalized, and targets float32 (N, K) that sum to 1.
    """
    lap = clock.lap if clock is not None else _nobody
    order = np.arange(len(pictures))
    if batching.augment is not None:
        order = permutation(batching.seed, epoch, len(pictures))
    mean = torch.tensor(batching.steps.mean, device=world.device).view(-1, 1, 1)
    std = torch.tensor(batching.steps.std, device=world.device).view(-1, 1, 1)
    pixels, labels = torch.from_numpy(pictures.pixels), torch.from_numpy(pictures.labels)
    steps = steps_per_epoch(len(order), batching)
    for step in range(first, steps):
        end = len(order) if step + 1 == steps else (step + 1) * batching.batch
        if clock is not None:
            clock.step()
        rows = torch.from_numpy(order[step * batching.batch : end])
        inputs, targets = pixels[rows], F.one_hot(labels[rows], batching.classes)
        lap("collate")
        inputs, targets = inputs.to(world.device).float(), targets.to(world.device).float()
        lap("copy")
        if batching.augment is None or batching.augment == Augment():
            inputs = _resized(inputs, batching.steps.crop)
        if batching.augment is not None:
            moment = Moment(seed=batching.seed, epoch=epoch, ids=pictures.ids[rows.numpy()])
            inputs = vary(inputs, batching.augment, moment, size=batching.steps.crop)
            inputs, targets = mix(inputs, targets, batching.augment, moment)
        inputs.sub_(mean).div_(std)  # in place: the batch is a copy
        lap("augment")
        yield inputs, targets


def _nobody(stage: str) -> None:
    """A lap that nobody is told of."""


def _resized(pixels: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Larger training pictures at the size of the input, without variation."""
    if tuple(pixels.shape[2:]) == size:
        return pixels
    return F.interpolate(pixels, size, mode="bilinear", antialias=True, align_corners=False)
