# SPDX-License-Identifier: Apache-2.0
"""Readers of Datum records, LMDB pages, WebDataset members, Parquet files and URLs under mutated bytes.

What comes out is a dataset whose every picture can be read or is told to be broken, or one FireforgeError, soon.
FIREFORGE_FUZZ_SECONDS lengthens the whole, one second otherwise; FIREFORGE_FUZZ_SEED repeats a run, and a failure
prints its input. Half of the Parquet files are mutated in their footer alone, where everything that is believed stands.
"""

from __future__ import annotations

import base64
import json
import os
import random
import resource
import struct
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from source_files import datum, keyed, leveldb_of, lmdb_of, parquet_of, planes, png, tar

from fireforge.base.errors import FireforgeError
from fireforge.data.database.datum import picture_of
from fireforge.data.open import open_dataset
from fireforge.data.remote.address import credentials, file_name, identity, is_address, public

pytest.importorskip("pyarrow")
pytest.importorskip("lmdb")

SECONDS = float(os.environ.get("FIREFORGE_FUZZ_SECONDS", "1"))
SEED = int(os.environ.get("FIREFORGE_FUZZ_SEED", "445323"))
MOST_SECONDS = 2.0  # of processor time for one input of a few KB
MOST_BYTES = 512 * 2**20  # of resident memory for all
NUMBERS = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 2**63, 2**64 - 1)
TOKENS = (
    b"-1",
    b"1e999",
    b"\xff",
    b"\0",
    b"{",
    b"[" * 3000,
    b'"label"',
    b"null",
    b"9" * 400,
    b"NaN",
    b"a;b",
    b"\xe2\x80\xae",
)

FILES = {"shard": ("s.tar",), "lmdb": ("x.mdb",), "parquet": ("x.parquet",)}
Outcome = Callable[[random.Random, Path], str]


def mutated(draw: random.Random, data: bytes, *, start: int = 0) -> bytes:
    """One to six edits of bits, bytes, numbers and lengths from a place on."""
    out = bytearray(data)
    for _ in range(draw.choice((1, 1, 1, 2, 3, 6))):
        at, length = draw.randrange(min(start, len(out)), len(out) + 1), draw.choice((1, 2, 4, 8, 16, 64, 600))
        kind = draw.randrange(7)
        if kind == 0 and at < len(out):
            out[at] ^= 1 << draw.randrange(8)
        elif kind == 1:
            out[at : at + length] = draw.randbytes(min(length, 16))
        elif kind == 2:
            width = draw.choice((1, 2, 4, 8))
            out[at : at + width] = (draw.choice((*NUMBERS, len(out))) % 2 ** (8 * width)).to_bytes(width, "little")
        elif kind == 3:
            del out[at : at + length]
        elif kind == 4:
            out[at:at] = out[at : at + length]
        elif kind == 5:
            out[at:at] = draw.choice(TOKENS)
        else:
            del out[at:]
    return bytes(out)


def opened(source: Path) -> str:
    """Code of the error, or "opened"; every picture is asked for."""
    try:
        dataset = open_dataset(str(source))
    except FireforgeError as error:
        return code_of(error)
    assert dataset.found == len(dataset.samples) + len(dataset.skipped)
    assert all(0 <= sample.label < len(dataset.labels) for sample in dataset.samples)
    broken: set[str] = set()
    for sample in dataset.samples:
        assert sample.name.isprintable()
        try:
            assert dataset.read(sample.id) is not None
        except FireforgeError as error:
            broken.add(code_of(error))
    assert broken <= {"BAD_PARQUET", "BAD_DATABASE"}
    return "opened"


def code_of(error: FireforgeError) -> str:
    assert "\n" not in error.line()
    return error.code


def records(count: int) -> dict[bytes, bytes]:
    rgb = np.random.default_rng(2).integers(0, 256, (count, 6, 5, 3), dtype=np.uint8)
    values = [datum(planes(one), i % 3) if i % 4 else datum(png(i), i % 3) for i, one in enumerate(rgb)]
    return {b"%06d" % i: value for i, value in enumerate(values)}


def a_datum(draw: random.Random, _: Path) -> str:
    try:
        found = picture_of(mutated(draw, draw.choice(list(records(5).values()))))
    except ValueError:
        return "ValueError"
    assert isinstance(found, bytes) or found.dtype == np.uint8
    return "opened"


def a_shard(draw: random.Random, folder: Path) -> str:
    """A whole tar of mutated members, doubled and lost ones."""
    members = keyed(range(30))
    for i in range(30):
        members[f"{i:04d}.json"] = json.dumps({"label": i % 2, "class_name": "cat"}).encode()
    for name in draw.sample(sorted(members), draw.randrange(1, 4)):
        data = members.pop(name)
        if draw.random() < 0.8:
            other = mutated(draw, name.encode()).decode("latin-1").replace("\0", "") if draw.random() < 0.4 else name
            members[other or name] = mutated(draw, data)
    if draw.random() < 0.3:
        members = {name: data for name, data in members.items() if not name.endswith(".cls")}
    path = folder / "s.tar"
    path.write_bytes(tar(members))
    return opened(path)


class Sources:
    """Files to be mutated, written once.

    Args:
      folder: where they stand.
    """

    def __init__(self, folder: Path) -> None:
        self.lmdb = (
            lmdb_of(folder / "l", {**records(150), b"big": datum(np.ones((3, 90, 90), np.uint8), 1)}) / "data.mdb"
        ).read_bytes()
        self.parquet = parquet_of(folder / "p", [{"bytes": png(i), "label": i % 2} for i in range(20)]).read_bytes()
        self.level = leveldb_of(folder / "v", records(40))
        self.folder = folder

    def an_lmdb(self, draw: random.Random, folder: Path) -> str:
        path = folder / "x.mdb"
        data = mutated(draw, self.lmdb)
        if draw.random() < 0.5:  # a lie within a page of the tree
            page = draw.randrange(len(self.lmdb) // 4096)
            bent = bytearray(self.lmdb)
            at = page * 4096 + draw.choice((0, 8, 10, 12, 14, 16, 18, 20, *range(40, 152, 4), draw.randrange(4090)))
            struct.pack_into("<H", bent, at, draw.choice(NUMBERS) % 65536)
            data = bytes(bent)
        path.write_bytes(data)
        return opened(path)

    def a_parquet(self, draw: random.Random, folder: Path) -> str:
        path = folder / "x.parquet"
        size = struct.unpack_from("<I", self.parquet, len(self.parquet) - 8)[0]
        start = len(self.parquet) - 8 - size if draw.random() < 0.5 else 0
        path.write_bytes(mutated(draw, self.parquet, start=start))
        return opened(path)


def a_url(draw: random.Random, _: Path) -> str:
    secret = f"s{draw.randrange(10**9)}"
    forms = (
        f"https://u:{secret}@h/a.tar?x=1",
        f"http://h/a?token={secret}&b=2",
        f"s3://k:{secret}@b/c",
        f"https://h/?X-Amz-Signature={secret}",
    )
    url = draw.choice(forms)
    assert secret not in public(url)
    bent = mutated(draw, url.encode()).decode("utf-8", "surrogateescape")
    for text in (bent, url):
        if is_address(text):
            name = file_name(text)
            assert 0 < len(name) <= 120
            assert "/" not in name
            assert not name.startswith(".")
            assert len(identity(text)) == 24
            assert credentials(text)[0].partition("://")[1]
    return "opened"


def test_mutated_sources(tmp_path: Path) -> None:
    sources = Sources(tmp_path)
    kinds: dict[str, Outcome] = {
        "datum": a_datum,
        "shard": a_shard,
        "lmdb": sources.an_lmdb,
        "parquet": sources.a_parquet,
        "url": a_url,
    }
    draw, codes, number = random.Random(SEED), dict[str, int](), 0
    opened(sources.folder / "p")  # loads what is loaded once
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        for kind, work in kinds.items():
            number += 1
            start = time.process_time()
            try:
                code = work(draw, tmp_path)
            except Exception as error:
                files = [tmp_path / name for name in FILES.get(kind, ()) if (tmp_path / name).exists()]
                kept = {path.name: base64.b85encode(zlib.compress(path.read_bytes())).decode() for path in files}
                raise AssertionError(f"seed {SEED}, input {number}, {kind}: {kept}") from error
            took = time.process_time() - start
            assert took < MOST_SECONDS, f"seed {SEED}, input {number}, {kind}: {took:.1f} s"
            codes[f"{kind} {code}"] = codes.get(f"{kind} {code}", 0) + 1
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before
    assert grown < MOST_BYTES, f"seed {SEED}: {grown:,} bytes"
    print(number, "inputs:", dict(sorted(codes.items())))
    assert {f"{kind} opened" for kind in ("datum", "shard", "url")} <= set(codes)
    assert SECONDS < 4 or {"lmdb BAD_DATABASE", "parquet BAD_PARQUET", "shard BAD_LABELS", "lmdb opened"} <= set(codes)


@pytest.mark.slow
def test_mutated_leveldb(tmp_path: Path) -> None:
    """Its files are mutated one at a time; plyvel's library checks its blocks, and may take its time."""
    folder = leveldb_of(tmp_path / "v", records(400))
    whole = {path.name: path.read_bytes() for path in folder.iterdir() if path.name not in ("LOCK", "LOG")}
    draw, codes, until = random.Random(SEED), dict[str, int](), time.monotonic() + max(SECONDS / 4, 20)
    while time.monotonic() < until:
        name = draw.choice(sorted(whole))
        (folder / name).write_bytes(mutated(draw, whole[name]))
        code = opened(folder)
        codes[code] = codes.get(code, 0) + 1
        (folder / name).write_bytes(whole[name])
    print(codes)
    assert {"opened", "BAD_DATABASE"} <= set(codes)
