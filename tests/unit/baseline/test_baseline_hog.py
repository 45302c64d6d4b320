# SPDX-License-Identifier: Apache-2.0
"""HOG against scikit-image, a naive version and hand values."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fireforge.baseline.hog import TABLE, hog


def naive(picture: np.ndarray, cell: int) -> np.ndarray:
    """One picture (C, H, W), pixel by pixel."""
    channels, high, wide = picture.shape
    rows, columns = high // cell, wide // cell
    cells = np.zeros((rows, columns, 9))
    for y in range(rows * cell):
        for x in range(columns * cell):
            best, vote, angle = -1.0, 0.0, 0.0
            for c in range(channels):
                down = float(picture[c, y + 1, x]) - float(picture[c, y - 1, x]) if 0 < y < high - 1 else 0.0
                across = float(picture[c, y, x + 1]) - float(picture[c, y, x - 1]) if 0 < x < wide - 1 else 0.0
                if math.hypot(down, across) > best:
                    best = vote = math.hypot(down, across)
                    angle = math.degrees(math.atan2(down, across)) % 180
            cells[y // cell, x // cell, int(angle // 20) % 9] += vote / cell**2
    blocks = []
    for row in range(max(1, rows - 1)):
        for column in range(max(1, columns - 1)):
            block = cells[row : row + 2, column : column + 2].ravel()
            block = np.minimum(block / np.sqrt((block**2).sum() + 1e-10), 0.2)
            blocks.append(block / np.sqrt((block**2).sum() + 1e-10))
    return np.concatenate(blocks)


@pytest.mark.parametrize(
    ("shape", "cell"), [((1, 8, 8), 2), ((1, 28, 28), 4), ((3, 19, 30), 4), ((3, 33, 30), 8), ((1, 64, 64), 8)]
)
def test_equals_scikit_image(shape: tuple[int, int, int], cell: int) -> None:
    """1e-6: sums in float32 here and in float64 there, of unit vectors."""
    features = pytest.importorskip("skimage.feature")
    pictures = np.random.default_rng(0).integers(0, 256, (300 if shape[1] == 8 else 3, *shape), np.uint8)
    want = [
        features.hog(picture.transpose(1, 2, 0), pixels_per_cell=(cell, cell), cells_per_block=(2, 2), channel_axis=2)
        for picture in pictures
    ]
    np.testing.assert_allclose(hog(pictures, cell_px=cell), np.stack(want), rtol=0, atol=1e-6)


@pytest.mark.parametrize(("shape", "cell"), [((1, 9, 8), 4), ((3, 8, 11), 2), ((2, 5, 4), 4), ((1, 1, 6), 1)])
def test_equals_a_naive_version(shape: tuple[int, int, int], cell: int) -> None:
    """1e-6 as above; margins behind the last cell, one cell only, and a side of one pixel among them."""
    pictures = np.random.default_rng(1).integers(0, 256, (4, *shape), np.uint8)
    got = hog(pictures, cell_px=cell)
    for row, picture in enumerate(pictures):
        np.testing.assert_allclose(got[row], naive(picture, cell), rtol=0, atol=1e-6)


def test_a_window_of_the_paper_has_3780_features() -> None:
    """Dalal and Triggs 2005: 64 x 128 px, cells of 8 px, blocks of 2 x 2 cells: 7 x 15 x 4 x 9."""
    assert hog(np.zeros((1, 3, 128, 64), np.uint8), cell_px=8).shape == (1, 3780)


def test_an_upright_edge_votes_for_the_first_orientation_by_hand() -> None:
    """The gradient across is 0 degrees: bin 0 of each of the four cells, 1/2 of the block's norm each."""
    picture = np.zeros((1, 1, 8, 8), np.uint8)
    picture[..., 4:] = 200
    got = hog(picture, cell_px=4)[0].reshape(4, 9)
    np.testing.assert_allclose(got[:, 0], 0.5, atol=1e-6)
    assert not got[:, 1:].any()


def test_a_plain_picture_has_no_features_and_brightness_does_not_count() -> None:
    draw = np.random.default_rng(2).integers(0, 100, (2, 1, 8, 8), np.uint8)
    assert not hog(np.full((1, 1, 8, 8), 77, np.uint8), cell_px=4).any()
    np.testing.assert_array_equal(hog(draw, cell_px=4), hog(draw + np.uint8(100), cell_px=4))
    assert hog(draw[:0], cell_px=4).shape == (0, 36)


@pytest.mark.parametrize(
    ("down", "across", "wanted"), [(0, 5, 0), (0, -5, 0), (5, 0, 4), (-5, 0, 4), (3, 3, 2), (3, -3, 6), (-1, 100, 8)]
)
def test_orientations_by_hand(down: int, across: int, wanted: int) -> None:
    """0, 90, 45, 135 and 179.4 degrees in bins of 20; a gradient and its opposite are the same orientation."""
    assert TABLE[down + 255, across + 255] == wanted
