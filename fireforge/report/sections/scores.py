# SPDX-License-Identifier: Apache-2.0
"""Whether the scores can be trusted, and which answers are "none of these"."""

from __future__ import annotations

from collections.abc import Sequence

import fireforge.report.parts as parts
import fireforge.report.show as show
from fireforge.base.calibration import Calibration
from fireforge.base.evaluation import Evaluation, ReliabilityBin
from fireforge.report.markup import Markup, join, tag
from fireforge.report.run import Run
from fireforge.report.svg import Dot, Frame, chart, dots, line
from fireforge.report.ticks import Axis, axis_of

TENTHS = tuple(index / 5 for index in range(6))
LARGEST = 8.0  # radius of the mark of the fullest bin, beyond the least


def scores(run: Run) -> Markup:
    """Reliability before and after the temperature, and what a threshold refuses."""
    fit, test = run.calibration, run.evaluation() or next(reversed(run.evaluations), None)
    bins = test.reliability if test else ()
    if fit is None and not bins:
        gap = parts.missing("The record holds neither a calibration nor a reliability diagram.")
        return parts.section("scores", "Scores", gap)
    lead = "Can a score be taken at its word, and when is an answer better not given?"
    body = [_reliability(fit, test), None if fit is None else _threshold(fit, test)]
    return parts.section("scores", "Scores", body, lead=lead)


def _reliability(fit: Calibration | None, test: Evaluation | None) -> Markup:
    """One plot on validation where there is a fit, one on the test part where there is one."""
    drawn: list[Markup] = []
    if fit is not None:
        layers = ((fit.reliability_before, "before"), (fit.reliability_after, "after"))
        keys = [("before", f"as trained, error {_points(fit.ece_before)}"),
                ("after", f"at temperature {fit.temperature:.3g}, error {_points(fit.ece_after)}")]  # fmt: skip
        caption = [parts.legend(keys), f" On the {show.count(fit.n)} validation pictures that it was fitted on."]
        drawn.append(parts.figure(_diagram(layers, "Reliability on the validation part"), caption))
    if test is not None and test.reliability:
        told = f"{test.part.capitalize()} part, {show.count(test.n)} pictures: error {_points(test.ece)}."
        caption = [parts.legend([("test", told)])]
        drawn.append(parts.figure(_diagram(((test.reliability, "test"),), "Reliability on the test part"), caption))
    note = (
        "A mark is a group of answers with about the same score, its area their number; honest scores lie on the line. "
        "The error is the expected calibration error in 15 equal bins: how far scores and shares lie apart on average."
    )
    return join((tag("p", note, class_="note"), parts.columns(*drawn), None if fit is None else _errors(fit)))


def _diagram(layers: Sequence[tuple[Sequence[ReliabilityBin], str]], title: str) -> Markup:
    frame = Frame(
        x=Axis(ticks=TENTHS, label="score of the answer", show=show.axis_percent),
        y=Axis(ticks=TENTHS, label="share that is right", show=show.axis_percent),
        height=300,
    )
    drawn = [line(frame, [(0.0, 0.0), (1.0, 1.0)], style="ideal")]
    for bins, style in layers:
        most = max((row.n for row in bins), default=1)
        marks = [
            Dot(
                x=row.confidence,
                y=row.accuracy,
                tip=f"scores near {show.percent(row.confidence)}: {show.percent(row.accuracy)} of {row.n:,} right",
                style=f"dot {style}",
                radius=3 + LARGEST * (row.n / most) ** 0.5,
            )
            for row in bins
        ]
        drawn.append(dots(frame, marks))
    return chart(frame, *drawn, title=title)


def _errors(fit: Calibration) -> Markup:
    rows = [
        ("Expected calibration error, equal bins", _points(fit.ece_before), _points(fit.ece_after)),
        ("The same, equally full bins", _points(fit.adaptive_before), _points(fit.adaptive_after)),
        ("Negative log-likelihood, nats", f"{fit.nll_before:.4f}", f"{fit.nll_after:.4f}"),
        ("Brier score", f"{fit.brier_before:.4f}", f"{fit.brier_after:.4f}"),
    ]
    header = ("On the validation part", "Temperature 1", f"Temperature {fit.temperature:.4g}")
    return parts.table(header, rows)


def _threshold(fit: Calibration, test: Evaluation | None) -> Markup:
    told = (
        f"An answer whose score is below {show.percent(fit.threshold)} is “none of these”. The threshold lets through "
        f"{show.percent(fit.kept_right)} of the right answers (at least {show.percent(fit.keep, digits=0)} were asked "
        f"for) and {show.percent(fit.coverage)} of all; of those, {show.percent(fit.accuracy_accepted)} are right, "
        f"against {show.percent(fit.accuracy)} of all."
    )
    if test is not None and test.accuracy_accepted is not None and test.threshold:
        kept = test.n - test.refused
        told += (
            f" On the {test.part} part it refuses {show.count(test.refused)} of {show.count(test.n)} pictures; of the "
            f"other {show.count(kept)}, {show.percent(test.accuracy_accepted)} are right."
        )
    others = [tag("li", f"{kind}: {show.percent(share)} refused") for kind, share in fit.refused.items()]
    note = "Pictures of none of the classes that were tried; other kinds may pass more easily."
    right = [tag("p", told), tag("p", note, class_="note") if others else None, tag("ul", others) if others else None]
    return join((tag("h3", "“None of these”"), parts.columns(_risk(fit), join(right))))


def _risk(fit: Calibration) -> Markup:
    """Errors among accepted answers by how many are accepted."""
    points = [(point.coverage, 1 - point.accuracy) for point in fit.curve]
    at = (fit.coverage, 1 - fit.accuracy_accepted)
    frame = Frame(
        x=Axis(ticks=TENTHS, label="coverage: share of pictures that get an answer", show=show.axis_percent),
        y=axis_of([0.0, at[1], *(risk for _, risk in points)], "risk: share of these that is wrong", show.axis_percent),
        height=300,
    )
    curve = line(frame, sorted(points), style="series-val", tip="risk at coverage", words=show.percent)
    here = Dot(
        x=at[0],
        y=at[1],
        tip=f"threshold {show.percent(fit.threshold)}: coverage {show.percent(at[0])}, risk {show.percent(at[1])}",
        style="chosen",
        radius=8,
    )
    caption = parts.legend([("series-val", f"risk by coverage, area {fit.aurc:.4f}"), ("chosen", "the threshold")])
    return parts.figure(chart(frame, curve, dots(frame, [here]), title="Risk by coverage"), caption)


def _points(error: float) -> str:
    return f"{100 * error:.2f} %"
