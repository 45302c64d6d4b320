# SPDX-License-Identifier: Apache-2.0
"""The picture of a difference: three panels whose pixels are the arrays' own, or their share of the range."""

from __future__ import annotations

import base64

import numpy as np
import pytest

from fireforge.base.pixels import decode
from fireforge.runtime.difference import GAP, difference_png


def panels(want: np.ndarray, got: np.ndarray) -> np.ndarray:
    return np.asarray(decode(base64.b64decode(difference_png(want, got))).convert("RGB"))


def test_wanted_given_and_difference_stand_beside_each_other() -> None:
    """36 px are shown twice as large; the greatest difference is white."""
    rng = np.random.default_rng(0)
    want = rng.integers(0, 200, (36, 20, 3)).astype(np.uint8)
    got = want.copy()
    got[5, 7] += 40
    shown = panels(want, got)
    assert shown.shape == (72, 3 * 40 + 2 * GAP, 3)
    np.testing.assert_array_equal(shown[::2, :40:2], want)
    np.testing.assert_array_equal(shown[::2, 40 + GAP : 80 + GAP : 2], got)
    apart = shown[::2, 80 + 2 * GAP :: 2]
    assert apart[5, 7].tolist() == [255, 255, 255]
    assert apart.sum() == 3 * 255


@pytest.mark.parametrize(
    ("want", "got"),
    [
        (np.zeros((1, 8, 6), np.float32), np.ones((1, 8, 6), np.float32)),
        (np.zeros((3, 8, 6), np.uint8), np.zeros((3, 6, 8), np.uint8)),
        (np.zeros((200, 1000), np.float32), np.full((200, 1000), np.nan, np.float32)),
        (np.zeros((0, 0), np.float32), np.ones((4, 10), np.float32)),
        (np.zeros((3000, 4000, 3), np.uint8), np.zeros((4000, 3000, 3), np.uint8)),
    ],
)
def test_any_two_arrays_give_a_small_picture(want: np.ndarray, got: np.ndarray) -> None:
    assert len(difference_png(want, got)) < 30_000
    assert max(panels(want, got).shape) < 300
