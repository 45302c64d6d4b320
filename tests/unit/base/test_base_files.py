# SPDX-License-Identifier: Apache-2.0
"""Files are whole or not there; the reference is the older file's bytes, and hashlib."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import subprocess
from pathlib import Path

import pytest

from fireforge.base import files
from fireforge.base.errors import Exit, FireforgeError


def test_bytes_text_and_json_come_back(tmp_path: Path) -> None:
    assert files.write_bytes(tmp_path / "b", b"\0\xff").read_bytes() == b"\0\xff"
    assert files.write_text(tmp_path / "t", "ß").read_bytes() == "ß".encode()
    path = files.write_json(tmp_path / "j", {"b": [1, 2.5], "a": "ß"})
    assert files.read_json(path) == {"b": [1, 2.5], "a": "ß"}
    assert list(json.loads(path.read_text())) == ["b", "a"]
    assert sorted(os.listdir(tmp_path)) == ["b", "j", "t"]


def test_json_with_a_file_name_that_is_not_utf8(tmp_path: Path) -> None:
    name = b"caf\xe9".decode("utf-8", "surrogateescape")
    assert files.read_json(files.write_json(tmp_path / "j", {"name": name})) == {"name": name}


def test_nan_is_refused_and_the_older_file_stays(tmp_path: Path) -> None:
    path = files.write_json(tmp_path / "j", 1)
    with pytest.raises(ValueError, match="JSON"):
        files.write_json(path, float("nan"))
    assert files.read_json(path) == 1


@pytest.mark.parametrize("call", ["replace", "fsync"])
def test_a_write_that_fails_leaves_the_older_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    path = files.write_bytes(tmp_path / "f", b"old")

    def full(*args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files.os, call, full)
    with pytest.raises(FireforgeError, match=r"CANNOT_WRITE.*No space left") as caught:
        files.write_bytes(path, b"new")
    assert caught.value.exit_code == Exit.ENVIRONMENT
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["f"]


def test_an_interrupt_leaves_no_temporary_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(files.os, "replace", stop)
    with pytest.raises(KeyboardInterrupt):
        files.write_bytes(tmp_path / "f", b"new")
    assert os.listdir(tmp_path) == []


def test_places_that_cannot_be_written_are_one_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for path in (tmp_path / "absent" / "f", tmp_path / "file" / "f", tmp_path / ("n" * 300), tmp_path):
        with pytest.raises(FireforgeError, match="CANNOT_WRITE"):
            files.write_bytes(path, b"x")


def test_what_is_no_file_is_never_replaced_by_one(tmp_path: Path) -> None:
    """A rename over a pipe or a device would take it from the system; /dev/full is one that root could lose."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for write in (lambda: files.write_bytes(pipe, b"x"), lambda: files.prove_writable(pipe)):
        with pytest.raises(FireforgeError, match=r"CANNOT_WRITE.*pipe") as caught:
            write()
        assert caught.value.exit_code == Exit.ENVIRONMENT
    assert pipe.is_fifo()
    assert [path.name for path in tmp_path.iterdir()] == ["pipe"]


def test_a_place_is_proved_without_a_trace(tmp_path: Path) -> None:
    (tmp_path / "old").write_bytes(b"old")
    for name in ("old", "new", "deep/new"):
        assert files.prove_writable(tmp_path / name) == tmp_path / name
    assert (tmp_path / "old").read_bytes() == b"old"
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["deep", "old"]
    with pytest.raises(FireforgeError, match="CANNOT_WRITE"):
        files.prove_writable(tmp_path / "deep")


def test_what_killed_processes_left_is_swept_and_nothing_else(tmp_path: Path) -> None:
    dead = subprocess.Popen(["true"])
    dead.wait()
    inner = tmp_path / "weights"
    inner.mkdir()
    left = [tmp_path / f".result.json.{dead.pid}.tmp", tmp_path / f".best.safetensors.{dead.pid}.probe"]
    kept = [
        tmp_path / f".best.safetensors.{os.getpid()}.tmp",  # of a process that lives
        tmp_path / ".best.safetensors.1.tmp",
        inner / f".best.safetensors.{dead.pid}.tmp",  # deeper
        tmp_path / f"notes.{dead.pid}.tmp",
        tmp_path / ".notes.tmp",
        tmp_path / ".99999999999.tmp",
    ]
    for path in (*left, *kept):
        path.write_bytes(b"1")
    (tmp_path / f".folder.{dead.pid}.tmp").mkdir()
    files.sweep(tmp_path)
    assert [path.exists() for path in left] == [False, False]
    assert all(path.exists() for path in (*kept, tmp_path / f".folder.{dead.pid}.tmp"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_read_only_folder(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    for work in (lambda: files.write_bytes(tmp_path / "f", b""), lambda: files.make_folder(tmp_path)):
        with pytest.raises(FireforgeError, match="CANNOT_WRITE"):
            work()


def test_folder_is_made_with_parents_or_refused(tmp_path: Path) -> None:
    assert files.make_folder(tmp_path / "a" / "b").is_dir()
    assert files.make_folder(tmp_path / "a" / "b").is_dir()
    (tmp_path / "file").write_bytes(b"")
    for path in (tmp_path / "file", tmp_path / "file" / "b"):
        with pytest.raises(FireforgeError, match="CANNOT_WRITE"):
            files.make_folder(path)


def test_read_json_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "bad").write_bytes(b"{")
    (tmp_path / "latin").write_bytes(b'"\xe9"')
    (tmp_path / "deep").write_bytes(b"[" * 200_000)
    for name, code in (("absent", "NO_FILE"), ("bad", "BAD_JSON"), ("latin", "BAD_JSON"), ("deep", "BAD_JSON")):
        with pytest.raises(FireforgeError, match=code) as caught:
            files.read_json(tmp_path / name)
        assert caught.value.where == str(tmp_path / name)


def test_sha256_against_hashlib(tmp_path: Path) -> None:
    path = files.write_bytes(tmp_path / "f", b"abc" * 10_000)
    assert files.sha256_of_file(path) == hashlib.sha256(b"abc" * 10_000).hexdigest()
    with pytest.raises(FireforgeError, match="NO_FILE"):
        files.sha256_of_file(tmp_path / "absent")
