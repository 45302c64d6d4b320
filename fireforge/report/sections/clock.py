# SPDX-License-Identifier: Apache-2.0
"""Where the time went."""

from __future__ import annotations

import fireforge.report.parts as parts
import fireforge.report.show as show
from fireforge.base.feeding import BESIDE, RENDER, loop_stages
from fireforge.base.units import show_seconds
from fireforge.report.markup import Markup
from fireforge.report.run import Run
from fireforge.report.spent import BASELINES, DATA, FINISH, SURVEY, Spent

WORDS = {
    DATA: ("Data", "read, checked, split, decoded"),
    BASELINES: ("Baselines", "fitted and judged"),
    SURVEY: ("Survey", "networks counted, rejected, timed"),
    FINISH: ("Finish", "compress, export, verify, measure"),
}


def clock(run: Run) -> Markup:
    """Seconds of each stage by the run's clock, and of the work in it; and of each stage of the chosen training."""
    training = _training(run)
    if not run.spent:
        held = training or (parts.missing("The record holds no note of the clock."),)
        return parts.section("time", "Time", *held)
    whole = sum(row.wall_s for row in run.spent)
    rows = [_row(row, whole) for row in run.spent]
    rows.append(("All", _allowed(run), show_seconds(whole), "", "", ""))
    header = ("Stage", "", "Took, about", "Share", "", "Work in it")
    lead = "By the clock of the run; work that runs side by side adds up to more than the clock shows."
    table = parts.table(header, rows, words=(0, 1, 4), marked=(len(rows) - 1,))
    return parts.section("time", "Time", table, *training, lead=lead)


def _training(run: Run) -> tuple[Markup, ...]:
    """Stages of the chosen training, the longest first, and what its data workers did beside it; nothing without."""
    trial = run.chosen() or run.best()
    stages = {} if trial is None else loop_stages(trial.stages)
    whole = sum(stages.values())
    if trial is None or not whole:
        return ()
    beside = {name: trial.stages.get(f"{BESIDE}{name}", 0.0) for name in RENDER if trial.workers}
    rows = [
        (name, who, show_seconds(seconds), show.percent(seconds / whole, digits=0), parts.meter(seconds / whole))
        for who, some in (("the training", stages), (show.some(trial.workers or 0, "data worker"), beside))
        for name, seconds in sorted(some.items(), key=lambda item: -item[1])
        if seconds >= 0.005 * whole
    ]
    header = ("Stage of the chosen training", "Done by", "Took", "Of the training", "")
    return (parts.table(header, rows, words=(0, 1, 4)),)


def _row(row: Spent, whole_s: float) -> tuple[object, ...]:
    name, what = _words(row)
    share = row.wall_s / whole_s if whole_s else 0.0
    return (
        name,
        what,
        show_seconds(row.wall_s),
        show.percent(share, digits=0),
        parts.meter(share),
        show_seconds(row.work_s) if row.work_s else "",
    )


def _words(row: Spent) -> tuple[str, str]:
    if row.stage in WORDS:
        return WORDS[row.stage]
    return row.stage.capitalize(), show.some(row.pieces, "training")


def _allowed(run: Run) -> str:
    seconds = run.seconds_given()
    return "" if seconds is None else f"{show_seconds(seconds)} were given"
