# SPDX-License-Identifier: Apache-2.0
"""A comparison of networks as lines for a terminal."""

from __future__ import annotations

from pathlib import Path

from fireforge.base.comparison import Compared, Comparison
from fireforge.base.units import show_bytes
from fireforge.report.table import Cell, text_table

COLUMNS = ("network", "top-1 %", "year", "params", "MACs", "images/s", "runs", "memory counted", "measured")


def comparison(found: Comparison, page: Path) -> list[str]:
    """Lines of `cost --compare`: a row a network, what was not measured and why, and the page."""
    lines = text_table(COLUMNS, [_row(row) for row in found.networks])
    left_out = [f"not timed: {row.name}: {row.why}" for row in found.networks if row.speed is None]
    left_out += [f"not compared: {name}: {why}" for name, why in found.absent.items()]
    batches = [at for row in found.networks for at in row.memory]
    missing = sum(at.measured_bytes is None for at in batches)
    if missing:
        left_out.append(f"memory not measured at {missing} of {len(batches)} batches: the page says where, and why")
    machine = f"{found.hardware.processor}, {found.threads} thread(s), batch 1; accuracy is as published"
    return [*lines, "", machine, *left_out, "", f"{page}"]


def _row(row: Compared) -> tuple[Cell, ...]:
    said, first = row.published, row.memory[0]
    measured = None if first.measured_bytes is None else show_bytes(first.measured_bytes)
    return (
        row.name,
        None if said is None or said.top1 is None else f"{said.top1:g}",
        None if said is None else str(said.year),
        row.cost.params,
        row.cost.macs,
        None if row.speed is None else f"{row.speed.images_per_second:.4g}",
        None if row.speed is None else row.speed.runs,
        show_bytes(first.counted_bytes),
        measured,
    )
