# SPDX-License-Identifier: Apache-2.0
"""Pictures to measure with: from an npz file with labels, or generated where nothing is given."""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from fireforge.base.errors import FireforgeError
from fireforge.base.files import write_bytes
from fireforge.base.pixels import Picture, open_picture
from fireforge.base.preprocess import ImageSteps
from fireforge.base.rng import golden_bytes


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """Pictures and their true classes.

    Args:
      pictures: uint8 arrays, or image files' bytes.
      labels: int64 (N,), indices into a card's labels.
    """

    pictures: list[Picture]
    labels: np.ndarray


def save_pictures(path: str | Path, pictures: np.ndarray | list[bytes], labels: np.ndarray) -> Path:
    """Write pictures for `read_pictures`.

    Args:
      path: the file, ending in ".npz".
      pictures: uint8 (N, H, W) or (N, H, W, 3), or N image files' bytes.
      labels: whole numbers (N,).

    Returns:
      The path.

    Raises:
      FireforgeError: CANNOT_WRITE, if the folder is missing, not writable or full; nothing half written stays.
    """
    numbers = np.asarray(labels, np.int64)
    stream = io.BytesIO()
    if isinstance(pictures, np.ndarray):
        np.savez(stream, pictures=pictures, labels=numbers)
    else:
        ends = np.cumsum([len(data) for data in pictures], dtype=np.int64)
        np.savez(stream, files=np.frombuffer(b"".join(pictures), np.uint8), ends=ends, labels=numbers)
    return write_bytes(path, stream.getvalue())


def read_pictures(path: str | Path) -> Pictures:
    """The pictures of an npz file.

    Args:
      path: a file with "labels" (N,), and either "pictures" uint8 (N, H, W[, 3]), or "files" (image files' bytes one
        behind the other, uint8) with "ends" (N,), where each of them ends.

    Returns:
      The pictures.

    Raises:
      FireforgeError: NO_FILE, or BAD_PICTURES, if the arrays are not there or do not fit.
    """
    try:
        with open(path, "rb") as stream, np.load(stream, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
    except FileNotFoundError as error:
        raise FireforgeError("NO_FILE", "cannot be read", where=str(path)) from error
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise FireforgeError("BAD_PICTURES", f"not an npz file: {error}", where=str(path)) from error
    pictures: list[Picture] = []
    if {"pictures", "labels"} <= arrays.keys():
        pictures = list(arrays["pictures"])
    elif {"files", "ends", "labels"} <= arrays.keys():
        ends = [0, *arrays["ends"].tolist()]
        pictures = [arrays["files"][start:end].tobytes() for start, end in pairwise(ends)]
    if not pictures or arrays["labels"].shape != (len(pictures),):
        names = ", ".join(f"{name} {array.shape}" for name, array in arrays.items())
        allowed = "labels (N,) and pictures (N, H, W[, 3]), or files and ends (N,)"
        raise FireforgeError("BAD_PICTURES", f"holds {names}", where=str(path), allowed=allowed)
    return Pictures(pictures=pictures, labels=arrays["labels"].astype(np.int64))


def as_array(picture: Picture) -> np.ndarray:
    """The picture as uint8 (H, W) or (H, W, 3), upright; the work of decoding a file is done here."""
    image = open_picture(picture)
    return np.asarray(image if image.mode in ("L", "RGB") else image.convert("RGB"))


def generated(steps: ImageSteps, count: int) -> list[np.ndarray]:
    """Pictures of the size that the steps expect, from the generator of golden inputs.

    Args:
      steps: resize, crop and channels are used.
      count: number of pictures.

    Returns:
      uint8 arrays (H, W) or (H, W, 3).
    """
    high, wide = steps.crop
    if isinstance(steps.resize, int):
        high = wide = max(steps.resize, high, wide)
    elif steps.resize is not None:
        high, wide = steps.resize
    made = [golden_bytes(i, (steps.channels, high, wide)) for i in range(count)]
    return [p[0] if steps.channels == 1 else np.ascontiguousarray(p.transpose(1, 2, 0)) for p in made]
