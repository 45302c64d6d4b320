# SPDX-License-Identifier: Apache-2.0
"""Golden losses: the recipe for small images still trains as it did."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import pytest

GOLDEN = Path(__file__).parents[1] / "golden"


def test_losses_on_the_digits_equal_the_golden_file() -> None:
    """Three training losses and one validation loss, to 1e-3 of each: other CPUs and other versions of torch sum in
    another order, which three epochs amplify; kernels without AVX were seen to differ by 1e-5. Written by
    tests/golden/regenerate.py."""
    pytest.importorskip("sklearn")
    wanted = json.loads((GOLDEN / "recipe_digits.json").read_text(encoding="utf-8"))
    found = runpy.run_path(str(GOLDEN / "regenerate.py"))["GOLDEN"]["recipe_digits"]()
    assert len(wanted) == 4
    assert found == pytest.approx(wanted, rel=1e-3)
