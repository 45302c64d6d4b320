# SPDX-License-Identifier: Apache-2.0
"""Small datasets, packed, and their index with a byte changed and the sha256 made right again."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from fireforge.base.sample import Sample
from fireforge.base.trial import DataRef
from fireforge.data.dataset import Dataset
from fireforge.data.shards.layout import INDEX
from fireforge.data.shards.writer import Packed, Packing, write_shards
from fireforge.data.split import split


def some_pixels(count: int = 40, side: int = 8, *, gray: bool = False, seed: int = 1) -> np.ndarray:
    """uint8 (N, H, W, 3) or (N, H, W)."""
    shape = (count, side, side + 1) if gray else (count, side, side + 1, 3)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def dataset_of(pictures: list[bytes] | np.ndarray, classes: int = 2) -> Dataset:
    """Pictures whose class is their number modulo the classes."""
    return Dataset(
        format="test",
        source="here",
        labels=tuple(f"class {i}" for i in range(classes)),
        samples=tuple(Sample(id=i, label=i % classes, name=f"some/{i}.png") for i in range(len(pictures))),
        reader=pictures.__getitem__,
    )


def packed(dataset: Dataset, folder: Path, **wish: object) -> tuple[Packed, np.ndarray]:
    """The dataset packed, and the old ids in the order in which they lie there."""
    parts = split(dataset, DataRef(source=dataset.source))
    done = write_shards(dataset, folder, parts=parts, packing=Packing(**wish))  # type: ignore[arg-type]
    return done, np.concatenate([parts.train, parts.val, parts.test])


def rewrite(folder: Path, data: bytes) -> None:
    """Put an index in the place of the one that stands there, its sha256 made right."""
    (folder / INDEX).write_bytes(data[:-32] + hashlib.sha256(data[:-32]).digest())
