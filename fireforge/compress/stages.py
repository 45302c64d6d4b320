# SPDX-License-Identifier: Apache-2.0
"""The compression stages by name."""

from __future__ import annotations

from fireforge.compress.fold import fold
from fireforge.compress.int8 import int8
from fireforge.compress.qat import qat
from fireforge.compress.stage import Stage

STAGES: dict[str, Stage] = {
    "fold": fold,
    "int8": int8,
    "qat": qat,
}
