# SPDX-License-Identifier: Apache-2.0
"""The baselines by name: functions (train_x, train_y, val_x, val_y, classes) -> BaselineResult."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fireforge.base.baseline import BaselineResult
from fireforge.baseline.majority import majority
from fireforge.baseline.neighbours import neighbours

Baseline = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray, int], BaselineResult]

BASELINES: dict[str, Baseline] = {"majority": majority, "neighbours": neighbours}
