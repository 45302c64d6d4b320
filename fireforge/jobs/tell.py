# SPDX-License-Identifier: Apache-2.0
"""Results as lines for a terminal; every verb that prints has one function here."""

from __future__ import annotations

import csv
import io
import json
import shlex
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from fireforge.base.errors import FireforgeError
from fireforge.base.postprocess import NONE_OF_THESE, Classification
from fireforge.base.units import show_bytes, show_seconds
from fireforge.base.value import json_bytes
from fireforge.jobs.tell_gradients import gradients
from fireforge.jobs.tell_time import time_spent
from fireforge.report.show import LIMIT_WORDS, limit_words
from fireforge.report.table import Cell, text_table

if TYPE_CHECKING:
    from fireforge.base.answer import Answer
    from fireforge.base.evaluation import Evaluation
    from fireforge.base.parity import ParityReport
    from fireforge.base.profile import DeviceProfile
    from fireforge.base.record import RunRecord
    from fireforge.data.inspect import Inspection
    from fireforge.jobs.bring import Brought
    from fireforge.jobs.compress import Compressed
    from fireforge.jobs.doctor import Checkup
    from fireforge.jobs.plan import Plan
    from fireforge.runtime.bench import BenchTable

UNREADABLE_SHOWN = 10
TORN_SHOWN = 3  # groups of equal pictures in several parts or classes
CLASSES_SHOWN = 40  # of `inspect`
MATRIX_CLASSES, MATRIX_WIDTH = 15, 90  # up to which `evaluate` prints the confusion matrix whole
PAIRS = 12  # confused pairs that it prints otherwise


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
    lines += [f"optional      {name} adds {adds}" for name, adds in found.optional.items()]
    return [*lines, "", "try", *(f"  {command}" for command in found.advice)]


def inspection(found: Inspection) -> list[str]:
    """Lines of `inspect`."""
    skipped = ", ".join(f"{count:,} {code}" for code, count in found.skipped.items())
    lines = [
        f"{found.source}: {found.format}, {len(found.classes):,} classes, {found.output} a picture",
        "",
        f"found      {found.found:,} = used {found.used:,} + skipped {found.found - found.used:,}"
        + (f" ({skipped})" if skipped else ""),
        f"height     {_span(found.height_px)} px",
        f"width      {_span(found.width_px)} px",
        f"colour     {', '.join(f'{mode} {count:,}' for mode, count in found.modes.items())}",
        f"balance    {found.balance:.2f}, the smallest class by the greatest",
        *_split_lines(found),
        "",
        *_class_table(found),
    ]
    if found.findings:
        lines += ["", *(f"{'WARNING' if item.loud else 'note'}: {item.text}" for item in found.findings)]
        lines += [f"  the same: {', '.join(names)}" for names in found.duplicates.torn[:TORN_SHOWN]]
    if found.notes:
        codes = Counter(item.code for item in found.notes)
        lines += ["", f"remarks: {', '.join(f'{count:,} {code}' for code, count in sorted(codes.items()))}"]
    if found.unreadable:
        rows = [(bad.name, bad.code, bad.reason) for bad in found.unreadable[:UNREADABLE_SHOWN]]
        lines += ["", *text_table(("cannot be used", "code", "reason"), rows)]
        if len(found.unreadable) > UNREADABLE_SHOWN:
            lines.append(f"and {len(found.unreadable) - UNREADABLE_SHOWN:,} more: --json lists them all")
    return [*lines, "", "what now", *(f"  {command}" for command in _after_inspection(found))]


def _split_lines(found: Inspection) -> list[str]:
    """The parts of a build, and the data's own where they are others."""
    own: dict[str, int] = {}
    for row in found.counts.values():
        for part, count in row.items():
            own[part] = own.get(part, 0) + count
    if not found.split:
        return []
    total = {part: sum(row[part] for row in found.split.values()) for part in ("train", "val", "test")}
    text = ", ".join(f"{part} {count:,}" for part, count in total.items())
    if "all" in own:
        why = f", cut by class with seed {found.seed}"
    elif own == total:
        why = ", as the data has them"
    else:
        why = f"; the data itself has {', '.join(f'{part} {count:,}' for part, count in own.items())}"
    return [f"parts      {text}{why}"]


def _class_table(found: Inspection) -> list[str]:
    """Pictures of each class by part of a build; of many classes the greatest and the smallest."""
    parts = ("train", "val", "test") if found.split else ()
    total = {name: sum(row.values()) for name, row in found.counts.items()}
    names = list(found.counts)
    if len(names) > CLASSES_SHOWN:
        by_size = sorted(names, key=lambda name: -total[name])
        names = [*by_size[: CLASSES_SHOWN // 2], *by_size[-(CLASSES_SHOWN // 2) :]]
    rows: list[tuple[Cell, ...]] = [(name, total[name], *(found.split[name][p] for p in parts)) for name in names]
    lines = text_table(("class", "pictures", *parts), rows)
    if len(names) < len(found.counts):
        lines.append(f"the greatest and the smallest of {len(found.counts):,} classes: --json lists them all")
    return lines


def _after_inspection(found: Inspection) -> list[str]:
    if not found.split:
        return ["mend what the first WARNING names, and inspect once more"]
    data = shlex.quote(found.source)
    return [f"fireforge build {data} --plan", f"fireforge build {data} --max-size 300KB --time 10m"]


def evaluation(found: Evaluation) -> list[str]:
    """Lines of `evaluate`."""
    low, high = found.interval
    columns = found.per_class
    rows = [
        (label, f"{columns.precision[i]:.1%}", f"{columns.recall[i]:.1%}", f"{columns.f1[i]:.1%}", columns.support[i])
        for i, label in enumerate(found.labels)
    ]
    top = ", ".join(f"top-{k} {share:.1%}" for k, share in found.top_k.items())
    lines = [
        f"{found.model} on {found.n:,} pictures ({found.part}): {found.accuracy:.2%}"
        f" (95 % interval {low:.1%} to {high:.1%}); {top}; calibration error {found.ece:.3f}"
    ]
    if found.threshold:
        rest = "" if found.accuracy_accepted is None else f", {found.accuracy_accepted:.2%} of the others are right"
        lines.append(f"{NONE_OF_THESE}: {found.refused:,} answers with a score below {found.threshold:.3g}{rest}")
    if found.along_tree:
        tree = found.along_tree
        lines.append(
            f"along the tree: {tree.accuracy:.2%} of the answers hold the true class (95 % interval"
            f" {tree.interval[0]:.1%} to {tree.interval[1]:.1%}); {tree.bits:.2f} bits of {tree.most_bits:.2f};"
            f" {tree.exact:.1%} of the answers are a class"
            + (f"; {tree.refused:,} are {NONE_OF_THESE}" if found.threshold else "")
        )
    if found.skipped:
        told = ", ".join(f"{count:,} {code}" for code, count in found.skipped.items())
        lines.append(f"not used: {told}; fireforge inspect lists them")
    return [*lines, "", *text_table(("class", "precision", "recall", "F1", "pictures"), rows), *_confused(found)]


def _confused(found: Evaluation) -> list[str]:
    """Counts by truth and answer where a terminal has the room, otherwise the pairs that are confused most."""
    table, labels = found.confusion, found.labels
    if len(labels) <= MATRIX_CLASSES and sum(max(3, len(label)) + 2 for label in labels) <= MATRIX_WIDTH:
        rows = [(label, *(count or None for count in counts)) for label, counts in zip(labels, table)]
        return ["", *text_table(("truth, answered as", *labels), rows)]
    places = [(r, c) for r in range(len(labels)) for c in range(len(labels)) if r != c and table[r][c]]
    places.sort(key=lambda place: -table[place[0]][place[1]])
    pairs = [(labels[r], labels[c], table[r][c]) for r, c in places[:PAIRS]]
    more = [f"and {len(places) - PAIRS:,} more pairs: --json has them all"] if len(places) > PAIRS else []
    return ["", *text_table(("truth", "answered as", "pictures"), pairs), *more] if pairs else []


def compressed(found: Compressed) -> list[str]:
    """Lines of `compress`."""
    before, after, lost, written = found.report.before, found.report.after, found.lost, found.exported
    size = f"{written.bytes:,} bytes, {written.bytes / before.bytes:.0%} of the float file"
    return [
        f"{written.path}: {written.form}, {size}",
        f"accuracy {_share(before.accuracy)} in float32, {_share(after.accuracy)} in {written.form}; lost "
        f"{lost.difference:.2%} (95 % interval {lost.low:.2%} to {lost.high:.2%}) on {lost.n} pictures",
        *found.report.notes,
        *parity(found.parity),
    ]


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.2%}"


def brought(found: Brought) -> list[str]:
    """Lines of `import`."""
    written = found.exported
    return [*found.notes, *parity(found.parity), f"{written.path}: {written.bytes:,} bytes ({written.form})"]


def parity(found: ParityReport) -> list[str]:
    """Lines of `verify`."""
    rows = [(t.tap, f"{t.difference:.3g}", f"{t.bound:.3g}", "ok" if t.passed else "DIFFERS") for t in found.taps]
    verdict = "passed" if found.passed else "FAILED"
    lost = f" ({found.skipped} more cannot be read)" if found.skipped else ""
    head = f"{found.model}: {verdict} on {found.pictures} pictures{lost}, {found.agreement:.2%} of answers agree"
    return [head, "", *text_table(("stage", "difference", "bound", "verdict"), rows)]


def bench(table: BenchTable) -> list[str]:
    """Lines of `bench`."""
    cells = []
    for r in table.rows:
        times = (f"{r.median_ms:.3f}", f"{r.least_ms:.3f}", f"{r.p90_ms:.3f}")
        share = "-" if r.peak_share is None else f"{r.peak_share:.0%}"
        cells.append((r.path, r.bytes, *times, f"{r.images_per_second:,.0f}", f"{r.ratio:.2f}", share))
    header = ("file", "bytes", "median ms", "least ms", "p90 ms", "images/s", "times the fastest", "of the peak")
    how = f"batch {table.batch}, {table.threads} threads, {table.rounds} interleaved rounds, {table.hardware.processor}"
    known = any(r.peak_share is not None for r in table.rows)
    advice = [] if known else ["the share of the machine's peak is known after: fireforge bench --profile"]
    return [*text_table(header, cells), how, *advice]


def profile(found: DeviceProfile, path: Path) -> list[str]:
    """Lines of `bench --profile`."""
    cells = [
        (form, f"{one.peak_macs / 1e9:.1f}", len(one.times), f"{one.margin:.0%}") for form, one in found.forms.items()
    ]
    header = ("numbers", "best GMAC/s", "kernels timed", "margin of a predicted latency")
    machine = f"{found.hardware.processor}, {found.runtime}, {found.threads} thread(s)"
    return [
        *text_table(header, cells),
        f"memory: {found.bandwidth / 1e9:.1f} GB/s, read and written",
        f"{machine}; {found.networks} networks in {found.seconds:.0f} s",
        f"written: {path}; build --max-latency, bench and cost use it",
    ]


def predictions(answers: Iterable[tuple[str, Classification | FireforgeError]], *, form: str = "") -> int:
    """Print answers as they come; a picture without an answer is one line on stderr.

    A file name that is not UTF-8 goes out as it is, in JSON with the escapes of its bytes.

    Args:
      answers: name of the picture and its answer or error.
      form: "" for text, "csv" or "json" (one JSON object a line).

    Returns:
      Number of pictures without an answer.
    """
    failed = 0
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="surrogateescape")
    writer = csv.writer(sys.stdout, lineterminator="\n")
    if form == "csv":
        writer.writerow(["file", "label", "score", "accepted"])
    for name, answer in answers:
        if isinstance(answer, FireforgeError):
            failed += 1
            print(answer.line(), file=sys.stderr)
        elif form == "csv":
            said = "yes" if answer.accepted else "no"
            writer.writerows([name, label, f"{score:.6f}", said] for label, score in answer.told)
        elif form == "json":
            print(json_bytes(json.dumps({"file": name, **answer.to_json()}, ensure_ascii=False)).decode())
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
        *time_spent(record),
        *gradients(record.gradients),
        "",
        "what now",
        f"  fireforge export {folder} --form int8",
        f"  fireforge report {folder}",
    ]


def finetuned(record: RunRecord, folder: Path, *, rows: str, seen: str) -> list[str]:
    """Lines of `finetune`."""
    first, *rest = trained(record, folder)
    return [first, f"rows of the last layer: {rows}", seen, *rest]


def prediction(name: str, answer: Classification) -> str:
    """One line of `predict`."""
    told = ", ".join(f"{label} {score:.1%}" for label, score in answer.told)
    shown = " ".join(name.splitlines())
    return f"{shown}  {told}" if answer.accepted else f"{shown}  {NONE_OF_THESE} (best: {told})"


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
    if found.epochs is not None and found.epochs < 1:
        lines.append(
            f"WARNING: trained on {found.epochs:.0%} of one pass over the pictures; a longer --time gives better"
        )
    if found.limits:
        rows = [
            (LIMIT_WORDS[v.name], *limit_words(v.name, v.limit, v.achieved), "yes" if v.met else "NO", v.how)
            for v in found.limits
        ]
        lines += ["", *text_table(("limit", "allowed", "achieved", "met", "how"), rows)]
    file, script = shlex.quote(str(path)), shlex.quote(str(folder / "predict.py"))
    use = f'import fireforge; print(fireforge.load({json.dumps(str(path))}).predict("PICTURE"))'
    return [
        *lines,
        "",
        "what now",
        f"  the file           {file}",
        f"  shell              fireforge predict {file} PICTURE",
        f"  Python             python -c {shlex.quote(use)}",
        f"  ONNX Runtime only  python {script} PICTURE",
        f"  the report         {shlex.quote(str(folder / 'report.html'))}",
    ]


def plan(found: Plan) -> list[str]:
    """Lines of `build --plan`."""
    parts = ", ".join(f"{name} {count:,}" for name, count in found.parts.items())
    low, high = found.per_class
    sizes = ", ".join(f"{high} x {wide}" for high, wide in found.sizes)
    lines = [
        f"found     {found.source}: {found.format}, {len(found.classes)} classes, {found.used:,} pictures"
        f" ({found.found - found.used:,} files skipped), {low:,} to {high:,} training pictures a class",
        f"parts     {parts}; {'as the data gives them' if found.given else 'split by class and seed'}",
        f"pictures  height {_span(found.height_px)} px, width {_span(found.width_px)} px,"
        f" {'gray' if found.channels == 1 else 'colour'} ({found.looked_at} looked at)",
        f"to beat   {', '.join(found.baselines)}",
        f"networks  {found.net or ', '.join(row.space for row in found.spaces)}; inputs {sizes} px;"
        + (" trained alone" if found.net else f" {found.counted} counted, about {found.trained} trainings"),
        "time      " + ", ".join(f"{name} {show_seconds(value)}" for name, value in found.time.to_json().items()),
    ]
    lines += [f"{'TIGHT' if row.tight else 'limit':<9} {row.words}" for row in found.outlook]
    lines += ["", "published results on like data, trained from nothing; no promise, minutes of a CPU give less:"]
    rows = [
        (row.data, row.classes, row.per_class, f"{row.low:.1%}", f"{row.high:.1%}", row.what, row.source)
        for row in found.usual
    ]
    return [*lines, *text_table(("data", "classes", "a class", "from", "to", "by", "source"), rows)]


def _beside_baseline(found: Answer) -> list[str]:
    """The best baseline beside the answer, both on validation, and a warning where the network is worse."""
    base, own = found.baseline, found.on_validation()
    if base is None:
        return []
    if own is None:
        return [f"baseline {base.name}: {base.accuracy:.1%} on validation"]
    lines = [f"on validation: {own:.1%}; baseline {base.name}: {base.accuracy:.1%}"]
    if found.instead:
        simpler = found.instead
        figures = f"{simpler.accuracy:.1%} on validation, {show_bytes(simpler.bytes)}"
        figures += "" if simpler.latency_ms is None else f", {simpler.latency_ms:.2f} ms"
        lines.append(f"SIMPLER: {simpler.name} needs no search, meets all limits and is no worse: {figures}")
    elif found.beaten_by():
        lines.append(f"WARNING: {base.name} needs no search and is better here; a longer --time may mend it")
    return lines


def _span(three: tuple[int, int, int]) -> str:
    return str(three[0]) if three[0] == three[2] else f"{three[0]} to {three[2]} (median {three[1]})"
