# SPDX-License-Identifier: Apache-2.0
"""The networks that were counted and tried: what they cost against what they reach."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import fireforge.report.parts as parts
import fireforge.report.show as show
from fireforge.base.cost import Cost
from fireforge.base.counted import Counted
from fireforge.base.pareto import pareto_front
from fireforge.base.record import RunRecord
from fireforge.base.units import show_seconds
from fireforge.report.markup import Markup, tag
from fireforge.report.run import Run
from fireforge.report.svg import SHAPES, Dot, Frame, chart, dots, rug, sample, steps
from fireforge.report.ticks import axis_of, share_axis

MOST_RUNGS = 3  # strengths; higher rungs share the last
FAMILIES = ("firenet", "resnet", "mobilenet", "convnet")  # each with its colour; others share one
MOST_COUNTED = 400  # networks without a training that are drawn


@dataclass(frozen=True, kw_only=True)
class _CostAxis:
    """What a plot shows on its x axis.

    Args:
      label: in words.
      of: the number in a trial's Cost.
      counted: the numbers of networks that were counted.
    """

    label: str
    of: Callable[[Cost], int]
    counted: Callable[[Counted], tuple[int, ...]]


COSTS = (
    _CostAxis(label="multiply-adds (MACs) an image", of=lambda cost: cost.macs, counted=lambda found: found.macs),
    _CostAxis(
        label="parameters, of which an int8 file takes a byte each",
        of=lambda cost: cost.params,
        counted=lambda found: found.params,
    ),
)


def design_space(run: Run) -> Markup:
    """Scatter of all trials with the Pareto front and the chosen one, and the table behind it."""
    if not run.trials:
        return parts.section("space", "Design space", _candidates(run), parts.missing("No trial has finished."))
    judged = list(run.judged())
    if judged:
        look = _look(judged)
        drawn = parts.columns(*(_scatter(run, judged, look, axis) for axis in COSTS))
        plot = parts.pile(drawn, _legend(run, judged, look))
    else:
        plot = parts.missing("No trial has both a validation accuracy and a count.")
    return parts.section("space", "Design space", _candidates(run), plot, _trials(run))


def _candidates(run: Run) -> Markup:
    if run.candidates is None:
        return parts.missing("The record does not say how many candidates were counted.")
    reasons = ", ".join(
        f"{count:,} by {show.LIMIT_WORDS[key].lower()}" if key in show.LIMIT_WORDS else f"{count:,} {key}"
        for key, count in run.candidates.rejected.items()
    )
    told = f"{show.count(run.candidates.counted)} candidates were drawn and counted before any was trained; "
    told += f"rejected: {reasons or 'none'}; kept: {show.count(run.candidates.kept)}. "
    networks = len({trial.trial.spec.digest() for trial in run.trials})
    told += f"Trained: {show.some(networks, 'network')}, in {show.some(len(run.trials), 'trial')}."
    if run.earlier:
        told += f" Known at the start: {show.some(len(run.earlier.trials), 'trial')} of an earlier run."
    return tag("p", told, class_="lead")


@dataclass(frozen=True, kw_only=True)
class _Look:
    """What a mark's colour and shape stand for.

    Args:
      families: family to class.
      shapes: input shape to shape.
    """

    families: dict[str, str]
    shapes: dict[tuple[int, ...], str]

    def dot(self, trial: RunRecord, x: float, tip: str) -> Dot:
        """The mark of a trial: its strength and size by its rung."""
        spec, rung = trial.trial.spec, _strength(trial)
        return Dot(
            x=x,
            y=trial.accuracy or 0.0,
            tip=tip,
            style=f"dot {self.families[spec.family]} rung-{rung}",
            radius=4.4 + 0.8 * rung,
            shape=self.shapes[spec.input_shape],
        )


def _strength(trial: RunRecord) -> int:
    """A rung that has a strength of its own; a baseline, which stands on none, has that of the first."""
    return min(max(trial.trial.rung, 0), MOST_RUNGS - 1)


def _look(judged: Sequence[RunRecord]) -> _Look:
    families = dict.fromkeys(trial.trial.spec.family for trial in judged)
    inputs = sorted({trial.trial.spec.input_shape for trial in judged}, key=lambda shape: (shape[1:], shape))
    shapes = list(SHAPES)
    return _Look(
        families={name: f"family-{FAMILIES.index(name) if name in FAMILIES else 'other'}" for name in families},
        shapes={shape: shapes[min(place, len(shapes) - 1)] for place, shape in enumerate(inputs)},
    )


def _scatter(run: Run, judged: list[RunRecord], look: _Look, axis: _CostAxis) -> Markup:
    chosen, varied = run.chosen(), run.varied()
    costs = [float(max(1, axis.of(trial.trial.cost))) if trial.trial.cost else 1.0 for trial in judged]
    points = [(x, trial.accuracy or 0.0) for x, trial in zip(costs, judged)]
    counted = _thinned(axis.counted(run.counted)) if run.counted else []
    frame = Frame(
        x=axis_of([*costs, *counted], axis.label, show.compact, log=True),
        y=share_axis([y for _, y in points], "validation accuracy", show.axis_percent),
        height=340,
    )
    order = sorted(range(len(judged)), key=lambda index: judged[index].trial.rung)
    marks = [look.dot(judged[index], costs[index], _tip(judged[index], varied)) for index in order]
    front = [points[index] for index in pareto_front(points)]
    layers = [rug(frame, counted, style="rug"), steps(frame, front, style="front"), dots(frame, marks)]
    if chosen is not None and chosen in judged:
        x, y = points[judged.index(chosen)]
        layers.append(dots(frame, [Dot(x=x, y=y, tip=f"chosen: {_tip(chosen, varied)}", style="chosen", radius=10.5)]))
    return parts.figure(chart(frame, *layers, title=f"Trials: accuracy by {axis.label}"), "")


def _thinned(counted: Sequence[int]) -> list[float]:
    """At most MOST_COUNTED of the numbers, evenly by rank."""
    ranked = sorted(float(max(1, number)) for number in counted)
    stride = -(-len(ranked) // MOST_COUNTED) or 1
    return ranked[::stride]


def _legend(run: Run, judged: Sequence[RunRecord], look: _Look) -> Markup:
    keys = [(style, family) for family, style in look.families.items()]
    rungs = sorted({_strength(trial) for trial in judged if trial.trial.rung >= 0})
    keys += [(f"plain rung-{rung}", f"rung {rung}" + (" and up" if rung == MOST_RUNGS - 1 else "")) for rung in rungs]
    keys += [("front", "Pareto front")] + ([("chosen", "chosen")] if run.chosen() in judged else [])
    keys += [("rug", "counted, not trained")] if run.counted else []
    sizes = [(shape, " × ".join(map(str, size[1:])) + " px") for size, shape in look.shapes.items()]
    shapes = [tag("span", sample(shape), words) for shape, words in sizes] if len(sizes) > 1 else []
    return tag("div", parts.legend(keys), tag("span", shapes, class_="legend") if shapes else None, class_="note keys")


def _tip(trial: RunRecord, varied: frozenset[str]) -> str:
    spec, cost = trial.trial.spec, trial.trial.cost
    told = f"{show.spec_words(spec, only=varied)}: {show.percent(trial.accuracy)}"
    where = f"rung {trial.trial.rung}" if trial.trial.rung >= 0 else "a baseline"
    counted = f", {cost.params:,} parameters, {show.compact(cost.macs)} MACs" if cost else ""
    return f"{told}{counted}, input {' × '.join(map(str, spec.input_shape))}, {where}"


def _params(trial: RunRecord) -> int:
    """Parameters; 0 where the trial was not counted."""
    return 0 if trial.trial.cost is None else trial.trial.cost.params


def _trials(run: Run) -> Markup:
    chosen = run.chosen()
    order = sorted(run.trials, key=lambda trial: (-trial.trial.rung, -(trial.accuracy or 0.0), _params(trial)))
    varied = run.varied()
    sizes = {trial.trial.spec.input_shape for trial in run.trials}
    rows = [_row(trial, varied, sized=len(sizes) > 1) for trial in order]
    header = ("Network", "Rung", "Epochs", "Accuracy", "Judged on", "Parameters", "MACs", "Time", "Digest")
    marked = [index for index, trial in enumerate(order) if trial is chosen]
    return parts.table(header, rows, words=(0, 8), marked=marked, tall=True)


def _epochs(trial: RunRecord) -> str:
    """Epochs that were trained, and of how many where the clock cut them."""
    reached, planned = trial.metrics.get("train/epoch", ()), trial.trial.recipe.epochs
    epochs = min(reached[-1], planned) if reached else planned
    return f"{epochs:.1f} of {planned}" if epochs < planned else str(planned)


def _row(trial: RunRecord, varied: frozenset[str], *, sized: bool) -> tuple[object, ...]:
    spec, cost = trial.trial.spec, trial.trial.cost
    size = f", input {spec.input_shape[1]} × {spec.input_shape[2]}" if sized else ""
    network = tag(
        "div", tag("strong", spec.family), tag("span", f" {show.params_words(spec, only=varied)}{size}", class_="fine")
    )
    reached = parts.badge("failed", False) if trial.error else show.percent(trial.accuracy)
    return (
        parts.pile(network, tag("div", trial.error, class_="fine")) if trial.error else network,
        trial.trial.rung,
        _epochs(trial),
        reached,
        show.count(trial.samples.get("val")),
        show.count(None if cost is None else cost.params),
        show.compact(None if cost is None else cost.macs),
        show_seconds(sum(trial.seconds.values())),
        tag("code", trial.trial_digest[:8]),
    )
