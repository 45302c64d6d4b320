# SPDX-License-Identifier: Apache-2.0
"""What hedging did, as lines for a terminal."""

from __future__ import annotations

from pathlib import Path

from fireforge.base.hedge import HedgePoint
from fireforge.base.hedging import Hedging
from fireforge.report.table import Cell, text_table

COLUMNS = ("answers", "bonus", "right", "95 % interval", "bits", "a class")


def hedging(found: Hedging, page: Path) -> list[str]:
    """Lines of `hedge`: a row a bonus, what was chosen, the file and the page."""
    rows = [_row("best class, always", found.plain, found, bonus=None), _row("bonus 0", found.free, found)]
    rows += [_row(f"fitted for {p.wanted:.4g}", p, found) for p in found.curve if p.bonus != found.free.bonus]
    chosen, (low, high) = found.chosen, found.interval(found.chosen)
    mend = "a greater --accuracy or more pictures" if found.wanted < 1 else "more pictures, or a --bonus of your own,"
    missed = f"WARNING: {found.wanted:.1%} is not kept on other pictures; {mend} may mend it"
    asked = f"wanted {found.wanted:.1%}, " if found.wanted else ""
    return [
        f"{found.fitted:,} pictures to fit bonuses on, {found.judged:,} others to measure on:",
        *([f"({found.caution})"] if found.caution else []),
        "",
        *text_table(COLUMNS, rows),
        "",
        f"chosen: bonus {chosen.bonus:.4g} bits; {asked}{found.kept:.1%} of the pictures it was fitted on"
        if found.wanted
        else f"chosen: bonus {chosen.bonus:.4g} bits, as given",
        f"        {chosen.accuracy:.1%} right on the others (95 % interval {low:.1%} to {high:.1%}), "
        f"{chosen.bits:.2f} bits of {found.most_bits:.2f}, {chosen.exact:.1%} of the answers are a class",
        *([missed] if found.missed else []),
        f"{found.exported.path}: {found.exported.bytes:,} bytes ({found.exported.form}), parity passed on"
        f" {found.parity.pictures} pictures, groups included",
        f"{page}",
    ]


def _row(words: str, point: HedgePoint, found: Hedging, *, bonus: str | None = "") -> tuple[Cell, ...]:
    low, high = found.interval(point)
    return (
        words,
        f"{point.bonus:.4g}" if bonus is not None else None,
        f"{point.accuracy:.1%}",
        f"{low:.1%} to {high:.1%}",
        f"{point.bits:.2f}",
        f"{point.exact:.1%}",
    )
