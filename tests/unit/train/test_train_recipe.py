# SPDX-License-Identifier: Apache-2.0
"""The recipe for small pictures keeps what its description says."""

from __future__ import annotations

import pytest

from fireforge.train.recipe import small_images


@pytest.mark.parametrize("samples", [640, 1000, 1999, 2000, 9_999, 10_000, 60_000])
def test_an_epoch_has_at_least_20_updates_from_640_pictures_on(samples: int) -> None:
    assert -(-samples // small_images(samples=samples, size_px=28, epochs=9).batch) >= 20


def test_batch_and_rate_grow_together_by_hand() -> None:
    """Linear scaling of the rate with the batch: Goyal et al. 2017, section 2.1; 0.1 at 64."""
    found = [(r.batch, r.lr) for r in (small_images(samples=n, size_px=8, epochs=9) for n in (500, 5_000, 50_000))]
    assert found == [(32, 0.05), (64, 0.1), (128, 0.2)]


def test_variation_grows_with_the_picture_and_is_never_below_a_pixel() -> None:
    assert [small_images(samples=9, size_px=size, epochs=9).augment.shift_px for size in (4, 8, 28, 64)] == [
        1,
        1,
        2.8,
        6.4,
    ]
    assert not small_images(samples=9, size_px=8, epochs=9).augment.flip
    assert small_images(samples=9, size_px=8, epochs=9, mirror=True).augment.flip


def test_the_warm_up_is_a_fifth_of_a_short_training_and_two_epochs_of_a_long_one() -> None:
    assert [small_images(samples=9, size_px=8, epochs=n).warmup_epochs for n in (1, 5, 10, 100)] == [0.2, 1, 2, 2]
