# SPDX-License-Identifier: Apache-2.0
"""verify: does a file do, from image bytes to label, what its own network does in plain numpy?"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fireforge.base.errors import Exit, FireforgeError
from fireforge.base.files import read_json, sha256_of_file
from fireforge.base.golden import INPUTS, Golden, array_digest, weights_digest
from fireforge.base.journal import Journal
from fireforge.base.meaning import meaning, must_hold
from fireforge.base.model import Model
from fireforge.base.parity import ParityReport
from fireforge.base.pixels import encode_png
from fireforge.base.preprocess import ImageSteps
from fireforge.base.rng import golden_bytes
from fireforge.data.check import look
from fireforge.data.open import open_dataset
from fireforge.importers.onnx_file import import_onnx
from fireforge.jobs.program import with_program
from fireforge.jobs.scene import encoded
from fireforge.runtime.executed import READER, execute_fresh
from fireforge.runtime.parity import Reference
from fireforge.runtime.parity import verify as compare
from fireforge.runtime.predictor import RESULT, load, model_file

MOST = 200
SEALS = {
    "weights": "weights are not those that its digest tells",
    "model": "holds other numbers than the model that was written",
    "file": "sha256 is not the one that the run's folder tells",
    "postprocess": "reads its outputs otherwise than the model that was written",
}


@dataclass(frozen=True, kw_only=True)
class Source:
    """What a file was made of, for whom it is still in memory.

    Args:
      trained: the network before any stage, which a float file is held to.
      model: what was written: its card and its numbers must be the file's, and an int8 file is held to its plan.
    """

    trained: Model
    model: Model

    def reference(self) -> Reference:
        """The numpy meaning that the file is held to; no part of it went through the exporter."""
        graph, arrays = meaning(self.trained if self.model.quant is None else self.model)
        return Reference(graph=graph, arrays=arrays, card=self.model.card)


def verify(model: str | Path, data: str | None = None, *, pictures: int = MOST) -> ParityReport:
    """Hold a file against the numpy reference of its own graph, its golden outputs and its digest.

    In a run's folder its sha256 is held against what result.json and the record say of it as well.

    Args:
      model: an exported file or a run's folder.
      data: pictures to verify on; None for the generated golden inputs alone.
      pictures: how many of them at most.

    Returns:
      The report, also where it did not pass; `refusal` makes an error of it.
    """
    path = model_file(model)
    shown, skipped = shown_pictures(data, load(path).card.preprocess.steps(), most=pictures)
    return verify_file(path, shown, sha256=_told(path)).replace(skipped=skipped)


def shown_pictures(data: str | None, steps: ImageSteps, *, most: int = MOST) -> tuple[list[bytes], int]:
    """What a file is verified on.

    Args:
      data: a dataset, of which pictures are taken evenly; None for the generated golden inputs.
      steps: of the file's preprocessing.
      most: pictures of the dataset.

    Returns:
      Image files' bytes, at least one; and how many that were taken cannot be read.

    Raises:
      FireforgeError: the first picture's own error, if none can be read.
    """
    if data is None:
        return generated(steps), 0
    dataset = open_dataset(data)
    ids = np.linspace(0, len(dataset.samples) - 1, min(most, len(dataset.samples))).astype(int)
    shown: list[bytes] = []
    errors: list[FireforgeError] = []
    for i in ids:
        try:
            look(dataset.read(int(i)), where=dataset.where(int(i)), full=True)
        except FireforgeError as error:
            errors.append(error)
        else:
            shown.append(encoded(dataset, int(i)))
    if errors and not shown:
        raise errors[0]
    return shown, len(errors)


def verify_file(
    path: Path,
    pictures: Sequence[bytes],
    *,
    source: Source | None = None,
    sha256: Sequence[str] = (),
    reader: str = READER,
) -> ParityReport:
    """Hold one file, as its own reader executes it in a fresh process, against its numpy reference; predict.py as well.

    Args:
      path: an ONNX file with a fireforge tag.
      pictures: image files' bytes, at least one.
      source: what the file was made of, and is held to; None to hold it to its own graph and card.
      sha256: what is said of the file elsewhere; it must have each of them.
      reader: the module that executes the file.

    Returns:
      The report, also where it did not pass.
    """
    executed = execute_fresh(path, pictures, reader=reader)
    graph, arrays, tag = import_onnx(path)
    seals = {"weights": tag is not None and tag.weights == weights_digest(arrays.values())}
    if source is not None:
        seals["model"] = must_hold(source.model) <= {array_digest(array) for array in arrays.values()}
    if sha256:
        seals["file"] = set(sha256) == {sha256_of_file(path)}
    golden = Golden.from_json(tag.golden) if tag is not None and tag.golden else None
    own = Reference(graph=graph, arrays=arrays, card=executed.card if tag is None else tag.card)
    reference = dataclasses.replace(own if source is None else source.reference(), held=(graph, arrays))
    report = compare(executed, reference, pictures, golden=golden, seals=seals, model=str(path))
    return with_program(report, path, pictures, executed)


def refusal(report: ParityReport) -> FireforgeError:
    """The error of a report that did not pass: PARITY with exit code 5, naming the first stage that differs."""
    taps = {tap.tap: tap for tap in report.taps}
    blamed = taps.get(report.blame)
    differs = f"differs by {blamed.difference:.3g}" if blamed else f"agree on only {report.agreement:.2%}"
    allowed = f"up to {blamed.bound:.3g}" if blamed else f"at least {report.least_agreement:.2%}"
    allowed = "" if report.blame in SEALS else allowed
    said = f" ({report.error})" if report.error else ""
    return FireforgeError(
        "PARITY",
        SEALS.get(report.blame) or f"{report.blame} {differs}{said}",
        where=report.model,
        allowed=allowed,
        do="do not use this file",
        exit_code=Exit.PARITY,
    )


def _told(path: Path) -> list[str]:
    """The sha256s that a run's folder gives of a file in it: its result's, and that of the newest export."""
    journal = Journal(path.parent / "record.jsonl")
    entries = [e.value for e in journal.read() if e.type == "export" and e.value.get("path") == path.name]
    found = [entry["sha256"] for entry in entries[-1:] if entry.get("sha256")]
    if journal.path.exists() and (path.parent / RESULT).exists():
        result = read_json(path.parent / RESULT)
        model = result.get("model") if isinstance(result, dict) else None
        if isinstance(model, dict) and model.get("path") == path.name and model.get("sha256"):
            found.append(model["sha256"])
    return found


def generated(steps: ImageSteps) -> list[bytes]:
    """The golden inputs as PNG files, of a network's input size.

    Args:
      steps: of its preprocessing.

    Returns:
      The bytes of each file.
    """
    arrays = [golden_bytes(i, (steps.channels, *steps.crop)) for i in range(INPUTS)]
    return [encode_png(array[0] if steps.channels == 1 else array.transpose(1, 2, 0)) for array in arrays]
