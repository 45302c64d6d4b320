# SPDX-License-Identifier: Apache-2.0
"""From samples to one array of pixels, and the choice of how pictures become a network's input."""

from __future__ import annotations

import os

import numpy as np

from fireforge.base.errors import Exit, FireforgeError
from fireforge.base.pixels import to_pixels
from fireforge.base.preprocess import ImageSteps
from fireforge.base.progress import Progress, silent
from fireforge.base.rng import uniform
from fireforge.data.check import Look, each, is_gray, look
from fireforge.data.dataset import Content, Dataset

SMALL_PX = 64  # equal sizes up to this are kept as they are
LEAST_PX, MOST_PX, STEP_PX = 24, 224, 8  # otherwise the side that pictures are resized to
STATISTICS = 4096  # pictures, at most, that mean and std are taken from


def load_pixels(dataset: Dataset, ids: np.ndarray, steps: ImageSteps, *, progress: Progress = silent) -> np.ndarray:
    """Pictures made ready up to normalization, in the order of ids.

    Args:
      dataset: where they are read.
      ids: sample ids, integer (N,).
      steps: how they are made ready.
      progress: told how many are done.

    Returns:
      uint8 array (N, C, H, W).

    Raises:
      FireforgeError: a picture's own error, with the file named; TOO_LARGE, if the array would not fit into memory.
    """
    shape = (len(ids), steps.channels, *steps.crop)
    _check_memory(shape, dataset.source)
    out = np.empty(shape, np.uint8)
    for row, sample in enumerate(each(ids, stage="load", progress=progress)):
        out[row] = ready(dataset.read(sample), steps, dataset.where(sample))
    return out


def choose_steps(
    dataset: Dataset, train_ids: np.ndarray, *, image_size: int | None = None, progress: Progress = silent
) -> ImageSteps:
    """How the pictures become a network's input, by looking at the training part alone.

    At most 4,096 training pictures are looked at, chosen by their ids. Gray if every one of them is gray. Pictures of
    one size up to 64 px are kept as they are. Otherwise the shorter side is resized to the median shorter side, rounded
    down to a multiple of 8 and held within 24 to 224, and the centre square is cut out. Mean and std of each channel
    are given to 2 decimals, std at least 1.

    Args:
      dataset: the pictures.
      train_ids: ids of the training part, integer (N,).
      image_size: side of the square input in pixels; None to choose.
      progress: told how many are done.

    Returns:
      The steps.

    Raises:
      FireforgeError: BAD_SIZE, NO_DATA without training pictures, or a picture's own error, with the file named.
    """
    if image_size is not None and not 1 <= image_size <= 4096:
        raise FireforgeError("BAD_SIZE", f"an image size of {image_size} px", allowed="1 to 4096")
    if not len(train_ids):
        raise FireforgeError("NO_DATA", "no training pictures to look at", where=dataset.source)
    order = np.argsort(uniform(0, 0, np.asarray(train_ids), 0), kind="stable")[:STATISTICS]
    chosen = np.asarray(train_ids)[np.sort(order)]
    looks = [
        look(dataset.read(sample), where=dataset.where(sample), full=False)
        for sample in each(chosen, stage="look", progress=progress)
    ]
    resize, crop = _geometry(looks, image_size)
    gray = all(_is_gray(dataset, int(sample), item.mode) for sample, item in zip(chosen, looks))
    channels = 1 if gray else 3
    steps = ImageSteps(
        channels=channels,
        resize=resize,
        crop=crop,
        order="L" if gray else "RGB",
        mean=(0.0,) * channels,
        std=(255.0,) * channels,
    )
    mean, std = _statistics(dataset, chosen, steps, progress)
    return steps.replace(mean=mean, std=std)


def _geometry(looks: list[Look], image_size: int | None) -> tuple[tuple[int, int] | int, tuple[int, int]]:
    """Resize and crop of the steps; equal sizes are kept by a resize that other pictures feel and these do not."""
    sizes = {(item.height_px, item.width_px) for item in looks}
    only = next(iter(sizes)) if len(sizes) == 1 else None
    if only is not None and (max(only) <= SMALL_PX if image_size is None else only == (image_size, image_size)):
        return only, only
    side = image_size
    if side is None:
        median = int(np.median([min(item.height_px, item.width_px) for item in looks]))
        side = min(max(median // STEP_PX * STEP_PX, LEAST_PX), MOST_PX)
    return side, (side, side)


def _statistics(
    dataset: Dataset, ids: np.ndarray, steps: ImageSteps, progress: Progress
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and std of each channel from counts of the 256 values, so that no rounding depends on the order."""
    counts = np.zeros((steps.channels, 256), np.int64)
    for sample in each(ids, stage="statistics", progress=progress):
        picture = ready(dataset.read(sample), steps, dataset.where(sample))
        for channel in range(steps.channels):
            counts[channel] += np.bincount(picture[channel].reshape(-1), minlength=256)
    values = np.arange(256, dtype=np.float64)
    share = counts / counts.sum(axis=1, keepdims=True)
    mean = share @ values
    variance = (share * (values - mean[:, None]) ** 2).sum(axis=1)
    return tuple(round(float(m), 2) for m in mean), tuple(max(1.0, round(float(v) ** 0.5, 2)) for v in variance)


def _is_gray(dataset: Dataset, sample: int, mode: str) -> bool:
    try:
        return is_gray(dataset.read(sample), mode)
    except FireforgeError as error:
        raise _named(error, dataset.where(sample)) from error


def ready(content: Content, steps: ImageSteps, where: str) -> np.ndarray:
    """One picture made ready; arrays that need nothing but their axes moved go past Pillow.

    Args:
      content: what `Dataset.read` gives.
      steps: how it is made ready.
      where: its place, for errors.

    Returns:
      uint8 array (C, H, W).

    Raises:
      FireforgeError: the picture's own error, with the place named.
    """
    if isinstance(content, np.ndarray) and steps.resize is None and content.shape[:2] == steps.crop:
        if content.ndim == 2 and steps.channels == 1:
            return content[None]
        if content.ndim == 3 and steps.order == "RGB":
            return content.transpose(2, 0, 1)
    try:
        return to_pixels(content, steps)
    except FireforgeError as error:
        raise _named(error, where) from error


def unchanged(shape: tuple[int, int, int] | None, steps: ImageSteps) -> bool:
    """Whether decoded pictures are already as the steps would make them.

    Args:
      shape: (H, W, C) of all pictures; None where they have none in common.
      steps: how they would be made ready.

    Returns:
      True where only the axes would be moved.
    """
    if shape is None:
        return False
    same = steps.resize in (None, shape[:2], min(shape[:2]))
    return same and steps.crop == shape[:2] and steps.channels == shape[2] and steps.order in ("L", "RGB")


def _named(error: FireforgeError, where: str) -> FireforgeError:
    """The same error with the file that it speaks of."""
    return FireforgeError(
        error.code, error.what, where=where, allowed=error.allowed, do=error.do, exit_code=error.exit_code
    )


def _check_memory(shape: tuple[int, ...], where: str) -> None:
    need = int(np.prod(shape, dtype=np.float64))
    have = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else need
    if need > have:
        raise FireforgeError(
            "TOO_LARGE",
            f"{shape[0]} pictures of {shape[2]} x {shape[3]} px take {need / 1e9:.1f} GB of {have / 1e9:.1f} GB memory",
            where=where,
            do="a smaller image size",
            exit_code=Exit.ENVIRONMENT,
        )
