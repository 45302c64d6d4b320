# SPDX-License-Identifier: Apache-2.0
"""What networks cost, as lines for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from fireforge.base.units import show_bytes
from fireforge.report.table import Cell, text_table

if TYPE_CHECKING:
    from fireforge.base.published import Published
    from fireforge.cost.change import Changed
    from fireforge.cost.field import Field
    from fireforge.cost.latency import Latency
    from fireforge.cost.ledger import Line
    from fireforge.cost.memory import InferenceMemory
    from fireforge.cost.parallel import Way
    from fireforge.cost.summary import Summary
    from fireforge.cost.training import TrainingMemory
    from fireforge.jobs.cost import Told

EXCEPT = " in what is moved and in training; weights, activations, |W| and |D| are told in float32"
COUNTED = ("params", "MACs", "weights", "activations", "peak activations")
PRINTED = ("params printed", "GMACs printed", "size printed", "top-1 printed")
LINE_COLUMNS = (*("layer", "operator", "output", "params", "MACs"), *("read", "written", "MACs/byte", "field", "jump"))


def costs(rows: Sequence[Told]) -> list[str]:
    """Lines of `cost`: a table of all networks, then everything of each that was named."""
    printed = any(row.published for row in rows)
    cells: list[tuple[Cell, ...]] = []
    for row in rows:
        cost = row.cost
        if cost is None:
            continue
        sizes = (show_bytes(cost.weight_bytes), cost.activations, show_bytes(cost.peak_activation_bytes))
        cells.append((row.name, cost.params, cost.macs, *sizes, *(_printed(row.published) if printed else ())))
    lines = text_table(("network", *COUNTED, *(PRINTED if printed else ())), cells)
    for row in rows:
        lines += in_full(row)
    return lines + [f"not counted: {row.name}: {row.why}" for row in rows if row.why]


def in_full(row: Told) -> list[str]:
    """Everything that was counted of one network; nothing of one that is only listed."""
    if row.summary is None:
        return []
    lines = ["", row.name, *sums(row.summary)]
    if row.published is not None:
        lines.append(f"published   {published(row.published)}")
    lines += latencies(row)
    lines += ["", *energies(row.summary), "", *memories(row.summary)]
    lines += ["", *change_table(row.changes)] if row.changes else []
    lines += ["", *way_table(row.ways, row.summary.batch)] if row.ways else []
    return lines


def latencies(row: Told) -> list[str]:
    """What is foretold of one picture, or how to know."""
    if not row.latency:
        return ["latency     not foretold: fireforge bench --profile measures this machine once"]
    times = ", ".join(f"{_foretold(one)} in {form}" for form, one in row.latency.items())
    lines = [f"latency     foretold {times}; one picture, {row.machine}"]
    unknown = sorted({kind for one in row.latency.values() for kind in one.unknown})
    return [
        *lines,
        *([f"            not in the profile, counted as no time: {', '.join(unknown)}"] if unknown else []),
    ]


def _foretold(found: Latency) -> str:
    """Milliseconds with their margin, or as a lower bound."""
    return f"at least {found.ms:.3g} ms" if found.margin is None else f"{found.ms:.3g} ms (± {found.margin:.0%})"


def ledgers(found: Mapping[str, Sequence[Line]]) -> list[str]:
    """Lines of `cost --layers`: a table a network, its name above it where there are several."""
    if len(found) == 1:
        return layers(*found.values())
    return [line for net, rows in found.items() for line in (net, *layers(rows), "")][:-1]


def layers(rows: Sequence[Line]) -> list[str]:
    """Lines of one network's table."""
    cells = [
        (
            *(r.name, r.op, " x ".join(map(str, r.shape)), r.params, r.macs),
            *(
                show_bytes(r.read_bytes),
                show_bytes(r.written_bytes),
                None if r.intensity is None else f"{r.intensity:.2f}",
            ),
            *((None, None) if r.field is None else (_span(r.field, "size"), _span(r.field, "jump"))),
        )
        for r in rows
    ]
    return text_table(LINE_COLUMNS, cells)


def sums(found: Summary) -> list[str]:
    """The sums of one ledger."""
    files = ", ".join(f"{show_bytes(size)} in {form}" for form, size in found.file_bytes.items())
    volumes = found.volumes
    lines = [
        f"batch {found.batch}, {found.dtype}" + (EXCEPT if found.dtype != "float32" else ""),
        f"work        {found.macs:,} MACs; {found.activations:,} activations",
        f"moved       {show_bytes(found.read_bytes)} read, {show_bytes(found.written_bytes)} written, node by node"
        f"{_after('; ', found.intensity, ' MACs a byte')}",
        f"to exchange |W| {show_bytes(volumes.weight_bytes)} of gradients a step, |D| {show_bytes(volumes.data_bytes)} "
        f"of activations{_after('; |D| is ', volumes.ratio, ' |W|')}",
    ]
    if found.field is not None:
        field, jump = _span(found.field, "size"), _span(found.field, "jump")
        lines.append(f"field       {field} px at the last map, every {jump} px")
    return [*lines, *([f"file        about {files}"] if files else [])]


def published(found: Published) -> str:
    """One line of what was printed."""
    parts = [
        "" if found.params is None else f"{found.params:,} params",
        found.gmacs and f"{found.gmacs} GMACs",
        found.size,
        "" if found.top1 is None else f"top-1 {found.top1:g} %",
        "" if found.top5 is None else f"top-5 {found.top5:g} %",
    ]
    told = ", ".join(part for part in parts if part) or "no figures"
    return f"{told} ({found.source}, {found.year}{f'; {found.note}' if found.note else ''})"


def energies(found: Summary) -> list[str]:
    """Millijoules of a picture by number format and memory level."""
    rows = [
        (form, *(f"{mj:.4g}" for mj in (part.compute_mj, part.cache_mj, part.dram_mj, part.total_mj)))
        for form, part in found.energy.items()
    ]
    return text_table(("mJ a picture, estimated", "compute", "cache", "DRAM", "sum"), rows)


def memories(found: Summary) -> list[str]:
    """Bytes of predicting and training."""
    rows = [*_predicting(found.inference), *_training(found.training, found.state_bytes)]
    lines = text_table(("memory, counted", "bytes", "what"), rows) if rows else []
    return lines + [f"no memory of {name}: {why}" for name, why in found.absent.items()]


def change_table(rows: Sequence[Changed]) -> list[str]:
    """Lines of `cost --change`."""
    cells = [
        (
            *(row.change or "as it is", row.kind or None),
            *(row.params, f"{row.ratios[0]:.3f}", row.data_bytes, f"{row.ratios[1]:.3f}"),
            *(row.macs, f"{row.ratios[2]:.3f}"),
        )
        for row in rows
    ]
    times = "times"
    return text_table(("change", "kind", "|W| params", times, "|D| bytes a picture", times, "MACs", times), cells)


def way_table(rows: Sequence[Way], batch: int) -> list[str]:
    """Lines of `cost --workers`."""
    cells = [
        (row.name, show_bytes(row.moved_bytes), row.workers, f"{row.speedup:.1f}", row.macs, row.why) for row in rows
    ]
    header = (f"parallel, batch {batch}", "moved a step", "workers", "speedup at most", "MACs", "why")
    return text_table(header, cells)


def _predicting(found: InferenceMemory | None) -> list[tuple[Cell, ...]]:
    if found is None:
        return []
    return [
        (
            "predicting, peak",
            show_bytes(found.peak),
            "resident in a process of its own, ONNX Runtime on this processor",
        ),
        ("  loading", show_bytes(found.load), "library, and the weights several times"),
        ("  pictures", show_bytes(found.batch), "float32, the caller's"),
        ("  activations", show_bytes(found.run), f"of which {show_bytes(found.alive)} are alive at once"),
    ]


def _training(found: TrainingMemory | None, states: dict[str, int]) -> list[tuple[Cell, ...]]:
    if found is None:
        return []
    kept = ", ".join(f"{name} {show_bytes(size)}" for name, size in states.items())
    return [
        ("training, peak", show_bytes(found.peak), f"a step with momentum, at {found.where}"),
        ("  weights", show_bytes(found.weights), "and buffers"),
        ("  gradients", show_bytes(found.gradients), "one a parameter"),
        ("  optimizer", show_bytes(found.optimizer), f"momentum; others: {kept}"),
        ("  pictures", show_bytes(found.batch), "and targets"),
        ("  kept", show_bytes(found.saved), "for the backward pass"),
        *(
            [("  workspace", show_bytes(found.workspace), "of the convolution that needs most")]
            if found.workspace
            else []
        ),
    ]


def _printed(found: Published | None) -> tuple[Cell, ...]:
    if found is None:
        return (None,) * len(PRINTED)
    accuracy = None if found.top1 is None else f"{found.top1:g} %"
    return (found.params, found.gmacs or None, found.size or None, accuracy)


def _after(before: str, number: float | None, unit: str) -> str:
    """Words with a number, and no words without one."""
    return "" if number is None else f"{before}{number:.4g}{unit}"


def _span(field: Field, part: str) -> str:
    high, wide = getattr(field.height, part), getattr(field.width, part)
    return f"{high:g}" if high == wide else f"{high:g}x{wide:g}"
