# SPDX-License-Identifier: Apache-2.0
"""Looking at pictures one by one: size, colour, and whether they decode whole."""

from __future__ import annotations

import functools
import io
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image

from fireforge.base.errors import FireforgeError
from fireforge.base.pixels import FORMATS, decode, open_picture
from fireforge.base.progress import Progress, Update, silent
from fireforge.base.sample import Skipped
from fireforge.data.dataset import Content, Dataset

GRAY_MODES = ("1", "L", "LA", "La", "I", "F", "I;16", "I;16B", "I;16L", "I;16N")
ORIENTATION = 0x0112  # EXIF tag; values 5 to 8 lay the picture on its side
EVERY = 256  # pictures between two updates of a progress


@dataclass(frozen=True)
class Look:
    """What a picture is, without its pixels.

    Args:
      height_px: upright, after its EXIF orientation.
      width_px: likewise.
      mode: Pillow's mode of the stored picture; "L" or "RGB" for arrays.
    """

    height_px: int
    width_px: int
    mode: str


def look(content: Content, *, where: str, full: bool) -> Look:
    """Size and mode of a picture.

    Args:
      content: what `Dataset.read` gives.
      where: named in errors.
      full: decode it whole, so that a damaged picture is found; otherwise the header is enough.

    Returns:
      What it is.

    Raises:
      FireforgeError: what `fireforge.base.pixels.decode` raises; without `full`, only what the header shows.
    """
    if not isinstance(content, bytes):
        return Look(content.shape[0], content.shape[1], "L" if content.ndim == 2 else "RGB")
    if full:
        image = decode(content, where=where)
    else:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                image = Image.open(io.BytesIO(content), formats=FORMATS)
        except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError):
            image = decode(content, where=where)  # raises with the reason
    high, wide = (image.width, image.height) if _on_its_side(image) else (image.height, image.width)
    return Look(high, wide, image.mode)


def is_gray(content: Content, mode: str) -> bool:
    """Whether a picture has no colour: by its mode, or else because its three channels are equal everywhere."""
    if mode in GRAY_MODES:
        return True
    pixels = np.asarray(open_picture(content).convert("RGB"))
    return bool((pixels[..., :1] == pixels).all())


def find_broken(dataset: Dataset, *, progress: Progress = silent) -> dict[int, Skipped]:
    """The pictures that do not decode whole.

    Args:
      dataset: any; arrays are never broken.
      progress: told how many are done.

    Returns:
      Sample id to the reason, in the order of ids.
    """
    broken = {}
    for sample in each(range(len(dataset.samples)), stage="check", progress=progress):
        try:
            look(dataset.read(sample), where=dataset.where(sample), full=True)
        except FireforgeError as error:
            broken[sample] = Skipped(name=dataset.samples[sample].name, code=error.code, reason=error.what)
    return broken


def drop_broken(dataset: Dataset, *, progress: Progress = silent) -> Dataset:
    """The dataset without the pictures that do not decode whole: they move to `skipped`, ids are counted anew.

    Args:
      dataset: any.
      progress: told how many are done.

    Returns:
      The same dataset where every picture decodes.
    """
    return without(dataset, find_broken(dataset, progress=progress))


def without(dataset: Dataset, broken: dict[int, Skipped]) -> Dataset:
    """The dataset without some samples.

    Args:
      dataset: any.
      broken: sample id to the reason.

    Returns:
      The dataset with ids counted anew; the same one where nothing is broken.
    """
    if not broken:
        return dataset
    kept = tuple(sample for sample in dataset.samples if sample.id not in broken)
    return Dataset(
        format=dataset.format,
        source=dataset.source,
        labels=dataset.labels,
        samples=tuple(sample.replace(id=i) for i, sample in enumerate(kept)),
        skipped=dataset.skipped + tuple(broken.values()),
        reader=functools.partial(_through, dataset.reader, tuple(sample.id for sample in kept)),
    )


def each(ids: range | np.ndarray, *, stage: str, progress: Progress) -> Iterator[int]:
    """The ids one by one, with an update every 256 pictures and one at the end."""
    for done, sample in enumerate(ids):
        if done % EVERY == 0:
            progress(Update(stage=stage, done=done, total=len(ids), unit="image"))
        yield int(sample)
    progress(Update(stage=stage, done=len(ids), total=len(ids), unit="image"))


def _through(reader: Callable[[int], Content], ids: tuple[int, ...], sample_id: int) -> Content:
    return reader(ids[sample_id])


def _on_its_side(image: Image.Image) -> bool:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return image.getexif().get(ORIENTATION) in (5, 6, 7, 8)
        except (OSError, ValueError, SyntaxError, KeyError, TypeError, IndexError, OverflowError):
            return False
