# SPDX-License-Identifier: Apache-2.0
"""The runs of time_to_accuracy.py: kept as JSON lines, taken up from them, and told in a table."""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from fireforge.report.table import text_table

BUDGET_S = 600.0
REQUIRED = 0.89
RUNS = 3  # whose mean is held against it
# seconds in print, by chip and target in percent: Jordan 2024, "94% on CIFAR-10 in 3.29 seconds on a single GPU"
PUBLISHED = {"A100": {94.0: 3.29, 95.0: 10.4, 96.0: 46.3}}
Maker = Callable[[Any], dict[str, Any]]


class Setting(Protocol):
    """What a run is known by."""

    @property
    def seed(self) -> int:
        """Of weights, order and variation."""

    def digest(self) -> str:
        """Sha256 of the setup."""

    def to_json(self) -> dict[str, Any]:
        """The setup."""


def done_before(path: Path) -> dict[str, dict[str, Any]]:
    """Runs that the file tells of, by the digest of their setup; a line that was not written whole is left out."""
    found = {}
    for number, line in enumerate(path.read_text().splitlines() if path.exists() else (), 1):
        try:
            run = json.loads(line)
            found[run["digest"]] = run
        except (ValueError, KeyError, TypeError):
            print(f"{path}, line {number}: not whole, so that run is made again")
    return found


def keep(path: Path, setup: Setting, found: dict[str, Any]) -> dict[str, Any]:
    """Add a run to the file."""
    run = {"digest": setup.digest(), "setup": setup.to_json(), **found}
    broken = path.exists() and not path.read_bytes().endswith(b"\n") and path.stat().st_size
    with path.open("a") as stream:
        stream.write(("\n" if broken else "") + json.dumps(run) + "\n")
        stream.flush()
        os.fsync(stream.fileno())
    return run


def runs_of(setups: Sequence[Setting], *, out: Path, minutes: float, make: Maker) -> tuple[list[dict[str, Any]], int]:
    """The runs that are there, and those that the minutes pay for.

    Args:
      setups: wanted.
      out: folder of runs.jsonl.
      minutes: on the wall; the first missing run is made in any case.
      make: makes one.

    Returns:
      The runs, and how many were left out.
    """
    path, start, made, rows, left_out = out / "runs.jsonl", time.monotonic(), [0.0], [], 0
    done = done_before(path)
    for setup in setups:
        run = done.get(setup.digest())
        if run is None and len(made) > 1 and time.monotonic() - start + max(made) > minutes * 60:
            left_out += 1
            continue
        if run is None:
            began = time.monotonic()
            run = keep(path, setup, make(setup))
            made.append(time.monotonic() - began)
            print(f"seed {setup.seed}: {run['accuracy']:.2%}, {run['cpu_s']:.0f} CPU-seconds", flush=True)
        rows.append(run)
    return rows, left_out


def told(rows: list[dict[str, Any]], asked: argparse.Namespace) -> list[str]:
    """The table and what follows from it."""
    heads = ("seed", "accuracy", "with mirror", "epochs", "CPU s", "of it decoding", "wall s", "wall s of training")
    table = [
        (
            str(run["setup"]["seed"]),
            f"{run['accuracy']:.2%} of {run['n']:,}",
            f"{run['accuracy_with_mirror']:.2%}",
            f"{run['epochs']:.2f}{' (cut)' if run['cut'] else ''}",
            f"{run['cpu_s']:.1f}" if asked.device == "cpu" else "",
            f"{run['cpu_s_decode']:.1f}" if asked.device == "cpu" else "",
            f"{run['wall_s']:.1f}" if asked.device == "cpu" else "",
            f"{run['wall_s_train']:.2f}",
        )
        for run in rows
    ]
    lines = text_table(heads, table)
    scores = np.array([run["accuracy"] for run in rows])
    std = f", std {100 * scores.std(ddof=1):.2f}" if len(scores) > 1 else ""
    net, params = rows[0]["setup"]["net"], rows[0]["params"]
    lines.append(
        f"{net}, {params:,} parameters, one forward pass a picture: mean {scores.mean():.2%}{std}, N {len(rows)}"
    )
    machine = rows[0]["machine"]
    if asked.device == "cpu":
        verdict = "yes" if scores.mean() >= REQUIRED else "NO"
        whole = asked.budget == BUDGET_S and asked.part == "test" and not asked.pictures and len(rows) >= RUNS
        whole = whole and not rows[0]["setup"]["changes"] and not rows[0]["setup"]["data"]
        lines.append(
            f"required: {REQUIRED:.0%}: {verdict}" if whole else "reduced: not the run that the claim is about"
        )
        if any(run["cut"] for run in rows):
            lines.append("cut: the budget ended before the training did; fewer --epochs fit this machine")
    else:
        lines += _raced(rows, asked.target, machine["accelerator"])
    lines.append(f"{machine['processor']}, {machine['cores']} cores, {machine['accelerator'] or 'no GPU'}")
    return [*lines, ", ".join(f"{name} {version}" for name, version in rows[0]["versions"].items())]


def _raced(rows: list[dict[str, Any]], target: float, chip: str) -> list[str]:
    """Time to the target beside the published one of the chip's class."""
    seconds, scores = np.array([run["wall_s_train"] for run in rows]), np.array([run["accuracy"] for run in rows])
    spread = f" (std {seconds.std(ddof=1):.2f})" if len(rows) > 1 else ""
    reached = 100 * scores.mean() >= target
    known = next((row for name, row in PUBLISHED.items() if name in chip), {})
    printed = f"{known[target]:g} s in print" if target in known else "no published figure known to us"
    return [
        f"{seconds.mean():.2f} s a run{spread}; mean of {target:g} %: {'reached' if reached else 'NOT reached'};"
        f" {int((100 * scores >= target).sum())} of {len(rows)} runs did",
        f"{chip}: {printed}",
    ]
