# SPDX-License-Identifier: Apache-2.0
"""Mutated archives: what comes out is a dataset whose every picture can be read, or a FireforgeError, soon.

A run is a function of its seed, which a failure prints with the input; FIREFORGE_FUZZ_SEED repeats it, and
FIREFORGE_FUZZ_SECONDS makes it longer. Half of the tars have the checksums of their headers mended after the mutation,
and half of the zips are put together from mutated fields, so that damage lies behind the first check too.
"""

from __future__ import annotations

import base64
import bz2
import gzip
import io
import lzma
import os
import random
import resource
import struct
import tarfile
import time
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from fireforge.base.errors import FireforgeError
from fireforge.data.open import open_dataset

SECONDS = float(os.environ.get("FIREFORGE_FUZZ_SECONDS", "4"))
SEED = int(os.environ.get("FIREFORGE_FUZZ_SEED", "445323"))
MOST_SECONDS = 1.0  # of processor time for one input
MOST_BYTES = 256 * 2**20  # of resident memory for all
PACK: tuple[Callable[[bytes], bytes], ...] = (gzip.compress, bz2.compress, lzma.compress)
NUMBERS = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 2**63, 2**64 - 1)


def png(value: int) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.full((3, 4), value, np.uint8)).save(stream, "PNG")
    return stream.getvalue()


def members() -> dict[str, bytes]:
    pictures = {f"top/{label}/{i}.png": png(i) for label in ("a", "b") for i in range(3)}
    return {**pictures, "top/labels.csv": b"file,label\na/0.png,x\nb/0.png,y\n", "top/a/empty": b""}


class Pipe(io.RawIOBase):
    """Cannot seek, so that zipfile writes sizes behind the data."""

    def __init__(self) -> None:
        self.held = bytearray()

    def write(self, data: bytes) -> int:  # type: ignore[override]
        self.held += data
        return len(data)


def zipped(method: int, *, pipe: bool = False) -> bytes:
    stream = Pipe() if pipe else io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:  # type: ignore[arg-type]
        for name, data in members().items():
            archive.writestr(name, data)
    return bytes(stream.held) if isinstance(stream, Pipe) else stream.getvalue()


def tarred(form: int) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=form) as archive:
        for name, data in {**members(), f"top/b/{'n' * 120}.png": png(9)}.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return stream.getvalue()[:-8192]


ZIPS = (zipped(zipfile.ZIP_STORED), zipped(zipfile.ZIP_DEFLATED), zipped(zipfile.ZIP_DEFLATED, pipe=True))
TARS = (tarred(tarfile.GNU_FORMAT), tarred(tarfile.PAX_FORMAT))


def mutate(rng: random.Random, data: bytes, others: tuple[bytes, ...]) -> bytes:
    """One to eight random edits: bits, bytes, numbers, cuts, copies, and pieces of another archive."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        at, length = rng.randrange(len(out) + 1), rng.choice((1, 2, 4, 8, 30, 46, 512, rng.randrange(1, 2000)))
        kind = rng.randrange(8)
        if kind == 0 and at < len(out):
            out[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            out[at : at + length] = rng.randbytes(min(length, 64))
        elif kind == 2:
            width = rng.choice((1, 2, 4, 8))
            number = rng.choice((*NUMBERS, rng.randrange(len(out) + 1))) % 2 ** (8 * width)
            out[at : at + width] = number.to_bytes(width, rng.choice(("little", "big")))
        elif kind == 3:
            del out[at : at + length]
        elif kind == 4:
            out[at:at] = out[at : at + length]
        elif kind == 5:
            del out[at:]
        elif kind == 6:
            other = rng.choice(others)
            start = rng.randrange(len(other))
            out[at:at] = other[start : start + length]
        else:
            marks = (b"PK\1\2", b"PK\3\4", b"PK\5\6", b"PK\6\6", b"PK\6\7", b"../", b"\0", b"5", b"x", b"L")
            out[at : at + 4] = rng.choice(marks)
    return bytes(out)


def mend(tar: bytes) -> bytes:
    """Every block of a tar that has the mark of a header gets the checksum that it should have."""
    out = bytearray(tar)
    for at in range(0, len(out) - 511, 512):
        if out[at + 257 : at + 262] == b"ustar":
            out[at + 148 : at + 156] = b" " * 8
            out[at + 148 : at + 156] = b"%06o\0 " % sum(out[at : at + 512])
    return bytes(out)


def assembled(rng: random.Random) -> bytes:
    """A zip whose fields are right but for some that are drawn."""
    body, directory, count = bytearray(), bytearray(), 0
    for name, data in members().items():
        packed = zlib.compress(data)[2:-4]
        fields = [20, 0, 8, 0, 33, zlib.crc32(data), len(packed), len(data), len(name), 0]
        lies = list(fields)
        if rng.random() < 0.2:
            place = rng.randrange(len(lies))
            lies[place] = rng.choice(NUMBERS) % 2 ** (32 if 5 <= place <= 7 else 16)
        at, mode = len(body), rng.choice((0, 0, 0, 0, 0, 0, 0o120777, 0o10644, 0o100644, 0o40755))
        extra = struct.pack("<2H2Q", 1, 16, *rng.choices(NUMBERS, k=2)) if rng.random() < 0.1 else b""
        lies[9] = len(extra)
        body += struct.pack("<4s5H3L2H", b"PK\3\4", *(lies if rng.random() < 0.5 else fields)) + name.encode() + packed
        made = rng.choice((20, 0x314))
        offset = at if rng.random() < 0.95 else rng.choice((0, *NUMBERS)) % 2**32
        directory += struct.pack("<4s6H3L5H2L", b"PK\1\2", made, *lies, 0, 0, 0, mode << 16, offset)
        directory += name.encode() + extra
        count += 1
    end = [0, 0, count, count, len(directory), len(body), 0]
    if rng.random() < 0.2:
        place = rng.randrange(7)
        end[place] = rng.choice(NUMBERS) % 2 ** (32 if place in (4, 5) else 16)
    return bytes(body + directory) + struct.pack("<4s4H2LH", b"PK\5\6", *end)


def drawn(rng: random.Random) -> tuple[str, bytes]:
    """A name and a mutated archive."""
    kind = rng.randrange(5)
    if kind == 0:
        return "in.zip", mutate(rng, rng.choice(ZIPS), ZIPS)
    if kind == 1:
        data = assembled(rng)
        return "in.zip", data if rng.random() < 0.7 else mutate(rng, data, ZIPS)
    tar = mutate(rng, rng.choice(TARS), TARS)
    tar = mend(tar) if rng.random() < 0.5 else tar
    if kind < 4:
        return "in.tar", tar
    packed = rng.choice(PACK)(tar)
    return "in.tgz", packed if rng.random() < 0.5 else mutate(rng, packed, (packed, *ZIPS))


def outcome(path: Path, data: bytes) -> str:
    """Code of the error, or "opened"; anything else is raised."""
    path.write_bytes(data)
    try:
        dataset = open_dataset(str(path))
    except FireforgeError as error:
        return error.code
    assert dataset.found == len(dataset.samples) + len(dataset.skipped)
    for sample in dataset.samples:
        assert dataset.read(sample.id) is not None
        assert not sample.name.startswith("/")
        assert ".." not in sample.name.split("/")
    return "opened"


def test_mutated_archives(tmp_path: Path) -> None:
    rng = random.Random(SEED)
    print(f"seed {SEED}")
    codes: dict[str, int] = {}
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    until, number = time.monotonic() + SECONDS, 0
    while time.monotonic() < until:
        name, data = drawn(rng)
        number += 1
        start = time.process_time()
        try:
            code = outcome(tmp_path / name, data)
        except Exception as error:
            kept = base64.b85encode(zlib.compress(data)).decode()
            raise AssertionError(f"seed {SEED}, input {number}, {name}: {kept}") from error
        took = time.process_time() - start
        assert took < MOST_SECONDS, f"seed {SEED}, input {number}, {name}: {took:.1f} s"
        codes[code] = codes.get(code, 0) + 1
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before
    assert grown < MOST_BYTES, f"seed {SEED}: {grown:,} bytes"
    print(number, "inputs:", dict(sorted(codes.items())))
    assert codes.get("opened", 0) > 0
    assert SECONDS < 4 or {"ARC_TRUNCATED", "ARC_PATH", "ARC_BOMB", "ARC_METHOD", "ARC_LINK"} <= set(codes)
