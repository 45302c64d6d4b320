# SPDX-License-Identifier: Apache-2.0
"""What the network learnt from, and what it had to beat."""

from __future__ import annotations

import fireforge.report.parts as parts
import fireforge.report.show as show
from fireforge.base.baseline import BaselineResult
from fireforge.base.datacard import DataCard
from fireforge.base.units import show_seconds
from fireforge.report.markup import Markup, tag
from fireforge.report.run import Run
from fireforge.report.svg import Bar, bars

PARTS = (("train", "training"), ("val", "validation"), ("test", "test"))
MOST_BARS = 24  # classes drawn; more are told in words


def data_card(run: Run) -> Markup:
    """Source, counts of each class and part, what was skipped and why, sample pictures."""
    data = run.dataset()
    if data is None:
        return parts.section("data", "Data", parts.missing("The record does not describe the data."))
    samples = [parts.picture(sample.png, parts.name(sample.label), title=sample.label) for sample in data.samples]
    return parts.section(
        "data",
        "Data",
        parts.columns(_facts(run, data), _counts(data)),
        tag("h3", "Samples") if samples else None,
        parts.gallery(samples) if samples else parts.missing("The record holds no sample pictures."),
    )


def _facts(run: Run, data: DataCard) -> Markup:
    channels, high, wide = data.input
    rows: list[tuple[str, object]] = [
        ("Source", parts.name(data.source)),
        ("Format", data.format),
        ("Classes", show.count(len(data.labels))),
        ("Input", f"{channels} × {high} × {wide} (channels, height, width)"),
    ]
    rows += [
        (words.capitalize(), f"{show.count(sum(data.counts[part]))} pictures")
        for part, words in PARTS
        if part in data.counts
    ]
    left_out = "".join(f" + {show.count(number)} {code}" for code, number in sorted(data.skipped.items()))
    rows.append(("Found", f"{show.count(data.found)} = {show.count(data.used)} used{left_out or ' + 0 skipped'}"))
    if data.seen:
        words = f"{show.count(data.seen)} test pictures equal pictures that were trained or chosen on"
        rows.append(("Equal", words))
    if run.start:
        rows.append(("Split", f"seed {run.start.data.seed}"))
    return parts.pairs(rows)


def _counts(data: DataCard) -> Markup:
    labels, counts = data.labels, data.counts
    present = [(part, words) for part, words in PARTS if part in counts]
    if not labels or not present:
        return parts.missing("The record holds no counts by class.")
    totals = [sum(counts[part][index] for part, _ in present) for index in range(len(labels))]
    shown = sorted(range(len(labels)), key=lambda index: -totals[index])[:MOST_BARS]
    shown = sorted(shown) if len(labels) <= MOST_BARS else shown
    rows = [
        Bar(
            label=labels[index],
            parts=tuple(
                (counts[part][index], f"part-{part}", f"{labels[index]}, {words}: {counts[part][index]:,}")
                for part, words in present
            ),
            note=show.count(totals[index]),
        )
        for index in shown
    ]
    more = len(labels) - len(rows)
    rest = f" The {len(rows)} largest of {len(labels):,} classes; the smallest has {min(totals):,}." if more else ""
    caption = [parts.legend([(f"part-{part}", words) for part, words in present]), rest]
    return parts.figure(bars(rows, title="Pictures by class and part"), caption)


def baselines(run: Run) -> Markup:
    """What simple methods reach on the validation part, beside the network; those left out with why."""
    lead = "What costs next to nothing to try: a network that does not beat these is not worth its bytes."
    if not run.baselines:
        return parts.section("baselines", "Baselines", parts.missing("The record holds no baseline."), lead=lead)
    ran = [row for row in run.baselines if not row.left_out]
    rows = [_baseline_row(row) for row in ran]
    drawn = [_bar(row.name, row.accuracy, "bar plain") for row in ran]
    network = _network(run)
    if network is not None:
        label, accuracy, size = network
        latency = run.answer.measured.latency_ms if run.answer else None
        told = (show.percent(accuracy), "", show.bytes_words(size), "", show.milliseconds(latency), "")
        rows.append((tag("strong", label), *told))
        drawn.append(_bar(label, accuracy, "bar"))
    asked = {row.samples for row in ran}
    basis = f"Judged on {' and '.join(show.count(n) for n in sorted(asked))} pictures of the validation part."
    header = ("Method", "Accuracy", "95 % interval", "Bytes", "Took", "One picture", "Learnt from")
    return parts.section(
        "baselines",
        "Baselines",
        parts.table(header, rows, marked=() if network is None else (len(rows) - 1,)),
        parts.columns(parts.figure(bars(drawn, title="Accuracy on validation", full=1.0), basis), _remarks(run) or ""),
        lead=lead,
    )


def _remarks(run: Run) -> Markup | None:
    """What was left out and why, and what was chosen."""
    told = [
        tag("li", tag("strong", parts.name(row.name)), f" left out: {row.left_out}" if row.left_out else ": ",
            "" if row.left_out else "; ".join(row.notes))
        for row in run.baselines
        if row.left_out or row.notes
    ]  # fmt: skip
    return tag("ul", told, class_="fine") if told else None


def _baseline_row(row: BaselineResult) -> tuple[object, ...]:
    return (
        parts.name(row.name),
        show.percent(row.accuracy),
        show.interval_words(row.interval),
        show.bytes_words(row.bytes),
        show_seconds(row.seconds),
        show.milliseconds(row.latency_ms),
        show.count(row.trained_on or None),
    )


def _network(run: Run) -> tuple[str, float | None, int | None] | None:
    """Label, validation accuracy and bytes of the answer's file, else of the best trial."""
    if run.answer is not None and run.answer.on_validation() is not None:
        return "the answer", run.answer.on_validation(), run.answer.model.bytes
    best = run.chosen() or run.best()
    return None if best is None else ("best trial", best.accuracy, None)


def _bar(label: str, accuracy: float | None, style: str) -> Bar:
    told = show.percent(accuracy)
    return Bar(label=label, parts=((accuracy or 0.0, style, f"{label}: {told}"),), note=told)
