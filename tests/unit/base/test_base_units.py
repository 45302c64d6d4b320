# SPDX-License-Identifier: Apache-2.0
"""Quantities with units against values worked by hand."""

from __future__ import annotations

import pytest

from fireforge.base import units
from fireforge.base.errors import FireforgeError


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("40KB", 40_000),
        ("40kb", 40_000),
        ("1.5MB", 1_500_000),
        ("300KiB", 307_200),
        ("2 GB", 2 * 10**9),
        (".5kB", 500),
        ("7B", 7),
        ("1MiB", 1_048_576),
        ("1e3B", 1000),
    ],
)
def test_bytes_by_hand(text: str, count: int) -> None:
    assert units.parse_bytes(text) == count


def test_times_energy_and_shares_by_hand() -> None:
    assert units.parse_milliseconds("3ms") == 3
    assert units.parse_milliseconds("0.5s") == 500
    assert units.parse_milliseconds("500us") == pytest.approx(0.5, rel=1e-15)  # 500 * 1e-3 in binary
    assert [units.parse_seconds(t) for t in ("90s", "20m", "20min", "2h", "500ms")] == [90, 1200, 1200, 7200, 0.5]
    assert [units.parse_millijoules(t) for t in ("5mJ", "0.2J")] == [5, 200]
    assert [units.parse_share(t) for t in ("0.98", "98%", "1", "0", "100 %")] == [0.98, 0.98, 1, 0, 1]


@pytest.mark.parametrize(
    "text", ["", "40", "KB", "40XB", "-4KB", "0KB", "4,000B", "1e999B", "40KB x", "nanKB", "infKB"]
)
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(FireforgeError, match="BAD_UNIT"):
        units.parse_bytes(text)


@pytest.mark.parametrize("text", ["", "1.1", "101%", "-1%", "half"])
def test_what_is_no_share_is_refused(text: str) -> None:
    with pytest.raises(FireforgeError, match="BAD_UNIT"):
        units.parse_share(text)


def test_words_for_people_by_hand() -> None:
    shown = [units.show_bytes(n) for n in (0, 39_812, 99_999, 123_456, 1_250_000, 240_000_000, 3 * 10**9)]
    assert shown == ["0 B", "39,812 B", "99,999 B", "123.5 KB", "1.25 MB", "240.0 MB", "3.00 GB"]
    shown = [units.show_seconds(s) for s in (0.8, 12, 80, 3599.7, 7500)]
    assert shown == ["0.8 s", "12 s", "1 min 20 s", "1 h 00 min", "2 h 05 min"]
