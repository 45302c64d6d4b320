# SPDX-License-Identifier: Apache-2.0
"""How the chosen network learnt."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import fireforge.report.parts as parts
import fireforge.report.show as show
from fireforge.base.record import RunRecord
from fireforge.base.units import show_seconds
from fireforge.report.markup import Markup
from fireforge.report.run import Run
from fireforge.report.svg import Frame, chart, line
from fireforge.report.ticks import Axis, axis_of, share_axis

PARTS = (("train", "training"), ("val", "validation"))
MOST_POINTS = 120  # of a curve; longer ones are thinned out


def curves(run: Run) -> Markup:
    """Loss and accuracy by epoch of the chosen trial, or of the best so far."""
    trial = run.chosen() or run.best()
    if trial is None:
        return parts.section("training", "Training", parts.missing("No trial has finished."))
    which = "The chosen network" if run.chosen() else "The best trial so far"
    lead = f"{which}, {show.spec_words(trial.trial.spec, only=run.varied())}, in its last training."
    drawn = [
        _curve(trial, "loss", lambda values: axis_of(values, "loss", show.compact), show.compact),
        _curve(trial, "accuracy", lambda values: share_axis(values, "accuracy", show.axis_percent), show.percent),
    ]
    found = [plot for plot in drawn if plot is not None]
    body = parts.columns(*found) if found else parts.missing("The record holds no numbers by epoch.")
    return parts.section("training", "Training", body, _recipe(trial), lead=lead)


def epochs_words(trial: RunRecord) -> str:
    """Epochs that were trained, and of how many where the clock cut them."""
    planned, reached = trial.trial.recipe.epochs, trial.metrics.get("train/epoch", ())
    if not reached or reached[-1] >= planned:
        return show.some(planned, "epoch")
    return f"{reached[-1]:.1f} of {show.some(planned, 'epoch')}, cut by the clock,"


def _recipe(trial: RunRecord) -> Markup:
    recipe = trial.trial.recipe
    varied = ", ".join(f"{name} {value:g}" for name, value in recipe.augment.to_json().items() if _on(name, value))
    smooth = [f"label smoothing {recipe.label_smoothing:g}"] if recipe.label_smoothing else []
    smooth += [f"averaged weights, decay {recipe.ema:g}"] if recipe.ema else []
    rows = [
        (
            "Recipe",
            f"{epochs_words(trial)} of {recipe.optimizer}, batch {recipe.batch}, {recipe.precision}",
        ),
        ("Start", f"the weights of trial {trial.trial.start[:8]}" if trial.trial.start else "fresh weights"),
        ("Smoothing", ", ".join(smooth)),
        ("Augmentation", varied or "none"),
        ("Seed", str(trial.trial.seed)),
        ("Took", show_seconds(sum(trial.seconds.values()))),
    ]
    return parts.pairs(rows)


def _on(name: str, value: float) -> bool:
    """Whether an augmentation does anything; a crop of the whole picture does not."""
    return value != (1 if name == "crop_area" else 0)


def _curve(
    trial: RunRecord, metric: str, axis: Callable[[Sequence[float]], Axis], words: Callable[[float], str]
) -> Markup | None:
    series = [(part, label, _points(trial, part, metric)) for part, label in PARTS]
    points = [point for _, _, found in series for point in found]
    if not points:
        return None
    frame = Frame(x=axis_of([0.0, *(x for x, _ in points)], "epoch", "{:g}".format), y=axis([y for _, y in points]))
    lines = [
        line(frame, found, style=f"series-{part}", tip=f"{label} {metric}, epoch", words=words)
        for part, label, found in series
        if found
    ]
    keys = parts.legend([(f"series-{part}", label) for part, label, found in series if found])
    return parts.figure(chart(frame, *lines, title=f"{metric} by epoch"), keys)


def _points(trial: RunRecord, part: str, metric: str) -> list[tuple[float, float]]:
    """(epoch, number) of a metric; a part that was not judged every epoch says when in "<part>/epoch"."""
    numbers = trial.metrics.get(f"{part}/{metric}", ())
    epochs = trial.metrics.get(f"{part}/epoch") or range(1, len(numbers) + 1)
    points = [(float(epoch), number) for epoch, number in zip(epochs, numbers)]
    stride = -(-len(points) // MOST_POINTS) or 1
    return points[::-1][::stride][::-1]  # the last is kept
