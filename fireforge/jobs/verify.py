# SPDX-License-Identifier: Apache-2.0
"""verify: does a file do, from image bytes to label, what its own network does in plain numpy?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fireforge.base.errors import Exit, FireforgeError
from fireforge.base.golden import INPUTS, Golden
from fireforge.base.model import Card
from fireforge.base.pixels import encode_png
from fireforge.base.preprocess import ImageSteps
from fireforge.base.rng import golden_bytes
from fireforge.data.open import open_dataset
from fireforge.importers.onnx_file import import_onnx
from fireforge.jobs.scene import encoded
from fireforge.runtime.parity import ParityReport, Reference
from fireforge.runtime.parity import verify as compare
from fireforge.runtime.predictor import load, model_file

MOST = 200


def verify(model: str | Path, data: str | None = None, *, pictures: int = MOST) -> ParityReport:
    """Hold a file against the numpy reference of its own graph.

    Args:
      model: an exported file or a run's folder.
      data: pictures to verify on; None for the generated golden inputs alone.
      pictures: how many of them at most.

    Returns:
      The report.

    Raises:
      FireforgeError: PARITY with exit code 5, if a stage differs by more than its bound.
    """
    path = model_file(model)
    if data is None:
        return verify_file(path, _generated(load(path).card.preprocess.steps()))
    dataset = open_dataset(data)
    ids = np.linspace(0, len(dataset.samples) - 1, min(pictures, len(dataset.samples))).astype(int)
    return verify_file(path, [encoded(dataset, int(i)) for i in ids])


def verify_file(path: Path, pictures: Sequence[bytes], *, card: Card | None = None) -> ParityReport:
    """Hold one file against its numpy reference.

    Args:
      path: an ONNX file with a fireforge tag.
      pictures: image files' bytes, at least one.
      card: what the file should say of preprocessing and labels; None to believe the file.

    Returns:
      The report, which passed.

    Raises:
      FireforgeError: PARITY with exit code 5.
    """
    predictor = load(path)
    graph, arrays, tag = import_onnx(path)
    golden = Golden.from_json(tag.golden) if tag is not None and tag.golden else None
    reference = Reference(graph=graph, arrays=arrays, card=card or predictor.card)
    report = compare(predictor, reference, pictures, golden=golden, model=str(path))
    if not report.passed:
        raise _refusal(report)
    return report


def _refusal(report: ParityReport) -> FireforgeError:
    taps = {tap.tap: tap for tap in report.taps}
    blamed = taps.get(report.blame)
    differs = f"differs by {blamed.difference:.3g}" if blamed else f"agree on only {report.agreement:.2%}"
    return FireforgeError(
        "PARITY",
        f"{report.blame} {differs}",
        where=report.model,
        allowed=f"up to {blamed.bound:.3g}" if blamed else f"at least {report.least_agreement:.2%}",
        do="do not use this file",
        exit_code=Exit.PARITY,
    )


def _generated(steps: ImageSteps) -> list[bytes]:
    """The golden inputs as PNG files."""
    arrays = [golden_bytes(i, (steps.channels, *steps.crop)) for i in range(INPUTS)]
    return [encode_png(array[0] if steps.channels == 1 else array.transpose(1, 2, 0)) for array in arrays]
