# SPDX-License-Identifier: Apache-2.0
"""Archives made to attack or damaged: each gives its code, in bounded time and memory, and nothing is written."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import struct
import subprocess
import sys
import tarfile
import time
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fireforge.base.errors import FireforgeError
from fireforge.data.archive.limits import LIMITS, Limits
from fireforge.data.archive.tree import open_archive
from fireforge.data.dataset import Dataset
from fireforge.data.open import open_dataset

SMALL = Limits(total_bytes=3_000_000, member_bytes=2_000_000, members=20, names_bytes=400)


def png(value: int) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.full((8, 8), value, np.uint8)).save(stream, "PNG")
    return stream.getvalue()


def pictures(count: int = 4) -> dict[str, bytes]:
    return {f"{label}/{i}.png": png(i + 100 * n) for n, label in enumerate(("cat", "dog")) for i in range(count)}


def zipped(members: dict[str, bytes], *, method: int = zipfile.ZIP_STORED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return stream.getvalue()


def tarred(members: dict[str, bytes], *, extra: tuple[tarfile.TarInfo, ...] = ()) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for info in extra:
            archive.addfile(info)
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return stream.getvalue()


@pytest.fixture
def canary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder to work in; afterwards nothing stands in or around it that the test did not put there."""
    work, room = tmp_path / "a" / "work", tmp_path / "a" / "tmp"
    work.mkdir(parents=True)
    room.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.setenv("TMPDIR", str(room))
    monkeypatch.setattr("tempfile.tempdir", str(room))
    before = {name for name in os.listdir("/") if not name.startswith(".")}
    yield work
    stand = {p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*") if not p.is_dir()}
    assert all(name.startswith("a/work/in.") for name in stand)
    assert {name for name in os.listdir("/") if not name.startswith(".")} == before


def attempt(folder: Path, data: bytes, name: str = "in.zip") -> tuple[str, str]:
    """Code and line of the error; the input stays as it was, and it takes less than 10 s of processor time."""
    path = folder / name
    path.write_bytes(data)
    start = time.process_time()
    with pytest.raises(FireforgeError) as caught:
        open_dataset(str(path))
    assert time.process_time() - start < 10
    assert path.read_bytes() == data
    assert int(caught.value.exit_code) == 2
    return caught.value.code, caught.value.line()


def opened(folder: Path, data: bytes, name: str = "in.zip") -> Dataset:
    path = folder / name
    path.write_bytes(data)
    return open_dataset(str(path))


BAD_NAMES = (
    *("../x.png", "/etc/x.png", "C:\\x.png", "c:x.png", "a/../../x.png", "../data_evil/x.png", "..\\x.png"),
    *("a\\..\\..\\x.png", "\\\\host\\x.png", "cat/..", "a/" * 70 + "x.png"),
)


@pytest.mark.parametrize("name", BAD_NAMES)
@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
def test_i33_a_name_that_leaves_its_folder(canary: Path, kind: str, name: str) -> None:
    members = {**pictures(), name: png(7)}
    data = zipped(members) if kind == "zip" else tarred(members)
    if kind == "zip":  # ZipInfo turns nothing on Linux, so the name stands as it is
        assert name.encode() in data
    code, line = attempt(canary, gzip.compress(data) if kind == "tar.gz" else data, f"in.{kind}")
    assert code == "ARC_PATH"
    assert "x.png" in line or name == "cat/.."


def test_i33_a_nul_in_a_name(canary: Path) -> None:
    data = zipped({**pictures(), "cat/X.png": png(7)}).replace(b"cat/X.png", b"cat/\0.png")
    assert attempt(canary, data)[0] == "ARC_PATH"
    assert attempt(canary, zipped({**pictures(), "n" * 5000: b""}))[0] == "ARC_PATH"


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE], ids=repr
)
def test_i34_a_link_or_device_and_a_file_through_it(canary: Path, kind: bytes) -> None:
    link = tarfile.TarInfo("cat/way")
    link.type, link.linkname = kind, "/tmp"
    data = tarred({"cat/way/out.png": png(1), **pictures()}, extra=(link,))
    for packed, name in ((data, "in.tar"), (gzip.compress(data), "in.tar.gz")):
        code, line = attempt(canary, packed, name)
        assert code == "ARC_LINK"
        assert "cat/way" in line


def test_i34_a_symbolic_link_in_a_zip(canary: Path) -> None:
    link = zipfile.ZipInfo("cat/way")
    link.create_system, link.external_attr = 3, 0o120777 << 16
    stream = io.BytesIO(zipped(pictures()))
    with zipfile.ZipFile(stream, "a") as archive:
        archive.writestr(link, "/etc/passwd")
    code, line = attempt(canary, stream.getvalue())
    assert code == "ARC_LINK"
    assert "cat/way" in line


MEASURE = """
import sys
from fireforge.base.errors import FireforgeError
from fireforge.data.open import open_dataset
try:
    open_dataset(sys.argv[1])
    print("opened")
except FireforgeError as error:
    print(error.code)
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


def measured(path: Path) -> tuple[str, int]:
    """Code and peak resident memory in bytes of a process that opens a file."""
    done = subprocess.run([sys.executable, "-c", MEASURE, path], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    code, peak = done.stdout.split()
    return code, int(peak) * 1024


def deflated_zeros(size: int) -> bytes:
    worker = zlib.compressobj(9, zlib.DEFLATED, -15)
    pieces = [worker.compress(bytes(2**20)) for _ in range(size // 2**20)]
    return b"".join([*pieces, worker.flush()])


def raw_zip(
    members: list[tuple[bytes, bytes, int, int]], *, offsets: list[int] | None = None, count: int = -1
) -> bytes:
    """A zip put together by hand: name, packed bytes, CRC and declared size of each; offsets may lie."""
    body, directory = bytearray(), bytearray()
    for i, (name, packed, crc, size) in enumerate(members):
        at = len(body) if offsets is None else offsets[i]
        numbers = (20, 0, 8, 0, 33, crc, len(packed), size, len(name), 0)
        if offsets is None:
            body += struct.pack("<4s5H3L2H", b"PK\3\4", *numbers) + name + packed
        fields = (20, *numbers, 0, 0, 0, 0, at)
        directory += struct.pack("<4s6H3L5H2L", b"PK\1\2", *fields) + name
    number = len(members) if count < 0 else count
    return bytes(body + directory) + struct.pack(
        "<4s4H2LH", b"PK\5\6", 0, 0, number, number, len(directory), len(body), 0
    )


def test_i35_bombs_are_stopped_in_little_memory(canary: Path) -> None:
    """10 MB that unpack to 10 GB: declared in a zip, honest in a tar.gz, and lying; 42.zip's way; RSS < 256 MiB."""
    zeros = deflated_zeros(64 * 2**20)
    big = gzip.compress(bytes(2**20), 9) * 10_000  # 10 GB in 10 MB of gzip members, one after the other
    head = gzip.compress(tarred({"cat/1.png": b""})[:124] + b"77777777777\0" + tarred({"cat/1.png": b""})[136:512])
    honest = tarfile.TarInfo("cat/1.png")
    honest.size = 8 * 2**30 - 1
    cases = {
        "in.zip": (raw_zip([(b"cat/1.png", zeros * 4, 0, 2**30)]), "ARC_BOMB"),
        "in.low.zip": (raw_zip([(b"cat/%d.png" % i, zeros, 0, 1000) for i in range(50)]), "NO_DATA"),
        "in.tar.gz": (gzip.compress(honest.tobuf()) + big, "ARC_BOMB"),
        "in.lying.tar.gz": (head + big, "ARC_BOMB"),
        "in.nested.zip": (zipped({f"{i}.zip": zipped({"0.zip": zeros}) for i in range(16)}), "NO_DATA"),
    }
    for name, (data, wanted) in cases.items():
        (canary / name).write_bytes(data)
        code, peak = measured(canary / name)
        assert (name, code) == (name, wanted)
        assert peak < 256 * 2**20, f"{name}: {peak / 2**20:.0f} MiB"


def test_i35_an_overlap_bomb(canary: Path) -> None:
    """Many entries of one run of bytes (Fifield 2019): refused although each ratio is small."""
    packed = zlib.compress(os.urandom(2000))[2:-4]
    one = (b"cat/0.png", packed, 0, 2000)
    names = [(b"cat/%d.png" % i, *one[1:]) for i in range(5)]
    body = raw_zip([one])
    directory = raw_zip(names, offsets=[0] * 5)
    assert directory.startswith(b"PK\1\2")
    first = body.index(b"PK\1\2")
    data = bytearray(body[:first] + directory)
    struct.pack_into("<L", data, len(data) - 6, first)  # where the directory begins
    code, line = attempt(canary, bytes(data))
    assert code == "ARC_BOMB"
    assert "shares its bytes" in line


def test_i35_each_limit_is_held(canary: Path) -> None:
    """One below and one above each limit, with small limits; the real ones are the contract's."""
    assert (LIMITS.total_bytes, LIMITS.ratio, LIMITS.members) == (10 * 2**30, 200, 1_000_000)
    noise = os.urandom(900_000)
    cases = [
        ({f"{i}": b"" for i in range(20)}, {f"{i}": b"" for i in range(21)}, "21 members"),
        ({"a": noise * 2}, {"a": noise * 3}, "bytes a member"),
        ({str(i): noise for i in range(3)}, {str(i): noise for i in range(4)}, "unpacked"),
        ({"n" * 399: b""}, {"n" * 401: b""}, "names"),
    ]
    for good, bad, words in cases:
        for make, name in ((zipped, "in.zip"), (tarred, "in.tar")):
            path = canary / name
            path.write_bytes(make(good))
            assert len(open_archive(str(path), limits=SMALL).names()) == len(good)
            path.write_bytes(make(bad))
            with pytest.raises(FireforgeError, match=rf"ARC_BOMB: .*{words}"):
                open_archive(str(path), limits=SMALL)


def test_i35_the_ratio_of_a_member_and_in_total(canary: Path) -> None:
    """Below 1 MiB no ratio is asked for: a blank picture packs a thousand times; above, 200 to 1 holds."""
    blank = zipped({**pictures(), "cat/b.png": bytes(2**20 - 5000)}, method=zipfile.ZIP_DEFLATED)
    assert opened(canary, blank).ledger()["skipped"] == {"IMG_NOT_IMAGE": 1}
    code, line = attempt(canary, zipped({**pictures(), "b": bytes(2**20 + 1)}, method=zipfile.ZIP_DEFLATED))
    assert (code, "200 to 1" in line, "'b'" in line) == ("ARC_BOMB", True, True)
    many = zipped({f"cat/{i}.png": bytes(2**19) for i in range(40)}, method=zipfile.ZIP_DEFLATED)
    code, line = attempt(canary, many)
    assert (code, "in total" in line) == ("ARC_BOMB", True)


def test_i36_more_bytes_than_declared(canary: Path) -> None:
    """Reading stops at the declared size; that member is damaged, the others are used."""
    good = [(n.encode(), zlib.compress(d)[2:-4], zlib.crc32(d), len(d)) for n, d in pictures().items()]
    data = raw_zip([*good, (b"cat/9.png", deflated_zeros(2**20), 0, 10), (b"cat/8.png", good[0][1], good[0][2], 5000)])
    dataset = opened(canary, data)
    assert len(dataset.samples) == 8
    assert [(item.name, item.code) for item in dataset.skipped] == [("cat/9.png", "ARC_CRC"), ("cat/8.png", "ARC_CRC")]
    assert "more than the 10 bytes" in dataset.skipped[0].reason
    assert "declares 5,000" in dataset.skipped[1].reason


def test_i37_encrypted_or_of_another_method(canary: Path) -> None:
    for method, word in ((zipfile.ZIP_BZIP2, "bzip2"), (zipfile.ZIP_LZMA, "lzma")):
        code, line = attempt(canary, zipped(pictures(), method=method))
        assert (code, word in line, "cat/0.png" in line) == ("ARC_METHOD", True, True)
    locked = bytearray(zipped(pictures()))
    at = locked.index(b"PK\1\2")
    locked[at + 8] |= 1
    code, line = attempt(canary, bytes(locked))
    assert (code, "encrypted" in line, "cat/0.png" in line) == ("ARC_METHOD", True, True)
    for magic, word in ((b"7z\xbc\xaf\x27\x1c", "7z"), (b"Rar!\x1a\x07\x01\0", "rar"), (b"\x28\xb5\x2f\xfd", "zstd")):
        code, line = attempt(canary, magic + bytes(100), f"in.{word}")
        assert (code, word in line, "zip; tar" in line) == ("ARC_METHOD", True, True)


def test_entries_for_the_top_itself_are_no_files(canary: Path) -> None:
    dataset = opened(canary, zipped({"./": b"", ".": b"x", **{f"./{k}": v for k, v in pictures().items()}}))
    assert (dataset.found, len(dataset.samples)) == (8, 8)


def test_i36_data_that_reaches_into_the_directory(canary: Path) -> None:
    good = [(n.encode(), zlib.compress(d)[2:-4], zlib.crc32(d), len(d)) for n, d in pictures().items()]
    data = bytearray(raw_zip(good))
    at = data.rindex(b"PK\1\2")
    struct.pack_into("<L", data, at + 20, len(good[-1][1]) + 9)
    assert [(item.name, item.reason) for item in opened(canary, bytes(data)).skipped] == [
        ("dog/3.png", "its data is cut short")
    ]


def test_i37_what_is_hidden_may_be_packed_in_any_way(canary: Path) -> None:
    stream = io.BytesIO(zipped(pictures()))
    with zipfile.ZipFile(stream, "a") as archive:
        archive.writestr("__MACOSX/cat/._0.png", b"x", compress_type=zipfile.ZIP_BZIP2)
        archive.writestr("cat/.hidden.png", b"x", compress_type=zipfile.ZIP_LZMA)
    assert opened(canary, stream.getvalue()).found == 8


@pytest.mark.parametrize("kind", ["S", "M", "Z"])
def test_i37_tar_entries_that_are_no_files(canary: Path, kind: str) -> None:
    odd = tarfile.TarInfo("cat/odd.png")
    odd.type = kind.encode()
    code, line = attempt(canary, tarred(pictures(), extra=(odd,)), "in.tar")
    assert (code, "cat/odd.png" in line) == ("ARC_METHOD", True)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_i38_a_zip_cut_short(canary: Path, method: int) -> None:
    """At every tenth byte: the count is that of the members that end before the cut, by zipfile's offsets."""
    data = zipped(pictures(), method=method)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        ends = [i.header_offset + 30 + len(i.filename) + i.compress_size for i in archive.infolist()]
    for cut in range(4, len(data), 10):
        code, line = attempt(canary, data[:cut])
        count = sum(end <= cut for end in ends)
        assert code == "ARC_TRUNCATED"
        assert ("no file can be read" if not count else f"{count} files before that can be read") in line
        assert not count or f"'{list(pictures())[count - 1]}'" in line


def test_i38_a_streamed_zip_cut_short(canary: Path) -> None:
    """Sizes behind the data: the end of each member is found by unpacking it."""
    raw = io.BytesIO()

    class Pipe(io.RawIOBase):
        def write(self, data: bytes) -> int:  # type: ignore[override]
            return raw.write(data)

    with zipfile.ZipFile(Pipe(), "w", zipfile.ZIP_DEFLATED) as archive:  # type: ignore[arg-type]
        for name, data in pictures().items():
            archive.writestr(name, data)
    assert opened(canary, raw.getvalue()).found == 8
    code, line = attempt(canary, raw.getvalue()[: raw.getvalue().index(b"PK\1\2")])
    assert (code, "8 files before that" in line, "'dog/3.png'" in line) == ("ARC_TRUNCATED", True, True)


def test_i38_a_zip_without_its_beginning_or_with_more_in_front(canary: Path) -> None:
    data = zipped(pictures())
    code, line = attempt(canary, data[200:])
    assert (code, "200 bytes are missing" in line) == ("ARC_TRUNCATED", True)
    dataset = opened(canary, b"#!/bin/sh\n" + os.urandom(500) + data)
    assert (dataset.found, [note.code for note in dataset.notes]) == (8, ["ARC_PREFIX"])
    assert dataset.read(0) == pictures()["cat/0.png"]
    code, line = attempt(canary, os.urandom(500) + data[:-30])
    assert (code, "8 files before that" in line) == ("ARC_TRUNCATED", True)
    code, line = attempt(canary, b"<html>not found</html>")
    assert (code, "no file can be read" in line) == ("ARC_TRUNCATED", True)
    assert attempt(canary, b"")[0] == "ARC_TRUNCATED"


def test_i38_a_directory_that_is_damaged(canary: Path) -> None:
    data = zipped(pictures())
    at = data.index(b"PK\1\2")
    for bad in (
        data[:at] + b"XX" + data[at + 2 :],  # no entry where one should be
        data[: at + 28] + b"\xff\xff" + data[at + 30 :],  # a name that reaches over the end
        data[:-14] + struct.pack("<HH", 9, 9) + data[-10:],  # nine entries declared, eight there
        data[:-18] + struct.pack("<H", 1) + data[-16:],  # one of several volumes
    ):
        code, line = attempt(canary, bad)
        assert (code, "8 files before that" in line) == ("ARC_TRUNCATED", True)


def test_i38_a_tar_cut_short(canary: Path) -> None:
    """Every 256 bytes up to the mark of the end; the count by hand: header and data take whole blocks of 512."""
    data = tarred(pictures())
    ends, at = [], 0
    for content in pictures().values():
        at += 512
        ends.append(at + len(content))
        at += -(-len(content) // 512) * 512
    for cut in range(256, at + 512, 256):
        code, line = attempt(canary, data[:cut], "in.tar")
        count = sum(end <= cut for end in ends)
        assert code == "ARC_TRUNCATED"
        assert ("no file can be read" if not count else f"{count} files before that can be read") in line
    assert opened(canary, data[: at + 512], "in.tar").found == 8
    wrong = bytearray(data)
    wrong[512 + 512 + 100] ^= 1  # the mode in the second header: its checksum fails
    code, line = attempt(canary, bytes(wrong), "in.tar")
    assert (code, "1 files before that can be read" in line) == ("ARC_TRUNCATED", True)


@pytest.mark.parametrize("suffix", ["gz", "bz2", "xz"])
def test_i38_a_packed_tar_cut_short_or_damaged(canary: Path, suffix: str) -> None:
    pack = __import__({"gz": "gzip", "bz2": "bz2", "xz": "lzma"}[suffix]).compress
    big = {f"{label}/{i}.png": png(i) + os.urandom(3000) for label in ("cat", "dog") for i in range(10)}
    data = pack(tarred(big))
    for cut in (1, 30, len(data) // 2, len(data) - 9, len(data) - 1):
        assert attempt(canary, data[:cut], f"in.tar.{suffix}")[0] == "ARC_TRUNCATED"
    half = len(data) // 2
    broken = data[:half] + bytes(8) + data[half + 8 :]
    code, line = attempt(canary, broken, f"in.tar.{suffix}")
    assert (code, "packed stream is damaged" in line) == ("ARC_TRUNCATED", True)


def test_i39_one_damaged_member_is_named_and_the_others_are_used(canary: Path) -> None:
    data = bytearray(zipped(pictures(), method=zipfile.ZIP_STORED))
    data[data.index(png(2)) + 50] ^= 1
    dataset = opened(canary, bytes(data))
    assert [(item.name, item.code) for item in dataset.skipped] == [("cat/2.png", "ARC_CRC")]
    assert "CRC-32" in dataset.skipped[0].reason
    assert (dataset.found, len(dataset.samples)) == (8, 7)
    data = bytearray(zipped(pictures()))
    data[data.index(b"cat/1.png")] ^= 1  # its own header has another name than the directory
    assert [item.code for item in opened(canary, bytes(data)).skipped] == ["ARC_CRC"]
    data = bytearray(raw_zip([(b"cat/0.png", b"\xff" * 9, 0, 100), (b"cat/1.png", b"\xff" * 9, 0, 100)]))
    code, line = attempt(canary, bytes(data))
    assert (code, "2 damaged or doubled" in line) == ("NO_DATA", True)


def test_i40_a_name_twice_or_in_another_case(canary: Path) -> None:
    twice = zipped({**pictures(), "cat/9.png": png(50), "Dog/1.PNG": png(51)}).replace(b"cat/9.png", b"cat/0.png")
    dataset = opened(canary, twice)
    assert [(item.name, item.code) for item in dataset.skipped] == [
        ("cat/0.png", "ARC_DUP"),
        ("cat/0.png", "ARC_DUP"),
        ("Dog/1.PNG", "ARC_DUP"),
    ]
    assert (dataset.found, len(dataset.samples)) == (10, 7)
    tar = tarred({**pictures(), "CAT/0.png": png(9)})
    dataset = opened(canary, tar, "in.tar")
    assert [(item.name, item.reason) for item in dataset.skipped] == [
        ("CAT/0.png", "differs from cat/0.png in case only")
    ]


def test_i41_an_archive_inside_is_noted_and_not_opened(canary: Path) -> None:
    inner = {"cat/in.zip": zipped(pictures()), "cat/in.tar": tarred(pictures()), "cat/in.tgz": gzip.compress(b"x")}
    dataset = opened(canary, zipped({**pictures(), **inner, "cat/in.7z": b"7z\xbc\xaf\x27\x1c"}))
    assert dataset.ledger()["skipped"] == {"ARC_NESTED": 4}
    assert len(dataset.samples) == 8
    code, line = attempt(canary, zipped({"all.zip": zipped(pictures())}))
    assert (code, "1 archives, which are not opened" in line) == ("NO_DATA", True)


def test_i42_bytes_behind_and_several_gzip_members(canary: Path) -> None:
    data = tarred(pictures())
    several = gzip.compress(data[:1000]) + gzip.compress(b"") + gzip.compress(data[1000:])
    for packed, notes in (
        (several, []),
        (several + bytes(700), []),
        (several + b"junk", ["ARC_TRAILING"]),
        (gzip.compress(data + b"junk"), ["ARC_TRAILING"]),
    ):
        dataset = opened(canary, packed, "in.tar.gz")
        assert (dataset.found, [note.code for note in dataset.notes]) == (8, notes)
    assert [note.code for note in opened(canary, data + b"junk", "in.tar").notes] == ["ARC_TRAILING"]
    assert [note.code for note in opened(canary, zipped(pictures()) + b"junk").notes] == ["ARC_TRAILING"]


def test_numbers_in_tar_headers_that_cannot_be(canary: Path) -> None:
    """A size below zero, and one of 2^80 in base 256 (CVE-2025-8194 is such a loop in tarfile): refused at once."""
    for field in (b"\xff" * 12, b"\x80" + b"\xff" * 11, b"99999999999\0", b"-0000000001\0"):
        block = bytearray(tarred(pictures())[:512])
        block[124:136] = field
        block[148:156] = b" " * 8
        block[148:156] = b"%06o\0 " % sum(block)
        code, _ = attempt(canary, bytes(block) + tarred(pictures())[512:], "in.tar")
        assert code in ("ARC_TRUNCATED", "ARC_BOMB")


def test_extended_headers_that_are_too_large_or_damaged(canary: Path) -> None:
    for kind in (b"x", b"L", b"g"):
        for size, body, wanted in (
            (2**33, b"", "ARC_BOMB"),
            (20, b"99 path=x\n", "ARC_TRUNCATED"),
            (30, b"30 path=" + b"a" * 21, "ARC_TRUNCATED"),
        ):
            info = tarfile.TarInfo("meta")
            info.type, info.size = kind, size
            data = info.tobuf(tarfile.GNU_FORMAT) + body.ljust(512, b"\0") * bool(body)
            code, _ = attempt(canary, data + tarred(pictures())[512:], "in.tar")
            assert code == wanted or (kind == b"L" and body)


def test_ten_thousand_long_names_in_a_row_take_no_stack(canary: Path) -> None:
    """Chained extended headers are a loop here and would be a recursion in tarfile."""
    info = tarfile.TarInfo("meta")
    info.type, info.size = b"L", 4
    block = info.tobuf(tarfile.GNU_FORMAT) + b"a/b".ljust(512, b"\0")
    assert opened(canary, block * 10_000 + tarred(pictures()), "in.tar").found == 8


def test_inputs_stay_as_they_are(canary: Path) -> None:
    path = canary / "in.zip"
    path.write_bytes(zipped(pictures()))
    path.chmod(0o400)
    digest, before = hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns
    assert open_dataset(str(path)).found == 8
    assert (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns) == (digest, before)
