# SPDX-License-Identifier: Apache-2.0
"""Whether a mirror keeps the class, on made-up pictures where the answer is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from fireforge.jobs.mirror import _loses, _nearest, _some, _vectors, mirrors
from fireforge.jobs.scene import look


def scene_of(path: Path, pixels: np.ndarray, labels: np.ndarray) -> object:
    np.savez(path, x=pixels.clip(0, 255).astype(np.uint8), y=labels)
    return look(str(path), seed=0)


def noise(count: int, side: int) -> np.ndarray:
    return np.random.default_rng(4).integers(0, 60, (count, side, side)).astype(np.int64)


@pytest.mark.parametrize("side", [12, 33, 50])
def test_classes_that_are_alike_in_a_mirror_may_be_mirrored(tmp_path: Path, side: int) -> None:
    """Bright above or bright below."""
    labels, pixels = np.arange(80) % 2, noise(80, side)
    pixels[labels == 0, : side // 2] += 150
    pixels[labels == 1, side // 2 :] += 150
    assert mirrors(scene_of(tmp_path / "a.npz", pixels, labels))  # type: ignore[arg-type]


@pytest.mark.parametrize("side", [12, 33, 50])
def test_classes_that_a_mirror_exchanges_may_not(tmp_path: Path, side: int) -> None:
    """Bright on the left or bright on the right, as with "b" and "d"."""
    labels, pixels = np.arange(80) % 2, noise(80, side)
    pixels[labels == 0, :, : side // 2] += 150
    pixels[labels == 1, :, side // 2 :] += 150
    assert not mirrors(scene_of(tmp_path / "a.npz", pixels, labels))  # type: ignore[arg-type]


def test_one_class_of_four_that_loses_itself_is_enough(tmp_path: Path) -> None:
    """Three classes are alike in a mirror; the fourth, bright on the left, is then taken for another: a quarter of the
    right answers is lost, where a tenth and one standard error, 0 here, may be."""
    side, labels, pixels = 16, np.arange(200) % 5, noise(200, 16)
    pixels[labels == 0, :4] += 180
    pixels[labels == 1, -4:] += 180
    pixels[labels == 2, 6:10] += 180
    pixels[labels == 3, :, : side // 2] += 180
    pixels[labels == 4, :, side // 2 :] += 180
    assert not mirrors(scene_of(tmp_path / "a.npz", pixels, labels))  # type: ignore[arg-type]
    kept = labels < 3
    assert mirrors(scene_of(tmp_path / "b.npz", pixels[kept], labels[kept]))  # type: ignore[arg-type]


def test_two_classes_of_many_that_a_mirror_exchanges_are_seen(tmp_path: Path) -> None:
    """Two of twenty-four lose all their answers, a twelfth of all, which is within the tenth that all together may
    lose; each has ten validation pictures, more than the nine that three standard errors need."""
    side, count = 24, 24 * 80
    labels, pixels = np.arange(count) % 24, noise(count, side)
    for label in range(22):
        pixels[labels == label, label : label + 2] += 180
    pixels[labels == 22, :, : side // 2] += 180
    pixels[labels == 23, :, side // 2 :] += 180
    assert not mirrors(scene_of(tmp_path / "a.npz", pixels, labels))  # type: ignore[arg-type]
    kept = labels < 22
    assert mirrors(scene_of(tmp_path / "b.npz", pixels[kept], labels[kept]))  # type: ignore[arg-type]


def test_a_class_loses_itself_by_hand() -> None:
    """Of ten right answers ten lost: z = 10 / sqrt(10) = 3.2; of eight 2.8; of forty nineteen: less than half."""
    for right, lost, loses in ((10, 10, True), (8, 8, False), (40, 19, False), (40, 21, True)):
        plain = np.ones(right, bool)
        assert _loses(plain, np.arange(right) >= lost) is loses


def test_digits_may_not_be_mirrored() -> None:
    pytest.importorskip("sklearn")
    assert not mirrors(look("digits", seed=0))


def test_the_fewest_pictures_that_can_be_split_are_enough(tmp_path: Path) -> None:
    """Three of each of two classes: two validation pictures."""
    labels = np.arange(6) % 2
    assert mirrors(scene_of(tmp_path / "a.npz", noise(6, 8) + 150 * labels[:, None, None], labels)) in (True, False)  # type: ignore[arg-type]


def test_the_nearest_is_that_of_a_naive_search_by_correlation() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 3, 16, 16)).astype(np.uint8)
    known, asked = _vectors(pixels[:30]), _vectors(pixels[30:])
    flat = pixels.reshape(40, -1).astype(np.float64)
    wanted = [int(np.argmax([np.corrcoef(flat[30 + i], flat[j])[0, 1] for j in range(30)])) for i in range(10)]
    assert _nearest(known, asked).tolist() == wanted


def test_blocks_are_means_about_the_middle_by_hand_and_a_mirror_has_mirrored_blocks() -> None:
    """48 px are 16 blocks of 3; of 35 px one is left out at each end, so that a mirror leaves out the same."""
    pixels = np.random.default_rng(0).integers(0, 256, (2, 1, 48, 48)).astype(np.uint8)
    blocks = _vectors(pixels).reshape(2, 16, 16)
    naive = pixels.reshape(2, 16, 3, 16, 3).astype(np.float64).mean(axis=(2, 4))
    naive -= naive.mean(axis=(1, 2), keepdims=True)
    naive /= np.linalg.norm(naive, axis=(1, 2), keepdims=True)
    np.testing.assert_allclose(blocks, naive, atol=1e-6)  # float32
    odd = np.random.default_rng(0).integers(0, 256, (2, 1, 35, 35)).astype(np.uint8)  # 33 of 35 pixels, one at each end
    mirrored = _vectors(odd[..., ::-1]).reshape(2, 11, 11)
    np.testing.assert_allclose(mirrored, _vectors(odd).reshape(2, 11, 11)[..., ::-1], atol=1e-6)


def test_some_rows_by_hand() -> None:
    assert _some(10, 3).tolist() == [0, 3, 6]
    assert _some(3, 10).tolist() == [0, 1, 2]
