# SPDX-License-Identifier: Apache-2.0
"""Equal pictures on both sides of a split are counted by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fireforge.base.pixels import encode_png
from fireforge.jobs.scene import describe, look, seen


def folder_of(path: Path, copies: int) -> str:
    """Two classes of twelve pictures, of which so many of each test part repeat a training picture to the byte."""
    draw = np.random.default_rng(0)
    for place, label in enumerate(("dark", "light")):
        for part, count in (("train", 8), ("val", 2), ("test", 4)):
            (path / part / label).mkdir(parents=True)
            for index in range(count):
                pixels = draw.integers(0, 100, (12, 12), np.uint8) + np.uint8(100 * place)
                (path / part / label / f"{index}.png").write_bytes(encode_png(pixels))
        for index in range(copies):
            content = (path / "train" / label / f"{index}.png").read_bytes()
            (path / "test" / label / f"{index}.png").write_bytes(content)
    return str(path)


def test_test_pictures_that_equal_training_pictures_are_counted(tmp_path: Path) -> None:
    scene = look(folder_of(tmp_path / "some", 3), seed=0)
    assert seen(scene) == describe(scene).seen == 6
    assert seen(look(folder_of(tmp_path / "none", 0), seed=0)) == 0
