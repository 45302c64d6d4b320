# SPDX-License-Identifier: Apache-2.0
"""Networks compared by the memory of a prediction, counted and measured: by batch, and against parameters."""

from __future__ import annotations

import math
from collections.abc import Sequence

import fireforge.report.parts as parts
import fireforge.report.show as show
from fireforge.base.comparison import BatchMemory, Compared, Comparison
from fireforge.report.markup import Markup, tag
from fireforge.report.sections.compare_accuracy import DOT_PX, HEIGHT, WIDTH, colours, legend, named, roomy
from fireforge.report.svg import Dot, Frame, chart, dots, line
from fireforge.report.ticks import Axis, log_ticks

ALL = "memory-of-all"  # the id under which the counted lines of all networks lie, once on the page


def by_batch(found: Comparison) -> Markup:
    """A small plot a network, all on the same axes: the line is counted, the marks are measured."""
    lead = (
        "Memory of one prediction by the number of pictures in it. All plots have the same axes, both logarithmic; the "
        "faint lines are what is counted of the other networks."
    )
    frame = _small(found.networks)
    everyone = " ".join(_path(frame, row.memory) for row in found.networks)
    shared = tag(
        "svg", tag("defs", tag("path", d=everyone, id=ALL)), width=0, height=0, class_="defs", aria_hidden="true"
    )
    panels = [_panel(frame, row) for row in found.networks]
    keys = parts.legend([("counted", "counted"), ("measured", "measured")])
    return parts.section(
        "batch",
        "Memory by batch",
        shared,
        tag("div", panels, class_="panels"),
        tag("p", keys, class_="note"),
        _unmeasured(found),
        lead=lead,
    )


def by_params(found: Comparison) -> Markup:
    """Scatter of memory at the least batch by parameters: a ring is counted, a disc is measured."""
    style = colours(found.networks)
    frame = Frame(
        x=roomy([row.cost.params for row in found.networks], "parameters"),
        y=_bytes_axis([float(size) for row in found.networks for size in _sizes(row.memory[0])], "memory, batch 1"),
        width=WIDTH,
        height=HEIGHT + 80,
    )
    stems = [
        tag(
            "line",
            class_="stem",
            x1=frame.px(row.cost.params),
            x2=frame.px(row.cost.params),
            y1=frame.py(min(_sizes(row.memory[0]))),
            y2=frame.py(max(_sizes(row.memory[0]))),
        )
        for row in found.networks
    ]
    rings = [_mark(row, row.memory[0].counted_bytes, "counted", "ring") for row in found.networks]
    measured = [(row, row.memory[0].measured_bytes) for row in found.networks]
    full = [_mark(row, size, "measured", f"dot {style[row.family]}") for row, size in measured if size is not None]
    top = [_mark(row, _sizes(row.memory[0])[-1], "", "") for row in found.networks]
    names, rest = named(frame, top, [row.name for row in found.networks])
    drawn = chart(frame, tag("g", stems), dots(frame, rings), dots(frame, full), names, title="Memory by parameters")
    keys = tag(
        "span", parts.legend([("ring", "counted")]), " measured, by family: ", legend(found.networks, style), rest
    )
    lead = "Weights alone would make a straight line; above it lie the activations and what the runtime takes."
    return parts.section("parameters", "Memory by parameters", parts.figure(drawn, keys, wide=True), lead=lead)


def bytes_tick(number: float) -> str:
    """A mark of an axis of bytes: "20 KB", "1 GB"."""
    words = show.compact(number).replace("k", "K")
    return f"{words}B" if " " in words else f"{words} B"


def _mark(row: Compared, size: int, how: str, style: str) -> Dot:
    runs = f" over {row.memory[0].runs} runs" if how == "measured" else ""
    tip = f"{row.name}, {show.compact(row.cost.params)} parameters: {show.bytes_words(size)} {how}{runs}"
    return Dot(x=row.cost.params, y=size, tip=tip, style=style, radius=3.5 if style == "ring" else DOT_PX)


def _sizes(at: BatchMemory) -> tuple[int, ...]:
    return (at.counted_bytes,) if at.measured_bytes is None else (at.counted_bytes, at.measured_bytes)


def _small(networks: Sequence[Compared]) -> Frame:
    """The frame of one of many plots: marks at powers of ten and at the batches' ends and middle."""
    batches = [at.batch for at in networks[0].memory]
    sizes = [size for row in networks for at in row.memory for size in _sizes(at)]
    low, high = math.floor(math.log10(min(sizes))), math.ceil(math.log10(max(sizes)))
    powers = tuple(10.0**power for power in range(low, max(high, low + 1) + 1))
    marks = tuple(float(batch) for batch in dict.fromkeys((batches[0], batches[len(batches) // 2], batches[-1])))
    x = Axis(ticks=marks if len(marks) > 1 else (marks[0], 2 * marks[0]), label="", show=lambda n: f"{n:g}", log=True)
    y = Axis(ticks=powers, label="", show=bytes_tick, log=True)
    return Frame(x=x, y=y, width=190, height=150, left=50, right=10, top=8, bottom=24)


def _panel(frame: Frame, row: Compared) -> Markup:
    counted = [(float(at.batch), float(at.counted_bytes)) for at in row.memory]
    measured = [
        Dot(
            x=at.batch,
            y=at.measured_bytes,
            tip=f"{row.name}, batch {at.batch}: {show.bytes_words(at.measured_bytes)} measured over {at.runs} runs",
            style="measured",
            radius=3.4,
        )
        for at in row.memory
        if at.measured_bytes is not None
    ]
    told = line(frame, counted, style="counted", tip=f"{row.name}, counted, batch", words=show.bytes_words)
    faint = tag("use", href=f"#{ALL}", class_="everyone")
    drawn = chart(frame, faint, told, dots(frame, measured), title=f"Memory of {row.name} by batch")
    ends = [at for at in row.memory if at.measured_bytes is not None][-1:]
    words = [f"at {at.batch}: {show.bytes_words(at.measured_bytes)}" for at in ends]
    last = row.memory[-1]
    words = words or [f"at {last.batch}: {show.bytes_words(last.counted_bytes)} counted"]
    return tag("figure", tag("figcaption", tag("strong", row.name), tag("br"), words[0]), drawn, class_="panel")


def _path(frame: Frame, memory: Sequence[BatchMemory]) -> str:
    points = [f"{frame.px(at.batch):.0f} {frame.py(at.counted_bytes):.1f}" for at in memory]
    return "M" + "L".join(points)


def _unmeasured(found: Comparison) -> Markup | None:
    """What was not measured, with the reason, one line for each network and reason."""
    lines = []
    for row in found.networks:
        reasons: dict[str, list[str]] = {}
        for at in row.memory:
            if at.why:
                reasons.setdefault(at.why, []).append(str(at.batch))
        lines += [f"{row.name}, batch {', '.join(batches)}: {why}" for why, batches in reasons.items()]
    if not lines:
        return None
    return tag(
        "details", tag("summary", f"Not measured ({len(lines)})"), tag("ul", [tag("li", words) for words in lines])
    )


def _bytes_axis(values: Sequence[float], label: str) -> Axis:
    return Axis(ticks=log_ticks(min(values) / 1.2, max(values) * 1.2), label=label, show=bytes_tick, log=True)
