# SPDX-License-Identifier: Apache-2.0
"""Writing any dataset of equally large pictures as one npz file, which then opens fast anywhere."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from fireforge.base.errors import FireforgeError
from fireforge.base.files import write_bytes
from fireforge.base.pixels import open_picture, to_channels
from fireforge.base.preprocess import ImageSteps
from fireforge.base.progress import Progress, silent
from fireforge.data.check import Look, each, is_gray, look
from fireforge.data.dataset import PARTS, Dataset
from fireforge.data.samples import OWNERS
from fireforge.data.split import Parts

GRAY = ImageSteps(channels=1, resize=None, crop=(1, 1), order="L", mean=(0.0,), std=(255.0,))
COLOUR = ImageSteps(channels=3, resize=None, crop=(1, 1))


def write_npz(dataset: Dataset, path: str | Path, *, parts: Parts | None = None, progress: Progress = silent) -> Path:
    """Pack the decoded, upright pictures: x, y and classes, with _train, _val and _test where there are parts.

    Pixels are uint8 (N, H, W) if all pictures are gray, otherwise (N, H, W, 3); transparent ones stand on white.
    The same dataset gives the same bytes.

    Args:
      dataset: pictures of one size.
      path: the file; its folder must exist, and its name must end in .npz.
      parts: a split to write down; None keeps the data's own parts.
      progress: told how many are done.

    Returns:
      The path.

    Raises:
      FireforgeError: UNEQUAL_SIZES, naming two files; BAD_NAME; CANNOT_WRITE; or a picture's own error.
    """
    if Path(path).suffix.lower() != ".npz":
        raise FireforgeError("BAD_NAME", f"a packed dataset called {Path(path).name!r}", allowed="a name.npz")
    size, gray = _common(dataset, progress)
    arrays: dict[str, np.ndarray] = {}
    for suffix, ids in _groups(dataset, parts).items():
        pixels = np.empty((len(ids), *size) if gray else (len(ids), *size, 3), np.uint8)
        for row, sample in enumerate(each(ids, stage="pack", progress=progress)):
            pixels[row] = np.asarray(to_channels(open_picture(dataset.read(sample)), GRAY if gray else COLOUR))
        arrays[f"x{suffix}"] = pixels
        arrays[f"y{suffix}"] = dataset.targets[ids]
    arrays["classes"] = np.array(dataset.labels, np.str_)
    stream = io.BytesIO()
    np.savez_compressed(stream, allow_pickle=False, **arrays)
    return write_bytes(path, stream.getvalue())


def _groups(dataset: Dataset, parts: Parts | None) -> dict[str, np.ndarray]:
    """Key suffix to sample ids."""
    if parts is not None:
        return {f"_{name}": parts.ids(name) for name in PARTS if len(parts.ids(name))}
    owners = dataset.owners
    if not owners.any():
        return {"": np.arange(len(owners))}
    return {f"_{name}": np.flatnonzero(owners == i) for i, name in enumerate(OWNERS) if name and (owners == i).any()}


def _common(dataset: Dataset, progress: Progress) -> tuple[tuple[int, int], bool]:
    """The one size (H, W) of all pictures, and whether all are gray; every picture is decoded."""
    first: Look | None = None
    gray = True
    for sample in each(range(len(dataset.samples)), stage="look", progress=progress):
        content = dataset.read(sample)
        item = look(content, where=dataset.where(sample), full=True)
        first = first or item
        if (item.height_px, item.width_px) != (first.height_px, first.width_px):
            raise FireforgeError(
                "UNEQUAL_SIZES",
                f"{dataset.samples[0].name} is {first.height_px} x {first.width_px} px, "
                f"{dataset.samples[sample].name} is {item.height_px} x {item.width_px} px",
                where=dataset.source,
                allowed="pictures of one size",
                do="name.shards with --size 128, or --jpeg",
            )
        gray = gray and is_gray(content, item.mode)
    if first is None:
        raise FireforgeError("NO_DATA", "no pictures to pack", where=dataset.source)
    return (first.height_px, first.width_px), gray
