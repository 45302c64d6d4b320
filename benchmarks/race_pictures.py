# SPDX-License-Identifier: Apache-2.0
"""The pictures of time_to_accuracy.py: CIFAR-10 as JPEG files, or as the user has it, in the parts of a race."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np

from fireforge.base.errors import FireforgeError
from fireforge.base.preprocess import ImageSteps
from fireforge.data.open import open_dataset
from fireforge.data.pixels import load_pixels

JPEGS = "cifar10_jpegbytes.npz"  # in the folder of the data; accuracies lie below those on the originals
SIDE_PX = 32
HELD_OUT = 5_000  # pictures of the training part that choices are made on
Rows = tuple[np.ndarray, np.ndarray, np.ndarray]  # pixels, labels and ids of pictures


def decoded(part: str, data: str) -> tuple[np.ndarray, np.ndarray]:
    """Pixels uint8 (N, 3, 32, 32) and labels int64 (N,) of "train" or "test".

    Args:
      part: of the data, which says itself what belongs to it.
      data: anything that fireforge opens, such as cifar-10-binary.tar.gz; "" for the JPEG files.
    """
    try:
        dataset = open_dataset(data or _jpegs())
    except FireforgeError as error:
        sys.exit(error.line())
    ids = np.array([sample.id for sample in dataset.samples if sample.part == part], np.int64)
    if not len(ids):
        sys.exit(f"{data}: has no part {part!r} of its own; a race is run on data that says what its test part is")
    steps = ImageSteps(channels=3, resize=None, crop=(SIDE_PX, SIDE_PX), mean=(0.0,) * 3, std=(1.0,) * 3)
    return load_pixels(dataset, ids, steps), dataset.targets[ids]


def parts_of(part: str, *, data: str, pictures: int) -> tuple[Rows, Rows | None]:
    """Pixels, labels and ids to train on, and those to look at where they come from the training part.

    Args:
      part: that is looked at, "test" or "validation".
      data: see `decoded`.
      pictures: of the training part, the first ones in an order drawn once; 0 for all.
    """
    pixels, labels = decoded("train", data)
    order = np.random.default_rng(123).permutation(len(labels))
    looked = np.sort(order[:HELD_OUT]) if part == "validation" else order[:0]
    trained = np.sort(order[len(looked) :][: pictures or None])
    if len(trained) == len(labels):
        return (pixels, labels, trained), None
    return (pixels[trained], labels[trained], trained), (pixels[looked], labels[looked], looked) if len(
        looked
    ) else None


def test_part(data: str) -> Rows:
    """What is looked at last."""
    pixels, labels = decoded("test", data)
    return pixels, labels, np.arange(len(labels))


def _jpegs() -> str:
    folder = os.environ.get("FIREFORGE_DATA")
    if not folder:
        sys.exit("FIREFORGE_DATA must name the folder of the data, or --data the pictures")
    return str(Path(folder) / JPEGS)
