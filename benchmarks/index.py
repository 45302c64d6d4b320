# SPDX-License-Identifier: Apache-2.0
"""How long a packed dataset of 1,200,000 pictures takes to open, split and shuffle, and what memory that holds.

    python benchmarks/index.py [--count 1200000] [--classes 1000] [--rounds 3] [--folder DIR] [--json]

The pictures are of 2 x 2 px, so that the index is as large as that of any other such dataset; none is read. Each round
is a fresh process, which has imported what it needs before the clock starts.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import zlib
from pathlib import Path

import numpy as np

from fireforge.base.machine import this_machine, versions
from fireforge.data.samples import Digests, Samples
from fireforge.data.shards.index import Index, write_index
from fireforge.data.shards.layout import DECODED, INDEX, SHARD, Head

SIDE, SHARDS = 2, 4
CODE = """
import json, sys, time
from fireforge.base.rng import permutation
from fireforge.base.trial import DataRef
from fireforge.data.check import drop_broken
from fireforge.data.open import open_dataset
from fireforge.data.split import split

def resident():
    rows = dict(line.split(":") for line in open("/proc/self/status") if line.startswith("Rss"))
    return {name: int(text.split()[0]) * 1024 for name, text in rows.items()}

told, start = {}, time.perf_counter()

def lap(name):
    global start
    told[name] = time.perf_counter() - start
    start = time.perf_counter()

before = resident()
dataset = open_dataset(sys.argv[1])
lap("open")
dataset = drop_broken(dataset)
digest = dataset.sha256
lap("check and sha256")
parts = split(dataset, DataRef(source=sys.argv[1]))
lap("split")
order = permutation(0, 0, len(parts.train))
lap("order of an epoch")
ledger = dataset.ledger()
lap("ledger")
after = resident()
assert len(order) == len(parts.train) and ledger["used"] == len(dataset.samples)
told["memory of its own"] = after["RssAnon"] - before["RssAnon"]
told["pages of the file"] = after["RssFile"] - before["RssFile"]
print(json.dumps(told))
"""


def make(folder: Path, count: int, classes: int) -> Path:
    """A packed dataset without parts of its own, of pictures that hold zeros."""
    draw = np.random.default_rng(0)
    labels = np.sort(draw.integers(0, classes, count)).astype(np.int32)
    size = SIDE * SIDE * 3
    each = -(-count // SHARDS)
    firsts = list(range(0, count, each))
    table = [(first, (min(count, first + each) - first) * size) for first in firsts]
    for i, (_, length) in enumerate(table):
        with open(folder / SHARD.format(i), "wb") as stream:
            stream.truncate(length)
    write_index(
        folder,
        Index(
            head=Head(
                total=0,
                count=count,
                name_bytes=0,
                json_bytes=0,
                classes=classes,
                shards=len(table),
                each=each,
                height_px=SIDE,
                width_px=SIDE,
                kind=DECODED,
                channels=3,
                sha256=bytes(32),
            ),
            labels=tuple(f"n{label:08d}" for label in range(classes)),
            samples=Samples(
                labels,
                np.zeros(count, np.uint8),
                tuple(f"train/n{label:08d}/n{label:08d}_{i}.JPEG" for i, label in enumerate(labels.tolist())),
            ),
            digests=Digests(draw.integers(0, 256, (count, 32), dtype=np.uint8)),
            crcs=np.full(count, zlib.crc32(bytes(size)), np.uint32),
            shards=np.array(table, np.uint64),
            ends=np.zeros(0, np.uint64),
        ),
    )
    return folder


def measured(folder: Path) -> dict[str, float]:
    """Seconds by step and bytes of memory of one process."""
    done = subprocess.run([sys.executable, "-c", CODE, str(folder)], capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def main() -> None:
    """Print a row a step: the median of the rounds and the greatest."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1_200_000)
    parser.add_argument("--classes", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=None)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.folder) as name:
        folder = make(Path(name), args.count, args.classes)
        size = (folder / INDEX).stat().st_size
        rounds = [measured(folder) for _ in range(args.rounds)]
    rows = {key: [found[key] for found in rounds] for key in rounds[0]}
    if args.json:
        print(json.dumps({"index": size, **rows}))
        return
    print(f"{this_machine().processor}, numpy {versions()['numpy']}; {args.count:,} pictures, {args.classes:,} classes")
    print(f"index {size / 1e6:.1f} MB, {args.rounds} rounds")
    for key, values in rows.items():
        unit, scale = ("MB", 1e6) if "memory" in key or "pages" in key else ("s", 1.0)
        print(f"{key:18} {statistics.median(values) / scale:8.3f} {unit}, at most {max(values) / scale:.3f}")
    seconds = [sum(v for k, v in found.items() if "memory" not in k and "pages" not in k) for found in rounds]
    print(f"{'all of it':18} {statistics.median(seconds):8.3f} s, at most {max(seconds):.3f}")


if __name__ == "__main__":
    main()
