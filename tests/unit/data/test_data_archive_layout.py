# SPDX-License-Identifier: Apache-2.0
"""Classes and parts by names alone, against the folder format that walks over a real folder."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from fireforge.base.errors import FireforgeError
from fireforge.data.formats.folder import open_folder
from fireforge.data.layout import Layout, lay_out, order, top_folder

PICTURE = b"\xff\xd8\xff\xe0 not decoded here"
FOLDERS = ("cat", "dog2", "dog10", "train", "Training", "val", "valid", "test", "x")


def why(name: str) -> tuple[str, str]:
    if name.endswith(".0"):
        return "IMG_EMPTY", "the file holds no bytes"
    return ("", "") if name.endswith(".jpg") else ("IMG_NOT_IMAGE", "no")


def drawn(rng: random.Random) -> tuple[list[str], list[str]]:
    """Names of files, and of folders that may be empty."""
    few = rng.sample(FOLDERS, rng.randrange(1, 5))

    def folder() -> str:
        return "/".join(rng.choice(few) for _ in range(rng.choice((0, 1, 1, 2, 2, 2, 3, 4))))

    files = {
        f"{folder()}/{rng.randrange(30)}.{rng.choice(('jpg', 'jpg', 'jpg', 'txt', '0'))}".lstrip("/") for _ in range(12)
    }
    return sorted(files), sorted({folder() for _ in range(3)} - {""})


def by_folder(root: Path) -> tuple[object, ...]:
    try:
        dataset = open_folder(str(root))
    except FireforgeError as error:
        return (error.code,)
    pictures = [(s.name, dataset.labels[s.label], s.part) for s in dataset.samples]
    return pictures, sorted((item.name, item.code) for item in dataset.skipped)


def by_names(layout: Layout) -> tuple[object, ...]:
    return layout.pictures, sorted((name, code) for name, code, _ in layout.skipped)


def loose_only(root: Path) -> bool:
    """Whether the folder format finds pictures, but none inside a class."""
    with pytest.raises(FireforgeError) as caught:
        open_folder(str(root))
    return "outside any class folder" in caught.value.what


def test_same_as_the_folder_format_on_random_trees(tmp_path: Path) -> None:
    """150 trees of parts, classes, loose files, empty folders and names in natural order; the codes of errors too."""
    seen: set[str] = set()
    for seed in range(150):
        files, folders = drawn(random.Random(seed))
        root = tmp_path / str(seed)
        for name in folders:
            (root / name).mkdir(parents=True, exist_ok=True)
        for name in files:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(b"" if name.endswith(".0") else PICTURE if name.endswith(".jpg") else b"text")
        expected = by_folder(root)
        if expected == ("BAD_LAYOUT",) and not loose_only(root):
            with pytest.raises(FireforgeError, match="BAD_LAYOUT: x: several folders"):
                lay_out(reversed(files), why, folders=folders, source="x")
            seen.add("several folders for a part")
            continue
        layout = lay_out(reversed(files), why, folders=folders, source="x")
        if len(expected) == 1:
            assert len({label for _, label, _ in layout.pictures}) < 2, seed
            seen.add(str(expected[0]))
            continue
        assert by_names(layout) == expected, seed
        seen |= {code for _, code, _ in layout.skipped} | {part for _, _, part in layout.pictures}
    assert seen >= {
        "several folders for a part",
        "ONE_CLASS",
        "OUTSIDE_PARTS",
        "OUTSIDE_CLASSES",
        "EMPTY_FOLDER",
        "val",
    }


def test_order_by_hand() -> None:
    names = ["b/1.jpg", "a/10.jpg", "a/x/1.jpg", "a/9.jpg", "a/A.jpg", "a10/1.jpg", "a9/1.jpg"]
    wanted = ["a/9.jpg", "a/10.jpg", "a/A.jpg", "a/x/1.jpg", "a9/1.jpg", "a10/1.jpg", "b/1.jpg"]
    assert sorted(names, key=order) == wanted


@pytest.mark.parametrize(
    ("names", "top"),
    [
        ("p/cat/1.jpg p/dog/1.jpg", "p"),
        ("p/q/cat/1.jpg p/q/dog/1.jpg", "p/q"),
        ("cat/1.jpg cat/2.jpg", ""),
        ("p/cat/1.jpg p/readme.txt", "p"),
        ("p/cat/1.jpg readme.txt", ""),
        ("train/cat/1.jpg train/dog/1.jpg", ""),
        ("p/train/cat/1.jpg p/train/dog/1.jpg", "p"),
        ("p/labels.csv p/1.jpg", "p"),
        ("p/data.npz", "p"),
        ("", ""),
    ],
)
def test_wrappings_by_hand(names: str, top: str) -> None:
    assert top_folder(names.split()) == top
