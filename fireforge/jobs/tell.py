# SPDX-License-Identifier: Apache-2.0
"""Results as lines for a terminal; every verb that prints has one function here."""

from __future__ import annotations

import csv
import json
import shlex
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from fireforge.base.cost import Cost
from fireforge.base.errors import FireforgeError
from fireforge.base.postprocess import Classification
from fireforge.base.units import show_bytes, show_seconds
from fireforge.report.show import LIMIT_WORDS, limit_words
from fireforge.report.table import text_table

if TYPE_CHECKING:
    from fireforge.base.answer import Answer
    from fireforge.base.evaluation import Evaluation
    from fireforge.base.parity import ParityReport
    from fireforge.base.record import RunRecord
    from fireforge.cost.count import NodeCost
    from fireforge.data.inspect import Inspection
    from fireforge.jobs.doctor import Checkup
    from fireforge.runtime.bench import BenchTable

UNREADABLE_SHOWN = 10
COST_COLUMNS = ("params", "MACs", "activations", "peak activations", "weights", "wire a step")


def checkup(found: Checkup) -> list[str]:
    """Lines of `doctor`."""
    machine = found.hardware
    packages = ", ".join(f"{name} {version}" for name, version in found.versions.items())
    lines = [
        f"fireforge {found.versions.get('fireforge', '')}: images and a budget in, a proven small network out",
        "",
        f"installed     {packages}",
        f"processor     {machine.processor}, {machine.cores} cores, {show_bytes(machine.memory_bytes)} memory",
        f"instructions  {', '.join(machine.instructions) or 'none of those that matter'}",
        f"device        {found.device or 'none: training is not installed'}; {found.threads} threads",
        f"providers     {', '.join(found.providers) or 'ONNX Runtime does not load'}",
    ]
    lines += [f"missing       fireforge[{name}] adds {adds}" for name, adds in found.missing.items()]
    return [*lines, "", "try", *(f"  {command}" for command in found.advice)]


def inspection(found: Inspection) -> list[str]:
    """Lines of `inspect`."""
    lines = [
        f"{found.source}: {found.format}, {len(found.classes)} classes, found {found.found:,} = used {found.used:,}"
        f" + skipped {found.found - found.used:,}",
        f"height {_span(found.height_px)} px, width {_span(found.width_px)} px, modes "
        + ", ".join(f"{mode} {count:,}" for mode, count in found.modes.items()),
        f"balance {found.balance:.2f} (smallest class by greatest)",
        "",
    ]
    parts = sorted({part for row in found.counts.values() for part in row})
    lines += text_table(
        ("class", *parts), [(name, *(row.get(p, 0) for p in parts)) for name, row in found.counts.items()]
    )
    copies = found.duplicates
    if copies.groups:
        lines += ["", f"{copies.groups} contents occur more than once, {copies.extra} pictures could go"]
        if copies.across_parts:
            lines.append(f"WARNING: {copies.across_parts} of them lie in more than one part: a test on them flatters")
        if copies.across_classes:
            lines.append(f"WARNING: {copies.across_classes} of them lie in more than one class: some label is wrong")
    if found.unreadable:
        rows = [(bad.name, bad.code, bad.reason) for bad in found.unreadable[:UNREADABLE_SHOWN]]
        lines += ["", *text_table(("cannot be used", "code", "reason"), rows)]
        if len(found.unreadable) > UNREADABLE_SHOWN:
            lines.append(f"and {len(found.unreadable) - UNREADABLE_SHOWN} more: --json lists them all")
    return lines


def costs(rows: list[tuple[str, Cost]]) -> list[str]:
    """Lines of `cost`."""
    cells = [
        (
            name,
            cost.params,
            cost.macs,
            cost.activations,
            show_bytes(cost.peak_activation_bytes),
            show_bytes(cost.weight_bytes),
            show_bytes(cost.wire_bytes),
        )
        for name, cost in rows
    ]
    return text_table(("network", *COST_COLUMNS), cells)


def layers(rows: tuple[NodeCost, ...]) -> list[str]:
    """Lines of `cost --layers`."""
    cells = [(r.name, r.op, " x ".join(map(str, r.shape)), r.params, r.macs, r.activations) for r in rows]
    return text_table(("layer", "operator", "output", "params", "MACs", "activations"), cells)


def evaluation(found: Evaluation) -> list[str]:
    """Lines of `evaluate`."""
    low, high = found.interval
    columns = found.per_class
    rows = [
        (label, f"{columns.precision[i]:.1%}", f"{columns.recall[i]:.1%}", f"{columns.f1[i]:.1%}", columns.support[i])
        for i, label in enumerate(found.labels)
    ]
    top = ", ".join(f"top-{k} {share:.1%}" for k, share in found.top_k.items())
    return [
        f"{found.model} on {found.n:,} pictures ({found.part}): {found.accuracy:.2%}"
        f" (95 % interval {low:.1%} to {high:.1%}); {top}; calibration error {found.ece:.3f}",
        "",
        *text_table(("class", "precision", "recall", "F1", "pictures"), rows),
    ]


def parity(found: ParityReport) -> list[str]:
    """Lines of `verify`."""
    rows = [(t.tap, f"{t.difference:.3g}", f"{t.bound:.3g}", "ok" if t.passed else "DIFFERS") for t in found.taps]
    verdict = "passed" if found.passed else "FAILED"
    head = f"{found.model}: {verdict} on {found.pictures} pictures, {found.agreement:.2%} of answers agree"
    return [head, "", *text_table(("stage", "difference", "bound", "verdict"), rows)]


def bench(table: BenchTable) -> list[str]:
    """Lines of `bench`."""
    cells = []
    for r in table.rows:
        times = (f"{r.median_ms:.3f}", f"{r.least_ms:.3f}", f"{r.p90_ms:.3f}")
        cells.append((r.path, r.bytes, *times, f"{r.images_per_second:,.0f}", f"{r.ratio:.2f}"))
    header = ("file", "bytes", "median ms", "least ms", "p90 ms", "images/s", "times the fastest")
    how = f"batch {table.batch}, {table.threads} threads, {table.rounds} interleaved rounds, {table.hardware.processor}"
    return [*text_table(header, cells), how]


def predictions(answers: Iterable[tuple[str, Classification | FireforgeError]], *, form: str = "") -> int:
    """Print answers as they come; a picture without an answer is one line on stderr.

    Args:
      answers: name of the picture and its answer or error.
      form: "" for text, "csv" or "json" (one JSON object a line).

    Returns:
      Number of pictures without an answer.
    """
    failed = 0
    writer = csv.writer(sys.stdout, lineterminator="\n")
    if form == "csv":
        writer.writerow(["file", "label", "score"])
    for name, answer in answers:
        if isinstance(answer, FireforgeError):
            failed += 1
            print(answer.line(), file=sys.stderr)
        elif form == "csv":
            writer.writerows([name, label, f"{score:.6f}"] for label, score in zip(answer.labels, answer.scores))
        elif form == "json":
            print(json.dumps({"file": name, **answer.to_json()}, ensure_ascii=False))
        else:
            print(prediction(name, answer))
    return failed


def trained(record: RunRecord, folder: Path) -> list[str]:
    """Lines of `train`."""
    accuracy = "not judged" if record.accuracy is None else f"{record.accuracy:.2%} on validation"
    losses = record.metrics.get("train/loss", ())
    epochs = record.metrics.get("train/epoch", (float(len(losses)),))[-1]
    return [
        f"{folder / 'weights' / 'best.safetensors'}: {accuracy} after {epochs:.4g} epochs"
        f" in {show_seconds(record.seconds['train'])}",
        "",
        "what now",
        f"  fireforge export {folder} --form int8",
        f"  fireforge report {folder}",
    ]


def prediction(name: str, answer: Classification) -> str:
    """One line of `predict`."""
    parts = [f"{label} {score:.1%}" for label, score in zip(answer.labels, answer.scores)]
    return f"{name}  {', '.join(parts)}"


def answer(found: Answer, folder: Path) -> list[str]:
    """Lines at the end of `build`: the answer, its limits, and what to do next."""
    model, test = found.model, found.test
    path = folder / model.path
    low, high = test.interval
    lines = [
        f"{path}: {model.bytes:,} bytes ({model.form}), {test.accuracy:.2%} of {test.n:,} test pictures"
        f" (95 % interval {low:.1%} to {high:.1%}), {found.measured.latency_ms:.2f} ms a picture,"
        f" in {show_seconds(found.seconds)}"
    ]
    lines += _beside_baseline(found)
    if found.limits:
        rows = [
            (LIMIT_WORDS[v.name], *limit_words(v.name, v.limit, v.achieved), "yes" if v.met else "NO", v.how)
            for v in found.limits
        ]
        lines += ["", *text_table(("limit", "allowed", "achieved", "met", "how"), rows)]
    file, home = shlex.quote(str(path)), shlex.quote(str(folder))
    use = f'import fireforge; print(fireforge.load({json.dumps(str(path))}).predict("PICTURE"))'
    return [
        *lines,
        "",
        "what now",
        f"  fireforge predict {file} PICTURE",
        f"  python -c {shlex.quote(use)}",
        f"  fireforge evaluate {home}",
        f"  fireforge bench {file}",
        f"  report: {home}/report.html",
    ]


def _beside_baseline(found: Answer) -> list[str]:
    """The best baseline beside the answer, both on validation, and a warning where the network is worse."""
    base, own = found.baseline, found.on_validation()
    if base is None:
        return []
    if own is None:
        return [f"baseline {base.name}: {base.accuracy:.1%} on validation"]
    lines = [f"on validation: {own:.1%}; baseline {base.name}: {base.accuracy:.1%}"]
    if found.beaten_by():
        lines.append(f"WARNING: {base.name} needs no network and is better here; a longer --time may mend it")
    return lines


def _span(three: tuple[int, int, int]) -> str:
    return str(three[0]) if three[0] == three[2] else f"{three[0]} to {three[2]} (median {three[1]})"
