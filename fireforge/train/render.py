# SPDX-License-Identifier: Apache-2.0
"""Pictures decoded for one batch: read, decoded, cropped at random or cut as the steps say, mirrored, put in place."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image

from fireforge.base.errors import FireforgeError
from fireforge.base.pixels import crop, decode, open_picture, orient, resize, to_channels
from fireforge.base.preprocess import ImageSteps
from fireforge.base.rng import uniform
from fireforge.base.trial import Augment
from fireforge.data.dataset import Content
from fireforge.data.jpeg import FastJpeg
from fireforge.data.shards.stored import Stored
from fireforge.train.augment import ASPECT, DRAWS, Moment
from fireforge.train.stopwatch import waited_for_core

Lap = Callable[[str], None]
Box = tuple[int, int, int, int]  # top, left, height, width of a window in px


@dataclass(frozen=True, kw_only=True)
class Take:
    """When pictures are taken, and how they are varied; picklable and small.

    Args:
      seed: of the run.
      epoch: from 0.
      augment: crop_area and flip are used, the rest is done on the whole batch; None for pictures that are judged,
        which Pillow decodes.
    """

    seed: int
    epoch: int
    augment: Augment | None = None


class LostPicture(Exception):  # noqa: N818 - carries an error to where its picture has a name
    """A picture that cannot be had.

    Args:
      sample: its id.
      error: why.
    """

    def __init__(self, sample: int, error: FireforgeError) -> None:
        super().__init__(sample, error)
        self.sample = sample
        self.error = error


class Renderer:
    """Makes the pictures of some samples ready, one after another; picklable.

    A random crop takes its window from the whole upright picture and is resized with antialias, as Pillow would within
    1 of 255; for it a large JPEG may be decoded smaller. Without one a picture is what the steps make of it.

    Args:
      read: content of the sample with an id; picklable.
      steps: how it is made ready.
    """

    def __init__(self, read: Callable[[int], Content], steps: ImageSteps) -> None:
        self._reader = read
        mapped = isinstance(read, Stored) and read.shape is not None
        self._read: Callable[[int], Content] = read.picture if mapped else read  # type: ignore[attr-defined]
        self._steps = steps
        self._jpeg: FastJpeg | None = None
        self._room = np.empty((*steps.crop, steps.channels), np.uint8)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle support: the decoder and its room stay here."""
        return (Renderer, (self._reader, self._steps))

    def fill(self, out: np.ndarray, ids: np.ndarray, take: Take, lap: Lap) -> None:
        """Render pictures.

        Args:
          out: uint8 (N, C, H, W), filled.
          ids: sample ids, int64 (N,).
          take: when and how.
          lap: is told when reading, decoding, augmenting and collating of each picture end.

        Raises:
          LostPicture: with the error of the first picture that cannot be read or decoded.
        """
        mirrored = np.zeros(len(ids), bool)
        if take.augment is not None and take.augment.flip:
            mirrored = Moment(seed=take.seed, epoch=take.epoch, ids=ids).mirrored().numpy()
        shares = _shares(take, ids)
        for row, sample in enumerate(ids.tolist()):
            try:
                content = self._read(sample)
                lap("read")
                pixels, box = self._decoded(content, take, shares[row] if shares is not None else None)
            except FireforgeError as error:
                raise LostPicture(sample, error) from error
            lap("decode")
            picture = self._cut(pixels, box, mirrored[row])
            lap("augment")
            np.copyto(out[row], picture)
            lap("collate")

    def _decoded(self, content: Content, take: Take, share: tuple[float, ...] | None) -> tuple[np.ndarray, Box]:
        """Pixels (H, W, C) in the order that is stored, and the window that is wanted of them."""
        if share is not None:
            return self._window(content, share)
        if self._is_ready(content):
            assert isinstance(content, np.ndarray)
            (high, wide), size = self._steps.crop, content.shape
            return content, ((size[0] - high) // 2, (size[1] - wide) // 2, high, wide)
        image = resize(self._whole(content, fast=take.augment is not None), self._steps)
        pixels = crop(image, self._steps.replace(order="L" if self._steps.channels == 1 else "RGB"))
        return pixels.transpose(1, 2, 0), (0, 0, *self._steps.crop)

    def _cut(self, pixels: np.ndarray, box: Box, mirrored: bool) -> np.ndarray:
        """A window in the size of the input, uint8 (C, H, W) in the order of channels that is wanted."""
        top, left, high, wide = box
        window = pixels[top : top + high, left : left + wide]
        if (high, wide) != self._steps.crop:
            window = self._resized(window)
        cut = (window[:, ::-1] if mirrored else window).transpose(2, 0, 1)
        return cut[::-1] if self._steps.order == "BGR" else cut

    def _resized(self, window: np.ndarray) -> np.ndarray:
        """Pixels (H, W, C) in the size of the input, bilinear with antialias; overwritten by the next call.

        The numbers are those of `torch.nn.functional.interpolate`, which makes another layout of them on the way: with
        room that is laid out as the pixels are, the kernel takes six tenths of the time.
        """
        source, out = (torch.from_numpy(array[None]).permute(0, 3, 1, 2) for array in (window.copy(), self._room))
        torch.ops.aten._upsample_bilinear2d_aa.out(source, self._steps.crop, False, None, None, out=out)
        return self._room

    def _is_ready(self, content: Content) -> bool:
        """Whether a stored picture needs nothing but to be cut."""
        if not isinstance(content, np.ndarray) or content.ndim != 3 or content.shape[2] != self._steps.channels:
            return False
        whole = self._steps.resize in (None, content.shape[:2])
        return whole and all(side >= least for side, least in zip(content.shape, self._steps.crop))

    def _whole(self, content: Content, fast: bool) -> Image.Image:
        """A picture upright in the channels of the steps."""
        if isinstance(content, bytes) and fast:
            size = self._fast().size(content, where="")
            pixels = None if size is None else self._fast().decode(content, size)
            if pixels is not None:
                return Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
        image = orient(decode(content, where="")) if isinstance(content, bytes) else open_picture(content)
        return to_channels(image, self._steps)

    def _window(self, content: Content, share: tuple[float, ...]) -> tuple[np.ndarray, Box]:
        """Pixels (H, W, C), and the window in them as (top, left, height, width)."""
        size = self._fast().size(content, where="") if isinstance(content, bytes) else None
        if size is not None and isinstance(content, bytes):
            box = _box(share, size)
            _, _, high, wide = box
            least = [math.ceil(side * out / part) for side, out, part in zip(size, self._steps.crop, (high, wide))]
            pixels = self._fast().decode(content, size, least=(least[0], least[1]))
            if pixels is not None:
                return pixels, box if pixels.shape[:2] == size else _box(share, pixels.shape[:2])
        if isinstance(content, np.ndarray) and content.ndim == 3 and content.shape[2] == self._steps.channels:
            pixels = content
        else:
            pixels = np.asarray(self._whole(content, fast=False))
        pixels = pixels if pixels.ndim == 3 else pixels[:, :, None]
        return pixels, _box(share, pixels.shape[:2])

    def _fast(self) -> FastJpeg:
        if self._jpeg is None:
            self._jpeg = FastJpeg(self._steps.channels)
        return self._jpeg


class Spent:
    """Seconds by stage of who renders, and what became of them.

    The keys are those of the stages; "wall" for all seconds, "core" for those of the processor, and "queue" for those
    in which the system let it wait for a core.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._first = self._last = time.perf_counter()
        self._core, self._queue = time.thread_time(), waited_for_core()

    def lap(self, stage: str) -> None:
        """End a stage of a picture."""
        now = time.perf_counter()
        self.seconds[stage] = self.seconds.get(stage, 0.0) + now - self._last
        self._last = now

    def end(self) -> dict[str, float]:
        """All of it."""
        core, queue = time.thread_time() - self._core, waited_for_core() - self._queue
        return {**self.seconds, "wall": time.perf_counter() - self._first, "core": core, "queue": queue}


def _shares(take: Take, ids: np.ndarray) -> list[tuple[float, ...]] | None:
    """Area, aspect, and place of each crop; None where there is none."""
    if take.augment is None or take.augment.crop_area >= 1:
        return None
    drawn = [uniform(take.seed, take.epoch, ids, DRAWS.index(name)).tolist() for name in ("area", "aspect", "dy", "dx")]
    least = take.augment.crop_area
    return [
        (least + (1 - least) * area, math.exp((aspect * 2 - 1) * math.log(ASPECT)), dy, dx)
        for area, aspect, dy, dx in zip(*drawn)
    ]


def _box(share: tuple[float, ...], size: tuple[int, ...]) -> Box:
    """A window as (top, left, height, width) in whole pixels, not beyond the picture."""
    area, aspect, dy, dx = share
    pixels = area * size[0] * size[1]
    high = min(size[0], max(1, round(math.sqrt(pixels / aspect))))
    wide = min(size[1], max(1, round(math.sqrt(pixels * aspect))))
    return int(dy * (size[0] - high + 1)), int(dx * (size[1] - wide + 1)), high, wide
