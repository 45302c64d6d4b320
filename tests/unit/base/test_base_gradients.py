# SPDX-License-Identifier: Apache-2.0
"""The rule that says whether gradients explode or vanish, on made-up sizes."""

from __future__ import annotations

import math

import pytest

from fireforge.base.gradients import EXPLODING, IDEAL, VANISHING, Gradients, Look, growth, ratio_words, verdict


def geometric(gain: float, layers: int) -> list[float]:
    """Sizes from the first layer to the last but one of a network that multiplies by the gain on the way back."""
    return [3e-4 * gain ** (layers - place) for place in range(1, layers + 1)]


@pytest.mark.parametrize("gain", [0.5, 2**-0.5, 0.99, 1.0, 1.2, 3.0])
@pytest.mark.parametrize("layers", [3, 19, 55, 109])
def test_growth_is_the_gain_to_the_power_of_the_depth(gain: float, layers: int) -> None:
    found = growth([*geometric(gain, layers), 0.3])
    assert found == pytest.approx(gain ** (layers - 1), rel=1e-9)


def test_layers_that_stand_apart_do_not_bend_the_line() -> None:
    plain = geometric(1.1, 21)
    with_heads = [size * (4_000 if place in (7, 13) else 1) for place, size in enumerate(plain)]
    assert growth([*with_heads, 0.3]) == pytest.approx(1.1**20, rel=0.05)


# He et al. 2015, section 2.2: 1/sqrt(2) a layer stalls 30 layers; section 4.1 of their residual networks and Yang et
# al. 2019: sqrt(pi / (pi - 1)) a layer is what batch norms do, healthy in 34 plain layers
@pytest.mark.parametrize(
    ("gain", "layers", "said"),
    [
        (2**-0.5, 30, VANISHING),
        (2**-0.5, 10, IDEAL),
        (2**0.5, 30, EXPLODING),
        ((math.pi / (math.pi - 1)) ** 0.5, 34, IDEAL),
        ((math.pi / (math.pi - 1)) ** 0.5, 56, EXPLODING),
        (1.0, 110, IDEAL),
    ],
)
def test_published_depths_are_told_as_they_were_published(gain: float, layers: int, said: str) -> None:
    assert verdict([*geometric(gain, layers), 0.3]) == said


def test_what_is_not_finite_explodes_and_what_does_not_arrive_vanishes() -> None:
    assert verdict([None, 1e30, 1.0, 1.0, 0.1]) == EXPLODING
    assert verdict([0.0, 0.0, 1e-30, 1e-3, 0.1]) == VANISHING
    assert verdict([1.0, 0.0, 1.1, 0.0, 0.9, 0.1]) == IDEAL  # branches that start closed are passed over
    assert verdict([0.1, 0.2, 0.3]) == ""  # two layers before the last one make no line


@pytest.mark.parametrize(
    ("ratio", "words"),
    [
        (1.0, "1 times"),
        (12.4, "12 times"),
        (0.125, "0.12 times"),
        (0.008, "1/125"),
        (2.5e9, "2.5e+09 times"),
        (0.0, "nothing"),
    ],
)
def test_a_growth_in_words(ratio: float, words: str) -> None:
    assert ratio_words(ratio) == words
    assert ratio_words(math.inf) == "not finite"


def test_looks_go_to_json_and_back() -> None:
    look = Look(epoch=2.0, outputs=(0.1, None), weights=(0.2, 0.0), relative=(1.5, None))
    found = Gradients(layers=("stem", "classifier"), looks=(look,))
    assert Gradients.from_json(found.to_json()) == found
