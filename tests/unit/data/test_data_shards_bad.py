# SPDX-License-Identifier: Apache-2.0
"""Packed datasets that were cut, damaged or made by an attacker, and packing that fails: one line, nothing lost."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from unit.data.shard_cases import dataset_of, packed, rewrite, some_pixels

from fireforge.base.errors import FireforgeError
from fireforge.base.pixels import encode_png
from fireforge.data.inspect import inspect
from fireforge.data.open import open_dataset
from fireforge.data.shards import place
from fireforge.data.shards.index import read_index
from fireforge.data.shards.layout import HEAD, INDEX, Head, places, whole_bytes
from fireforge.data.shards.place import MARK, MARK_TEXT
from fireforge.data.shards.stored import Stored
from fireforge.jobs import pack as pack_module

KINDS: dict[str, dict[str, object]] = {"decoded": {}, "encoded": {"encoded": True}}


@pytest.fixture(params=list(KINDS))
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """12 pictures in 2 shards or more."""
    path = tmp_path / "x.shards"
    packed(dataset_of(some_pixels(12)), path, shard_bytes=1500, **KINDS[request.param])
    return path


def refused(work: Callable[[], object], *codes: str) -> str:
    with pytest.raises(FireforgeError) as raised:
        work()
    assert raised.value.code in codes
    assert "\n" not in raised.value.line()
    return raised.value.line()


def test_an_index_cut_anywhere_is_refused(folder: Path) -> None:
    """Every length below the whole, and the whole with a byte more."""
    whole = (folder / INDEX).read_bytes()
    for size in range(len(whole)):
        os.truncate(folder / INDEX, size) if size else (folder / INDEX).write_bytes(b"")
        refused(lambda: read_index(folder), "BAD_SHARDS")
        (folder / INDEX).write_bytes(whole)
    (folder / INDEX).write_bytes(whole + b"\0")
    refused(lambda: open_dataset(folder), "BAD_SHARDS")


def test_every_flipped_bit_of_an_index_is_found(folder: Path) -> None:
    """1,000 of 1,000; a bit of the head, of any column, of the filling or of the sha256 itself."""
    whole = (folder / INDEX).read_bytes()
    found = 0
    for bit in np.random.default_rng(6).choice(len(whole) * 8, 1000, replace=False).tolist():
        data = bytearray(whole)
        data[bit // 8] ^= 1 << bit % 8
        (folder / INDEX).write_bytes(data)
        refused(lambda: read_index(folder), "BAD_SHARDS")
        found += 1
    assert found == 1000


def readers(stored: Stored, picture: int) -> Iterator[Callable[[], object]]:
    """Every way to a picture."""
    yield lambda: stored(picture)
    if stored.shape is None:
        yield lambda: stored.encoded(picture)
    else:
        yield lambda: stored.picture(picture)
        yield lambda: stored.read_rows(np.array([0, picture, 1]))
        yield lambda: stored.block(picture, picture + 1)


def test_every_flipped_bit_of_a_picture_is_found_when_it_is_read(folder: Path) -> None:
    """300 of 300, by every way to the picture; the others are read as ever."""
    whole = Stored(str(folder))
    sizes = [int(size) for size in whole.index.shards[:, 1]]
    starts = np.cumsum([0, *sizes])
    ends = whole.index.ends if len(whole.index.ends) else np.arange(1, 13) * whole.index.head.picture_bytes
    for bit in np.random.default_rng(7).choice(sum(sizes) * 8, 300, replace=False).tolist():
        shard = int(np.searchsorted(starts, bit // 8, side="right")) - 1
        path, at = folder / f"shard-{shard:05d}.bin", bit // 8 - int(starts[shard])
        flip(path, at, 1 << bit % 8)
        picture = int(np.searchsorted(ends, bit // 8, side="right"))
        for read in readers(Stored(str(folder)), picture):
            assert f"picture {picture} (" in refused(read, "BAD_SHARD")
        assert Stored(str(folder))((picture + 1) % 12) is not None
        flip(path, at, 1 << bit % 8)


def flip(path: Path, at: int, mask: int) -> None:
    with open(path, "r+b") as stream:
        stream.seek(at)
        value = stream.read(1)[0]
        stream.seek(at)
        stream.write(bytes([value ^ mask]))


def test_a_shard_that_is_absent_or_of_another_length_is_named(folder: Path) -> None:
    path = folder / "shard-00001.bin"
    whole = path.read_bytes()
    for data in (whole[:-1], whole + b"\0", b""):
        path.write_bytes(data)
        assert "shard-00001.bin" in refused(lambda: open_dataset(folder), "BAD_SHARD")
    path.unlink()
    assert "shard-00001.bin" in refused(lambda: open_dataset(folder), "BAD_SHARD")
    path.mkdir()
    refused(lambda: open_dataset(folder), "BAD_SHARD")


def test_a_shard_that_is_cut_while_it_is_in_use_is_an_error_and_no_crash(folder: Path) -> None:
    """A read past the end of a mapped file would kill the process."""
    stored = Stored(str(folder))
    for i in range(12):
        stored(i)
    path = folder / "shard-00000.bin"
    state = os.stat(path)
    os.truncate(path, 1)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    for read in readers(stored, 0):
        refused(read, "BAD_SHARD")


def test_decoded_pictures_that_are_written_over_are_an_error(tmp_path: Path) -> None:
    """They were checked when they were first read; the file's time tells that they are others now."""
    packed(dataset_of(some_pixels(12)), tmp_path / "x.shards")
    stored = Stored(str(tmp_path / "x.shards"))
    stored(0)
    flip(tmp_path / "x.shards" / "shard-00000.bin", 0, 1)
    os.utime(tmp_path / "x.shards" / "shard-00000.bin", ns=(0, 0))
    for read in readers(stored, 0):
        refused(read, "DATA_CHANGED")


@pytest.mark.parametrize("row", [-1, 12, 2**40])
def test_a_picture_that_is_not_there_is_an_error(folder: Path, row: int) -> None:
    for read in readers(Stored(str(folder)), row):
        refused(read, "NO_SAMPLE")


def changed(folder: Path, column: str, at: int, value: int) -> None:
    """Set one number of a column, with the sha256 made right."""
    data = bytearray((folder / INDEX).read_bytes())
    start, dtype, shape = places(Head.parse(bytes(data[: HEAD.size]), where=""))[column]
    view = np.frombuffer(data, dtype, int(np.prod(shape)), start)
    view[at] = value
    rewrite(folder, bytes(data))


HOSTILE: dict[str, list[tuple[str, int, int]]] = {
    "decoded": [("shards", 0, 1), ("shards", 2, 0), ("shards", 2, 2**64 - 1), ("shards", 1, 2**63), ("shards", 3, 0)],
    "encoded": [("ends", 0, 0), ("ends", 3, 2**64 - 1), ("ends", 5, 1), ("ends", 11, 2**63), ("shards", 2, 11)],
}
BOTH = [("labels", 3, -1), ("labels", 0, 2), ("owners", 0, 4), ("name_ends", 0, 2**32 - 1), ("name_ends", 11, 1)]


@pytest.mark.parametrize("kind", list(KINDS))
def test_a_hostile_index_with_a_right_sha256_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x.shards"
    packed(dataset_of(some_pixels(12)), path, shard_bytes=1500, **KINDS[kind])
    whole = (path / INDEX).read_bytes()
    for column, at, value in [*HOSTILE[kind], *BOTH]:
        changed(path, column, at, value)
        refused(lambda: open_dataset(path), "BAD_SHARDS")
        (path / INDEX).write_bytes(whole)


@pytest.mark.parametrize(
    "change",
    [
        {"classes": ["a", "a"]},
        {"classes": ["a", "b", "c"]},
        {"classes": ["a", 1]},
        {"classes": ["a", "b\nc"]},
        {"skipped": [["x", "y"]]},
        {"notes": {}},
        {"more": 1},
    ],
)
def test_a_hostile_text_with_a_right_sha256_is_refused(folder: Path, change: dict[str, object]) -> None:
    for text in (json.dumps({"classes": ["a", "b"], "skipped": [], "notes": [], **change}).encode(), b"[" * 5000):
        data = bytearray((folder / INDEX).read_bytes())
        head = Head.parse(bytes(data[: HEAD.size]), where="")
        start = places(head)["json"][0]
        fields = {**vars(head), "json_bytes": len(text)}
        again = Head(**{**fields, "total": whole_bytes(Head(**fields))})
        body = again.pack() + bytes(data[HEAD.size : start]) + text
        rewrite(folder, body + bytes(again.total - len(body)))
        refused(lambda: open_dataset(folder), "BAD_SHARDS")


def test_bytes_between_the_columns_are_refused(folder: Path) -> None:
    """Nothing hides where nothing is read."""
    data = bytearray((folder / INDEX).read_bytes())
    taken = np.zeros(len(data), bool)
    taken[: HEAD.size], taken[-32:] = True, True
    for start, dtype, shape in places(Head.parse(bytes(data[: HEAD.size]), where="")).values():
        taken[start : start + int(np.prod(shape)) * np.dtype(dtype).itemsize] = True
    assert not taken.all()
    for at in np.flatnonzero(~taken).tolist():
        rewrite(folder, bytes(data[:at]) + b"\1" + bytes(data[at + 1 :]))
        refused(lambda: read_index(folder), "BAD_SHARDS")


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path: Path) -> None:
    full = tmp_path / "x.shards"
    full.mkdir()
    (full / "mine.txt").write_text("mine")
    refused(lambda: packed(dataset_of(some_pixels()), full), "OUT_TAKEN")
    assert [(path.name, path.read_text()) for path in full.iterdir()] == [("mine.txt", "mine")]
    (full / MARK).write_bytes(MARK_TEXT)
    refused(lambda: packed(dataset_of(some_pixels()), full), "OUT_TAKEN")
    assert (full / "mine.txt").read_text() == "mine"


def test_a_packed_dataset_is_never_packed_over(folder: Path) -> None:
    """Not by other data, and not by itself."""
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    refused(lambda: packed(open_dataset(folder), folder), "OUT_TAKEN")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_two_packings_do_not_share_a_folder(tmp_path: Path) -> None:
    with place.packing_into(tmp_path / "x.shards"):
        refused(lambda: packed(dataset_of(some_pixels()), tmp_path / "x.shards"), "OUT_TAKEN")
    packed(dataset_of(some_pixels()), tmp_path / "x.shards")


def test_a_full_disk_is_told_before_work_or_cleared_after(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = shutil.disk_usage(tmp_path)
    with monkeypatch.context() as change:
        change.setattr(shutil, "disk_usage", lambda _: state._replace(free=(1 << 20) + 8000))
        for wish in KINDS.values():
            refused(lambda wish=wish: packed(dataset_of(some_pixels()), tmp_path / "x.shards", **wish), "NO_ROOM")
        packed(dataset_of(some_pixels(12)), tmp_path / "y.shards")
        shutil.rmtree(tmp_path / "y.shards")
    assert not list(tmp_path.iterdir())
    calls = []

    def full(handle: int) -> None:
        calls.append(handle)
        if len(calls) == 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    line = refused(lambda: packed(dataset_of(some_pixels()), tmp_path / "x.shards", shard_bytes=1500), "CANNOT_WRITE")
    assert "No space left" in line
    assert not list(tmp_path.iterdir())


def test_a_packing_that_was_killed_is_begun_anew(tmp_path: Path) -> None:
    """Kill -9 when the third shard begins; what is left says so, and the next one gives the bytes of an undisturbed."""
    root = tmp_path / "pictures"
    for i in range(16):
        (root / "ab"[i % 2]).mkdir(parents=True, exist_ok=True)
        (root / "ab"[i % 2] / f"{i}.png").write_bytes(encode_png(some_pixels(16)[i]))
    code = f"""
import os, signal
from fireforge.data.shards import writer
writer.SHARD_BYTES = 1000
begin = writer._Shards._begin
def dying(self):
    begin(self)
    if len(self.table) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
writer._Shards._begin = dying
from fireforge.jobs.pack import pack
pack({str(root)!r}, {str(tmp_path / "x.shards")!r}, packing=writer.Packing(shard_bytes=1000))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    left = sorted(path.name for path in (tmp_path / "x.shards").iterdir())
    assert left == ["shard-00000.bin", "shard-00001.bin", "shard-00002.bin", MARK]
    assert "has not ended" in refused(lambda: open_dataset(tmp_path / "x.shards"), "BAD_SHARDS")
    dataset = open_dataset(root)
    packed(dataset, tmp_path / "x.shards", shard_bytes=1000)
    packed(dataset, tmp_path / "y.shards", shard_bytes=1000)
    one, two = ({p.name: p.read_bytes() for p in (tmp_path / f"{n}.shards").iterdir()} for n in "xy")
    assert one == two
    assert MARK not in one


def test_a_pipe_in_the_place_of_the_index_does_not_wait(tmp_path: Path) -> None:
    (tmp_path / "x.shards").mkdir()
    os.mkfifo(tmp_path / "x.shards" / INDEX)
    start = time.monotonic()
    refused(lambda: open_dataset(tmp_path / "x.shards"), "NO_FILE")
    assert time.monotonic() - start < 2


def test_a_taken_name_is_refused_before_anything_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files, links, folders, and the data's own folder; what stands there stays as it is."""
    monkeypatch.setattr(pack_module, "open_dataset", lambda *_, **__: pytest.fail("the data was opened"))
    data = tmp_path / "data"
    (data / "a").mkdir(parents=True)
    (tmp_path / "full.shards").mkdir()
    (tmp_path / "full.shards" / "mine").write_text("mine")
    for name in ("x.npz", "x.shards"):
        (tmp_path / name).write_text("mine")
        (tmp_path / f"link-{name}").symlink_to(tmp_path / "nowhere")
    inside = [data / "x.npz", data / "a" / "x.shards", data, data / ".." / "data" / "x.npz"]
    names = ["x.npz", "x.shards", "link-x.npz", "link-x.shards", "full.shards"]
    for out in [*inside, *(tmp_path / name for name in names)]:
        for source in (str(data), f"file://{data}"):
            line = refused(lambda: pack_module.pack(source, out), "OUT_TAKEN")  # noqa: B023 - called at once
            assert ("within the data" in line) == (out in inside)
    assert (tmp_path / "x.npz").read_text() == "mine"


def test_inspect_says_loudly_that_a_damaged_picture_spoils_it(folder: Path) -> None:
    shard = folder / "shard-00000.bin"
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(data)
    found = inspect(open_dataset(folder)).findings
    assert [(item.code, item.loud) for item in found if item.code == "BAD_SHARD"] == [("BAD_SHARD", True)]
    assert any("from the original data" in item.text for item in found)
