# SPDX-License-Identifier: Apache-2.0
"""README.md: the model card, Markdown with YAML in front for the places where models are shared."""

from __future__ import annotations

import json
from pathlib import Path, PurePath

import fireforge.report.show as show
from fireforge.base.answer import Answer
from fireforge.base.calibration import Calibration
from fireforge.base.datacard import DataCard
from fireforge.base.evaluation import Evaluation
from fireforge.base.files import write_text
from fireforge.base.start import Start
from fireforge.report.run import read_run
from fireforge.report.table import Cell, markdown_escape, markdown_table

MOST_LABELS = 100  # more are told as a number


def write_card(run_folder: str | Path) -> Path:
    """Write README.md beside a run's record, finished or not.

    Args:
      run_folder: holds record.jsonl.

    Returns:
      The card's path.

    Raises:
      FireforgeError: NO_RUN or BAD_RECORD, if there is no whole record; CANNOT_WRITE.
    """
    run = read_run(run_folder)
    text = model_card(run.answer, run.start, evaluation=run.evaluation(), calibration=run.calibration)
    return write_text(run.folder / "README.md", text)


def model_card(
    answer: Answer | None,
    start: Start | None,
    *,
    evaluation: Evaluation | None = None,
    calibration: Calibration | None = None,
    licence: str = "unknown",
) -> str:
    """The card of an answer.

    Args:
      answer: the content of result.json; None where there is none yet.
      start: the record's first entry; None where it is missing.
      evaluation: of the answer's file on the test part.
      calibration: of its scores, on the validation part.
      licence: of the weights, in SPDX's words.

    Returns:
      Markdown; what the record lacks is said to be missing.
    """
    data = start.dataset if start else None
    source = (PurePath(data.source).name if data else "") or "unknown"
    blocks = [
        _front(answer, source, licence),
        f"# Image classifier: {markdown_escape(source)}",
        _summary(answer),
        "## Use",
        _usage(answer),
        "## Data",
        _data(data, source),
        "## Test",
        *_test(answer, evaluation),
        "## Scores",
        _scores(calibration, evaluation),
        "## Limits that were set",
        *_limits(answer),
        "## Where it fits and where not",
        _fit(data, calibration),
        "## Made by",
        *_made(answer, start),
    ]
    return "\n\n".join(block for block in blocks if block) + "\n"


def _front(answer: Answer | None, source: str, licence: str) -> str:
    """YAML front matter; each text is quoted as JSON, which YAML reads."""
    tags = ["image-classification", "onnx", "fireforge", *([answer.model.form] if answer else [])]
    lines = ["---", f"license: {_quoted(licence)}", "library_name: onnxruntime", "pipeline_tag: image-classification"]
    lines += ["tags:", *(f"- {_quoted(word)}" for word in tags)]
    lines += ["datasets:", f"- {_quoted(source)}", "metrics:", "- accuracy"]
    if answer:
        lines += [
            "model-index:",
            f"- name: {_quoted(source)}",
            "  results:",
            "  - task:",
            "      type: image-classification",
            "    dataset:",
            f"      name: {_quoted(source)}",
            f"      type: {_quoted(source)}",
            "      split: test",
            "    metrics:",
            "    - type: accuracy",
            f"      value: {answer.test.accuracy!r}",
        ]
    return "\n".join([*lines, "---"])


def _summary(answer: Answer | None) -> str:
    if answer is None:
        return "**The run has no answer yet.**"
    rows: list[tuple[Cell, ...]] = [
        ("File", answer.model.path),
        ("Size", show.bytes_words(answer.model.bytes)),
        ("Numbers", answer.model.form),
        ("Test accuracy", show.percent_interval(answer.test.accuracy, answer.test.interval)),
        ("Latency, batch 1, one thread", show.milliseconds(answer.measured.latency_ms)),
        ("Peak memory above the bare process", show.bytes_words(answer.measured.memory_bytes)),
        ("Energy of a prediction", _energy(answer)),
        ("Network", show.spec_words(answer.spec)),
        ("Parameters", show.count(answer.cost.params if answer.cost else None)),
        ("Multiply-adds an image", show.compact(answer.cost.macs if answer.cost else None)),
    ]
    lines = markdown_table(("Property", "Value"), rows)
    better = answer.beaten_by()
    if better is not None:
        told = f"{markdown_escape(better.name)} needs no search and is better on the validation part"
        lines = [f"**Warning: {told}.**", "", *lines]
    if not answer.feasible:
        lines = [f"**Infeasible: {markdown_escape(answer.infeasible_because)}**", "", *lines]
    return "\n".join(lines)


def _energy(answer: Answer) -> str:
    """With its origin: an estimate is called one."""
    energy_mj = answer.measured.energy_mj
    if energy_mj is None:
        return show.NONE
    counted = answer.measured.how.get("energy_mj", "").startswith("counter")
    return f"{show.millijoules(energy_mj)}, {'by a counter' if counted else 'estimated, a lower bound'}"


def _usage(answer: Answer | None) -> str:
    if answer is None:
        return "There is no file to use yet."
    name = PurePath(answer.model.path).name
    return f'```python\nimport fireforge\n\nmodel = fireforge.load("{name}")\nprint(model.predict("picture.png"))\n```'


def _data(data: DataCard | None, source: str) -> str:
    if data is None:
        return "The record does not describe the data."
    labels = [markdown_escape(label) for label in data.labels]
    order = [part for part in ("train", "val", "test") if part in data.counts]
    told = ", ".join(f"{sum(data.counts[part]):,} {part}" for part in order) or "not counted"
    classes = f": {', '.join(labels)}" if 0 < len(labels) <= MOST_LABELS else ""
    skipped = ", ".join(f"{count:,} {code}" for code, count in data.skipped.items()) or "none"
    return "\n".join(
        (
            f"- Source: {markdown_escape(source)}",
            f"- Pictures: {told}",
            f"- Found {show.count(data.found)}, used {show.count(data.used)}, skipped: {skipped}",
            f"- {len(labels):,} classes{classes}",
        )
    )


def _test(answer: Answer | None, evaluation: Evaluation | None) -> list[str]:
    if answer is None:
        return ["No file has been evaluated on the test part."]
    accuracy = show.percent_interval(answer.test.accuracy, answer.test.interval)
    told = f"{accuracy} of {show.count(answer.test.n)} pictures that played no part in any choice."
    if answer.baseline is not None:
        name, own = markdown_escape(answer.baseline.name), answer.on_validation()
        told += f" Best baseline, on the validation part: {name}, {show.percent(answer.baseline.accuracy)}"
        told += "." if own is None else f"; the network has {show.percent(own)} there."
    if evaluation is None:
        return [told]
    scores = evaluation.per_class
    rows = [
        (label, show.percent(scores.precision[i]), show.percent(scores.recall[i]), show.count(scores.support[i]))
        for i, label in enumerate(evaluation.labels[:MOST_LABELS])
    ]
    return [told, "\n".join(markdown_table(("Class", "Precision", "Recall", "Pictures"), rows))]


def _scores(fit: Calibration | None, evaluation: Evaluation | None) -> str:
    """What a score means, and which answers are refused."""
    if fit is None:
        return "The scores were not calibrated: one of 90 % may be right more or less often than nine times in ten."
    lines = [
        f"- Temperature {fit.temperature:.4g}, fitted on {show.count(fit.n)} validation pictures; expected calibration "
        f"error there {show.percent(fit.ece_after, digits=2)}, without it {show.percent(fit.ece_before, digits=2)}",
    ]
    if evaluation is not None:
        lines.append(
            f"- Expected calibration error on the {evaluation.part} part {show.percent(evaluation.ece, digits=2)}"
        )
    kept, right = show.percent(fit.kept_right), show.percent(fit.accuracy_accepted)
    lines.append(
        f'- An answer below {show.percent(fit.threshold)} is "none of these"; {kept} of the right answers stay, '
        f"and of all that stay {right} are right"
    )
    return "\n".join(lines)


def _limits(answer: Answer | None) -> list[str]:
    if answer is None or not answer.limits:
        return ["None." if answer else "Not judged yet."]
    rows = []
    for verdict in answer.limits:
        limit, achieved = show.limit_words(verdict.name, verdict.limit, verdict.achieved)
        met = "not measured" if verdict.achieved is None else "yes" if verdict.met else "no"
        rows.append((show.LIMIT_WORDS.get(verdict.name, verdict.name), limit, achieved, met, verdict.how))
    return ["\n".join(markdown_table(("Limit", "Allowed", "Achieved", "Met", "How it was measured"), rows))]


def _fit(data: DataCard | None, fit: Calibration | None) -> str:
    size = ""
    if data is not None:
        channels, high, wide = data.input
        size = f" It sees every picture as {high} × {wide} pixels {'in gray' if channels == 1 else 'in colour'}."
    other = " It always answers with one of its classes, also for a picture of none of them."
    if fit is not None and fit.threshold > 0:
        tried = " and ".join(f"{show.percent(share)} of {kind}" for kind, share in fit.refused.items())
        other = " A picture of none of its classes may still get one of them as its answer"
        other += f"; of such pictures it refused {tried}." if tried else "."
    return (
        "The numbers hold for pictures like those of the data above: of the same classes, taken in the same way."
        f"{size}{other}"
    )


def _made(answer: Answer | None, start: Start | None) -> list[str]:
    command = (answer.command if answer else "") or (start.command if start else "")
    known = answer or start
    lines = [f"    {' '.join(command.split())}"] if command else ["The record holds no command."]
    facts = [f"Seed {start.seed}."] if start else []
    if known and known.versions:
        facts.append(", ".join(f"{package} {version}" for package, version in known.versions.items()) + ".")
    return [*lines, " ".join(facts)]


def _quoted(text: str) -> str:
    return json.dumps(text)
