# SPDX-License-Identifier: Apache-2.0
"""How the answer does on the test part, and what it confuses."""

from __future__ import annotations

from pathlib import PurePath

import fireforge.report.parts as parts
import fireforge.report.show as show
from fireforge.base.evaluation import Evaluation
from fireforge.report.heat import MOST_CLASSES, heat
from fireforge.report.markup import Markup, join, tag
from fireforge.report.run import Run

MOST_PAIRS = 30  # confused pairs listed


def evaluation(run: Run) -> Markup:
    """Confusion matrix, per-class table and worst mistakes of the answer's file."""
    shown = run.evaluation() or next(reversed(run.evaluations), None)
    if shown is None:
        gap = parts.missing("No file has been evaluated on the test part.")
        return parts.section("test", "Test", gap)
    accuracy = show.percent_interval(shown.accuracy, shown.interval)
    lead = f"{PurePath(shown.model).name} on {show.count(shown.n)} pictures of the {shown.part} part: {accuracy}."
    tops = {key: share for key, share in shown.top_k.items() if key != "1"}
    if tops:
        lead += " Right answer among the first " + ", ".join(f"{k}: {show.percent(v)}" for k, v in tops.items()) + "."
    return parts.section("test", "Test", _confusion(shown), _per_class(shown), _worst(shown), lead=lead)


def _confusion(shown: Evaluation) -> Markup:
    table, labels = shown.confusion, shown.labels
    body = parts.figure(heat(table, labels), "Counts by true class and answer") if len(labels) <= MOST_CLASSES else None
    pairs = [
        (table[row][column], row, column)
        for row in range(len(labels))
        for column in range(len(labels))
        if row != column and table[row][column]
    ]
    pairs.sort(key=lambda pair: (-pair[0], pair[1], pair[2]))
    rows = [(parts.name(labels[row]), parts.name(labels[column]), count) for count, row, column in pairs[:MOST_PAIRS]]
    listed = (
        join(
            (tag("h3", "Confused most often"), parts.table(("Truth", "Answer", "Count"), rows, words=(0, 1), tall=True))
        )
        if rows
        else tag("p", "Not one picture was answered wrongly.")
    )
    return listed if body is None else parts.columns(join((tag("h3", "Confusion"), body)), listed)


def _per_class(shown: Evaluation) -> Markup:
    scores = shown.per_class
    rows = [
        (parts.name(label), *(show.percent(column[i]) for column in (scores.precision, scores.recall, scores.f1)),
         show.count(scores.support[i]))
        for i, label in enumerate(shown.labels)
    ]  # fmt: skip
    header = ("Class", "Precision", "Recall", "F1", "Pictures")
    return join((tag("h3", "By class"), parts.table(header, rows, tall=True)))


def _worst(shown: Evaluation) -> Markup | None:
    if not shown.worst:
        return None
    cards = []
    for row in shown.worst:
        told = f" {show.percent(row.score, digits=0)}"
        caption = [parts.name(row.truth), " → ", tag("strong", parts.name(row.answer)), told]
        title = f"{row.name}: {row.truth} answered as {row.answer} with {show.percent(row.score)}"
        cards.append(parts.picture(row.png, caption, title=title))
    note = tag("p", "Truth → answer and its score; the surest mistakes first.", class_="note")
    return join((tag("h3", "Worst mistakes"), note, parts.gallery(cards)))
