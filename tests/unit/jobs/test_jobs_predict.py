# SPDX-License-Identifier: Apache-2.0
"""predict over files, folders and stdin: which pictures, in which order, and what happens to those that fail."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fireforge.base.errors import FireforgeError
from fireforge.base.pixels import encode_png
from fireforge.base.postprocess import Postprocess
from fireforge.base.progress import Update
from fireforge.jobs.predict import predict
from fireforge.runtime.predictor import load

LABELS = ("ant", "bee", "cat")


def picture(seed: int) -> bytes:
    return encode_png(np.random.default_rng(seed).integers(0, 256, (9 + seed % 3, 11, 3)).astype(np.uint8))


@pytest.fixture(scope="module")
def model(small_model, tmp_path_factory) -> Path:
    return small_model(tmp_path_factory.mktemp("model") / "model.onnx", LABELS)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Pictures at three depths, a broken one, a text, a hidden one, a pipe and a link back."""
    root = tmp_path / "tree"
    (root / "b" / "deep").mkdir(parents=True)
    (root / "a").mkdir()
    for place, name in enumerate(("z.PNG", "b/2.png", "b/10.jpg", "b/deep/x.webp", "a/é\n.png", "a/-top.gif")):
        (root / name).write_bytes(picture(place))
    (root / "a" / "broken.jpg").write_bytes(b"<html>")
    (root / "notes.txt").write_text("no picture")
    os.mkfifo(root / "a" / "pipe.png")
    (root / "b" / "loop").symlink_to(root)
    (root / "b" / "gone.png").symlink_to(root / "nowhere.png")
    return root


ORDER = ["z.PNG", "a/-top.gif", "a/broken.jpg", "a/pipe.png", "a/é\n.png", "b/10.jpg", "b/2.png", "b/gone.png"]


def test_a_folder_gives_its_pictures_in_order_and_each_failure_in_its_place(model: Path, tree: Path) -> None:
    answers = list(predict(model, [str(tree)], top=2))
    assert [name for name, _ in answers] == [f"{tree}/{name}" for name in [*ORDER, "b/deep/x.webp"]]
    codes = {os.path.relpath(n, tree): a.code for n, a in answers if isinstance(a, FireforgeError)}
    assert codes == {"a/broken.jpg": "IMG_NOT_IMAGE", "a/pipe.png": "NO_FILE", "b/gone.png": "NO_FILE"}
    alone = load(model)
    for name, answer in answers:
        if os.path.relpath(name, tree) not in codes:
            assert answer == alone.predict(name, top=2)
    assert [name for name, _ in predict(model, [str(tree)])] == [name for name, _ in answers]


def test_files_folders_and_stdin_together(model: Path, tree: Path) -> None:
    named = [f"{tree}/z.PNG", "-", f"{tree}/b/deep", "absent.png", "http://example.org/x.png", "-"]
    answers = list(predict(model, named, stdin=picture(3)))
    assert [name for name, _ in answers] == [*named[:2], f"{tree}/b/deep/x.webp", *named[3:]]
    assert answers[1][1] == answers[2][1] == load(model).predict(picture(3))
    told = [answer.line() for _, answer in answers[3:]]
    assert told[0].startswith("NO_FILE: absent.png: No such file")
    assert told[1].startswith("NO_FILE: http://example.org/x.png: an address; nothing is fetched")
    assert told[2].startswith("BAD_PICTURE: stdin: stdin holds one picture")


def test_an_empty_stdin_says_so(model: Path) -> None:
    for stdin in (b"", None):
        [(name, answer)] = predict(model, ["-"], stdin=stdin)
        assert (name, answer.line()) == ("-", "IMG_EMPTY: stdin: the file holds no bytes")


def test_a_folder_without_pictures_and_one_that_is_closed(model: Path, tree: Path, monkeypatch) -> None:
    (tree / "empty").mkdir()
    [(name, answer)] = predict(model, [str(tree / "empty")])
    assert (name, answer.code) == (str(tree / "empty"), "NO_DATA")
    scan = os.scandir

    def closed(path: str) -> object:
        if str(path).endswith("deep"):
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", closed)
    last = list(predict(model, [str(tree)]))[-1]
    assert last[0] == str(tree / "b" / "deep")
    assert last[1].line() == f"NO_FILE: {tree}/b/deep: Permission denied"


def test_progress_ends_at_the_number_of_pictures(model: Path, tmp_path: Path) -> None:
    for place in range(150):
        (tmp_path / f"{place:03}.png").write_bytes(picture(place % 5))
    told: list[Update] = []
    names = [Path(name).name for name, _ in predict(model, [str(tmp_path)], progress=told.append)]
    assert names == [f"{place:03}.png" for place in range(150)]
    assert [update.done for update in told] == [0, 64, 128, 150]
    assert {update.total for update in told} == {150}


def test_the_threshold_of_the_file_is_kept(small_model, tmp_path: Path) -> None:
    strict = small_model(tmp_path / "strict.onnx", LABELS, post=Postprocess(threshold=1.0))
    [(_, answer)] = predict(strict, ["-"], stdin=picture(1))
    assert not answer.accepted
    assert answer.label in LABELS


@pytest.mark.parametrize("flags", [[], ["--csv"], ["--json"]])
def test_a_file_name_of_strange_bytes_goes_through_the_command(model: Path, tmp_path: Path, flags: list[str]) -> None:
    """Text and CSV hand the bytes of the name on as they are; JSON cannot, and escapes them."""
    for place, name in enumerate((b"caf\xe9.png", b"plain.png")):
        Path(os.fsdecode(os.path.join(os.fsencode(tmp_path), name))).write_bytes(picture(place))
    words = [sys.executable, "-m", "fireforge", "predict", str(model), ".", *flags]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, check=True)
    lines = done.stdout.splitlines()
    assert len(lines) == 2 + (flags == ["--csv"])
    assert (rb"caf\udce9.png" if flags == ["--json"] else b"caf\xe9.png") in done.stdout
