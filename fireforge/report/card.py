# SPDX-License-Identifier: Apache-2.0
"""README.md: the model card, Markdown with YAML in front for the places where models are shared."""

from __future__ import annotations

import json
from pathlib import Path, PurePath

import fireforge.report.show as show
from fireforge.base.files import write_text
from fireforge.base.value import Json
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
      FireforgeError: NO_RUN, BAD_RECORD or BAD_JSON, if there is no whole record; CANNOT_WRITE.
    """
    run = read_run(run_folder)
    model = ((run.answer or {}).get("model") or {}).get("path")
    evaluation = next((row for row in run.evaluations if row.get("model") == model), None)
    text = model_card(run.answer or {}, run.start, evaluation=evaluation)
    return write_text(run.folder / "README.md", text)


def model_card(
    answer: dict[str, Json],
    start: dict[str, Json],
    *,
    evaluation: dict[str, Json] | None = None,
    licence: str = "unknown",
) -> str:
    """The card of an answer.

    Args:
      answer: the content of result.json; {} where there is none yet.
      start: the record's first entry; {} where it is missing.
      evaluation: of the answer's file on the test part.
      licence: of the weights, in SPDX's words.

    Returns:
      Markdown; what the record lacks is said to be missing.
    """
    data = start.get("dataset") or {}
    source = PurePath(str(data.get("source") or (start.get("data") or {}).get("source") or "unknown")).name or "unknown"
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
        "## Limits that were set",
        *_limits(answer),
        "## Where it fits and where not",
        _fit(data),
        "## Made by",
        *_made(answer, start),
    ]
    return "\n\n".join(block for block in blocks if block) + "\n"


def _front(answer: dict[str, Json], source: str, licence: str) -> str:
    """YAML front matter; each text is quoted as JSON, which YAML reads."""
    form = (answer.get("model") or {}).get("form")
    tags = ["image-classification", "onnx", "fireforge", *([form] if form else [])]
    lines = ["---", f"license: {_quoted(licence)}", "library_name: onnxruntime", "pipeline_tag: image-classification"]
    lines += ["tags:", *(f"- {_quoted(word)}" for word in tags)]
    lines += ["datasets:", f"- {_quoted(source)}", "metrics:", "- accuracy"]
    accuracy = (answer.get("test") or {}).get("accuracy")
    if accuracy is not None:
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
            f"      value: {accuracy!r}",
        ]
    return "\n".join([*lines, "---"])


def _summary(answer: dict[str, Json]) -> str:
    if not answer:
        return "**The run has no answer yet.**"
    model, test, measured = (answer.get(key) or {} for key in ("model", "test", "measured"))
    rows: list[tuple[Cell, ...]] = [
        ("File", str(model.get("path", show.NONE))),
        ("Size", show.bytes_words(model.get("bytes"))),
        ("Numbers", str(model.get("form", show.NONE))),
        ("Test accuracy", show.percent_interval(test.get("accuracy"), test.get("interval"))),
        ("Latency, batch 1, one thread", show.milliseconds(measured.get("latency_ms"))),
        ("Peak memory above the bare process", show.bytes_words(measured.get("memory_bytes"))),
        ("Network", show.spec_words(answer.get("spec") or {})),
        ("Parameters", show.count((answer.get("cost") or {}).get("params"))),
        ("Multiply-adds an image", show.compact((answer.get("cost") or {}).get("macs"))),
    ]
    lines = markdown_table(("Property", "Value"), rows)
    if not answer.get("feasible", True):
        lines = [f"**Infeasible: {markdown_escape(str(answer.get('infeasible_because', '')))}**", "", *lines]
    return "\n".join(lines)


def _usage(answer: dict[str, Json]) -> str:
    path = (answer.get("model") or {}).get("path")
    if not path:
        return "There is no file to use yet."
    name = PurePath(str(path)).name
    return f'```python\nimport fireforge\n\nmodel = fireforge.load("{name}")\nprint(model.predict("picture.png"))\n```'


def _data(data: dict[str, Json], source: str) -> str:
    if not data:
        return "The record does not describe the data."
    labels = [markdown_escape(str(label)) for label in data.get("labels") or []]
    counts = {part: sum(numbers) for part, numbers in (data.get("counts") or {}).items()}
    told = ", ".join(f"{count:,} {part}" for part, count in counts.items()) or "not counted"
    classes = f": {', '.join(labels)}" if 0 < len(labels) <= MOST_LABELS else ""
    skipped = ", ".join(f"{count:,} {code}" for code, count in (data.get("skipped") or {}).items()) or "none"
    return "\n".join(
        (
            f"- Source: {markdown_escape(source)}",
            f"- Pictures: {told}",
            f"- Found {show.count(data.get('found'))}, used {show.count(data.get('used'))}, skipped: {skipped}",
            f"- {len(labels):,} classes{classes}",
        )
    )


def _test(answer: dict[str, Json], evaluation: dict[str, Json] | None) -> list[str]:
    test = answer.get("test") or {}
    if test.get("accuracy") is None:
        return ["No file has been evaluated on the test part."]
    accuracy = show.percent_interval(test["accuracy"], test.get("interval"))
    baseline = answer.get("baseline") or {}
    told = f"{accuracy} of {show.count(test.get('n'))} pictures that played no part in any choice."
    if baseline.get("accuracy") is not None:
        name = markdown_escape(str(baseline.get("name", "?")))
        told += f" Best baseline, on the validation part: {name}, {show.percent(baseline['accuracy'])}."
    scores, labels = (evaluation or {}).get("per_class") or {}, (evaluation or {}).get("labels") or []
    if not all(len(scores.get(key) or []) == len(labels) > 0 for key in ("precision", "recall", "support")):
        return [told]
    rows = [
        (str(label), show.percent(scores["precision"][i]), show.percent(scores["recall"][i]), scores["support"][i])
        for i, label in enumerate(labels[:MOST_LABELS])
    ]
    return [told, "\n".join(markdown_table(("Class", "Precision", "Recall", "Pictures"), rows))]


def _limits(answer: dict[str, Json]) -> list[str]:
    limits = answer.get("limits") or []
    if not limits:
        return ["None." if answer else "Not judged yet."]
    rows = []
    for verdict in limits:
        limit, achieved = show.limit_words(verdict["name"], verdict["limit"], verdict["achieved"])
        met = "not measured" if verdict["achieved"] is None else "yes" if verdict["met"] else "no"
        rows.append((show.LIMIT_WORDS.get(verdict["name"], verdict["name"]), limit, achieved, met, verdict["how"]))
    return ["\n".join(markdown_table(("Limit", "Allowed", "Achieved", "Met", "How it was measured"), rows))]


def _fit(data: dict[str, Json]) -> str:
    shape = data.get("input")
    colour = "in gray" if shape and shape[0] == 1 else "in colour"
    size = f" It sees every picture as {shape[1]} × {shape[2]} pixels {colour}." if shape else ""
    return (
        "The numbers hold for pictures like those of the data above: of the same classes, taken in the same way."
        f"{size} It always answers with one of its classes, also for a picture of none of them."
    )


def _made(answer: dict[str, Json], start: dict[str, Json]) -> list[str]:
    command = answer.get("command") or start.get("command")
    versions = answer.get("versions") or start.get("versions") or {}
    lines = [f"    {' '.join(str(command).split())}"] if command else ["The record holds no command."]
    facts = [f"Seed {start['seed']}."] if "seed" in start else []
    facts += [", ".join(f"{package} {version}" for package, version in versions.items()) + "."] if versions else []
    return [*lines, " ".join(facts)]


def _quoted(text: str) -> str:
    return json.dumps(text)
