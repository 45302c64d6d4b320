# SPDX-License-Identifier: Apache-2.0
"""Counter-based randomness against splitmix64's published numbers, plain integers and statistics."""

from __future__ import annotations

import numpy as np

from fireforge.base.rng import golden_bytes, key_of, mix, permutation, rng, uniform

MASK = 2**64 - 1
# first outputs for seed 1234567, as the public test vectors of splitmix64 give them
PUBLISHED = (
    6457827717110365317,
    3203168211198807973,
    9817491932198370423,
    4593380528125082431,
    16408922859458223821,
)


def naive(state: int) -> int:
    """One step of splitmix64 in Python's integers: the state is advanced, then mixed."""
    z = (state + 0x9E3779B97F4A7C15) & MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def test_published_vectors_of_splitmix64() -> None:
    states = [(1234567 + n * 0x9E3779B97F4A7C15) & MASK for n in range(5)]
    assert tuple(naive(state) for state in states) == PUBLISHED
    assert tuple(int(z) for z in mix(np.array(states, np.uint64))) == PUBLISHED


def test_mix_against_python_integers_at_the_ends() -> None:
    counters = [0, 1, 2**32, 2**63, MASK - 1, MASK]
    assert [int(z) for z in mix(np.array(counters, np.uint64))] == [naive(c) for c in counters]


def test_key_depends_on_order_and_every_part() -> None:
    assert key_of(1, 2) == naive(naive(0 ^ naive(1)) ^ naive(2))
    assert len({key_of(1, 2), key_of(2, 1), key_of(1), key_of(1, 2, 0), key_of(-1, 2)}) == 5


def test_uniform_has_the_mean_and_variance_of_the_uniform_distribution() -> None:
    draws = uniform(7, 3, np.arange(100_000), 0)
    assert draws.min() >= 0
    assert draws.max() < 1
    # five standard errors: sd of the mean is sqrt(1/12/n), of the variance sqrt((1/80 - 1/144)/n)
    assert abs(draws.mean() - 1 / 2) < 5 * (1 / 12 / 1e5) ** 0.5
    assert abs(draws.var() - 1 / 12) < 5 * ((1 / 80 - 1 / 144) / 1e5) ** 0.5
    counts = np.bincount((draws * 16).astype(int), minlength=16)
    assert ((counts - 6250) ** 2 / 6250).sum() < 44.3  # chi-squared, 15 degrees, p = 0.0001


def test_draws_epochs_seeds_and_neighbours_are_uncorrelated() -> None:
    ids = np.arange(50_000)
    base = uniform(7, 3, ids, 0)
    for other in (uniform(7, 3, ids, 1), uniform(7, 4, ids, 0), uniform(8, 3, ids, 0), np.roll(base, 1)):
        assert abs(np.corrcoef(base, other)[0, 1]) < 5 / 50_000**0.5  # five standard errors


def test_a_sample_has_its_number_whatever_is_drawn_beside_it() -> None:
    ids = np.arange(100)
    assert np.array_equal(uniform(1, 2, ids, 3)[[5, 70]], uniform(1, 2, np.array([5, 70]), 3))
    assert uniform(1, 2, ids.reshape(4, 25), 3).shape == (4, 25)


def test_permutation_is_one_and_differs_by_epoch() -> None:
    order = permutation(1, 0, 1000)
    assert np.array_equal(np.sort(order), np.arange(1000))
    assert not np.array_equal(order, permutation(1, 1, 1000))
    assert np.array_equal(order, permutation(1, 0, 1000))
    assert permutation(1, 0, 0).shape == (0,)


def test_generator_depends_on_its_three_numbers_alone() -> None:
    first = rng(1, 2, 3).integers(0, 2**32, 4)
    assert np.array_equal(first, rng(1, 2, 3).integers(0, 2**32, 4))
    for other in (rng(0, 2, 3), rng(1, 0, 3), rng(1, 2, 0)):
        assert not np.array_equal(first, other.integers(0, 2**32, 4))


def test_golden_bytes_against_python_integers() -> None:
    for index in (0, 2):
        want = [naive(index * 2**32 + k) >> 56 for k in range(12)]
        assert golden_bytes(index, (3, 2, 2)).ravel().tolist() == want
