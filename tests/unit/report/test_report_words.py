# SPDX-License-Identifier: Apache-2.0
"""Numbers in words and text tables against hand values."""

from __future__ import annotations

import random

import pytest

from fireforge.base.spec import NetSpec
from fireforge.report.show import (
    compact,
    limit_words,
    margin_words,
    millijoules,
    milliseconds,
    percent,
    percent_interval,
    some,
    spec_words,
)
from fireforge.report.table import markdown_escape, markdown_table, text_table, width


def test_numbers_by_hand() -> None:
    assert percent(0.98361) == "98.4 %"
    assert percent(None) == "–"
    assert percent_interval(0.98361, (0.9650, 0.9925)) == "98.4 % (96.5 to 99.2 %)"
    assert percent_interval(0.5, None) == "50.0 %"
    assert [compact(n) for n in (0, 12.34, 999, 1000, 12_345, 861_339_936, 2.5e9)] == [
        "0", "12.3", "999", "1 k", "12.3 k", "861 M", "2.5 G",
    ]  # fmt: skip
    assert [milliseconds(t) for t in (0.13942, 3.0, 1234.5, None)] == ["0.139 ms", "3 ms", "1,234 ms", "–"]
    assert [some(n, "trial") for n in (0, 1, 1200)] == ["0 trials", "1 trial", "1,200 trials"]
    energies = [millijoules(energy_mj) for energy_mj in (0.00016104, 0.0019, 0.5, 2.5, 1500.0, None)]
    assert energies == ["161 nJ", "1.9 µJ", "500 µJ", "2.5 mJ", "1.5 J", "–"]
    spec = NetSpec(family="firenet", params={"base": 8, "bypass": True}, classes=2, input_shape=(1, 8, 8))
    assert spec_words(spec) == "firenet(base=8, bypass=True)"


@pytest.mark.parametrize(
    ("name", "limit", "achieved", "words"),
    [
        ("max_bytes", 40_000, 38_412, ("40,000 B", "38,412 B")),
        ("max_bytes", 300_000, 300_040, ("300,000 B", "300,040 B")),
        ("max_latency_ms", 3.0, 0.2134567, ("3 ms", "0.213 ms")),
        ("max_latency_ms", 0.2, 0.20004, ("0.2 ms", "0.20004 ms")),
        ("min_accuracy", 0.98, 0.9833, ("98.0 %", "98.3 %")),
        ("min_accuracy", 0.98, 0.97961, ("98.00 %", "97.96 %")),
        ("min_accuracy", 0.98, 0.98, ("98.0 %", "98.0 %")),
        ("min_accuracy", 0.9875, None, ("98.75 %", "–")),
        ("max_energy_mj", 2.5, 1.0, ("2.5 mJ", "1 mJ")),
        ("max_energy_mj", 2.0, 0.00016104, ("2 mJ", "0.000161 mJ")),
        ("max_energy_mj", 0.0005, 0.00050001, ("0.0005 mJ", "0.00050001 mJ")),
    ],
)
def test_limits_by_hand(name: str, limit: float, achieved: float | None, words: tuple[str, str]) -> None:
    assert limit_words(name, limit, achieved) == words


def test_limits_that_differ_look_different() -> None:
    rng = random.Random(3)
    for name, top in (("max_bytes", 5), ("max_latency_ms", 2.0), ("min_accuracy", 1.0)):
        for _ in range(200):
            limit = round(rng.uniform(0.1, 1) * top, 2)
            achieved = limit + rng.choice((-1, 1)) * 10 ** rng.uniform(-7, -1)
            assert len(set(limit_words(name, limit, achieved))) == 2


@pytest.mark.parametrize(
    ("name", "limit", "achieved", "words"),
    [
        ("max_bytes", 40_000, 38_412, "+1,588 B (+4.0 %)"),
        ("max_bytes", 40_000, 50_000, "-10,000 B (-25.0 %)"),
        ("max_latency_ms", 0.5, 0.13942, "+0.361 ms (+72.1 %)"),
        ("min_accuracy", 0.98, 0.99, "+1.0 points"),
        ("min_accuracy", 0.98, 0.9797, "-0.030 points"),
        ("max_energy_mj", 2.5, None, "–"),
    ],
)
def test_margins_by_hand(name: str, limit: float, achieved: float | None, words: str) -> None:
    assert margin_words(name, limit, achieved) == words


def test_text_table_by_hand() -> None:
    rows = [("nearest neighbours", "98.6 %", 78144, None), ("linear", "4.9 %", 2640, 0.31256)]
    assert text_table(("method", "accuracy", "bytes", "s"), rows) == [
        "method              accuracy   bytes       s",
        "------------------  --------  ------  ------",
        "nearest neighbours    98.6 %  78,144       –",
        "linear                 4.9 %   2,640  0.3126",
    ]


def test_text_table_columns_stay_aligned_under_wide_and_hostile_cells() -> None:
    """Each second column begins at the same terminal column, whatever stands in the first."""
    cells = ["plain", "日本", "e\u0301", "two\nlines", "esc\x1b[31m", "", "🔥"]
    lines = text_table(("a", "b"), [(cell, "end") for cell in cells])
    assert {width(text.removesuffix("end")) for text in lines[2:]} == {2 + max(width(line) for line in lines) - 5}
    assert not any("\n" in text or "\x1b" in text for text in lines)
    assert text_table(("only", "header"), []) == ["only  header", "----  ------"]


def test_widths_by_hand() -> None:
    assert [width(text) for text in ("abc", "日本", "e\u0301", "🔥", "")] == [3, 4, 1, 2, 0]


def test_markdown_table_by_hand() -> None:
    assert markdown_table(("name", "n"), [("a|b", 1), ("<i>", 2500)]) == [
        "| name | n |",
        "| --- | ---: |",
        "| a\\|b | 1 |",
        "| &lt;i&gt; | 2,500 |",
    ]
    assert markdown_escape("a*b\n[c](d)&") == "a\\*b \\[c\\](d)&amp;"
