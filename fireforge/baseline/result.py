# SPDX-License-Identifier: Apache-2.0
"""From a baseline's answers to its result."""

from __future__ import annotations

import numpy as np

from fireforge.base.baseline import BaselineResult
from fireforge.base.metrics import wilson


def make_result(
    name: str, *, truth: np.ndarray, predicted: np.ndarray, stored_bytes: int, seconds: float, notes: tuple[str, ...]
) -> BaselineResult:
    """The result of answers.

    Args:
      name: of the baseline.
      truth: int (N,), N at least 1.
      predicted: int (N,).
      stored_bytes: of what would have to be stored.
      seconds: of the whole.
      notes: lines for the report.

    Returns:
      The result, with its interval.
    """
    right, total = int(np.sum(truth == predicted)), len(truth)
    return BaselineResult(
        name=name,
        accuracy=right / total,
        interval=wilson(right, total),
        bytes=stored_bytes,
        seconds=seconds,
        samples=total,
        notes=notes,
    )


def label_bytes(classes: int) -> int:
    """Bytes to store one class number: 1 for up to 256 classes, 2 up to 65,536, otherwise 4."""
    return 1 if classes <= 256 else 2 if classes <= 65_536 else 4
