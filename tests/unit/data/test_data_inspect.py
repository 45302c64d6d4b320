# SPDX-License-Identifier: Apache-2.0
"""Findings on folders made by hand, and packing that gives the same pictures back."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fireforge.base.errors import FireforgeError
from fireforge.base.trial import DataRef
from fireforge.data.inspect import Inspection, inspect
from fireforge.data.open import open_dataset
from fireforge.data.pack import write_npz
from fireforge.data.split import split

DRAW = np.random.default_rng(3)


def put(path: Path, shape: tuple[int, ...]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(DRAW.integers(0, 256, shape, np.uint8)).save(path)
    return path


def test_findings_by_hand(tmp_path: Path) -> None:
    """2 classes, 3 + 2 training and 1 + 1 test pictures; a pair across parts, a triple and a pair across classes."""
    first = put(tmp_path / "train" / "a" / "1.png", (10, 20, 3))
    second = put(tmp_path / "train" / "a" / "2.png", (30, 40))
    shutil.copy(second, tmp_path / "train" / "a" / "3.png")
    (tmp_path / "train" / "b").mkdir()
    shutil.copy(second, tmp_path / "train" / "b")
    shutil.copy(first, tmp_path / "train" / "b")
    put(tmp_path / "test" / "b" / "5.jpg", (50, 60, 3))
    (tmp_path / "test" / "a").mkdir()
    shutil.copy(first, tmp_path / "test" / "a")
    got = inspect(open_dataset(tmp_path))
    assert (got.format, got.classes, got.found, got.used) == ("folder", ("a", "b"), 7, 7)
    assert got.counts == {"a": {"train": 3, "test": 1}, "b": {"train": 2, "test": 1}}
    assert got.balance == 0.75
    assert got.height_px == (10, 30, 50)
    assert got.width_px == (20, 40, 60)
    assert got.modes == {"L": 3, "RGB": 4}
    same = got.duplicates
    assert (same.extra, same.groups, same.across_parts, same.across_classes) == (4, 2, 1, 2)
    assert same.examples[0] == ("train/a/1.png", "train/b/1.png", "test/a/1.png")
    assert Inspection.from_json(got.to_json()) == got


def test_packed_pictures_open_equal(tmp_path: Path) -> None:
    for i in range(12):
        put(tmp_path / "d" / "ab"[i % 2] / f"{i}.png", (9, 7, 3) if i else (9, 7))
    dataset = open_dataset(tmp_path / "d")
    packed = open_dataset(write_npz(dataset, tmp_path / "p.npz"))
    assert packed.labels == dataset.labels
    assert packed.targets.tolist() == dataset.targets.tolist()
    for sample in dataset.samples:
        want = np.asarray(Image.open(tmp_path / "d" / sample.name).convert("RGB"))
        np.testing.assert_array_equal(np.asarray(packed.read(sample.id)), want)
    assert (tmp_path / "p.npz").read_bytes() == write_npz(dataset, tmp_path / "q.npz").read_bytes()


def test_a_packed_split_is_the_same_split(tmp_path: Path) -> None:
    dataset = open_dataset("digits")
    ref = DataRef(source="digits", seed=4)
    parts = split(dataset, ref)
    packed = open_dataset(write_npz(dataset, tmp_path / "digits.npz", parts=parts))
    again = split(packed, ref)
    assert again.counts() == parts.counts()
    for name in ("train", "val", "test"):
        for mine, theirs in zip(parts.ids(name), again.ids(name)):
            assert dataset.samples[mine].label == packed.samples[theirs].label
            np.testing.assert_array_equal(np.asarray(dataset.read(mine)), np.asarray(packed.read(theirs)))
    repacked = open_dataset(write_npz(packed, tmp_path / "again.npz"))
    assert repacked.sha256 == packed.sha256


def test_packing_refuses_unequal_sizes_and_names(tmp_path: Path) -> None:
    put(tmp_path / "d" / "a" / "1.png", (9, 7))
    put(tmp_path / "d" / "b" / "2.png", (9, 8))
    dataset = open_dataset(tmp_path / "d")
    with pytest.raises(FireforgeError, match=r"UNEQUAL_SIZES: .*a/1\.png is 9 x 7 px, b/2\.png is 9 x 8 px"):
        write_npz(dataset, tmp_path / "p.npz")
    with pytest.raises(FireforgeError, match="BAD_NAME"):
        write_npz(dataset, tmp_path / "p.bin")
    assert not (tmp_path / "p.npz").exists()
