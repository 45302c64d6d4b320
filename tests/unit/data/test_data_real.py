# SPDX-License-Identifier: Apache-2.0
"""Public datasets open, and their counts are the published ones."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from fireforge.base.trial import DataRef
from fireforge.data.open import open_dataset
from fireforge.data.pixels import choose_steps, load_pixels
from fireforge.data.split import split

pytestmark = [
    pytest.mark.data,
    pytest.mark.skipif("FIREFORGE_DATA" not in os.environ, reason="FIREFORGE_DATA names no folder"),
]

COUNTS = {
    "fashion_mnist.npz": (10, {"train": 60_000, "test": 10_000}, (1, 28, 28)),
    "cifar10_jpegbytes.npz": (10, {"train": 50_000, "test": 10_000}, (3, 32, 32)),
    "photos10": (10, {"train": 1_500, "val": 500}, (3, 224, 224)),
    "transfer/sign_digits10": (10, {"all": 2_062}, (3, 96, 96)),
    "transfer/textures_dtd10": (10, {"all": 1_200}, None),
    "transfer/scenes_intel6": (6, None, (3, 96, 96)),
    "transfer/traffic_gtsrb43": (43, None, (3, 32, 32)),
}
TOTALS = {"transfer/scenes_intel6": 1_260, "transfer/traffic_gtsrb43": 3_097}


@pytest.mark.parametrize("name", COUNTS)
def test_published_counts(name: str) -> None:
    classes, want, shape = COUNTS[name]
    dataset = open_dataset(Path(os.environ["FIREFORGE_DATA"]) / name)
    assert len(dataset.labels) == classes
    total: dict[str, int] = {}
    for row in dataset.counts().values():
        for part, count in row.items():
            total[part] = total.get(part, 0) + count
    if want is None:
        assert set(total) == {"train", "test"}
    else:
        assert total == want
    assert len(dataset.samples) == sum(total.values()) == TOTALS.get(name, sum(total.values()))
    assert {item.name for item in dataset.skipped} <= {"labels.csv"}
    parts = split(dataset, DataRef(source=name))
    if "test" in total:
        assert len(parts.test) == total["test"]
    few = np.sort(parts.train[:: max(1, len(parts.train) // 50)])
    pixels = load_pixels(dataset, few, choose_steps(dataset, few))
    assert shape is None or pixels.shape == (len(few), *shape)


def test_fashion_mnist_mean_and_std_are_the_published_ones() -> None:
    """0.2860 and 0.3530 of the range, as widely used for the training part; 3 decimals, as 15 % is held out."""
    dataset = open_dataset(Path(os.environ["FIREFORGE_DATA"]) / "fashion_mnist.npz")
    train = split(dataset, DataRef(source="")).train
    steps = choose_steps(dataset, train)
    # at most 4,096 pictures are looked at: a standard error of the mean of about 0.0025 of the range
    assert steps.mean[0] / 255 == pytest.approx(0.2860, abs=0.008)
    assert steps.std[0] / 255 == pytest.approx(0.3530, abs=0.008)
