# SPDX-License-Identifier: Apache-2.0
"""How to use the answer, and where it comes from."""

from __future__ import annotations

import shlex
from pathlib import Path, PurePath

import fireforge.report.parts as parts
from fireforge.base.answer import Answer
from fireforge.base.machine import Hardware
from fireforge.base.preprocess import ImageSteps, Preprocess
from fireforge.base.units import show_bytes, show_seconds
from fireforge.base.value import Json, canonical_json
from fireforge.report.markup import Markup, tag
from fireforge.report.run import RECORD, Run

MOST_ITEMS = 4  # of a choice that is a list
DIGEST = 64  # letters of a sha256
MOST_LABELS = 20  # more are not written into the listing
FILTERS = {"nearest": "NEAREST", "bilinear": "BILINEAR", "bicubic": "BICUBIC", "lanczos": "LANCZOS"}


def how_to_use(run: Run) -> Markup:
    """Five listings: command, Python, ONNX Runtime alone, evaluation, this report."""
    if run.answer is None:
        gap = parts.missing("There is no answer to use yet. The same command on the same folder goes on with the run.")
        return parts.section("use", "How to use it", gap, _resume(run))
    path = model_path(run.folder, run.answer)
    source = run.start.data.source if run.start else "DATA"
    trial = run.chosen()
    data = run.dataset()
    labels = list(data.labels) if data else []
    python = f'import fireforge\n\nmodel = fireforge.load({path!r})\nprint(model.predict("picture.png"))'
    listings = [
        parts.code(f"fireforge predict {shlex.quote(path)} picture.png", "Command line"),
        parts.code(python, "Python"),
    ]
    if trial is not None and trial.trial.preprocess.image is not None:
        alone = onnx_listing(path, trial.trial.preprocess, labels)
        listings.append(parts.code(alone, "ONNX Runtime, without fireforge"))
    else:
        listings.append(parts.missing("Without the chosen trial's preprocessing there is no listing for ONNX Runtime."))
    listings += [
        parts.code(f"fireforge evaluate {shlex.quote(path)} {shlex.quote(source)}", "Evaluate on labelled pictures"),
        parts.code(f"fireforge report {shlex.quote(str(run.folder))}", "Write this page again from the record"),
    ]
    return parts.section("use", "How to use it", listings)


def model_path(folder: Path, answer: Answer) -> str:
    """The answer's file as a path that works where the run folder's does."""
    path = PurePath(answer.model.path)
    if path.is_absolute() or path.parts[: len(folder.parts)] == folder.parts:
        return str(path)
    return str(folder / path)


def onnx_listing(path: str, preprocess: Preprocess, labels: list[str]) -> str:
    """Python that runs the file with ONNX Runtime, Pillow and numpy alone; for opaque 8-bit pictures.

    Args:
      path: of the model.
      preprocess: of kind "image".
      labels: class names; more than MOST_LABELS are left out.

    Returns:
      The program's text.
    """
    steps = preprocess.steps()
    mean, std = (", ".join(repr(value) for value in values) for values in (steps.mean, steps.std))
    answer = f"{labels!r}[scores.argmax()]" if 0 < len(labels) <= MOST_LABELS else "scores.argmax()"
    return "\n".join(
        (
            "import numpy as np",
            "import onnxruntime",
            "from PIL import Image, ImageOps",
            "",
            'picture = ImageOps.exif_transpose(Image.open("picture.png"))' + f'.convert("{_mode(steps)}")',
            *_resize_lines(steps),
            *_pixel_lines(steps),
            f"x = (pixels - np.float32([{mean}])) / np.float32([{std}])",
            f"session = onnxruntime.InferenceSession({path!r})",
            f"scores = session.run(None, {{{preprocess.input!r}: x.transpose(2, 0, 1)[None]}})[0][0]",
            f"print({answer})",
        )
    )


def _mode(steps: ImageSteps) -> str:
    return "L" if steps.channels == 1 else "RGB"


def _resize_lines(steps: ImageSteps) -> list[str]:
    how = f"Image.Resampling.{FILTERS[steps.filter]}"
    if steps.resize is None:
        return []
    if isinstance(steps.resize, int):
        side = steps.resize
        return [
            "short = min(picture.size)",
            f"size = [max(1, (side * {side} + short // 2) // short) for side in picture.size]",
            f"picture = picture.resize(size, {how})",
        ]
    return [f"picture = picture.resize(({steps.resize[1]}, {steps.resize[0]}), {how})"]


def _pixel_lines(steps: ImageSteps) -> list[str]:
    high, wide = steps.crop
    lines = [f"pixels = np.asarray(picture, np.float32).reshape(picture.height, picture.width, {steps.channels})"]
    if steps.resize != steps.crop:
        lines += [
            f"top, left = (picture.height - {high}) // 2, (picture.width - {wide}) // 2",
            f"pixels = pixels[top : top + {high}, left : left + {wide}]",
        ]
    return [*lines, "pixels = pixels[:, :, ::-1]"] if steps.order == "BGR" else lines


def _resume(run: Run) -> Markup | None:
    command = run.start.command if run.start else ""
    return parts.code(command, "Go on with the run") if command else None


def provenance(run: Run) -> Markup:
    """Command, seed, versions, machine, data and record: what is needed to get this again."""
    start, answer = run.start, run.answer
    known = answer or start
    command = (answer.command if answer else "") or (start.command if start else "")
    rows: list[tuple[str, object]] = [
        ("Command", tag("code", command) if command else ""),
        *(("Went on with", tag("code", row.command)) for row in run.longer if row.command),
        ("Started from", tag("code", run.earlier.run) if run.earlier else ""),
        ("Seed", str(start.seed) if start else ""),
        ("Took", show_seconds(answer.seconds) if answer else ""),
        ("Versions", ", ".join(f"{package} {version}" for package, version in known.versions.items()) if known else ""),
        ("Machine", _machine(known.hardware) if known else ""),
        ("Data sha256", tag("code", start.data.sha256) if start and start.data.sha256 else ""),
        ("Model sha256", tag("code", answer.model.sha256) if answer and answer.model.sha256 else ""),
        ("Record", tag("code", str(run.folder / RECORD))),
        ("Record sha256", tag("code", run.sha256)),
    ]
    gap = None if start else parts.missing("The record does not hold how the run was started.")
    return parts.section("provenance", "Provenance", gap, parts.pairs(rows), _again(run), _choices(run))


def _machine(hardware: Hardware) -> str:
    told = [f"{hardware.processor} ({hardware.architecture})", f"{hardware.cores} cores"]
    told += [show_bytes(hardware.memory_bytes)] if hardware.memory_bytes else []
    told += [*hardware.instructions, hardware.system, hardware.accelerator]
    return ", ".join(part for part in told if part)


def _again(run: Run) -> Markup | None:
    """How the same build is done once more; None for a run that is no build, or has not ended."""
    if run.answer is None or run.start is None or run.start.budget is None:
        return None
    source, folder = shlex.quote(run.start.data.source), str(run.folder)
    replay = f"fireforge build {source} --replay {shlex.quote(folder)} --out {shlex.quote(folder + '-again')}"
    return parts.code(replay, "Get it again, with the same choices and so the same weights")


def _value(value: Json) -> str:
    """A choice as JSON; long lists and digests are cut."""
    if isinstance(value, str):
        return _cut(value)
    if isinstance(value, list) and len(value) > MOST_ITEMS:
        first = ", ".join(_value(item) for item in value[:MOST_ITEMS])
        return f"{first}, … ({len(value):,} in all)"
    return _cut(canonical_json(value), 120)


def _cut(text: str, most: int = 60) -> str:
    if len(text) == DIGEST and set(text) <= set("0123456789abcdef"):
        return text[:8]
    return text if len(text) <= most else text[: most - 1] + "…"


def _choices(run: Run) -> Markup | None:
    if not run.choices:
        return None
    rows = [(choice.name, tag("span", _value(choice.value), class_="value"), choice.why) for choice in run.choices]
    table = parts.table(("Choice", "Value", "Why"), rows, words=(0, 1, 2), tall=True)
    return tag("div", tag("h3", "Choices made by the clock"), table)
