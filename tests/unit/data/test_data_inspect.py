# SPDX-License-Identifier: Apache-2.0
"""Findings on folders made by hand, and packing that gives the same pictures back."""

from __future__ import annotations

import json
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
from fireforge.jobs.tell import inspection

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
    with pytest.raises(FireforgeError, match=r"UNEQUAL_SIZES: .*a/1\.png is 9 x 7 px, b/2\.png is 9 x 8 .*--size"):
        write_npz(dataset, tmp_path / "p.npz")
    with pytest.raises(FireforgeError, match="BAD_NAME"):
        write_npz(dataset, tmp_path / "p.bin")
    assert not (tmp_path / "p.npz").exists()


def folder_of(root: Path, counts: dict[str, int], *, part: str = "") -> Path:
    for label, count in counts.items():
        for i in range(count):
            put(root / part / label / f"{i}.png", (6, 6))
    return root


def codes(found: Inspection) -> dict[str, bool]:
    return {item.code: item.loud for item in found.findings}


def test_the_split_is_the_one_that_a_build_makes(tmp_path: Path) -> None:
    dataset = open_dataset(folder_of(tmp_path, {"a": 40, "b": 30}))
    for seed in (0, 7):
        found = inspect(dataset, seed=seed)
        parts = split(dataset, DataRef(source="", seed=seed))
        assert found.seed == seed
        for index, label in enumerate(found.classes):
            want = {name: int((dataset.targets[parts.ids(name)] == index).sum()) for name in ("train", "val", "test")}
            assert found.split[label] == want
        assert found.output == "one label"
        assert codes(found) == {"SMALL_TEST": False}


def test_classes_out_of_balance_too_small_and_alike(tmp_path: Path) -> None:
    """100 to 12 is below a fifth; 12 less their share of validation and test are below 20; "Cat" is "cat"."""
    found = inspect(open_dataset(folder_of(tmp_path, {"Cat": 30, "cat": 100, "dog": 12})))
    assert codes(found) == {"UNEVEN": False, "FEW_IMAGES": False, "CLASS_NAMES": False, "SMALL_TEST": False}
    texts = {item.code: item.text for item in found.findings}
    assert "'dog' has 12 pictures, 'cat' 100" in texts["UNEVEN"]
    assert f"(it has {found.split['dog']['train']})" in texts["FEW_IMAGES"]
    assert "'Cat' and 'cat'" in texts["CLASS_NAMES"]


def test_a_class_too_small_to_split_is_named_before_training(tmp_path: Path) -> None:
    """I24: one picture cannot be in three parts."""
    found = inspect(open_dataset(folder_of(tmp_path, {"a": 10, "b": 1})))
    assert found.split == {}
    assert found.findings[0].code == "TOO_FEW"
    assert found.findings[0].loud
    assert "'b' has 1 images" in found.findings[0].text


def test_copies_across_the_data_s_own_parts_are_loud(tmp_path: Path) -> None:
    """I27: two pictures of train stand in test too, one of them under another class."""
    root = folder_of(tmp_path, {"a": 30, "b": 30}, part="train")
    folder_of(tmp_path, {"a": 5, "b": 5}, part="test")
    shutil.copy(root / "train/a/0.png", root / "test/a/x.png")
    shutil.copy(root / "train/a/1.png", root / "test/b/y.png")
    shutil.copy(root / "train/b/2.png", root / "train/b/z.png")
    found = inspect(open_dataset(root))
    same = found.duplicates
    assert (same.groups, same.extra, same.across_parts, same.across_classes) == (3, 3, 2, 1)
    assert same.torn == (("train/a/0.png", "test/a/x.png"), ("train/a/1.png", "test/b/y.png"))
    assert {code for code, loud in codes(found).items() if loud} == {"DUP_PARTS", "DUP_CLASSES"}
    assert [item.loud for item in found.findings] == sorted((item.loud for item in found.findings), reverse=True)


def test_copies_stay_together_where_a_split_can_keep_them(tmp_path: Path) -> None:
    """40 copies beside 14 other pictures fall into one part; a class of copies alone must be torn apart."""
    root = folder_of(tmp_path, {"a": 15, "b": 45})
    for i in range(40):
        shutil.copy(root / "a/0.png", root / "a" / f"copy{i}.png")
    found = inspect(open_dataset(root))
    assert (found.duplicates.extra, found.duplicates.across_parts, found.duplicates.across_split) == (40, 0, 0)
    assert "DUP_SPLIT" not in codes(found)
    for i in range(1, 15):
        (root / "a" / f"{i}.png").unlink()
    found = inspect(open_dataset(root))
    assert (found.duplicates.across_parts, found.duplicates.across_split) == (0, 1)
    assert codes(found)["DUP_SPLIT"]


def test_so_many_broken_that_a_build_refuses(tmp_path: Path) -> None:
    root = folder_of(tmp_path, {"a": 20, "b": 20})
    for i in range(3):
        path = root / "a" / f"{i}.png"
        path.write_bytes(path.read_bytes()[:60])
    found = inspect(open_dataset(root))
    assert codes(found)["TOO_MANY_BAD"]
    assert (found.found, found.used, len(found.unreadable)) == (40, 37, 3)
    (root / "a" / "0.png").unlink()
    (root / "a" / "1.png").unlink()
    assert "TOO_MANY_BAD" not in codes(inspect(open_dataset(root)))


def test_the_lines_say_what_json_says_and_what_to_do_next(tmp_path: Path) -> None:
    root = folder_of(tmp_path / "my data", {"a": 30, "b": 30})
    shutil.copy(root / "a/0.png", root / "b/x.png")
    (root / "a" / "bad.png").write_bytes(b"")
    found = inspect(open_dataset(root))
    text = "\n".join(inspection(found))
    for words in (
        "found      62 = used 61 + skipped 1 (1 IMG_EMPTY)",
        "parts      train ",
        "WARNING: 1 contents lie in more than one class",
        "  the same: a/0.png, b/x.png",
        "a/bad.png",
        f"fireforge build '{root}' --plan",
    ):
        assert words in text
    assert max(map(len, text.splitlines())) < 160
    assert Inspection.from_json(json.loads(json.dumps(found.to_json()))) == found


def test_many_classes_are_cut_to_the_greatest_and_the_smallest(tmp_path: Path) -> None:
    found = inspect(open_dataset(folder_of(tmp_path, {f"c{i:02d}": 3 + i // 20 for i in range(60)})))
    lines = inspection(found)
    assert any("of 60 classes: --json lists them all" in line for line in lines)
    assert sum(line.startswith("c") and not line.startswith(("class", "colour")) for line in lines) == 40
