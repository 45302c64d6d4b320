# SPDX-License-Identifier: Apache-2.0
"""How large the gradients are at each depth of the chosen network."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import fireforge.report.parts as parts
import fireforge.report.show as show
from fireforge.base.gradients import EXPLODING, IDEAL, LIMIT, VANISHING, Gradients, Look, growth, ratio_words, verdict
from fireforge.report.markup import Markup, tag
from fireforge.report.run import Run
from fireforge.report.svg import Frame, chart, line
from fireforge.report.ticks import Axis, axis_of

MOST_TICKS = 12
WORDS = {EXPLODING: "exploding", VANISHING: "vanishing", IDEAL: "ideal", "": "too few layers to tell"}
LEAD = (
    "Root mean square of the loss's gradient by each layer's output, at single steps. From the last layer but one back"
    f" to the first it is to stay alike: more than {LIMIT:,} times is exploding, less than 1/{LIMIT:,} vanishing."
)


def gradients(run: Run) -> Markup:
    """Gradient size by depth of the chosen trial, or of the best so far, with the verdict on each look."""
    trial = run.chosen() or run.best()
    if trial is None or not trial.gradients.looks:
        return parts.section("gradients", "Gradients", parts.missing("The record holds no sizes of gradients."))
    found = trial.gradients
    header = ("Step", "First layer beside the last but one", "Verdict", "Largest by weight, layer", "")
    rows = [_row(found, look) for look in found.looks]
    table = parts.table(header, rows, words=(0, 1, 2, 3))
    words = (
        "Largest by weight: the layer whose weights have the largest gradient beside their own size, and that share."
    )
    note = tag("p", words, class_="note")
    return parts.section("gradients", "Gradients", picture(found), table, note, lead=LEAD)


def picture(found: Gradients) -> Markup:
    """One line a look, the first and the last marked; sizes of 0 and what was not finite have no mark.

    Args:
      found: with one look or more.

    Returns:
      The figure with its legend.
    """
    lines = [_points(look) for look in found.looks]
    sizes = [size for points in lines for _, size in points]
    if not sizes:
        return parts.missing("No gradient was finite and above 0.")
    frame = Frame(
        x=axis_of([0.0, float(len(found.layers))], "layer, from the input", "{:g}".format),
        y=size_axis(sizes),
        width=920,
    )
    last = len(lines) - 1
    styles = ["series-train", *["series-look"] * (last - 1), *["series-val"] * bool(last)]
    order = sorted(range(last + 1), key=lambda place: styles[place] != "series-look")  # the marked ones on top
    drawn = [
        line(
            frame, lines[place], style=styles[place], tip=f"{moment(found.looks[place])}, layer", words="{:.3g}".format
        )
        for place in order
        if lines[place]
    ]
    keys = [("series-train", moment(found.looks[0]))]
    keys += [("series-look", "between")] if last > 1 else []
    keys += [("series-val", moment(found.looks[-1]))] if last else []
    return parts.figure(chart(frame, *drawn, title="gradient size by depth"), parts.legend(keys), wide=True)


def size_axis(sizes: Sequence[float]) -> Axis:
    """A logarithmic axis of sizes; over many decades only some have a mark."""
    axis = axis_of(sizes, "gradient by the output", show_power, log=True)
    stride = -(-len(axis.ticks) // MOST_TICKS)
    return dataclasses.replace(axis, ticks=(*axis.ticks[:-1:stride], axis.ticks[-1]))


def moment(look: Look) -> str:
    """When a look was taken, in words."""
    return "first step" if look.epoch == 0 else f"after {show.some(int(look.epoch), 'epoch')}"


def show_power(size: float) -> str:
    """A tick of the logarithmic axis."""
    return f"{size:.0e}".replace("e-0", "e-").replace("e+00", "").replace("e+0", "e")


def _points(look: Look) -> list[tuple[float, float]]:
    return [(float(place), size) for place, size in enumerate(look.outputs, 1) if size]


def _row(found: Gradients, look: Look) -> tuple[object, ...]:
    ratio = growth(look.outputs)
    said = verdict(look.outputs)
    largest = max(((size, name) for size, name in zip(look.relative, found.layers) if size), default=None)
    return (
        moment(look),
        "" if ratio is None else ratio_words(ratio),
        parts.badge(WORDS[said], said == IDEAL if said else None),
        "" if largest is None else parts.name(largest[1]),
        "" if largest is None else f"{largest[0]:.2g}",
    )
