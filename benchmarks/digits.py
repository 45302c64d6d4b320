# SPDX-License-Identifier: Apache-2.0
"""Claim: `fireforge build digits --max-size 40KB --time 2m` reaches 98.0 % of the test part or more, mean of 5 seeds.

    python benchmarks/digits.py --seeds 5 --minutes 15 --out bench-digits

Each seed is a build of its own in its own folder (split, weights and order differ); a folder that is done is read, so
that the script resumes. Prints a row a seed, the mean with its standard deviation, the nearest-neighbour baseline on
the same test parts, hardware and versions, and how many seeds it had.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from fireforge.base.files import read_json
from fireforge.base.machine import this_machine, versions
from fireforge.base.trial import DataRef
from fireforge.baseline.neighbours import neighbours
from fireforge.data.open import open_dataset
from fireforge.data.pixels import choose_steps, load_pixels
from fireforge.data.split import split
from fireforge.report.table import text_table

LIMIT_BYTES = 40_000
REQUIRED = 0.98


def one_seed(seed: int, folder: Path) -> dict[str, float]:
    """Build with a seed, in a process of its own, and read its answer."""
    out = folder / f"seed-{seed}"
    if not (out / "result.json").exists():
        command = [sys.executable, "-m", "fireforge", "build", "digits", "--max-size", "40KB", "--time", "2m"]
        subprocess.run([*command, "--seed", str(seed), "--out", str(out)], check=True)
    answer = read_json(out / "result.json")
    return {
        "accuracy": answer["test"]["accuracy"],
        "bytes": (out / answer["model"]["path"]).stat().st_size,
        "latency_ms": answer["measured"]["latency_ms"],
        "seconds": answer["seconds"],
        "neighbours": baseline(seed),
    }


def baseline(seed: int) -> float:
    """Nearest neighbours on the same parts: training on train and validation, judged on test."""
    dataset = open_dataset("digits")
    parts = split(dataset, DataRef(source="digits", seed=seed))
    steps = choose_steps(dataset, parts.train)
    known, asked = parts.ids("train", "val"), parts.test
    pixels = {name: load_pixels(dataset, ids, steps) for name, ids in (("known", known), ("asked", asked))}
    found = neighbours(pixels["known"], dataset.targets[known], pixels["asked"], dataset.targets[asked], 10)
    return found.accuracy


def main() -> None:
    """Run the seeds that the minutes allow and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--minutes", type=float, default=15.0)
    parser.add_argument("--out", type=Path, default=Path("bench-digits"))
    asked = parser.parse_args()
    start, rows = time.monotonic(), []
    for seed in range(asked.seeds):
        if (
            time.monotonic() - start > asked.minutes * 60 - 125
            and not (asked.out / f"seed-{seed}/result.json").exists()
        ):
            break
        rows.append((seed, one_seed(seed, asked.out)))
    names = ("accuracy", "bytes", "latency_ms", "seconds", "neighbours")
    shown = [
        (str(seed), *(f"{found[name]:.4f}" if name != "bytes" else int(found[name]) for name in names))
        for seed, found in rows
    ]
    print("\n".join(text_table(("seed", *names), shown)))
    accuracies = np.array([found["accuracy"] for _, found in rows])
    reduced = "" if len(rows) == asked.seeds else f" (reduced: {asked.seeds} were asked)"
    print(f"N = {len(rows)}{reduced}: mean {accuracies.mean():.4f}, std {accuracies.std(ddof=1):.4f}")
    print(f"{this_machine().processor}, {this_machine().cores} cores; {versions()}")
    good = accuracies.mean() >= REQUIRED and all(found["bytes"] <= LIMIT_BYTES for _, found in rows)
    sys.exit(0 if good and not reduced else 1)


if __name__ == "__main__":
    main()
