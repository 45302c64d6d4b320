# SPDX-License-Identifier: Apache-2.0
"""Class folders made by hand, with counts known beforehand."""

from __future__ import annotations

import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fireforge.base.errors import FireforgeError
from fireforge.base.trial import DataRef
from fireforge.data.check import drop_broken
from fireforge.data.formats.folder import natural
from fireforge.data.inspect import inspect
from fireforge.data.open import open_dataset, open_ref
from fireforge.data.pixels import choose_steps, load_pixels


def picture(path: Path, *, value: int = 0, size: tuple[int, int] = (10, 12), mode: str = "RGB") -> Path:
    """A picture whose pixels are a ramp that depends on value; the suffix chooses the encoding."""
    path.parent.mkdir(parents=True, exist_ok=True)
    high, wide = size
    ramp = (np.arange(high * wide).reshape(high, wide) * 3 + value * 17) % 256
    image = Image.fromarray(ramp.astype(np.uint8)) if mode == "L" else None
    if image is None:
        image = Image.fromarray(np.stack([ramp, ramp // 2, 255 - ramp], axis=2).astype(np.uint8))
    image.save(path)
    return path


def two_classes(root: Path, count: int = 3) -> Path:
    for label in ("cat", "dog"):
        for i in range(count):
            picture(root / label / f"{i}.png", value=i + (10 if label == "dog" else 0))
    return root


def test_ledger_of_a_folder_made_by_hand(tmp_path: Path) -> None:
    """Counted by hand: 8 pictures in 2 classes, 8 entries skipped, hidden files not counted."""
    root = two_classes(tmp_path / "data")
    picture(root / "cat" / "more" / "deep" / "x.jpg")
    picture(root / "cat" / "no_suffix.png").rename(root / "cat" / "no_suffix")
    (root / "cat" / "notes.txt").write_text("hello")
    (root / "cat" / "empty.jpg").write_bytes(b"")
    (root / "cat" / ".hidden.png").write_bytes(b"x")
    (root / ".git").mkdir()
    (root / "labels.csv").write_text("a,b")
    picture(root / "loose.png")
    os.mkfifo(root / "dog" / "pipe")
    (root / "dog" / "gone.png").symlink_to(root / "nowhere.png")
    (root / "dog" / "loop").symlink_to(root, target_is_directory=True)
    (root / "nothing").mkdir()
    dataset = open_dataset(str(root))
    assert dataset.format == "folder"
    assert dataset.labels == ("cat", "dog")
    assert dataset.ledger() == {
        "found": 16,
        "used": 8,
        "skipped": {
            "EMPTY_FOLDER": 1,
            "IMG_EMPTY": 1,
            "IMG_NOT_IMAGE": 2,
            "LINK_LOOP": 1,
            "NOT_A_FILE": 1,
            "NO_FILE": 1,
            "OUTSIDE_CLASSES": 1,
        },
        "notes": {},
        "counts": {"cat": {"all": 5}, "dog": {"all": 3}},
    }
    assert dataset.found == len(dataset.samples) + len(dataset.skipped)


def test_names_and_classes_in_natural_order_by_hand(tmp_path: Path) -> None:
    for label in ("10", "2", "1"):
        for name in ("img10.png", "img9.png"):
            picture(tmp_path / label / name)
    dataset = open_dataset(tmp_path)
    assert dataset.labels == ("1", "2", "10")
    assert [sample.name for sample in dataset.samples[:2]] == ["1/img9.png", "1/img10.png"]
    assert [sample.id for sample in dataset.samples] == list(range(6))
    assert sorted(["a10", "a9b", "A1", "a"], key=natural) == ["a", "A1", "a9b", "a10"]


@pytest.mark.parametrize(
    ("folder", "part"), [("val", "val"), ("valid", "val"), ("Validation", "val"), ("test", "test"), ("testing", "test")]
)
def test_parts_by_their_common_names(tmp_path: Path, folder: str, part: str) -> None:
    two_classes(tmp_path / "train", 4)
    two_classes(tmp_path / folder, 2)
    counts = open_dataset(tmp_path).counts()
    assert counts == {"cat": {"train": 4, part: 2}, "dog": {"train": 4, part: 2}}


def test_train_beside_an_unlabelled_test_folder_is_still_the_train_part(tmp_path: Path) -> None:
    two_classes(tmp_path / "train", 4)
    picture(tmp_path / "test" / "1.png")
    dataset = open_dataset(tmp_path)
    assert dataset.labels == ("cat", "dog")
    assert dataset.ledger()["skipped"] == {"OUTSIDE_PARTS": 1}


def test_a_class_called_train_stays_a_class(tmp_path: Path) -> None:
    for label in ("train", "plane"):
        picture(tmp_path / label / "1.png")
    picture(tmp_path / "train" / "steam" / "2.png")
    assert open_dataset(tmp_path).counts() == {"plane": {"all": 1}, "train": {"all": 2}}


def _code(source: object) -> tuple[str, str]:
    with pytest.raises(FireforgeError) as caught:
        open_dataset(source)  # type: ignore[arg-type]
    return caught.value.code, caught.value.line()


def test_errors_name_what_was_seen(tmp_path: Path) -> None:
    code, line = _code(tmp_path / "absent")
    assert code == "NO_DATA"
    assert "absent" in line
    assert "digits" in line
    code, line = _code(tmp_path)
    assert code == "NO_DATA"
    assert f"no images under {tmp_path}" in line
    assert "allowed: " in line
    picture(tmp_path / "1.png")
    code, line = _code(tmp_path)
    assert code == "BAD_LAYOUT"
    assert "1 images" in line
    picture(tmp_path / "cat" / "1.png")
    code, line = _code(tmp_path)
    assert code == "ONE_CLASS"
    assert "'cat'" in line
    code, line = _code(tmp_path / "1.png")
    assert code == "BAD_LAYOUT"
    two_classes(tmp_path / "b" / "train")
    two_classes(tmp_path / "b" / "val")
    two_classes(tmp_path / "b" / "valid")
    code, line = _code(tmp_path / "b")
    assert code == "BAD_LAYOUT"
    assert "val, valid" in line


def test_digest_is_independent_of_the_place_and_sees_every_change(tmp_path: Path) -> None:
    first = two_classes(tmp_path / "a")
    digest = open_dataset(first).sha256
    second = tmp_path / "deep" / "b"
    shutil.copytree(first, second)
    assert open_dataset(second).sha256 == digest
    assert open_dataset(str(second) + "/").sha256 == digest
    picture(second / "cat" / "0.png", value=99)
    changed = open_dataset(second).sha256
    assert changed != digest
    picture(second / "cat" / "0.png", value=0)
    assert open_dataset(second).sha256 == digest
    (second / "dog").rename(second / "wolf")
    assert open_dataset(second).sha256 != digest


def test_read_gives_the_files_bytes_and_crosses_pickle(tmp_path: Path) -> None:
    root = two_classes(tmp_path)
    dataset = pickle.loads(pickle.dumps(open_dataset(root)))
    assert dataset.read(4) == (root / "dog" / "1.png").read_bytes()
    for wrong in (-1, 6):
        with pytest.raises(FireforgeError, match="NO_SAMPLE"):
            dataset.read(wrong)
    (root / "dog" / "1.png").unlink()
    with pytest.raises(FireforgeError, match=r"NO_FILE: .*dog/1\.png"):
        dataset.read(4)


def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    root = two_classes(tmp_path)
    odd = os.fsencode(root / "cat") + b"/caf\xe9.png"
    os.rename(os.fsencode(root / "cat" / "0.png"), odd)
    dataset = open_dataset(root)
    assert [s.name for s in dataset.samples if s.label == 0] == ["cat/1.png", "cat/2.png", "cat/caf\\xe9.png"]
    assert len(dataset.sha256) == 64
    assert dataset.read(2)[:4] == b"\x89PNG"


def test_a_truncated_jpeg_is_named_when_read_and_dropped_when_asked(tmp_path: Path) -> None:
    root = two_classes(tmp_path)
    bad = picture(root / "cat" / "0a.jpg", size=(80, 80))
    bad.write_bytes(bad.read_bytes()[:-400])
    dataset = open_dataset(root)
    assert len(dataset.samples) == 7
    ids = np.arange(7)
    with pytest.raises(FireforgeError, match=r"IMG_TRUNCATED: .*cat/0a\.jpg"):
        load_pixels(dataset, ids, choose_steps(dataset, ids[2:]))
    whole = drop_broken(dataset)
    assert [s.name for s in whole.samples] == [
        "cat/0.png",
        "cat/1.png",
        "cat/2.png",
        *(f"dog/{i}.png" for i in range(3)),
    ]
    assert [s.id for s in whole.samples] == list(range(6))
    assert whole.read(2) == (root / "cat" / "2.png").read_bytes()
    assert whole.found == dataset.found == 7
    assert whole.ledger()["skipped"] == {"IMG_TRUNCATED": 1}
    seen = inspect(dataset)
    assert (seen.found, seen.used, seen.skipped) == (7, 6, {"IMG_TRUNCATED": 1})
    assert seen.unreadable[0].name == "cat/0a.jpg"
    assert inspect(dataset, check=False).used == 7


def test_a_reference_finds_the_same_data_or_refuses(tmp_path: Path) -> None:
    root = two_classes(tmp_path)
    bad = picture(root / "dog" / "9.jpg", size=(80, 80))
    bad.write_bytes(bad.read_bytes()[:-400])
    raw = open_dataset(str(root))
    whole = drop_broken(raw)
    assert len(open_ref(DataRef(source=str(root), sha256=raw.sha256)).samples) == 7
    assert len(open_ref(DataRef(source=str(root), sha256=whole.sha256)).samples) == 6
    assert len(open_ref(DataRef(source=str(root))).samples) == 7
    picture(root / "cat" / "0.png", value=50)
    with pytest.raises(FireforgeError, match="DATA_CHANGED"):
        open_ref(DataRef(source=str(root), sha256=whole.sha256))
