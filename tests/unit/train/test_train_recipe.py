# SPDX-License-Identifier: Apache-2.0
"""The recipe for small pictures keeps what its description says."""

from __future__ import annotations

import pytest

from fireforge.train.recipe import MIXED_EPOCHS, RECIPES, Traits, airbench, fitted, muon, small_images
from fireforge.train.schedule import learning_rate


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


def traits(**changes: object) -> Traits:
    plain = {"samples": 1_500, "channels": 3, "size_px": 48, "kept_px": 160, "mirror": True}
    return Traits(**{**plain, **changes})  # type: ignore[arg-type]


def test_crops_are_taken_from_larger_pictures_by_hand() -> None:
    """1.3 x 48 = 62.4, to the nearest multiple of 8: 64; never larger than the pictures are."""
    assert fitted(traits(), epochs=30).augment.source_px == 64
    assert fitted(traits(size_px=128), epochs=30).augment.source_px == 160
    assert fitted(traits(size_px=160), epochs=30).augment.source_px == 160
    assert fitted(traits(), epochs=30).augment.crop_area < fitted(traits(), epochs=5).augment.crop_area < 1


@pytest.mark.parametrize("changes", [{"channels": 1}, {"kept_px": 64}, {"kept_px": 48}])
def test_gray_and_small_pictures_are_kept_in_the_size_of_the_input(changes: dict[str, object]) -> None:
    augment = fitted(traits(**changes), epochs=30).augment
    assert (augment.source_px, augment.crop_area, augment.colour) == (0, 1.0, 0.0)


@pytest.mark.parametrize("kept_px", [48, 160])
@pytest.mark.parametrize("channels", [1, 3])
def test_nothing_is_mirrored_where_a_mirror_changes_the_class(kept_px: int, channels: int) -> None:
    for epochs in (3, 50):
        recipe = fitted(traits(kept_px=kept_px, channels=channels, mirror=False), epochs=epochs)
        assert not recipe.augment.flip
        assert fitted(traits(kept_px=kept_px, channels=channels, mirror=True), epochs=epochs).augment.flip


def test_blends_and_holes_are_for_long_trainings_and_blends_for_few_pictures() -> None:
    long, short = MIXED_EPOCHS, MIXED_EPOCHS - 1
    assert fitted(traits(), epochs=long).augment.mixup > 0
    assert fitted(traits(), epochs=short).augment.mixup == 0
    assert fitted(traits(samples=5_000), epochs=long).augment.mixup == 0
    assert fitted(traits(kept_px=48), epochs=long).augment.cutout_px == 12  # a quarter of the side
    assert fitted(traits(kept_px=48), epochs=short).augment.cutout_px == 0


def test_a_recipe_survives_json_whatever_its_traits() -> None:
    for kept_px in (48, 160):
        recipe = fitted(traits(kept_px=kept_px), epochs=30)
        assert type(recipe).from_json(recipe.to_json()) == recipe


def test_the_recipe_of_the_race_as_in_the_paper() -> None:
    """Jordan 2024: a rate of 11.5 a kilostep, 1024 (1 + 1 / (1 - 0.85)) samples: 1.5 of a mean."""
    recipe = airbench(epochs=10, batch=1024)
    assert recipe.lr == pytest.approx(11.5 / (1024 * (1 + 1 / 0.15)) * 1024, rel=0.01)
    assert recipe.weight_decay == pytest.approx(0.0153 / 11.5, rel=0.01)
    assert airbench(epochs=10, batch=512).lr == recipe.lr / 2
    assert recipe.whiten
    assert recipe.bias_times == 64


def test_the_race_with_turned_kernels_as_in_the_authors_training() -> None:
    """Batches of 2,000: biases at 0.053, the last layer at 0.67 / 256^2 * 9^2, times 2,000 for a loss that is a sum."""
    recipe = muon(epochs=8, batch=2000)
    assert recipe.lr * recipe.bias_times == pytest.approx(0.053 * 2000, rel=0.02)
    assert recipe.lr == pytest.approx(0.67 * (9 / 256) ** 2 * 2000, rel=0.02)
    assert learning_rate(recipe, 0, 25) == recipe.lr
    assert learning_rate(recipe, 100, 25) == recipe.lr / 2
    assert muon(epochs=8, batch=512).turn == muon(epochs=8, batch=2048).turn / 2 == 0.06


@pytest.mark.parametrize("name", ["airbench", "muon"])
def test_the_race_mirrors_and_shifts_as_the_pictures_allow(name: str) -> None:
    law = RECIPES[name]
    assert law(traits(size_px=32, samples=50_000), epochs=9).augment == airbench(epochs=9).augment
    assert not law(traits(mirror=False), epochs=9).augment.flip
    assert law(traits(size_px=8), epochs=9).augment.shift_px == 1
