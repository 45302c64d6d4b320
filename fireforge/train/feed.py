# SPDX-License-Identifier: Apache-2.0
"""Pictures as torch batches: order, variation and normalization."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F

from fireforge.base.preprocess import ImageSteps
from fireforge.base.rng import permutation
from fireforge.base.trial import Augment
from fireforge.train.augment import Moment, mix, vary
from fireforge.train.render import Take
from fireforge.train.stopwatch import Stopwatch
from fireforge.train.world import World


class Source(Protocol):
    """Where a training's pictures come from: `Pictures` in memory, or `fireforge.train.stream.Streamed`."""

    @property
    def labels(self) -> np.ndarray:
        """Class numbers, int64 (N,)."""

    @property
    def ids(self) -> np.ndarray:
        """Sample ids, int64 (N,)."""

    def __len__(self) -> int: ...

    def take(self, rows: np.ndarray) -> Source:
        """Some of the pictures."""

    def rest(self, augment: Augment) -> Augment:
        """What of a variation is left to be done on whole batches."""

    def flow(self, plan: Sequence[np.ndarray], take: Take, clock: Stopwatch | None) -> Iterator[torch.Tensor]:
        """Batches uint8 (N, C, H, W), one for each array of rows; the next one may overwrite the last."""

    def close(self) -> None:
        """Give back what was taken for it beside memory."""


@dataclass(frozen=True)
class Pictures:
    """Pictures of one or more parts, ready but for normalization.

    Args:
      pixels: uint8 (N, C, H, W), or larger where the variation crops from larger pictures; a tensor where they lie on
        an accelerator, from where every batch is taken without a copy.
      labels: int64 (N,).
      ids: sample ids, int64 (N,).
    """

    pixels: np.ndarray | torch.Tensor
    labels: np.ndarray
    ids: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: np.ndarray) -> Pictures:
        """Some of the pictures."""
        return Pictures(self.pixels[rows], self.labels[rows], self.ids[rows])

    def rest(self, augment: Augment) -> Augment:
        """All of a variation is done on whole batches."""
        return augment

    def flow(self, plan: Sequence[np.ndarray], take: Take, clock: Stopwatch | None) -> Iterator[torch.Tensor]:
        """Batches in the order of a plan; see `Source`."""
        pixels = torch.as_tensor(self.pixels)
        for rows in plan:
            yield pixels[torch.from_numpy(rows).to(pixels.device)]

    def close(self) -> None:
        """There is nothing to be given back."""


@dataclass(frozen=True, kw_only=True)
class Ready:
    """What a trial needs of its data.

    Args:
      train: pictures that are trained on.
      val: pictures that are judged on; may hold none.
      where: the place of the sample with an id, for messages.
    """

    train: Source
    val: Source
    where: Callable[[int], str] = "sample {}".format

    def close(self) -> None:
        """Give back what was taken for both beside memory."""
        self.train.close()
        self.val.close()


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


def ids_of(pictures: Source, batching: Batching, *, epoch: int, step: int) -> np.ndarray:
    """Which pictures a batch holds.

    Args:
      pictures: all of them.
      batching: how they become batches.
      epoch: from 0.
      step: from 0, within the epoch.

    Returns:
      Their sample ids, int64 (n,).
    """
    ids: np.ndarray = pictures.ids[_rows(_order(len(pictures), batching, epoch), batching, step)]
    return ids


def batches(
    pictures: Source,
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
      clock: is told what feeding the network takes; None for nobody.
      first: number of the epoch's batch to begin with; nothing is done for those before it.

    Yields:
      Inputs float32 (N, C, H, W), normalized, and targets float32 (N, K) that sum to 1.
    """
    lap = clock.lap if clock is not None else _nobody
    order = _order(len(pictures), batching, epoch)
    mean = torch.tensor(batching.steps.mean, device=world.device).view(-1, 1, 1)
    std = torch.tensor(batching.steps.std, device=world.device).view(-1, 1, 1)
    labels = torch.from_numpy(pictures.labels)
    steps = steps_per_epoch(len(order), batching)
    plan = [_rows(order, batching, step) for step in range(first, steps)]
    augment = None if batching.augment is None else pictures.rest(batching.augment)
    flow = pictures.flow(plan, Take(seed=batching.seed, epoch=epoch, augment=batching.augment), clock)
    for chosen in plan:
        if clock is not None:
            clock.step()
        inputs, targets = next(flow), F.one_hot(labels[torch.from_numpy(chosen)], batching.classes)
        lap("collate")
        inputs = inputs.to(world.device).to(torch.float32, memory_format=torch.contiguous_format)  # a map may differ
        targets = targets.to(world.device).float()
        lap("copy")
        if augment is None or augment == Augment():
            inputs = _resized(inputs, batching.steps.crop)
        if augment is not None:
            moment = Moment(seed=batching.seed, epoch=epoch, ids=pictures.ids[chosen])
            inputs = vary(inputs, augment, moment, size=batching.steps.crop)
            inputs, targets = mix(inputs, targets, augment, moment)
        inputs.sub_(mean).div_(std)  # in place: the batch is a copy
        lap("augment")
        yield inputs, targets


def _order(count: int, batching: Batching, epoch: int) -> np.ndarray:
    """Rows of the pictures in the order of an epoch: mixed in training alone."""
    return np.arange(count) if batching.augment is None else permutation(batching.seed, epoch, count)


def _rows(order: np.ndarray, batching: Batching, step: int) -> np.ndarray:
    """Rows of one batch; the last one takes what is left."""
    last = step + 1 == steps_per_epoch(len(order), batching)
    return order[step * batching.batch : None if last else (step + 1) * batching.batch]


def _nobody(stage: str) -> None:
    """A lap that nobody is told of."""


def _resized(pixels: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Larger training pictures at the size of the input, without variation."""
    if tuple(pixels.shape[2:]) == size:
        return pixels
    return F.interpolate(pixels, size, mode="bilinear", antialias=True, align_corners=False)
