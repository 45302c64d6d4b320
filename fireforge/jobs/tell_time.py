# SPDX-License-Identifier: Apache-2.0
"""Where the time of a training went, in lines for a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from fireforge.base.feeding import BESIDE, RENDER, Place, gains, load_of, loop_stages

if TYPE_CHECKING:
    from fireforge.base.record import RunRecord

FEED = ("collate", "copy", "augment")  # what others could do while the network works


def time_spent(record: RunRecord) -> list[str]:
    """Where the time of a training went, the longest stage first, and what it would gain by another way of feeding.

    Args:
      record: of the training.

    Returns:
      Lines; none where the record has no clock.
    """
    stages = loop_stages(record.stages)
    whole = sum(stages.values())
    if not whole:
        return []
    load = load_of(record.stages)
    if load is None or record.workers is None:
        feed = sum(stages.get(name, 0.0) for name in FEED)
        gain = f"; at most {whole / (whole - feed) - 1:.0%} faster if feeding the network cost nothing" if feed else ""
        return [f"time: {_shares(stages)}{gain}"]
    lines = [f"time: {_shares(stages)}"]
    if record.workers:
        beside = {name: record.stages.get(f"{BESIDE}{name}", 0.0) for name in RENDER}
        lines.append(f"data workers: {record.workers}; {_shares(beside)}")
    place = Place(cores=record.hardware.cores, threads=record.trial.threads)
    found = ", ".join(f"{name}: +{gain:.0%}" for name, gain in gains(load, record.workers, place).items())
    lines.append(f"predicted: {found}" if found else "predicted: no other way of feeding would be faster")
    return [*lines, *record.notes]


def _shares(stages: Mapping[str, float]) -> str:
    """Stages with their shares, the longest first."""
    whole = sum(stages.values()) or 1.0
    rows = sorted(stages.items(), key=lambda item: -item[1])
    return ", ".join(f"{name} {seconds / whole:.0%}" for name, seconds in rows if seconds / whole >= 0.005)
