# SPDX-License-Identifier: Apache-2.0
"""Looking at pictures one by one: size, colour, and whether they decode whole."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from fireforge.base.errors import FireforgeError
from fireforge.base.picture.decode import decode_noted, read_head
from fireforge.base.picture.orientation import orientation
from fireforge.base.picture.sniff import promised
from fireforge.base.pixels import open_picture
from fireforge.base.progress import Progress, Update, silent
from fireforge.base.sample import Noted, Skipped
from fireforge.data.dataset import Content, Dataset
from fireforge.data.samples import Samples

GRAY_MODES = ("1", "L", "LA", "La", "I", "F", "I;16", "I;16B", "I;16L", "I;16N")
NO_LOSS = ("IMG_EMPTY", "IMG_NOT_IMAGE")  # of files whose name promises nothing
EVERY = 256  # pictures between two updates of a progress


@dataclass(frozen=True)
class Look:
    """What a picture is, without its pixels.

    Args:
      height_px: upright, after its EXIF orientation.
      width_px: likewise.
      mode: Pillow's mode of the stored picture; "L" or "RGB" for arrays.
      notes: codes of `fireforge.base.picture.notes`, each once.
    """

    height_px: int
    width_px: int
    mode: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Checked:
    """What decoding every picture found.

    Args:
      broken: sample id to why it cannot be used, in the order of ids.
      notes: remarks about the others, in the order of ids.
    """

    broken: dict[int, Skipped] = field(default_factory=dict)
    notes: tuple[Noted, ...] = ()


def look(content: Content, *, where: str, full: bool) -> Look:
    """Size and mode of a picture.

    Args:
      content: what `Dataset.read` gives.
      where: named in errors; ends like the picture's file name.
      full: decode it whole, so that a damaged picture is found; otherwise the header is enough.

    Returns:
      What it is.

    Raises:
      FireforgeError: what `fireforge.base.picture.decode.decode_noted` raises; without `full`, what the header shows.
    """
    if not isinstance(content, bytes):
        return Look(content.shape[0], content.shape[1], "L" if content.ndim == 2 else "RGB")
    image, notes = decode_noted(content, where=where) if full else read_head(content, where=where)
    if promised(where) not in ("", image.format):
        notes = (*notes, "IMG_NAME_MISMATCH")
    on_its_side = orientation(image)[0] in (5, 6, 7, 8)
    high, wide = (image.width, image.height) if on_its_side else (image.height, image.width)
    return Look(high, wide, image.mode, tuple(sorted(set(notes))))


def is_gray(content: Content, mode: str) -> bool:
    """Whether a picture has no colour: by its mode, or else because its three channels are equal everywhere."""
    if mode in GRAY_MODES:
        return True
    pixels = np.asarray(open_picture(content).convert("RGB"))
    return bool((pixels[..., :1] == pixels).all())


def check_pictures(dataset: Dataset, *, progress: Progress = silent) -> Checked:
    """Decode every picture whole.

    Args:
      dataset: any; arrays are never broken.
      progress: told how many are done.

    Returns:
      What was found.
    """
    broken: dict[int, Skipped] = {}
    notes: list[Noted] = []
    for sample in each(range(len(dataset.samples)), stage="check", progress=progress):
        name = dataset.samples[sample].name
        try:
            seen = look(dataset.read(sample), where=dataset.where(sample), full=True)
        except FireforgeError as error:
            broken[sample] = Skipped(name=name, code=error.code, reason=error.what)
        else:
            notes.extend(Noted(name=name, code=code) for code in seen.notes)
    return Checked(broken, tuple(notes))


def drop_broken(dataset: Dataset, *, progress: Progress = silent) -> Dataset:
    """The dataset without the pictures that do not decode whole: they move to `skipped`, ids are counted anew.

    Args:
      dataset: any.
      progress: told how many are done.

    Returns:
      The same dataset where every picture decodes, as those of a packed one do; its `notes` are its own and those of
        the pictures that are used.
    """
    if dataset.known is not None:
        return dataset
    checked = check_pictures(dataset, progress=progress)
    whole = without(dataset, checked.broken)
    return dataclasses.replace(whole, notes=(*dataset.notes, *checked.notes)) if checked.notes else whole


def lost_pictures(skipped: tuple[Skipped, ...]) -> tuple[Skipped, ...]:
    """Those skipped files that were pictures or promised to be, by their content or their name.

    Args:
      skipped: of a dataset.

    Returns:
      The losses; a README or an empty file without a picture's name is none.
    """
    return tuple(
        item for item in skipped if promised(item.name) or (item.code.startswith("IMG_") and item.code not in NO_LOSS)
    )


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
    kept = np.setdiff1d(np.arange(len(dataset.samples)), np.fromiter(broken, np.int64, len(broken)))
    samples = dataset.samples
    if isinstance(samples, Samples):
        samples = samples.taken(kept)
    else:
        samples = tuple(samples[old].replace(id=i) for i, old in enumerate(kept.tolist()))
    return dataclasses.replace(
        dataset,
        samples=samples,
        skipped=dataset.skipped + tuple(broken.values()),
        reader=functools.partial(_through, dataset.reader, kept),
        known=None,
    )


def each(ids: range | np.ndarray, *, stage: str, progress: Progress) -> Iterator[int]:
    """The ids one by one, with an update every 256 pictures and one at the end."""
    for done, sample in enumerate(ids):
        if done % EVERY == 0:
            progress(Update(stage=stage, done=done, total=len(ids), unit="image"))
        yield int(sample)
    progress(Update(stage=stage, done=len(ids), total=len(ids), unit="image"))


def _through(reader: Callable[[int], Content], ids: np.ndarray, sample_id: int) -> Content:
    return reader(int(ids[sample_id]))
