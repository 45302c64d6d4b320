# SPDX-License-Identifier: Apache-2.0
"""Readers of lists, idx and CIFAR files under mutated bytes: a valid dataset comes out, or one FireforgeError.

FIREFORGE_FUZZ_SECONDS lengthens the whole, 4 seconds otherwise; FIREFORGE_FUZZ_SEED repeats a run.
"""

from __future__ import annotations

import gzip
import json
import os
import random
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import opening
import pytest

from fireforge.base.errors import FireforgeError
from fireforge.data.dataset import Dataset
from fireforge.data.formats.cifar import is_cifar, open_cifar
from fireforge.data.formats.idx import is_idx, open_idx
from fireforge.data.formats.manifest import is_manifest, open_manifest

SECONDS = float(os.environ.get("FIREFORGE_FUZZ_SECONDS", "4"))
SEED = int(os.environ.get("FIREFORGE_FUZZ_SEED", "445323"))
SLOWEST_S = 2.0  # for inputs of a few KB: far above a hang's absence, far below a hang
TOKENS = (
    *(
        b'"',
        b'""',
        b"\n",
        b"\r",
        b"\r\n",
        b",",
        b";",
        b"\t",
        b"|",
        b"\0",
        b"\xff\xfe",
        b"\xef\xbb\xbf",
        b"\xed\xa0\x80",
    ),
    *(b"[", b"{", b"}", b"]", b":", b"null", b"NaN", b"1e999", b"-1", b"\\ud800", b"[" * 3000, b"9" * 5000, b"file,"),
    *(b"../", b"/etc/passwd", b"img/", b"img/1.png", b".png", b"label", b"xmin,ymin,xmax,ymax", b"0.5", b"val", b"a;b"),
    *(b"\x80\x02", b"\x1f\x8b\x08", b"\xff\xff\xff\xff", b"\0\0\x08\x03", b"\x7f\xff\xff\xff"),
)


@dataclass(frozen=True)
class Shelf:
    """Files in memory; a `fireforge.data.tree.Tree`."""

    files: dict[str, bytes]
    source: str = "shelf"

    def names(self) -> list[str]:
        return sorted(self.files)

    def head(self, name: str) -> bytes:
        return self.read(name)[:64]

    def read(self, name: str) -> bytes:
        if name not in self.files:
            raise FireforgeError("NO_FILE", "absent", where=name)
        return self.files[name]


def lists() -> dict[str, bytes]:
    rows = [(f"img/{i}.png", "even" if i % 2 == 0 else "odd", "train" if i < 8 else "test") for i in range(12)]
    marks = "".join(f"{i}.png,{i % 2},{1 - i % 2}\n" for i in range(12))
    return {
        "labels.csv": ("file,label,split\n" + "".join(",".join(row) + "\n" for row in rows)).encode(),
        "quoted.csv": ("\ufefffile;label\r\n" + "".join(f'"{f}";"{c}, of x"\r\n' for f, c, _ in rows)).encode(),
        "list.tsv": "".join(f"{f}\t{c}\n" for f, c, _ in rows).encode(),
        "marks.csv": ("id,odd,even\n" + marks).encode(),
        "wide.csv": ("file,label\n" + "".join(f"{f},{c}\n" for f, c, _ in rows)).encode("utf-16"),
        "meta.jsonl": "".join(
            json.dumps({"file": f, "label": [c], "n": i}) + "\n" for i, (f, c, _) in enumerate(rows)
        ).encode(),
    }


def list_trees() -> list[tuple[dict[str, bytes], str]]:
    beside = {f"img/{i}.png": b"\x89PNG\r\n\x1a\n" + bytes([i]) for i in range(12)}
    trees = [({**beside, name: data}, name) for name, data in lists().items()]
    numbers = "file,class_id\n" + "".join(f"img/{i}.png,{i % 2}\n" for i in range(12))
    return [*trees, ({**beside, "labels.csv": numbers.encode(), "classes.txt": b"0: even\n1: odd\n"}, "classes.txt")]


def idx_trees() -> list[tuple[dict[str, bytes], str]]:
    pixels = bytes([0, 0, 8, 3]) + struct.pack(">3I", 6, 4, 5) + bytes(range(120))
    labels = bytes([0, 0, 8, 1]) + struct.pack(">I", 6) + bytes([0, 1] * 3)
    images, numbers = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
    packed = {images + ".gz": gzip.compress(pixels), numbers + ".gz": gzip.compress(labels)}
    plain = {images: pixels, numbers: labels}
    return [(files, name) for files in (plain, packed) for name in files]


def cifar_trees() -> list[tuple[dict[str, bytes], str]]:
    table = np.arange(4 * 3073, dtype=np.int64).reshape(4, 3073) % 256
    table[:, 0] = range(4)
    batch = table.astype(np.uint8).tobytes()
    files = {
        "data_batch_1.bin": batch,
        "test_batch.bin": batch,
        "batches.meta.txt": b"\n".join(b"cls%d" % i for i in range(10)),
    }
    return [
        (files, "data_batch_1.bin"),
        (files, "batches.meta.txt"),
        ({**files, "data_batch_1": b"\x80\x02."}, "data_batch_1"),
    ]


def mutated(data: bytes, draw: random.Random) -> bytes:
    """One to six edits: bits, bytes, pieces cut, doubled or moved, tokens put in, the end cut off."""
    found = bytearray(data)
    for _ in range(draw.choice((1, 1, 1, 2, 3, 6))):
        at, end = sorted((draw.randrange(len(found) + 1), draw.randrange(len(found) + 1)))
        end = min(end, at + draw.choice((1, 2, 4, 16, 64, 4096)))
        kind = draw.randrange(7)
        if kind == 0 and found:
            found[draw.randrange(len(found))] ^= 1 << draw.randrange(8)
        elif kind == 1 and found:
            found[draw.randrange(len(found))] = draw.choice((0, 1, 9, 10, 34, 44, 127, 128, 255))
        elif kind == 2:
            del found[at:end]
        elif kind == 3:
            found[at:at] = found[at:end] * draw.choice((1, 2, 30))
        elif kind == 4:
            found[at : at + draw.choice((0, 1, 4))] = draw.choice(TOKENS)
        elif kind == 5:
            piece = found[at:end]
            del found[at:end]
            place = draw.randrange(len(found) + 1)
            found[place:place] = piece
        elif draw.random() < 0.3:
            del found[at:]
    return bytes(found)


def is_sound(dataset: Dataset) -> None:
    """A dataset that the rest of the house can use, whose samples have names of their own."""
    opening.is_sound(dataset)
    assert len({sample.name for sample in dataset.samples}) == len(dataset.samples) > 0


Reader = tuple[Callable[[Shelf], bool], Callable[[Shelf], Dataset], list[tuple[dict[str, bytes], str]]]
READERS: dict[str, Reader] = {
    "manifest": (is_manifest, open_manifest, list_trees()),
    "idx": (is_idx, open_idx, idx_trees()),
    "cifar": (is_cifar, open_cifar, cifar_trees()),
}
SHARES = {"manifest": 0.6, "idx": 0.2, "cifar": 0.2}


@pytest.mark.parametrize("name", READERS)
def test_the_seeds_themselves_open(name: str) -> None:
    recognise, open_, trees = READERS[name]
    for files, changed in trees:
        tree = Shelf(files)
        assert recognise(tree)
        if changed != "data_batch_1":  # a pickle, refused
            is_sound(open_(tree))


@pytest.mark.parametrize("name", READERS)
def test_mutated_files_give_a_dataset_or_one_error(name: str) -> None:
    recognise, open_, trees = READERS[name]
    draw = random.Random(f"{SEED} {name}")
    print(f"FIREFORGE_FUZZ_SEED={SEED}")
    end = time.monotonic() + SECONDS * SHARES[name]
    opened = refused = 0
    while time.monotonic() < end:
        files, changed = draw.choice(trees)
        data = mutated(files[changed], draw)
        start, line = time.monotonic(), ""
        try:
            if recognise(tree := Shelf({**files, changed: data})):
                is_sound(open_(tree))
                opened += 1
        except FireforgeError as error:
            line = error.line()
            refused += 1
        except Exception as error:
            raise AssertionError(f"seed {SEED}, {changed}: {data[:2000]!r}") from error
        took = time.monotonic() - start
        assert "\n" not in line
        assert took < SLOWEST_S, f"seed {SEED}: {took:.1f} s for {changed}: {data[:2000]!r}"
    print(f"{name}: {opened} opened, {refused} refused")
    assert opened > 20
    assert refused > 20
