# SPDX-License-Identifier: Apache-2.0
"""Tiny pictures and trials for the tests of the training room."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from fireforge.base.preprocess import ImageSteps, Preprocess
from fireforge.base.trial import Augment, DataRef, Recipe, Trial
from fireforge.nets.firenet import small_firenet

STEPS = ImageSteps(channels=1, resize=None, crop=(8, 8), order="L", mean=(100.0,), std=(70.0,))
FULL = Recipe(
    epochs=4,
    batch=16,
    lr=0.05,
    ema=0.9,
    label_smoothing=0.05,
    augment=Augment(shift_px=1.0, rotate_deg=10.0, scale=0.1, flip=True, cutout_px=2, mixup=0.2),
)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny_npz(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """90 gray pictures of 8 x 8 px in 3 classes: a bright top, a bright left, a bright middle, with noise."""
    generator = np.random.default_rng(5)
    y = np.arange(90) % 3
    x = generator.integers(0, 90, (90, 8, 8))
    x[y == 0, :4] += 130
    x[y == 1, :, :4] += 130
    x[y == 2, 2:6, 2:6] += 130
    path = tmp_path_factory.mktemp("data") / "tiny.npz"
    np.savez(path, x=x.astype(np.uint8), y=y)
    return path


@pytest.fixture(scope="session")
def make_trial(tiny_npz: Path) -> Callable[..., Trial]:
    """A trial with batch norm, dropout, average and every variation; the recipe's fields may be changed."""

    def make(*, seed: int = 0, sha256: str = "", **changes: object) -> Trial:
        params = {"fires": 2, "base_e": 8, "incr_e": 4, "stem": 8, "dropout": 0.3, "pools": "1,2"}
        return Trial(
            spec=small_firenet(3, input_shape=(1, 8, 8), params=params),
            recipe=FULL.replace(**changes),
            data=DataRef(source=str(tiny_npz), sha256=sha256),
            preprocess=Preprocess(image=STEPS),
            seed=seed,
        )

    return make
