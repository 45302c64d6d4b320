# SPDX-License-Identifier: Apache-2.0
"""The baseline that always answers with the most frequent class: what knowing nothing gives."""

from __future__ import annotations

import time

import numpy as np

from fireforge.base.baseline import BaselineResult
from fireforge.baseline.result import label_bytes, make_result


def majority(
    train_x: np.ndarray, train_y: np.ndarray, val_x: np.ndarray, val_y: np.ndarray, classes: int
) -> BaselineResult:
    """Answer every picture with the class that the training part has most of.

    Args:
      train_x: uint8 (N, C, H, W), not looked at.
      train_y: int (N,).
      val_x: uint8 (M, C, H, W), not looked at.
      val_y: int (M,).
      classes: K.

    Returns:
      The result; of equally frequent classes the first one is taken.
    """
    start = time.perf_counter()
    answer = int(np.bincount(train_y, minlength=classes).argmax())
    predicted = np.full(len(val_y), answer, np.int64)
    return make_result(
        "majority",
        truth=val_y,
        predicted=predicted,
        stored_bytes=label_bytes(classes),
        seconds=time.perf_counter() - start,
        notes=(f"always class {answer}",),
    )
