# SPDX-License-Identifier: Apache-2.0
"""How to use the answer, and where it comes from."""

from __future__ import annotations

import shlex
from pathlib import PurePath

import fireforge.report.parts as parts
from fireforge.base.preprocess import ImageSteps, Preprocess
from fireforge.base.units import show_bytes, show_seconds
from fireforge.base.value import Json, canonical_json
from fireforge.report.markup import Markup, tag
from fireforge.report.run import RECORD, Run

MOST_LABELS = 20  # more are not written into the listing
FILTERS = {"nearest": "NEAREST", "bilinear": "BILINEAR", "bicubic": "BICUBIC", "lanczos": "LANCZOS"}


def how_to_use(run: Run) -> Markup:
    """Five listings: command, Python, ONNX Runtime alone, evaluation, this report."""
    if run.answer is None or not (run.answer.get("model") or {}).get("path"):
        gap = parts.missing("There is no answer to use yet. The same command on the same folder goes on with the run.")
        return parts.section("use", "How to use it", gap, _resume(run))
    path = model_path(run)
    source = str((run.start.get("data") or {}).get("source") or "DATA")
    trial = run.chosen()
    labels = [str(label) for label in run.dataset().get("labels") or []]
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


def model_path(run: Run) -> str:
    """The answer's file as a path that works where the run folder's does."""
    path = PurePath(str(((run.answer or {}).get("model") or {}).get("path", "")))
    if path.is_absolute() or path.parts[: len(run.folder.parts)] == run.folder.parts:
        return str(path)
    return str(run.folder / path)


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
    command = run.start.get("command")
    return parts.code(str(command), "Go on with the run") if command else None


def provenance(run: Run) -> Markup:
    """Command, seed, versions, machine, data and record: what is needed to get this again."""
    answer = run.answer or {}
    hardware = answer.get("hardware") or run.start.get("hardware") or {}
    versions = answer.get("versions") or run.start.get("versions") or {}
    data, model = run.start.get("data") or {}, answer.get("model") or {}
    command = answer.get("command") or run.start.get("command")
    rows: list[tuple[str, object]] = [
        ("Command", tag("code", command) if command else ""),
        ("Seed", str(run.start.get("seed", ""))),
        ("Took", show_seconds(answer["seconds"]) if answer.get("seconds") is not None else ""),
        ("Versions", ", ".join(f"{package} {version}" for package, version in versions.items())),
        ("Machine", _machine(hardware)),
        ("Data sha256", tag("code", data["sha256"]) if data.get("sha256") else ""),
        ("Model sha256", tag("code", model["sha256"]) if model.get("sha256") else ""),
        ("Record", tag("code", str(run.folder / RECORD))),
        ("Record sha256", tag("code", run.sha256)),
    ]
    gap = None if run.start else parts.missing("The record does not hold how the run was started.")
    return parts.section("provenance", "Provenance", gap, parts.pairs(rows), _choices(run))


def _machine(hardware: dict[str, Json]) -> str:
    if not hardware:
        return ""
    told = [f"{hardware.get('processor', '?')} ({hardware.get('architecture', '?')})"]
    told.append(f"{hardware.get('cores', '?')} cores")
    if hardware.get("memory_bytes"):
        told.append(show_bytes(hardware["memory_bytes"]))
    told += [*(hardware.get("instructions") or []), hardware.get("system", ""), hardware.get("accelerator", "")]
    return ", ".join(str(part) for part in told if part)


def _choices(run: Run) -> Markup | None:
    if not run.choices:
        return None
    rows = [(row.get("name", "?"), canonical_json(row.get("value")), row.get("why", "")) for row in run.choices]
    table = parts.table(("Choice", "Value", "Why"), rows, words=(0, 1, 2), tall=True)
    return tag("div", tag("h3", "Choices made by the clock"), table)
