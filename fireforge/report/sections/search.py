# SPDX-License-Identifier: Apache-2.0
"""The networks that were tried, and how the chosen one learnt."""

from __future__ import annotations

from collections.abc import Callable

import fireforge.report.parts as parts
import fireforge.report.show as show
from fireforge.base.pareto import pareto_front
from fireforge.base.record import RunRecord
from fireforge.base.units import show_seconds
from fireforge.report.markup import Markup, tag
from fireforge.report.run import Run
from fireforge.report.svg import Dot, Frame, chart, dots, line, steps
from fireforge.report.ticks import axis_of

MOST_RUNGS = 3  # tints; higher rungs share the last


def design_space(run: Run) -> Markup:
    """Scatter of all trials with the Pareto front and the chosen one, and the table behind it."""
    if not run.trials:
        return parts.section("space", "Design space", _candidates(run), parts.missing("No trial has finished."))
    judged = [trial for trial in run.trials if trial.accuracy is not None and _params(trial)]
    plot = _scatter(run, judged) if judged else parts.missing("No trial has both a validation accuracy and a count.")
    return parts.section("space", "Design space", _candidates(run), plot, _trials(run))


def _candidates(run: Run) -> Markup:
    if run.candidates is None:
        return parts.missing("The record does not say how many candidates were counted.")
    reasons = ", ".join(
        f"{count:,} by {show.LIMIT_WORDS[key].lower()}" if key in show.LIMIT_WORDS else f"{count:,} {key}"
        for key, count in run.candidates.rejected.items()
    )
    told = f"{show.count(run.candidates.counted)} candidates were counted before any was trained; "
    told += f"rejected: {reasons or 'none'}; kept: {show.count(run.candidates.kept)}."
    return tag("p", told, class_="lead")


def _scatter(run: Run, judged: list[RunRecord]) -> Markup:
    chosen, varied = run.chosen(), run.varied()
    points = [(float(_params(trial)), trial.accuracy or 0.0) for trial in judged]
    frame = Frame(
        x=axis_of([x for x, _ in points], "parameters", show.compact, log=True),
        y=axis_of([y for _, y in points], "validation accuracy", _axis_percent),
        width=870,
        height=400,
    )
    marks = [
        Dot(x=x, y=y, tip=_tip(trial, varied), style=f"dot rung-{min(trial.trial.rung, MOST_RUNGS - 1)}")
        for (x, y), trial in zip(points, judged)
    ]
    front = [points[index] for index in pareto_front(points)]
    layers = [steps(frame, front, style="front"), dots(frame, marks)]
    if chosen is not None and chosen in judged:
        x, y = points[judged.index(chosen)]
        layers.append(dots(frame, [Dot(x=x, y=y, tip=f"chosen: {_tip(chosen, varied)}", style="chosen", radius=9.5)]))
    rungs = sorted({min(trial.trial.rung, MOST_RUNGS - 1) for trial in judged})
    keys = [(f"rung-{rung}", f"rung {rung}" + (" and up" if rung == MOST_RUNGS - 1 else "")) for rung in rungs]
    keys += [("front", "Pareto front")] + ([("chosen", "chosen")] if chosen in judged else [])
    return parts.figure(chart(frame, *layers, title="Trials: accuracy by size"), parts.legend(keys), wide=True)


def _tip(trial: RunRecord, varied: frozenset[str]) -> str:
    spec = show.spec_words(trial.trial.spec, only=varied)
    accuracy = show.percent(trial.accuracy)
    return f"{spec}: {accuracy}, {_params(trial):,} parameters, rung {trial.trial.rung}"


def _params(trial: RunRecord) -> int:
    """Parameters; 0 where the trial was not counted."""
    return 0 if trial.trial.cost is None else trial.trial.cost.params


def _trials(run: Run) -> Markup:
    chosen = run.chosen()
    order = sorted(run.trials, key=lambda trial: (-trial.trial.rung, -(trial.accuracy or 0.0), _params(trial)))
    varied = run.varied()
    rows = [_row(trial, varied) for trial in order]
    header = ("Network", "Rung", "Epochs", "Accuracy", "Parameters", "MACs", "Weights", "Time", "Digest")
    marked = [index for index, trial in enumerate(order) if trial is chosen]
    return parts.table(header, rows, words=(0, 8), marked=marked, tall=True)


def _row(trial: RunRecord, varied: frozenset[str]) -> tuple[object, ...]:
    cost = trial.trial.cost
    return (
        show.spec_words(trial.trial.spec, only=varied),
        trial.trial.rung,
        trial.trial.recipe.epochs,
        show.percent(trial.accuracy),
        show.count(None if cost is None else cost.params),
        show.compact(None if cost is None else cost.macs),
        show.bytes_words(None if cost is None else cost.weight_bytes),
        show_seconds(sum(trial.seconds.values())),
        trial.trial_digest[:12],
    )


def curves(run: Run) -> Markup:
    """Loss and accuracy by epoch of the chosen trial, or of the best so far."""
    trial = run.chosen() or run.best()
    if trial is None:
        return parts.section("training", "Training", parts.missing("No trial has finished."))
    which = "The chosen network" if run.chosen() else "The best trial so far"
    spec, recipe = show.spec_words(trial.trial.spec, only=run.varied()), trial.trial.recipe
    lead = (
        f"{which}, {spec}: {recipe.epochs} epochs of {recipe.optimizer}, batch {recipe.batch}, seed {trial.trial.seed}."
    )
    drawn = [_curve(trial, "loss", show.compact), _curve(trial, "accuracy", _axis_percent)]
    found = [plot for plot in drawn if plot is not None]
    body = parts.columns(*found) if found else parts.missing("The record holds no numbers by epoch.")
    return parts.section("training", "Training", body, lead=lead)


def _curve(trial: RunRecord, metric: str, words: Callable[[float], str]) -> Markup | None:
    series = [
        (part, label, _points(trial, part, metric)) for part, label in (("train", "training"), ("val", "validation"))
    ]
    points = [point for _, _, found in series for point in found]
    if not points:
        return None
    frame = Frame(
        x=axis_of([0.0, *(x for x, _ in points)], "epoch", show.count), y=axis_of([y for _, y in points], metric, words)
    )
    lines = [
        line(frame, found, style=f"series-{part}", tip=f"{label} {metric}, epoch")
        for part, label, found in series
        if found
    ]
    keys = parts.legend([(f"series-{part}", label) for part, label, found in series if found])
    return parts.figure(chart(frame, *lines, title=f"{metric} by epoch"), keys)


def _points(trial: RunRecord, part: str, metric: str) -> list[tuple[float, float]]:
    """(epoch, number) of a metric; a part that was not judged every epoch says when in "<part>/epoch"."""
    numbers = trial.metrics.get(f"{part}/{metric}", ())
    epochs = trial.metrics.get(f"{part}/epoch") or range(1, len(numbers) + 1)
    return [(float(epoch), number) for epoch, number in zip(epochs, numbers)]


def _axis_percent(share: float) -> str:
    return f"{100 * share:.4g} %"
