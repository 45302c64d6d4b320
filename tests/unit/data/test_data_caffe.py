# SPDX-License-Identifier: Apache-2.0
"""Caffe's databases as LMDB's and LevelDB's own libraries write them, against the records that they were written of."""

from __future__ import annotations

import gc
import multiprocessing
import os
import pickle
import random
import shutil
import struct
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from opening import is_whole, refused
from source_files import datum, leveldb_of, lmdb_of, planes, png

from fireforge.base.errors import FireforgeError
from fireforge.data.archive.store import FileStore, stamp_of
from fireforge.data.database.datum import datum_of, picture_of
from fireforge.data.database.leveldb_file import remove_folders
from fireforge.data.database.lmdb_file import lmdb_entries
from fireforge.data.open import open_dataset

lmdb = pytest.importorskip("lmdb")
pytest.importorskip("plyvel")

Writer = Callable[[Path, Mapping[bytes, bytes]], Path]
WRITERS: list[Writer] = [lmdb_of, leveldb_of]


def pictures(count: int, height: int = 6, width: int = 5) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (count, height, width, 3), dtype=np.uint8)


def records(rgb: np.ndarray, classes: int = 3) -> dict[bytes, bytes]:
    return {b"%08d_x/%d.JPEG" % (i, i): datum(planes(one), i % classes) for i, one in enumerate(rgb)}


def state(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    return {p.name: (p.stat().st_mtime_ns, p.stat().st_ino, p.read_bytes()) for p in sorted(folder.iterdir())}


@pytest.mark.parametrize("side", [6, 90], ids=["within a page", "on pages of its own"])
def test_both_databases_give_the_pictures_that_were_put_in(tmp_path: Path, side: int) -> None:
    rgb = pictures(20, side, side + 1)
    digests = set()
    for write in WRITERS:
        folder = write(tmp_path / write.__name__, records(rgb))
        before = state(folder)
        dataset = open_dataset(folder)
        assert dataset.labels == ("0", "1", "2")
        assert [sample.label for sample in dataset.samples] == [i % 3 for i in range(20)]
        assert dataset.samples[7].name == "00000007_x/7.JPEG"
        assert all((dataset.read(i) == rgb[i]).all() for i in reversed(range(20)))
        assert is_whole(dataset)
        digests.add(dataset.sha256)
        assert pickle.loads(pickle.dumps(dataset)).sha256 == dataset.sha256
        with multiprocessing.get_context("fork").Pool(2) as pool:
            assert all((one == two).all() for one, two in zip(pool.map(dataset.read, range(20)), rgb))
        assert state(folder) == before  # no lock, no log, no new manifest
    assert len(digests) == 1


def test_gray_encoded_and_float_records(tmp_path: Path) -> None:
    gray = pictures(6)[..., 0]
    values = gray.astype("<f4").tobytes()
    kinds = {
        "gray": [datum(one[None], i % 2) for i, one in enumerate(gray)],
        "files": [datum(png(i), i % 2) for i in range(6)],
        "backwards": [datum(one[None], i % 2, order="label first") for i, one in enumerate(gray)],
        "floats": [
            b"\x08\x01\x10\x06\x18\x05\x28" + bytes([i % 2]) + b"\x32\x78" + values[i * 120 : i * 120 + 120]
            for i in range(6)
        ],
    }
    for name, messages in kinds.items():
        dataset = open_dataset(lmdb_of(tmp_path / name, {b"%d" % i: one for i, one in enumerate(messages)}))
        assert [sample.label for sample in dataset.samples] == [0, 1] * 3
        for i in range(6):
            assert dataset.read(i) == png(i) if name == "files" else (dataset.read(i) == gray[i]).all()


def test_databases_of_parts_side_by_side(tmp_path: Path) -> None:
    lmdb_of(tmp_path / "digits_test_lmdb", records(pictures(4), 2))
    leveldb_of(tmp_path / "digits_train_leveldb", records(pictures(8), 2))
    dataset = open_dataset(tmp_path)
    assert dataset.counts() == {"0": {"train": 4, "test": 2}, "1": {"train": 4, "test": 2}}
    assert dataset.samples[0].name == "digits_train_leveldb/00000000_x/0.JPEG"
    assert open_dataset(tmp_path / "digits_test_lmdb" / "data.mdb").counts() == {"0": {"all": 2}, "1": {"all": 2}}
    shutil.copytree(tmp_path / "digits_test_lmdb", tmp_path / "test_two")
    assert refused(tmp_path).code == "BAD_LAYOUT"


def test_class_names_beside_the_database(tmp_path: Path) -> None:
    folder = lmdb_of(tmp_path / "train_lmdb", records(pictures(9)))
    words = tmp_path / "synset_words.txt"
    words.write_text("n01440764 tench, Tinca tinca\nn02012849 crane\nn03126707 crane, hoist\n")
    assert open_dataset(folder).labels == ("tench, Tinca tinca", "crane", "crane, hoist")
    words.write_text("n01440764 tench\nn02012849 crane\nn03126707 crane\n")  # unique with their numbers alone
    assert open_dataset(folder).labels == ("n01440764 tench", "n02012849 crane", "n03126707 crane")
    (folder / "labels.txt").write_text("one\ntwo\n")
    error = refused(folder)
    assert (error.code, "00000002_x/2.JPEG" in error.where) == ("BAD_LABELS", True)


@pytest.mark.parametrize("write", WRITERS)
def test_a_record_that_is_no_datum_is_skipped_and_many_are_refused(tmp_path: Path, write: Writer) -> None:
    bad = {
        b"cut": datum(planes(pictures(1)[0]), 1)[:40],
        b"few": b"\x08\x03\x10\x06\x18\x05\x22\x04abcd",
        b"huge": b"\x08\x03\x10" + b"\xff" * 9 + b"\x01\x18\x05\x22\x04abcd",
        b"large": b"\x08\x03\x10\xff\xff\x03\x18\xff\xff\x03\x22\x04abcd",
        b"five": datum(np.zeros((5, 2, 2), np.uint8), 0),
        b"none": b"",
        b"text": b"hello, world",
        b"twice": datum(planes(pictures(1, 9, 9)[0]), 1) + b"\x22\x01a",
    }
    good = records(pictures(200))
    dataset = open_dataset(write(tmp_path / "a", {**good, **bad}))
    assert {item.name.encode(): item.code for item in dataset.skipped} == dict.fromkeys(bad, "BAD_DATUM")
    assert len(dataset.samples) == 200
    assert is_whole(dataset)
    assert refused(write(tmp_path / "b", bad)).code == "TOO_MANY_BAD"
    negative = datum(planes(pictures(1)[0]), -5)
    error = refused(write(tmp_path / "c", {**good, b"minus": negative}))
    assert (error.code, error.what, "minus" in error.where) == ("BAD_LABELS", "class number -5", True)
    assert refused(write(tmp_path / "d", {})).code in ("NO_DATA", "BAD_DATABASE")


def test_lmdb_is_read_as_its_library_reads_it(tmp_path: Path) -> None:
    draw, wanted = random.Random(3), {}
    with lmdb.open(str(tmp_path / "x"), map_size=2**28) as env:
        for _ in range(4):
            with env.begin(write=True) as turn:
                for _ in range(2000):
                    key, value = b"%07d" % draw.randrange(10**6), draw.randbytes(draw.choice((0, 9, 2000, 5000, 20000)))
                    turn.put(key, value)
                    wanted[key] = value
                for key in draw.sample(sorted(wanted), 300):
                    turn.delete(key)
                    del wanted[key]
    stamp = stamp_of(str(tmp_path / "x" / "data.mdb"))
    store = FileStore(stamp)
    entries = lmdb_entries(stamp)
    assert [entry.key for entry in entries] == sorted(wanted)
    assert all(store.read_at(entry.at, entry.size) == wanted[entry.key] for entry in entries)


def test_damage_to_an_lmdb_gets_one_line(tmp_path: Path) -> None:
    folder = lmdb_of(tmp_path / "x", records(pictures(300, 20, 20)))
    path = folder / "data.mdb"
    whole = path.read_bytes()
    page = 4096
    for cut in (0, 1, 100, page, 2 * page - 1, 2 * page, len(whole) // 2, len(whole) - page):
        path.write_bytes(whole[:cut])
        assert refused(folder).code in ("BAD_DATABASE", "BAD_LAYOUT", "NO_DATA"), cut
    path.write_bytes(b"\0garbage" * 4000)
    assert refused(folder).code == "BAD_DATABASE"
    newest = max((0, 1), key=lambda i: struct.unpack_from("<Q", whole, i * page + 144)[0])
    lies = {
        "page size": (40, "<I", 8192),
        "flags": (92, "<H", 4),
        "records": (120, "<Q", 3),
        "root": (128, "<Q", 10**15),
    }
    for name, (at, form, value) in {**lies, "a circle": (128, "<Q", 0), "version": (20, "<I", 9)}.items():
        bent = bytearray(whole)
        struct.pack_into(form, bent, newest * page + at, value)
        path.write_bytes(bent)
        assert refused(folder).code == "BAD_DATABASE", name


def test_records_that_share_bytes_are_refused(tmp_path: Path) -> None:
    path = lmdb_of(tmp_path / "x", records(pictures(4, 90, 90))) / "data.mdb"
    whole = path.read_bytes()
    one, two, *_ = (struct.pack("<Q", entry.at // 4096) for entry in lmdb_entries(stamp_of(str(path))))
    leaf = whole.rindex(b"00000001_x")  # the newest copy of its page
    place = whole.index(two, leaf)
    path.write_bytes(whole[:place] + one + whole[place + 8 :])
    assert "twice" in refused(path).what


def test_folders_of_killed_processes_are_swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    folder = leveldb_of(tmp_path / "x", records(pictures(20)))
    dataset = open_dataset(folder)
    child = os.fork()
    if not child:
        dataset.read(0)
        os._exit(0)  # like a kill: nothing is cleaned up
    os.waitpid(child, 0)
    assert len(list(tmp_path.glob("fireforge-leveldb-*"))) == 2
    again = open_dataset(folder)
    assert len(list(tmp_path.glob("fireforge-leveldb-*"))) == 2  # that of the child went, those of this process stay
    assert (dataset.read(3) == again.read(3)).all()
    del dataset, again
    gc.collect()
    assert not list(tmp_path.glob("fireforge-leveldb-*"))


def test_a_process_that_ends_at_once_removes_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As data workers end; the folder of the parent stays."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    dataset = open_dataset(leveldb_of(tmp_path / "x", records(pictures(20))))
    before = list(tmp_path.glob("fireforge-leveldb-*"))
    child = os.fork()
    if not child:
        dataset.read(0)
        made = len(list(tmp_path.glob("fireforge-leveldb-*")))
        remove_folders()
        os._exit(made)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 2
    assert list(tmp_path.glob("fireforge-leveldb-*")) == before
    assert dataset.read(3) is not None


def test_damage_to_a_leveldb_gets_one_line(tmp_path: Path) -> None:
    folder = leveldb_of(tmp_path / "x", records(pictures(50)))
    table = next(path for path in folder.iterdir() if path.suffix in (".ldb", ".sst"))
    whole = table.read_bytes()
    table.write_bytes(whole[:-60])
    assert refused(folder).code == "BAD_DATABASE"
    assert "b'" not in refused(folder).line()
    table.write_bytes(whole[:100] + b"!" * 40 + whole[140:])  # a block's checksum tells
    assert refused(folder).code in ("BAD_DATABASE", "TOO_MANY_BAD")
    table.unlink()
    assert refused(folder).code == "BAD_DATABASE"
    (folder / "CURRENT").write_text("MANIFEST-999999\n")
    assert refused(folder).code == "BAD_DATABASE"
    (folder / "CURRENT").write_text("MANIFEST-../../etc/passwd\n")
    assert refused(folder).code == "BAD_DATABASE"


def test_a_database_that_changed_is_told(tmp_path: Path) -> None:
    for write in WRITERS:
        folder = write(tmp_path / write.__name__, records(pictures(20)))
        dataset = pickle.loads(pickle.dumps(open_dataset(folder)))
        for path in folder.iterdir():
            os.utime(path, (1, 1))
        with pytest.raises(FireforgeError, match="DATA_CHANGED"):
            dataset.read(0)


def test_a_label_is_found_without_reading_the_pixels() -> None:
    message = datum(planes(pictures(1, 200, 200)[0]), 300)
    asked: list[int] = []

    def read(at: int, count: int) -> bytes:
        asked.append(count)
        return message[at : at + count]

    found = datum_of(read, len(message))
    assert (found.label, found.shape, sum(asked) < 100) == (300, (3, 200, 200), True)
    assert np.asarray(picture_of(message)).shape == (200, 200, 3)
    negative = datum_of(
        lambda at, count: (message[:-3] + b"\x28" + b"\xff" * 9 + b"\x01")[at : at + count], len(message) + 8
    )
    assert negative.label == -1
