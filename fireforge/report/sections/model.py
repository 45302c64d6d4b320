# SPDX-License-Identifier: Apache-2.0
"""What became of the network on its way to a file: stages, parity, ledger."""

from __future__ import annotations

from pathlib import PurePath

import fireforge.report.parts as parts
import fireforge.report.show as show
from fireforge.base.record import Facts
from fireforge.base.units import show_seconds
from fireforge.base.value import Json
from fireforge.report.markup import Markup, join, tag
from fireforge.report.run import Run


def compression(run: Run) -> Markup:
    """Each stage: bytes, accuracy, MACs and time before and after; then the exported files."""
    if not run.stages:
        body: Markup = parts.missing("No compression stage has run.")
    else:
        rows = [
            row for stage in run.stages for row in _stage_rows(stage.stage, stage.before, stage.after, stage.seconds)
        ]
        header = ("Stage", "", "Bytes", "Accuracy", "95 % interval", "MACs", "Latency", "Took")
        body = parts.table(header, rows, words=(0, 1))
        notes = [
            tag("li", tag("strong", stage.stage), ": ", "; ".join(stage.notes)) for stage in run.stages if stage.notes
        ]
        samples = {facts.samples for stage in run.stages for facts in (stage.before, stage.after) if facts.samples}
        basis = f"Accuracy on {' and '.join(f'{n:,}' for n in sorted(samples))} pictures of the validation part."
        body = join((body, tag("p", basis, class_="note") if samples else None, tag("ul", notes) if notes else None))
    return parts.section("compression", "Compression", body, _exports(run))


def _stage_rows(stage: str, before: Facts, after: Facts, seconds: float) -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = []
    for label, facts in (("before", before), ("after", after)):
        rows.append(
            (
                tag("strong", stage) if label == "before" else "",
                label,
                show.bytes_words(facts.bytes or None),
                show.percent(facts.accuracy),
                show.interval_words(facts.interval) or show.NONE,
                show.compact(facts.macs or None),
                show.milliseconds(facts.latency_ms),
                "" if label == "before" else show_seconds(seconds),
            )
        )
    return rows


def _exports(run: Run) -> Markup:
    if not run.exports:
        return parts.missing("No file has been exported.")
    candidates = {row.get("path"): row for row in (run.answer or {}).get("candidates") or []}
    chosen = ((run.answer or {}).get("model") or {}).get("path")
    rows = [
        (
            PurePath(str(row.get("path", "?"))).name,
            row.get("form", "?"),
            show.bytes_words(row.get("bytes")),
            show.percent((candidates.get(row.get("path")) or {}).get("val_accuracy")),
            parts.badge("the answer", True) if row.get("path") == chosen else "",
        )
        for row in run.exports
    ]
    header = ("File", "Numbers", "Bytes", "Validation accuracy", "")
    return join((tag("h3", "Files"), parts.table(header, rows, words=(0, 1, 4))))


def parity(run: Run) -> Markup:
    """How far each file's path from bytes to label is from the reference, tap by tap."""
    lead = "The file against the reference network, from picture bytes to label; a tap over its bound blocks the file."
    if not run.parities:
        return parts.section(
            "parity", "Parity", parts.missing("No file has been held against the reference."), lead=lead
        )
    return parts.section("parity", "Parity", [_parity_of(row) for row in run.parities], lead=lead)


def _parity_of(row: dict[str, Json]) -> Markup:
    passed = bool(row.get("passed"))
    head = tag(
        "h3",
        PurePath(str(row.get("model", "?"))).name,
        " ",
        parts.badge("passed" if passed else "refused", passed),
    )
    told = f"{show.count(row.get('pictures'))} pictures, {show.percent(row.get('agreement'))} with the same label."
    taps = [
        (
            tap.get("tap", "?"),
            _scientific(tap.get("difference")),
            _scientific(tap.get("bound")),
            parts.badge("within" if tap.get("passed") else "over", bool(tap.get("passed"))),
        )
        for tap in row.get("taps") or []
    ]
    header = ("Tap", "Greatest difference", "Bound", "")
    table = parts.table(header, taps, words=(0, 3)) if taps else parts.missing("The record holds no taps.")
    return join((head, tag("p", told, class_="note"), table))


def ledger(run: Run) -> Markup:
    """What was counted before training, beside what was measured at the end."""
    answer = run.answer or {}
    trial = run.chosen() or run.best()
    counted = None if trial is None else trial.trial.cost
    cost = answer.get("cost") or (None if counted is None else counted.to_json())
    if not cost:
        return parts.section("ledger", "Ledger", parts.missing("No network has been counted."))
    measured = answer.get("measured") or {}
    file_bytes = measured.get("bytes", (answer.get("model") or {}).get("bytes"))
    latency, macs = measured.get("latency_ms"), cost.get("macs")
    rate = f"{show.compact(macs / latency * 1e3)} MAC/s" if latency and macs else show.NONE
    rows = (
        ("Parameters", show.count(cost.get("params")), "", ""),
        ("Multiply-adds (MACs) an image", show.count(macs), show.milliseconds(latency), rate),
        ("Activations an image", show.count(cost.get("activations")), "", ""),
        _against(
            "Peak activation bytes",
            "memory of the process",
            cost,
            "peak_activation_bytes",
            measured.get("memory_bytes"),
        ),
        _against("Weight bytes as trained", "file", cost, "weight_bytes", file_bytes),
    )
    whose = "" if answer.get("cost") else " The answer's own count is missing: this is the best trial's."
    lead = "Counted from the graph before training, for one picture, and measured on the answer's file at the end."
    header = ("", "Counted", "Measured", "Measured by counted")
    return parts.section("ledger", "Ledger", parts.table(header, rows), lead=lead + whose)


def _against(words: str, what: str, cost: dict[str, Json], key: str, measured: float | None) -> tuple[str, ...]:
    counted = cost.get(key)
    ratio = f"{measured / counted:.2f}" if counted and measured is not None else show.NONE
    return (f"{words}, against {what}", show.bytes_words(counted), show.bytes_words(measured), ratio)


def _scientific(value: float | None) -> str:
    if value is None:
        return show.NONE
    return "0" if value == 0 else f"{value:.3g}"
