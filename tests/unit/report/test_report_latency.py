# SPDX-License-Identifier: Apache-2.0
"""Foretold beside measured latencies, against the record's values."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from fireforge.base.budget import Budget
from fireforge.base.journal import Entry
from fireforge.base.prediction import Foretold
from fireforge.report.page import page
from fireforge.report.run import read_run

Save = Callable[..., Path]
ROWS = tuple(
    Foretold(spec=f"{i}" * 64, family="resnet", form=form, foretold_ms=ms, measured_ms=1.0, margin=0.12)
    for i, (form, ms) in enumerate([("float32", 1.05), ("float32", 1.18), ("float32", 0.7), ("int8", 1.12)])
)


def section(entries: list[Entry], save_run: Save) -> str:
    text = page(read_run(save_run(entries)))
    found = re.search(r'<section id="latency">(.*?)</section>', text, re.DOTALL)
    assert found is not None
    return found[1]


def test_shares_within_bounds_by_hand(entries: list[Entry], save_run: Save) -> None:
    """Of 1.05, 1.18 and 0.7 for 1: a third within 10 and 15 %, two thirds within 20 %."""
    markup = section([*entries, *(Entry(type="foretold", value=row.to_json()) for row in ROWS)], save_run)
    plain = re.sub(r"\s", "", markup).replace("\N{NO-BREAK SPACE}", "")
    rows = [re.findall(r"<td[^>]*>(.*?)</td>", row) for row in re.findall(r"<tr[^>]*>(.*?)</tr>", plain)]
    assert ["float32", "3", "33%", "33%", "67%", "±12%"] in rows
    assert ["int8", "1", "0%", "100%", "100%", "±12%"] in rows
    assert sum("+18%" in row for row in rows) == 1
    assert markup.count("<circle") >= len(ROWS)


def test_networks_without_a_measured_time_are_counted_with_their_reasons(entries: list[Entry], save_run: Save) -> None:
    late = ROWS[0].replace(spec="a" * 64, measured_ms=None, why="the time was over", profile="a chip, seed 3")
    bound = ROWS[0].replace(spec="b" * 64, margin=None, profile="a chip, seed 3")
    rows = (*ROWS, late, late.replace(form="int8"), bound)
    markup = section([*entries, *(Entry(type="foretold", value=row.to_json()) for row in rows)], save_run)
    assert "1 of 6 networks were not measured: the time was over." in markup
    assert markup.count("Foretold by the profile of a chip, seed 3.") == 1
    assert "at least" in markup
    drawn = section([*entries, *(Entry(type="foretold", value=row.to_json()) for row in (*ROWS, bound))], save_run)
    assert markup.count("<circle") == drawn.count("<circle")
    only = section([*entries, Entry(type="foretold", value=late.to_json())], save_run)
    assert "1 of 1 networks were not measured" in only
    assert "<circle" not in only


def test_a_run_that_repeats_another_does_not_say_that_it_has_no_limit(entries: list[Entry], save_run: Save) -> None:
    """The fixture's run has a limit of latency."""
    markup = section(entries, save_run)
    assert "takes its choices from another one" in markup
    assert "no limit of latency" not in markup


def test_a_run_without_a_limit_of_latency_says_so(entries: list[Entry], save_run: Save) -> None:
    free = {**entries[0].value, "budget": Budget(max_bytes=40_000).to_json()}
    assert "has no limit of latency" in section([Entry(type="start", value=free), *entries[1:]], save_run)
