# SPDX-License-Identifier: Apache-2.0
"""What became of the network on its way to a file: stages, parity, ledger."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import PurePath

import fireforge.report.parts as parts
import fireforge.report.show as show
from fireforge.base.parity import ParityReport, Tap
from fireforge.base.prediction import Prediction
from fireforge.base.record import Facts
from fireforge.base.units import show_seconds
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
    judged = {file.path: file.val_accuracy for file in run.answer.candidates} if run.answer else {}
    chosen = run.answer.model.path if run.answer else None
    rows = [
        (
            PurePath(file.path).name,
            file.form,
            show.bytes_words(file.bytes),
            show.percent(judged.get(file.path)),
            parts.badge("the answer", True) if file.path == chosen else "",
        )
        for file in run.exports
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
    told = [_agreement(row) for row in run.parities]
    return parts.section("parity", "Parity", told, _taps(run.parities), lead=lead)


def _agreement(row: ParityReport) -> Markup:
    badge = parts.badge("passed" if row.passed else "refused", row.passed)
    told = f" {show.count(row.pictures)} pictures, {show.percent(row.agreement)} with the same label"
    told += f"; the first that differs: {row.blame}." if row.blame else "."
    line = tag("p", tag("strong", PurePath(row.model).name), " ", badge, told)
    if not row.picture:
        return line
    caption = f"{row.blame}: wanted, given, and the difference"
    return join((line, parts.gallery([parts.picture(row.picture, caption, title=caption)])))


def _taps(rows: Sequence[ParityReport]) -> Markup:
    """A line for each tap, two columns for each file."""
    names = list(dict.fromkeys(tap.tap for row in rows for tap in row.taps))
    found = [{tap.tap: tap for tap in row.taps} for row in rows]
    header: list[str] = ["Tap"]
    body: list[list[object]] = [[name] for name in names]
    for row, taps in zip(rows, found):
        header += [PurePath(row.model).name, "bound"]
        for cells, name in zip(body, names):
            cells += _tap_cells(taps.get(name))
    return parts.table(header, body)


def _tap_cells(tap: Tap | None) -> list[object]:
    if tap is None:
        return ["", ""]
    difference = f"{tap.difference:.3g}"
    return [difference if tap.passed else parts.badge(difference, False), f"{tap.bound:.3g}"]


def ledger(run: Run) -> Markup:
    """What was counted and foretold before training, beside what was measured at the end."""
    trial, measured = run.chosen() or run.best(), run.answer.measured if run.answer else None
    own = run.answer.cost if run.answer else None
    cost = own or (trial.trial.cost if trial else None)
    if cost is None:
        return parts.section("ledger", "Ledger", parts.missing("No network has been counted."))
    latency_ms = measured.latency_ms if measured else None
    rate = f"{show.compact(cost.macs / latency_ms * 1e3)} MAC/s" if latency_ms else show.NONE
    memory, file = (measured.memory_bytes, measured.bytes) if measured else (None, None)
    rows: list[tuple[object, ...]] = [
        ("Parameters", show.count(cost.params), "", ""),
        ("Multiply-adds (MACs) an image, against latency", show.count(cost.macs), show.milliseconds(latency_ms), rate),
        ("Activations an image", show.count(cost.activations), "", ""),
        _against("Peak activation bytes, against memory of the process", cost.peak_activation_bytes, memory),
        _against("Weight bytes as trained, against the file", cost.weight_bytes, file),
    ]
    figures = measured.figures() if measured else {}
    rows += [_foretold(row, figures.get(row.name)) for row in run.predictions if row.name in FIGURES]
    if measured and measured.energy_mj is not None and not any(row.name == "energy_mj" for row in run.predictions):
        rows.append(("Energy of a prediction", "", show.millijoules(measured.energy_mj), ""))
    hows = [(FIGURES[row.name][0], row.how) for row in run.predictions if row.name in FIGURES and row.how]
    energy = measured.how.get("energy_mj", "") if measured else ""
    notes = [tag("li", f"{what}: {how}") for what, how in [*hows, *([("Energy", energy)] if energy else [])]]
    whose = "" if own else " The answer's own count is missing: this is the best trial's."
    lead = "Counted from the graph before training, for one picture, and measured on the answer's file at the end."
    header = ("", "Counted", "Measured", "Measured by counted")
    table, told = parts.table(header, rows), tag("ul", notes, class_="fine") if notes else None
    return parts.section("ledger", "Ledger", table, told, lead=lead + whose)


# measurement -> what it is, and its figure in words
FIGURES: dict[str, tuple[str, Callable[[float | None], str]]] = {
    "bytes": ("File, predicted before training", show.bytes_words),
    "latency_ms": ("Latency, predicted", show.milliseconds),
    "memory_bytes": ("Memory, predicted", show.bytes_words),
    "energy_mj": ("Energy of a prediction, estimated", show.millijoules),
}


def _foretold(row: Prediction, measured: float | None) -> tuple[object, ...]:
    what, words = FIGURES[row.name]
    ratio = f"{measured / row.value:.3f}" if row.value and measured is not None else show.NONE
    return (what, words(row.value), words(measured), ratio)


def _against(words: str, counted: int, measured: int | None) -> tuple[object, ...]:
    ratio = f"{measured / counted:.2f}" if counted and measured is not None else show.NONE
    return (words, show.bytes_words(counted), show.bytes_words(measured), ratio)
