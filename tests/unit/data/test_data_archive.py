# SPDX-License-Identifier: Apache-2.0
"""Archives of pictures against the folders that they were made of, and against zipfile and tarfile."""

from __future__ import annotations

import bz2
import copy
import functools
import gzip
import io
import lzma
import os
import pickle
import subprocess
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fireforge.base.errors import FireforgeError
from fireforge.base.trial import DataRef
from fireforge.data.archive.kind import SUFFIXES, kind_of
from fireforge.data.archive.tree import ArchiveTree, open_archive
from fireforge.data.inspect import inspect
from fireforge.data.open import open_dataset, open_ref
from fireforge.data.tree import printable

PACK: dict[str, Callable[[bytes], bytes]] = {
    ".tar": bytes,
    ".tar.gz": gzip.compress,
    ".tgz": gzip.compress,
    ".tar.bz2": bz2.compress,
    ".tbz2": bz2.compress,
    ".tar.xz": lzma.compress,
    ".txz": lzma.compress,
}


def png(value: int) -> bytes:
    ramp = (np.arange(10 * 12 * 3).reshape(10, 12, 3) * 3 + value * 17) % 256
    stream = io.BytesIO()
    Image.fromarray(ramp.astype(np.uint8)).save(stream, "PNG")
    return stream.getvalue()


def files(count: int = 3, *, above: str = "") -> dict[str, bytes]:
    return {
        f"{above}{label}/{i}.png": png(i + 10 * number)
        for number, label in enumerate(("cat", "dog"))
        for i in range(count)
    }


def folder_of(root: Path, members: dict[str, bytes]) -> Path:
    for name, data in members.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


def zip_of(path: Path, members: dict[str, bytes], *, method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def tar_bytes(members: dict[str, bytes], *, form: int = tarfile.PAX_FORMAT) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=form) as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return stream.getvalue()


def archive_of(path: Path, members: dict[str, bytes]) -> Path:
    """By the path's suffix."""
    if path.suffix == ".zip":
        return zip_of(path, members)
    suffix = next(suffix for suffix in sorted(PACK, key=len, reverse=True) if path.name.endswith(suffix))
    path.write_bytes(PACK[suffix](tar_bytes(members)))
    return path


@pytest.mark.parametrize("suffix", sorted(SUFFIXES))
def test_an_archive_is_the_folder_it_was_made_of(tmp_path: Path, suffix: str) -> None:
    """Reference: the folder format on the same files; the digest covers labels, names, parts and contents."""
    members = {
        **files(),
        "notes.txt": b"hello",
        "cat/10.png": png(99),
        "cat/deep/er/1.png": png(98),
        "cat/0.tif": b"II*\0",
    }
    folder = open_dataset(folder_of(tmp_path / "photos", members))
    archive = open_dataset(archive_of(tmp_path / f"photos{suffix}", {f"photos/{k}": v for k, v in members.items()}))
    assert archive.format == "archive"
    assert archive.labels == folder.labels
    assert [s.name for s in archive.samples] == [s.name for s in folder.samples]
    assert archive.ledger() == folder.ledger()
    assert archive.sha256 == folder.sha256
    for name in ("other.dat", "photos.jpg"):  # told by content, not by name
        (tmp_path / name).write_bytes((tmp_path / f"photos{suffix}").read_bytes())
        assert open_dataset(tmp_path / name).sha256 == folder.sha256


def test_a_packed_tar_of_large_pictures_is_told_by_its_content(tmp_path: Path) -> None:
    """bzip2 gives nothing before its first block of 900 kB is read; gzip and xz do."""
    data = tar_bytes({"a/1": os.urandom(2_000_000)})
    for pack in (gzip.compress, bz2.compress, lzma.compress):
        (tmp_path / "name").write_bytes(pack(data))
        assert kind_of(str(tmp_path / "name")).startswith("tar."), pack
    (tmp_path / "name").write_bytes(gzip.compress(b"no tar" * 1000))
    assert kind_of(str(tmp_path / "name")) == ""


ODD = ("new\nline\t", "right\u202eleft", "\u5bb6\U0001f468\u200d\U0001f469", "-x", "n" * 240, "a b\x7f", "\\back")


@pytest.mark.parametrize("suffix", [".zip", ".tar", ".tgz"])
def test_odd_names_are_shown_as_in_a_folder(tmp_path: Path, suffix: str) -> None:
    """I25: line breaks, direction marks, emoji, 240 letters, a leading dash; reference: the folder format."""
    odd = (*ODD, "caf\udce9") if suffix != ".zip" else ODD  # a byte that is not UTF-8; a zip has code pages for such
    odd = tuple(name for name in odd if suffix != ".zip" or "\\" not in name)
    members = {**files(), **{f"cat/{name}.png": png(40 + i) for i, name in enumerate(odd)}}
    folder = open_dataset(folder_of(tmp_path / "a", members))
    packed = open_dataset(archive_of(tmp_path / f"a{suffix}", members))
    assert len(packed.samples) == 6 + len(odd)
    assert [s.name for s in packed.samples] == [s.name for s in folder.samples]
    assert packed.sha256 == folder.sha256
    assert printable("a\ud800\udcff\u2028") == "a\\ud800\\xff\\u2028"


def test_parts_in_an_archive_are_those_of_the_folder(tmp_path: Path) -> None:
    members = {**files(4, above="train/"), **files(2, above="valid/"), "test/1.png": png(3), "other/x/1.png": png(4)}
    folder = open_dataset(folder_of(tmp_path / "a", members))
    archive = open_dataset(zip_of(tmp_path / "a.zip", members))
    assert archive.counts() == folder.counts() == {"cat": {"train": 4, "val": 2}, "dog": {"train": 4, "val": 2}}
    assert archive.ledger() == folder.ledger()
    assert archive.sha256 == folder.sha256


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_names_of_every_tar_format_against_tarfile(tmp_path: Path, form: int) -> None:
    """Long names, names that are not ASCII, odd ones (I25), an empty file: as tarfile itself reads them back."""
    long = f"{'d' * 90}/{'e' * 60}"
    names = ["a/é\u202e\U0001f600.png", "-x/new\nline\t.png", f"{long}/f.png", "b/" + "n" * 90, "./c//d.png", "empty/0"]
    names += [] if form == tarfile.USTAR_FORMAT else ["x/" + "y" * 250 + ".png", "z/" * 60 + "q.png"]
    members = {name: (b"" if name == "empty/0" else os.urandom(i * 400 + 1)) for i, name in enumerate(names)}
    path = tmp_path / "a.tar"
    path.write_bytes(tar_bytes(members, form=form))
    tree = open_archive(str(path))
    with tarfile.open(path) as reference:
        wanted = {
            os.path.normpath(info.name): reference.extractfile(info).read()  # type: ignore[union-attr]
            for info in reference.getmembers()
        }
    assert {name: tree.read(name) for name in tree.names()} == wanted
    assert tree.names() == sorted(wanted)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_zip_members_against_zipfile(tmp_path: Path, method: int) -> None:
    """Random and regular contents of 0 B to 300 kB, streamed with data descriptors and zip64 fields too."""
    path = tmp_path / "a.zip"
    rng = np.random.default_rng(5)
    with open(path, "wb") as raw, zipfile.ZipFile(Unseekable(raw), "w", method) as archive:  # type: ignore[arg-type]
        for i, size in enumerate((0, 1, 511, 512, 513, 65_536, 300_000)):
            archive.writestr(f"a/é{i}", bytes(rng.integers(0, 256, size, np.uint8)))
            with archive.open(zipfile.ZipInfo(f"b/{i}"), "w", force_zip64=True) as stream:
                stream.write(b"ab" * (size // 2))
    tree = open_archive(str(path))
    with zipfile.ZipFile(path) as reference:
        assert tree.names() == sorted(reference.namelist())
        for name in tree.names():
            assert tree.read(name) == reference.read(name)
            assert tree.head(name) == reference.read(name)[:512]


class Unseekable(io.RawIOBase):
    """A pipe as far as zipfile knows, so that it writes sizes behind the data."""

    def __init__(self, raw: io.BufferedWriter) -> None:
        self.raw = raw

    def write(self, data: bytes) -> int:  # type: ignore[override]
        return self.raw.write(data)


def test_a_zip_with_more_than_65535_members(tmp_path: Path) -> None:
    """Beyond 16 bits the zip64 records count; reference: zipfile wrote them."""
    path = tmp_path / "a.zip"
    info = zipfile.ZipInfo("")
    info.CRC = 0
    with zipfile.ZipFile(path, "w") as archive:
        for i in range(65_540):  # far faster than writestr
            one = copy.copy(info)
            one.filename, one.header_offset = f"c/{i:05}", i * len(one.FileHeader() + b"c/00000")
            archive.filelist.append(one)
            archive.fp.write(one.FileHeader())  # type: ignore[union-attr]
        archive.start_dir, archive._didModify = archive.fp.tell(), True  # type: ignore[attr-defined,union-attr]
    assert len(open_archive(str(path)).names()) == 65_540


@pytest.mark.parametrize("suffix", [".zip", ".tar", ".tar.xz"])
def test_it_crosses_pickle_and_notices_a_change(tmp_path: Path, suffix: str) -> None:
    path = archive_of(tmp_path / f"a{suffix}", files())
    dataset = open_dataset(path)
    twin = pickle.loads(pickle.dumps(dataset))
    assert twin.read(4) == dataset.read(4) == png(11)
    fresh = pickle.loads(pickle.dumps(dataset))
    archive_of(path, files(4))
    with pytest.raises(FireforgeError, match="DATA_CHANGED"):
        fresh.read(4)
    path.unlink()
    with pytest.raises(FireforgeError, match="NO_FILE"):
        pickle.loads(pickle.dumps(dataset)).read(4)


def test_a_worker_finds_the_same_data_by_its_reference(tmp_path: Path) -> None:
    """One damaged member: what is left has the same digest when the archive is opened anew."""
    path = damage(zip_of(tmp_path / "a.zip", files()), png(1)[40:60])
    dataset = open_dataset(path)
    assert len(dataset.samples) == 5
    assert open_ref(DataRef(source=str(path), sha256=dataset.sha256)).sha256 == dataset.sha256


def damage(path: Path, piece: bytes) -> Path:
    """Turn one bit of a piece that stands in the file once."""
    data = path.read_bytes()
    packed = piece if piece in data else b""
    if not packed:  # deflated: turn a bit in the middle of the second member
        with zipfile.ZipFile(path) as archive:
            info = archive.infolist()[1]
            at = info.header_offset + 30 + len(info.filename) + info.compress_size // 2
    else:
        at = data.index(packed)
    path.write_bytes(data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :])
    return path


def test_manifest_npz_idx_and_cifar_inside(tmp_path: Path) -> None:
    """Each opens as it does unpacked: same labels, parts and contents."""
    rng = np.random.default_rng(0)
    listing = "file,label\n" + "".join(f"images/{i}.png,{'cat' if i % 2 else 'dog'}\n" for i in range(6))
    pictures = {f"images/{i}.png": png(i) for i in range(6)}
    npz = io.BytesIO()
    np.savez_compressed(npz, x=rng.integers(0, 256, (6, 5, 5), np.uint8), y=np.arange(6) % 2)
    idx = {
        "train-images-idx3-ubyte": b"\0\0\x08\x03" + np.array([4, 3, 3], ">u4").tobytes() + bytes(range(36)),
        "train-labels-idx1-ubyte": b"\0\0\x08\x01" + np.array([4], ">u4").tobytes() + bytes([0, 1, 0, 1]),
    }
    record = b"".join(bytes([i]) + bytes(rng.integers(0, 256, 3072, np.uint8)) for i in range(4))
    cifar = {"data_batch_1.bin": record, "test_batch.bin": record}
    cases = {"manifest": {"labels.csv": listing.encode(), **pictures}, "idx": idx, "cifar": cifar}
    for name, members in cases.items():
        plain = open_dataset(folder_of(tmp_path / name, members))
        assert plain.format == name
        for suffix in (".zip", ".tgz"):
            wrapped = {f"top/{key}": data for key, data in members.items()}
            packed = open_dataset(archive_of(tmp_path / f"{name}{suffix}", wrapped))
            assert (packed.format, packed.sha256, packed.labels) == ("archive", plain.sha256, plain.labels)
    plain_npz = tmp_path / "some.npz"
    plain_npz.write_bytes(npz.getvalue())
    assert kind_of(str(plain_npz)) == ""
    packed = open_dataset(zip_of(tmp_path / "n.zip", {"readme.txt": b"x", "some.npz": npz.getvalue()}))
    assert packed.sha256 == open_dataset(plain_npz).sha256
    renamed = tmp_path / "renamed.zip"
    renamed.write_bytes(npz.getvalue())
    assert open_dataset(renamed).sha256 == packed.sha256


def test_a_bomb_in_the_npz_of_a_zip_is_refused(tmp_path: Path) -> None:
    """40 MB of zeros from 40 kB inside an inner npz: the inner zip is held to the limits too."""
    inner = io.BytesIO()
    np.savez_compressed(inner, x=np.zeros((40_000, 32, 32), np.uint8), y=np.arange(40_000) % 2)
    path = zip_of(tmp_path / "a.zip", {"data.npz": inner.getvalue()}, method=zipfile.ZIP_STORED)
    with pytest.raises(FireforgeError, match=r"ARC_BOMB: .*a\.zip: 'data\.npz'") as caught:
        open_dataset(path)
    assert "/tmp" not in caught.value.line().replace(str(tmp_path), "")


def test_a_class_folder_alone_is_one_class_and_a_wrapping_is_none(tmp_path: Path) -> None:
    with pytest.raises(FireforgeError, match=r"ONE_CLASS.*'cat'"):
        open_dataset(zip_of(tmp_path / "a.zip", {"photos/cat/1.png": png(1)}))
    train = open_dataset(zip_of(tmp_path / "b.zip", files(above="set/train/")))
    assert train.counts() == {"cat": {"train": 3}, "dog": {"train": 3}}
    deep = open_dataset(zip_of(tmp_path / "c.zip", files(above="a/b/c/")))
    assert deep.samples[0].name == "cat/0.png"


def test_hidden_files_and_those_of_a_mac_are_not_counted(tmp_path: Path) -> None:
    members = {**files(), "__MACOSX/cat/._0.png": b"x", ".DS_Store": b"x", "cat/.hidden.png": png(5)}
    dataset = open_dataset(zip_of(tmp_path / "a.zip", members))
    assert dataset.found == len(dataset.samples) == 6


def test_an_empty_class_folder_is_named_as_in_a_folder(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "a", files())
    (folder / "emu").mkdir()
    path = zip_of(tmp_path / "a.zip", {**files(), "emu/": b""})
    assert open_dataset(path).ledger() == open_dataset(folder).ledger()
    assert open_dataset(path).skipped[0].name == "emu/"


def test_inspect_sees_the_same_in_both(tmp_path: Path) -> None:
    folder = inspect(open_dataset(folder_of(tmp_path / "a", files())))
    packed = inspect(open_dataset(zip_of(tmp_path / "a.zip", files())))
    same = ("classes", "found", "used", "counts", "height_px", "width_px", "modes")
    assert all(getattr(folder, name) == getattr(packed, name) for name in same)


def test_windows_separators(tmp_path: Path) -> None:
    r"""Old Windows tools write cat\0.png; a zip that says it was made there has its separators turned."""
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files().items():
            info = zipfile.ZipInfo(name.replace("/", "\\"))
            info.create_system = 0
            archive.writestr(info, data)
    assert open_dataset(path).labels == ("cat", "dog")


def test_nothing_is_left_behind(tmp_path: Path) -> None:
    """A packed tar is unpacked into a file without a name: no other file is there at any time."""
    path = archive_of(tmp_path / "a.tgz", files())
    script = (
        "import sys, os, tempfile\n"
        "from fireforge.data.open import open_dataset\n"
        "data = open_dataset(sys.argv[1])\n"
        "data.read(0)\n"
        "print(os.listdir(tempfile.gettempdir()))\n"
    )
    room = tmp_path / "room"
    room.mkdir()
    env = {**os.environ, "TMPDIR": str(room)}
    done = subprocess.run([sys.executable, "-c", script, path], env=env, capture_output=True, text=True, timeout=60)
    assert (done.stdout.strip(), done.stderr, list(room.iterdir())) == ("[]", "", [])


def test_a_full_disk_is_the_machine_s_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = archive_of(tmp_path / "a.tgz", files())
    monkeypatch.setattr("tempfile.TemporaryFile", functools.partial(open, "/dev/full", "r+b"))
    with pytest.raises(FireforgeError, match="CANNOT_WRITE") as caught:
        open_archive(str(path))
    assert caught.value.exit_code == 3


def test_photographs_in_an_archive(data_folder: Path, tmp_path: Path) -> None:
    """photos10, 5 a class: the zip has the labels, names and digest of the folder."""
    chosen = {}
    for label in sorted((data_folder / "photos10" / "train").iterdir()):
        for path in sorted(label.iterdir())[:5]:
            chosen[f"{label.name}/{path.name}"] = path.read_bytes()
    assert len(chosen) == 50
    folder = open_dataset(folder_of(tmp_path / "photos", chosen))
    for suffix in (".zip", ".tar.gz"):
        packed = open_dataset(archive_of(tmp_path / f"photos{suffix}", {f"photos10/{k}": v for k, v in chosen.items()}))
        assert (packed.labels, packed.sha256) == (folder.labels, folder.sha256)


@pytest.fixture
def data_folder() -> Path:
    if "FIREFORGE_DATA" not in os.environ:
        pytest.skip("FIREFORGE_DATA is not set")
    return Path(os.environ["FIREFORGE_DATA"])


def test_reading_is_checked_at_each_reading(tmp_path: Path) -> None:
    """A member that changed under an unchanged size and time is told by its CRC; reference: zlib.crc32."""
    path = zip_of(tmp_path / "a.zip", files(), method=zipfile.ZIP_STORED)
    tree = open_archive(str(path))
    assert isinstance(tree, ArchiveTree)
    assert all(member.crc == zlib.crc32(tree.read(name)) for name, member in tree.members.items())
    before = path.stat()
    damage(path, png(1)[40:60])
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(FireforgeError, match=r"ARC_CRC: .*'cat/1\.png'"):
        tree.read("cat/1.png")
    assert tree.read("cat/0.png") == png(0)
