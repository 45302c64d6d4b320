# SPDX-License-Identifier: Apache-2.0
"""verify: does a file do, from image bytes to label, what its own network does in plain numpy?"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fireforge.base.errors import Exit, FireforgeError
from fireforge.base.golden import Golden
from fireforge.data.dataset import Dataset
from fireforge.data.open import open_dataset
from fireforge.importers.onnx_file import import_onnx
from fireforge.jobs.scene import encoded
from fireforge.runtime.parity import ParityReport
from fireforge.runtime.parity import verify as compare
from fireforge.runtime.predictor import model_file

MOST = 200


def verify(model: str | Path, data: str | None = None, *, pictures: int = MOST) -> ParityReport:
    """Hold a file against the numpy reference of its own graph.

    Args:
      model: an exported file or a run's folder.
      data: pictures to verify on; None to use the file's golden inputs alone.
      pictures: how many of them at most.

    Returns:
      The report.

    Raises:
      FireforgeError: PARITY with exit code 5, if a stage differs by more than its bound.
    """
    if data is None:
        return verify_file(model_file(model), None, np.array([], np.int64))
    dataset = open_dataset(data)
    ids = np.linspace(0, len(dataset.samples) - 1, min(pictures, len(dataset.samples))).astype(np.int64)
    return verify_file(model_file(model), dataset, ids)


def verify_file(path: Path, dataset: Dataset | None, ids: np.ndarray) -> ParityReport:
    """Hold one file against its numpy reference on some samples.

    Args:
      path: an ONNX file with a fireforge tag.
      dataset: where the pictures stand; None for golden inputs alone.
      ids: sample ids, int64 (n,).

    Returns:
      The report, which passed.

    Raises:
      FireforgeError: PARITY with exit code 5.
    """
    graph, arrays, tag = import_onnx(path)
    if tag is None:
        raise FireforgeError("NO_CARD", "the file says nothing of preprocessing and labels", where=str(path))
    files = [] if dataset is None else [encoded(dataset, int(i)) for i in ids]
    golden = Golden.from_json(tag.golden) if tag.golden else None
    report = compare(path, graph=graph, arrays=arrays, card=tag.card, pictures=files, golden=golden)
    bad = [tap for tap in report.taps if not tap.passed]
    if bad:
        raise FireforgeError(
            "PARITY",
            f"{bad[0].tap} differs by {bad[0].difference:.3g}",
            where=str(path),
            allowed=f"up to {bad[0].bound:.3g}",
            do="do not use this file",
            exit_code=Exit.PARITY,
        )
    return report
