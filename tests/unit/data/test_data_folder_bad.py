# SPDX-License-Identifier: Apache-2.0
"""Folders with what should not be there: links, pipes, devices, odd names, files that vanish or change."""

from __future__ import annotations

import os
import pickle
import socket
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fireforge.base.errors import FireforgeError
from fireforge.base.sample import Noted
from fireforge.base.trial import DataRef
from fireforge.data.check import drop_broken, look, lost_pictures
from fireforge.data.formats.folder import REASONS
from fireforge.data.open import open_dataset
from fireforge.data.split import split
from fireforge.jobs.scene import look as look_at_scene

PIXELS = np.random.default_rng(5).integers(0, 256, (12, 10, 3), dtype=np.uint8)


def picture(path: Path, value: int = 0, **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(PIXELS + np.uint8(value)).save(path, **options)
    return path


def two_classes(root: Path, count: int = 3, suffix: str = "png") -> Path:
    for label in ("cat", "dog"):
        for i in range(count):
            picture(root / label / f"{i}.{suffix}", i + 50 * (label == "dog"))
    return root


def state(root: Path) -> list[tuple[str, int, int]]:
    """Every file below a folder with size and time of change, links not followed."""
    return sorted((str(p), p.lstat().st_size, p.lstat().st_mtime_ns) for p in root.rglob("*"))


def codes(root: Path) -> dict[str, str]:
    return {item.name: item.code for item in open_dataset(root).skipped}


# --- nothing there ---------------------------------------------------------------------------------------------------


def test_no_images_says_what_was_there_instead(tmp_path: Path) -> None:
    with pytest.raises(FireforgeError, match=rf"NO_DATA: no images under {tmp_path}; allowed: .*JPEG, PNG, WebP"):
        open_dataset(tmp_path)
    (tmp_path / "a").mkdir()
    for i in range(3):
        (tmp_path / "a" / f"{i}.tif").write_bytes(b"II*\0aaaaaaaa")
    with pytest.raises(FireforgeError, match=r"NO_DATA.*3 IMG_FORMAT.*a/0\.tif.*TIFF"):
        open_dataset(tmp_path)


def test_one_class_and_too_small_a_class_are_named(tmp_path: Path) -> None:
    picture(tmp_path / "cat" / "1.png")
    with pytest.raises(FireforgeError, match=r"ONE_CLASS.*'cat'"):
        open_dataset(tmp_path)
    two_classes(tmp_path, 5)
    picture(tmp_path / "emu" / "1.png")
    (tmp_path / "gnu").mkdir()
    dataset = open_dataset(tmp_path)
    assert codes(tmp_path) == {"gnu/": "EMPTY_FOLDER"}
    with pytest.raises(FireforgeError, match=r"TOO_FEW.*'emu' has 1 images"):
        split(dataset, DataRef(source=str(tmp_path)))


def test_a_class_whose_pictures_are_all_broken_is_named(tmp_path: Path) -> None:
    two_classes(tmp_path, 40)
    (tmp_path / "emu").mkdir()
    (tmp_path / "emu" / "1.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    with pytest.raises(FireforgeError, match=r"TOO_FEW.*'emu' has 0 images"):
        look_at_scene(str(tmp_path), seed=0)


# --- names -----------------------------------------------------------------------------------------------------------

NAMES = {
    b"a\nb.png": "a\\nb.png",
    b"a\tb.png": "a\\tb.png",
    b"\x1b[31mred.png": "\\x1b[31mred.png",
    b"caf\xe9.png": "caf\\xe9.png",
    b"caf\xe8.png": "caf\\xe8.png",
    "\u202egnp.exe.png".encode(): "\\u202egnp.exe.png",
    "שלום-مرحبا.png".encode(): "שלום-مرحبا.png",
    "😀👨\u200d👩\u200d👧.png".encode(): "😀👨\u200d👩\u200d👧.png",
    b"-rf.png": "-rf.png",
    b"$(touch pwned); `id` & 'x'.png": "$(touch pwned); `id` & 'x'.png",
    b"x" * 251 + b".png": "x" * 251 + ".png",
    b"..png": None,  # hidden
}


def test_odd_names_are_read_and_shown_escaped(tmp_path: Path) -> None:
    two_classes(tmp_path)
    data = (tmp_path / "cat" / "0.png").read_bytes()
    for name in NAMES:
        with open(os.path.join(os.fsencode(tmp_path), b"dog", name), "wb") as stream:
            stream.write(data)
    (tmp_path / "-o").mkdir()
    os.mkdir(os.fsencode(tmp_path) + b"/cl\xffss")
    os.mkdir(os.fsencode(tmp_path) + b"/cl\xfess")
    for label in (b"-o", b"cl\xffss", b"cl\xfess"):
        with open(os.path.join(os.fsencode(tmp_path), label, b"1.png"), "wb") as stream:
            stream.write(data)
    before = state(tmp_path)
    dataset = drop_broken(pickle.loads(pickle.dumps(open_dataset(tmp_path))))
    assert set(dataset.labels) == {"cat", "dog", "-o", "cl\\xffss", "cl\\xfess"}
    names = {sample.name for sample in dataset.samples}
    assert {f"dog/{shown}" for shown in NAMES.values() if shown} < names
    assert len(names) == len(dataset.samples) == 3 + 3 + 11 + 3
    assert all(dataset.read(sample.id)[:4] == b"\x89PNG" for sample in dataset.samples)
    assert all(name.encode("utf-8").decode().isprintable() or "\u200d" in name for name in names)
    assert len(dataset.sha256) == 64
    assert state(tmp_path) == before
    assert not Path("pwned").exists()


# --- links, pipes, devices, sockets ----------------------------------------------------------------------------------


def test_what_is_no_regular_file_is_skipped_with_a_code_and_never_waited_for(tmp_path: Path) -> None:
    root, outside = two_classes(tmp_path / "data"), picture(tmp_path / "elsewhere" / "cat" / "9.png")
    os.mkfifo(root / "cat" / "pipe.png")
    (root / "cat" / "null.png").symlink_to("/dev/null")
    (root / "cat" / "zero.png").symlink_to("/dev/zero")
    (root / "cat" / "out.png").symlink_to(outside)
    (root / "cat" / "gone.png").symlink_to("nowhere.png")
    (root / "cat" / "self.png").symlink_to("self.png")
    (root / "cat" / "inside.png").symlink_to("0.png")
    (root / "cat" / "up").symlink_to("..", target_is_directory=True)
    (root / "dog" / "out").symlink_to(outside.parent, target_is_directory=True)
    (root / "emu").symlink_to(outside.parent, target_is_directory=True)
    with socket.socket(socket.AF_UNIX) as server:
        here = os.getcwd()
        os.chdir(root / "dog")  # a socket's path may be no longer than 107 bytes
        try:
            server.bind("socket.png")
        finally:
            os.chdir(here)
        dataset = open_dataset(root)
    assert {item.name: item.code for item in dataset.skipped} == {
        "cat/pipe.png": "NOT_A_FILE",
        "cat/null.png": "LINK_OUT",
        "cat/zero.png": "LINK_OUT",
        "cat/out.png": "LINK_OUT",
        "cat/gone.png": "NO_FILE",
        "cat/self.png": "NO_FILE",
        "cat/up/": "LINK_LOOP",
        "dog/out/": "LINK_OUT",
        "dog/socket.png": "NOT_A_FILE",
        "emu/": "LINK_OUT",
    }
    assert len(dataset.samples) == 7
    assert {"LINK_OUT", "LINK_LOOP", "NOT_A_FILE", "NO_FILE"} <= set(REASONS)


def test_a_device_inside_the_folder(tmp_path: Path) -> None:
    two_classes(tmp_path)
    try:
        os.mknod(tmp_path / "cat" / "zero.png", 0o600 | 0o020000, os.makedev(1, 5))
    except PermissionError:
        pytest.skip("only root makes devices")
    assert codes(tmp_path) == {"cat/zero.png": "NOT_A_FILE"}


def test_the_folder_itself_may_be_a_link(tmp_path: Path) -> None:
    root = two_classes(tmp_path / "data")
    (tmp_path / "link").symlink_to(root, target_is_directory=True)
    assert open_dataset(tmp_path / "link").sha256 == open_dataset(root).sha256
    assert codes(tmp_path / "link") == {}


def test_files_and_folders_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may read everything, so the refusal is played."""
    two_classes(tmp_path)
    picture(tmp_path / "dog" / "locked" / "1.png")
    real_open, real_scan = os.open, os.scandir

    def closed_open(path: str, flags: int, *rest: int) -> int:
        if str(path).endswith("1.png"):
            raise PermissionError(13, "Permission denied")
        return real_open(path, flags, *rest)

    def closed_scan(path: str = ".") -> object:
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied")
        return real_scan(path)

    monkeypatch.setattr(os, "open", closed_open)
    monkeypatch.setattr(os, "scandir", closed_scan)
    assert codes(tmp_path) == {"cat/1.png": "NO_FILE", "dog/1.png": "NO_FILE", "dog/locked/": "NO_FILE"}


def test_folders_too_deep_are_skipped(tmp_path: Path) -> None:
    two_classes(tmp_path)
    picture(tmp_path.joinpath("cat", *["d"] * 40) / "1.png")
    assert set(codes(tmp_path).values()) == {"LINK_LOOP"}


def test_a_file_too_large_to_be_a_picture_is_not_read(tmp_path: Path) -> None:
    two_classes(tmp_path)
    os.truncate(tmp_path / "cat" / "0.png", 1 << 36)  # sparse: 64 GiB that take no room
    assert codes(tmp_path) == {"cat/0.png": "IMG_TOO_LARGE"}


# --- what goes away or changes ---------------------------------------------------------------------------------------


def test_a_file_that_vanishes_or_changes_is_an_error_with_its_name(tmp_path: Path) -> None:
    root = two_classes(tmp_path, 4)
    dataset = open_dataset(root)
    (root / "cat" / "0.png").unlink()
    with pytest.raises(FireforgeError, match=r"NO_FILE: .*cat/0\.png"):
        dataset.read(0)
    picture(root / "cat" / "1.png", 99, compress_level=0)
    with pytest.raises(FireforgeError, match=r"DATA_CHANGED: .*cat/1\.png.*changed since"):
        dataset.read(1)
    data = (root / "cat" / "2.png").read_bytes()
    (root / "cat" / "2.png").write_bytes(data[:-9] + b"\0" * 9)  # as long as before
    os.utime(root / "cat" / "2.png", ns=(0, 0))
    with pytest.raises(FireforgeError, match=r"DATA_CHANGED: .*cat/2\.png"):
        dataset.read(2)
    (root / "cat" / "3.png").unlink()
    os.mkfifo(root / "cat" / "3.png")  # reading one would wait for ever
    with pytest.raises(FireforgeError, match=r"DATA_CHANGED: .*cat/3\.png"):
        dataset.read(3)
    assert {item.code for item in drop_broken(dataset).skipped} == {"NO_FILE", "DATA_CHANGED"}


# --- notes and losses ------------------------------------------------------------------------------------------------


def test_notes_name_the_pictures_that_are_used_all_the_same(tmp_path: Path) -> None:
    root = two_classes(tmp_path)
    (root / "cat" / "png.jpg").write_bytes((root / "cat" / "0.png").read_bytes() + b"more")
    Image.fromarray(PIXELS[:1, :1]).save(root / "dog" / "dot.bmp")
    raw = open_dataset(root)
    assert raw.notes == ()
    whole = drop_broken(raw)
    assert whole.notes == (
        Noted(name="cat/png.jpg", code="IMG_NAME_MISMATCH"),
        Noted(name="cat/png.jpg", code="IMG_TRAILING"),
        Noted(name="dog/dot.bmp", code="IMG_TINY"),
    )
    assert whole.ledger()["notes"] == {"IMG_NAME_MISMATCH": 1, "IMG_TINY": 1, "IMG_TRAILING": 1}
    assert whole.found == len(whole.samples) == 8
    assert whole.sha256 == raw.sha256
    for full in (False, True):
        assert look(raw.read(3), where=raw.where(3), full=full).notes == ("IMG_NAME_MISMATCH", "IMG_TRAILING")


def test_half_of_the_files_broken_are_all_listed_and_stop_a_build(tmp_path: Path) -> None:
    root = two_classes(tmp_path, 20, "jpg")
    for label in ("cat", "dog"):
        for i in range(0, 20, 2):
            path = root / label / f"{i}.jpg"
            path.write_bytes(path.read_bytes()[: -100 if i % 4 else -300])
    whole = drop_broken(open_dataset(root))
    assert whole.ledger()["skipped"] == {"IMG_TRUNCATED": 20}
    assert {item.name for item in whole.skipped} == {f"{c}/{i}.jpg" for c in ("cat", "dog") for i in range(0, 20, 2)}
    with pytest.raises(FireforgeError, match=r"TOO_MANY_BAD.*20 of 40 .*20 IMG_TRUNCATED; .*cat/0\.jpg.*5%"):
        look_at_scene(str(root), seed=0)


def test_five_in_a_hundred_are_suffered(tmp_path: Path) -> None:
    root = two_classes(tmp_path, 50)
    for i in range(5):
        (root / "cat" / f"{i}.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    assert len(look_at_scene(str(root), seed=0).dataset.samples) == 95
    (root / "cat" / "5.png").write_bytes(b"")
    with pytest.raises(FireforgeError, match=r"TOO_MANY_BAD.*6 of 100"):
        look_at_scene(str(root), seed=0)


def test_losses_are_pictures_by_content_or_by_name(tmp_path: Path) -> None:
    root = two_classes(tmp_path)
    (root / "cat" / "README.md").write_text("about cats")
    (root / "cat" / "empty").write_bytes(b"")
    (root / "cat" / "text.png").write_text("no picture")
    (root / "cat" / "scan").write_bytes(b"II*\0aaaaaaaa")
    skipped = open_dataset(root).skipped
    assert len(skipped) == 4
    assert {item.name: item.code for item in lost_pictures(skipped)} == {
        "cat/text.png": "IMG_NOT_IMAGE",
        "cat/scan": "IMG_FORMAT",
    }
