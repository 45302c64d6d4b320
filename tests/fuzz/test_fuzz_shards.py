# SPDX-License-Identifier: Apache-2.0
"""The reader of packed datasets under mutated bytes: a valid dataset comes out, or one FireforgeError.

In half of the inputs the sha256 at the end is made right again, and in half of those all columns are fitted to another
number in the head, so that what stands behind is reached. FIREFORGE_FUZZ_SECONDS lengthens the whole, 1 second
otherwise; FIREFORGE_FUZZ_SEED repeats a run.
"""

from __future__ import annotations

import hashlib
import os
import random
import struct
import time
from collections import Counter
from pathlib import Path

import numpy as np
import opening
import pytest
from unit.data.shard_cases import dataset_of, packed, some_pixels

from fireforge.base.errors import FireforgeError
from fireforge.base.trial import DataRef
from fireforge.data.dataset import Dataset
from fireforge.data.open import open_dataset
from fireforge.data.shards.layout import HEAD, INDEX, Head, columns, nbytes, places, whole_bytes
from fireforge.data.split import split

SECONDS = float(os.environ.get("FIREFORGE_FUZZ_SECONDS", "1"))
SEED = int(os.environ.get("FIREFORGE_FUZZ_SEED", "445323"))
SLOWEST_S = 2.0  # for inputs of a few KB: far above a hang's absence, far below a hang
NUMBERS = (0, 1, 2, 3, 255, 256, 2**15, 2**16, 2**26, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**63 - 1, 2**63, 2**64 - 1)
KINDS: dict[str, dict[str, object]] = {"decoded": {}, "encoded": {"encoded": True}}


@pytest.fixture(scope="module", params=list(KINDS))
def seed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """12 pictures of 3 classes in several shards, one of them skipped and one noted."""
    folder = tmp_path_factory.mktemp(request.param) / "x.shards"
    packed(dataset_of(some_pixels(12), 3), folder, shard_bytes=1500, **KINDS[request.param])
    return folder


def mutated(data: bytes, draw: random.Random) -> bytes:
    """One to three edits: bits, numbers of a column or of the head, pieces cut, doubled or moved, the end cut off."""
    found = bytearray(data)
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        at = draw.randrange(len(found))
        end = min(len(found), at + draw.choice((1, 2, 4, 8, 64, 4096)))
        kind = draw.randrange(7)
        if kind == 0:
            found[at] ^= 1 << draw.randrange(8)
        elif kind <= 2:
            number_set(found, draw)
        elif kind == 3:
            del found[at:end]
        elif kind == 4:
            found[at:at] = found[at:end]
        elif kind == 5:
            found[at:end] = bytes(draw.randrange(256) for _ in range(end - at))
        elif draw.random() < 0.3:
            del found[at:]
        if len(found) < HEAD.size:
            break
    return bytes(found)


def number_set(found: bytearray, draw: random.Random) -> None:
    """One number of the head or of a column becomes another."""
    size = draw.choice((1, 2, 4, 8))
    starts = [8, 10, 12, *range(16, 68, 2)]
    if draw.random() < 0.7:
        try:
            head = Head.parse(bytes(found[: HEAD.size]), where="")
        except FireforgeError:
            return
        at, dtype, shape = draw.choice([place for place in places(head).values() if place[2][0]])
        size = np.dtype(dtype).itemsize
        starts = [at + size * draw.randrange(max(1, int(np.prod(shape))))]
    at = draw.choice(starts)
    if at + size <= len(found):
        found[at : at + size] = struct.pack("<Q", draw.choice(NUMBERS))[:size]


def repaired(data: bytes, draw: random.Random) -> bytes:
    """The sha256 made right, of an index with another number of something in half of the inputs."""
    if draw.random() < 0.5 and len(data) >= HEAD.size:
        data = refitted(data, draw)
    return data[:-32] + hashlib.sha256(data[:-32]).digest()


def refitted(data: bytes, draw: random.Random) -> bytes:
    """An index with another number of something, whose columns are cut or filled to their new lengths."""
    try:
        old = Head.parse(data[: HEAD.size], where="")
        fields = {
            **vars(old),
            draw.choice(("count", "shards", "classes", "each", "json_bytes", "name_bytes", "kind")): 0,
        }
        name = next(key for key, value in fields.items() if value != vars(old)[key])
        fields[name] = draw.choice((0, 1, max(0, vars(old)[name] + draw.choice((-1, 1)))))
        new = Head(**{**fields, "total": whole_bytes(Head(**fields))})
    except (FireforgeError, StopIteration):
        return data
    body, before = bytearray(new.pack()), places(old)
    for name, dtype, shape in columns(new):
        at, want = places(new)[name][0], nbytes(dtype, shape)
        start, _, was = before[name]
        have = data[start : start + nbytes(dtype, was)][:want]
        body += bytes(at - len(body)) + have + bytes(want - len(have))
    return bytes(body) + bytes(new.total - len(body))


def is_sound(dataset: Dataset) -> None:
    """A dataset that the rest of the house can use, of which every picture is read or refused."""
    opening.is_sound(dataset)
    assert all(sample.name.isprintable() for sample in dataset.samples)
    for sample in dataset.samples:
        try:
            content = dataset.read(sample.id)
        except FireforgeError as error:
            assert error.code == "BAD_SHARD"  # noqa: PT017 - either it is read or it is this
        else:
            assert isinstance(content, bytes) or content.dtype == np.uint8
    try:
        split(dataset, DataRef(source=""))
    except FireforgeError as error:
        assert error.code == "TOO_FEW"  # noqa: PT017 - likewise


def test_the_seed_itself_opens(seed: Path) -> None:
    is_sound(open_dataset(seed))
    data = (seed / INDEX).read_bytes()
    heads = {refitted(data, random.Random(i))[: HEAD.size] for i in range(40)}
    assert len(heads) > 8


def test_mutated_indices_give_a_dataset_or_one_error(seed: Path) -> None:
    draw = random.Random(f"{SEED} {seed.parent.name[:7]}")
    print(f"FIREFORGE_FUZZ_SEED={SEED}")
    whole = (seed / INDEX).read_bytes()
    end = time.monotonic() + SECONDS / len(KINDS)
    seen: Counter[str] = Counter()
    while time.monotonic() < end:
        data = mutated(whole, draw)
        mended = draw.random() < 0.5
        data = repaired(data, draw) if mended else data
        (seed / INDEX).write_bytes(data)
        start, line = time.monotonic(), ""
        try:
            is_sound(open_dataset(seed))
            seen["opened"] += 1
            assert mended or data == whole, "a changed index was opened"
        except FireforgeError as error:
            line = error.line()
            seen[f"refused: {error.what.split(':')[0][:40]}"] += 1
        except Exception as error:
            raise AssertionError(f"seed {SEED}: {data[:4000].hex()}") from error
        took = time.monotonic() - start
        assert "\n" not in line
        assert took < SLOWEST_S, f"seed {SEED}: {took:.1f} s for {data[:4000].hex()}"
    (seed / INDEX).write_bytes(whole)
    print(seen.most_common(30))
