# SPDX-License-Identifier: Apache-2.0
"""bench: files side by side on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fireforge.base.profile import DeviceProfile
from fireforge.cost.count import count
from fireforge.importers.onnx_file import import_onnx
from fireforge.jobs.profiles import kept
from fireforge.runtime.bench import BenchRow, BenchTable
from fireforge.runtime.bench import bench as time_files

MOST_ROUNDS = 100_000  # the time ends a bench, not the rounds


def bench(models: Sequence[str | Path], *, seconds: float = 3.0, threads: int = 1, batch: int = 1) -> BenchTable:
    """Time files in interleaved rounds, so that a drifting clock hits all of them alike.

    Args:
      models: files or run folders.
      seconds: for each.
      threads: that one operator may use.
      batch: pictures at once.

    Returns:
      The table: a row a file, with the ratio to the fastest and, where a profile of this machine is kept, the share of
      its peak.
    """
    table = time_files(models, rounds=MOST_ROUNDS, seconds=seconds * len(models), threads=threads, batch=batch)
    profile = kept(threads=threads)  # of the same threads, or none
    if profile is None:
        return table
    return table.replace(rows=tuple(_beside_peak(row, profile, batch) for row in table.rows))


def _beside_peak(row: BenchRow, profile: DeviceProfile, batch: int) -> BenchRow:
    graph = import_onnx(Path(row.path))[0]
    form = "int8" if any(node.op == "QuantizeLinear" for node in graph.nodes) else "float32"
    if form not in profile.forms:
        return row
    rate = count(graph).macs * batch / (row.least_ms / 1e3)
    return row.replace(peak_share=rate / profile.forms[form].peak_macs)
