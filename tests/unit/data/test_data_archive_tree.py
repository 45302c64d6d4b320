# SPDX-License-Identifier: Apache-2.0
"""A folder and an archive as trees of names, against what was put there."""

from __future__ import annotations

import io
import os
import pickle
import tarfile
import threading
import zipfile
from pathlib import Path

import pytest

from fireforge.base.errors import FireforgeError
from fireforge.data.archive.tree import open_archive
from fireforge.data.formats.archive import Below
from fireforge.data.tree import FolderTree, Tree


def check(tree: Tree, members: dict[str, bytes]) -> None:
    assert tree.names() == sorted(members)
    for name, data in members.items():
        assert tree.head(name) == data[:512]
        assert tree.read(name) == data
    for absent in ("nothing", "a", "../a", "a\0b"):
        with pytest.raises(FireforgeError, match="NO_FILE"):
            tree.read(absent)


def test_a_folder_by_what_was_put_there(tmp_path: Path) -> None:
    """Links are followed, circles and pipes are not; hidden files are left out."""
    members = {"a/b/c.txt": os.urandom(2000), "a/é\n": b"1", "z": b"", "caf\udce9": b"2"}
    for name, data in {**members, ".hid/x": b"", "a/.x": b"", "__MACOSX/y": b""}.items():
        path = tmp_path / "root" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    (tmp_path / "root" / "a" / "loop").symlink_to(tmp_path / "root", target_is_directory=True)
    (tmp_path / "root" / "link").symlink_to(tmp_path / "root" / "z")
    os.mkfifo(tmp_path / "root" / "pipe")
    tree = FolderTree(str(tmp_path / "root"))
    check(tree, {**members, "link": b""})
    assert pickle.loads(pickle.dumps(tree)) == tree
    with pytest.raises(FireforgeError, match="NO_DATA"):
        FolderTree(str(tmp_path / "absent")).names()


def test_an_archive_and_a_folder_of_it(tmp_path: Path) -> None:
    members = {"top/a/1": os.urandom(3000), "top/b": b"x" * 900, "other": b""}
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    tree = open_archive(str(path))
    check(tree, members)
    below = Below(tree, "top")
    assert below.source == str(path)
    check(below, {"a/1": members["top/a/1"], "b": members["top/b"]})


def test_many_threads_read_one_archive(tmp_path: Path) -> None:
    """Eight threads, each all members: every content is the right one."""
    path = tmp_path / "a.tgz"
    members = {f"a/{i}": bytes([i]) * (i * 50 + 1) for i in range(60)}
    with tarfile.open(path, "w:gz") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    tree = pickle.loads(pickle.dumps(open_archive(str(path))))
    wrong: list[str] = []

    def work() -> None:
        wrong.extend(name for name, data in members.items() if tree.read(name) != data)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_fork_reads_the_same_archive(tmp_path: Path) -> None:
    """A child of a fork shares the open file with its parent; neither moves the other's place."""
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for i in range(200):
            archive.writestr(f"a/{i}", bytes([i]) * 3000)
    tree = open_archive(str(path))
    tree.read("a/0")
    child = os.fork()
    good = all(tree.read(f"a/{i}") == bytes([i]) * 3000 for _ in range(3) for i in range(200))
    if child == 0:
        os._exit(0 if good else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert good
