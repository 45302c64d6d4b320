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
        return parts.section("latency", "Latency", parts.missing(_nothing(run)))
    lead = (
        "A limit of latency rejects networks before training, by a prediction from graph and this machine's profile. "
        "Here it is held against the files of the networks that were trained, the network alone, one thread."
    )
    measured = [row for row in rows if row.measured_ms is not None]
    pictures = [parts.columns(_plot(measured), _shares(measured))] if measured else []
    notes = [tag("p", line, class_="note") for line in (*_profiles(rows), *_absent(rows))]
    return parts.section("latency", "Latency", *pictures, *notes, _table(rows), lead=lead)


def _nothing(run: Run) -> str:
    """Why there is no row."""
    budget = run.start.budget if run.start else None
    if budget is None or budget.max_latency_ms is None:
        return "Nothing was foretold: the run has no limit of latency."
    return (
        "No prediction was held against a file: the run takes its choices from another one, whose report has them, "
        "or ended before its first training."
    )


def _profiles(rows: Sequence[Foretold]) -> list[str]:
    """By which profiles it was foretold; older records do not say."""
    return [f"Foretold by the profile of {text}." for text in dict.fromkeys(row.profile for row in rows) if text]


def _absent(rows: Sequence[Foretold]) -> list[str]:
    """How many networks have no measured time, a line for each reason."""
    reasons: dict[str, set[str]] = {}
    for row in rows:
        if row.measured_ms is None:
            reasons.setdefault(row.why or "the record does not say why", set()).add(row.spec)
    total = len({row.spec for row in rows})
    return [f"{len(specs)} of {total} networks were not measured: {why}." for why, specs in reasons.items()]


def _plot(rows: Sequence[Foretold]) -> Markup:
    times = [(row, row.measured_ms) for row in rows if row.measured_ms is not None]
    ends = [ms for row, measured_ms in times for ms in (row.foretold_ms, measured_ms)]
    frame = Frame(
        x=axis_of(ends, "foretold, ms", _ms, log=True),
        y=axis_of(ends, "measured, ms: the least of several runs", _ms, log=True),
        height=320,
    )
    diagonal = line(frame, [(min(ends), min(ends)), (max(ends), max(ends))], style="ideal")
    marks = [
        Dot(
            x=row.foretold_ms,
            y=measured_ms,
            tip=f"{row.family}, {row.form}: {_ms(row.foretold_ms)} foretold, {_ms(measured_ms)} measured",
            style=f"dot {STYLES.get(row.form, 'test')}",
        )
        for row, measured_ms in times
    ]
    keys = [(STYLES.get(form, "test"), form) for form in dict.fromkeys(row.form for row in rows)]
    caption = [parts.legend(keys), " What is told exactly lies on the line."]
    return parts.figure(chart(frame, diagonal, dots(frame, marks), title="Latency: foretold and measured"), caption)


def _shares(rows: Sequence[Foretold]) -> Markup:
    """A line a number format."""
    cells = []
    for form in dict.fromkeys(row.form for row in rows):
        errors = [abs(row.foretold_ms / row.measured_ms - 1) for row in rows if row.form == form and row.measured_ms]
        margin = next((row.margin for row in rows if row.form == form and row.margin is not None), None)
        shares = [show.percent(sum(error <= bound for error in errors) / len(errors), digits=0) for bound in BOUNDS]
        cells.append((form, show.count(len(errors)), *shares, None if margin is None else _within(margin)))
    header = ("Numbers", "Networks", *(_within(bound) for bound in BOUNDS), "Margin")
    note = (
        "Shares of networks whose prediction is within so much of the measured time. "
        "The margin is what nine of ten networks of the profile keep when they are left out of its fit."
    )
    return parts.pile(parts.table(header, cells), tag("p", note, class_="note"))


def _table(rows: Sequence[Foretold]) -> Markup:
    cells = [
        (
            *(parts.name(row.spec[:12]), row.family, row.form),
            *(_least(row), None if row.measured_ms is None else _ms(row.measured_ms), _signed(row)),
        )
        for row in rows
    ]
    header = ("Network", "Family", "Numbers", "Foretold", "Measured", "Difference")
    return parts.table(header, cells, words=(0, 1, 2), tall=True)


def _ms(ms: float) -> str:
    return show.milliseconds(ms)


def _within(share: float) -> str:
    return f"± {show.percent(share, digits=0)}"


def _least(row: Foretold) -> str:
    """What was foretold, or that it takes so long at least."""
    return f"at least {_ms(row.foretold_ms)}" if row.margin is None else _ms(row.foretold_ms)


def _signed(row: Foretold) -> str | None:
    error = row.error()
    return None if error is None else f"{error:+.0%}"
