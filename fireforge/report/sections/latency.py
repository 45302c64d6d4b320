# SPDX-License-Identifier: Apache-2.0
"""How long the trained networks take: foretold from their graphs, and measured on their untrained files."""

from __future__ import annotations

from collections.abc import Sequence

import fireforge.report.parts as parts
import fireforge.report.show as show
from fireforge.base.prediction import Foretold
from fireforge.report.markup import Markup, tag
from fireforge.report.run import Run
from fireforge.report.svg import Dot, Frame, chart, dots, line
from fireforge.report.ticks import axis_of

STYLES = {"float32": "before", "int8": "after"}
BOUNDS = (0.10, 0.15, 0.20)


def latency(run: Run) -> Markup:
    """Foretold against measured times, and the share of networks that is told within some bounds."""
    rows = run.foretold
    if not rows:
        told = "Nothing was foretold: the run has no limit of latency, or could not measure."
        return parts.section("latency", "Latency", parts.missing(told))
    lead = (
        "A limit of latency rejects networks before training, by a prediction from graph and this machine's profile. "
        "Here it is held against the files of the networks that were trained, the network alone, one thread."
    )
    return parts.section("latency", "Latency", parts.columns(_plot(rows), _shares(rows)), _table(rows), lead=lead)


def _plot(rows: Sequence[Foretold]) -> Markup:
    ends = [ms for row in rows for ms in (row.foretold_ms, row.measured_ms)]
    frame = Frame(
        x=axis_of(ends, "foretold, ms", _ms, log=True),
        y=axis_of(ends, "measured, ms: the least of several runs", _ms, log=True),
        height=320,
    )
    diagonal = line(frame, [(min(ends), min(ends)), (max(ends), max(ends))], style="ideal")
    marks = [
        Dot(
            x=row.foretold_ms,
            y=row.measured_ms,
            tip=f"{row.family}, {row.form}: {_ms(row.foretold_ms)} foretold, {_ms(row.measured_ms)} measured",
            style=f"dot {STYLES.get(row.form, 'test')}",
        )
        for row in rows
    ]
    keys = [(STYLES.get(form, "test"), form) for form in dict.fromkeys(row.form for row in rows)]
    caption = [parts.legend(keys), " What is told exactly lies on the line."]
    return parts.figure(chart(frame, diagonal, dots(frame, marks), title="Latency: foretold and measured"), caption)


def _shares(rows: Sequence[Foretold]) -> Markup:
    """A line a number format."""
    cells = []
    for form in dict.fromkeys(row.form for row in rows):
        errors = [abs(row.error()) for row in rows if row.form == form]
        margin = next(row.margin for row in rows if row.form == form)
        shares = [show.percent(sum(error <= bound for error in errors) / len(errors), digits=0) for bound in BOUNDS]
        cells.append((form, show.count(len(errors)), *shares, f"± {show.percent(margin, digits=0)}"))
    header = ("Numbers", "Networks", *(f"± {show.percent(bound, digits=0)}" for bound in BOUNDS), "Margin")
    note = (
        "Shares of networks whose prediction is within so much of the measured time. "
        "The margin is what nine of ten networks of the profile keep when they are left out of its fit."
    )
    return parts.pile(parts.table(header, cells), tag("p", note, class_="note"))


def _table(rows: Sequence[Foretold]) -> Markup:
    cells = [
        (parts.name(row.spec[:12]), row.family, row.form, _ms(row.foretold_ms), _ms(row.measured_ms), _signed(row))
        for row in rows
    ]
    header = ("Network", "Family", "Numbers", "Foretold", "Measured", "Difference")
    return parts.table(header, cells, words=(0, 1, 2), tall=True)


def _ms(ms: float) -> str:
    return show.milliseconds(ms)


def _signed(row: Foretold) -> str:
    return f"{row.error():+.0%}"
