# SPDX-License-Identifier: Apache-2.0
"""Surveys against a naive recount; the choice of a few by hand."""

from __future__ import annotations

import numpy as np
import pytest

from fireforge.base.budget import Budget
from fireforge.base.cost import Cost
from fireforge.base.errors import FireforgeError
from fireforge.base.rng import rng
from fireforge.base.spec import NetSpec
from fireforge.cost.count import count
from fireforge.cost.filesize import onnx_bytes
from fireforge.nets.families import build_graph
from fireforge.space.spaces import SPACES, SpaceFn, firenet_space
from fireforge.space.survey import Candidate, Draws, Survey, counted, spread, survey

SHAPE = (1, 8, 8)


def look(*, max_bytes: int | None = None, max_energy_mj: float | None = None, draws: int = 60, seed: int = 0) -> Survey:
    return survey(
        {"firenet": firenet_space},
        [SHAPE],
        classes=10,
        budget=Budget(max_bytes=max_bytes),
        draws=Draws(number=draws, seed=seed),
    )


def naive(draws: int, seed: int) -> list[tuple[NetSpec, int | None]]:
    found: list[tuple[NetSpec, int | None]] = []
    for index in range(draws):
        spec = firenet_space(10, SHAPE, rng(seed, 0, index))
        try:
            found.append((spec, onnx_bytes(build_graph(spec), form="int8")))
        except FireforgeError:
            found.append((spec, None))
    return found


def test_exactly_what_exceeds_max_bytes_is_rejected_by_a_naive_recount() -> None:
    drawn = naive(60, 0)
    sizes = sorted(size for _, size in drawn if size is not None)
    limit = sizes[len(sizes) // 2]  # one candidate lies right on the limit and is within
    found = look(max_bytes=limit)
    wanted = {spec.digest(): size for spec, size in drawn if size is not None and size <= limit}
    assert {c.spec.digest(): c.bytes for c in found.kept} == wanted
    assert limit in wanted.values()
    assert found.rejected["max_bytes"] == sum(size > limit for size in sizes) > 0
    assert found.rejected.get("impossible", 0) == sum(size is None for _, size in drawn)
    assert found.nearest is not None
    assert found.nearest.bytes == sizes[0]
    assert [c.bytes for c in found.kept] == sorted(c.bytes for c in found.kept)


def test_kept_candidates_carry_the_count_of_their_graph() -> None:
    for candidate in look(draws=5).kept:
        assert candidate.cost == count(build_graph(candidate.spec))


@pytest.mark.parametrize("max_bytes", [None, 1, 30_000])
def test_found_is_kept_plus_rejected_by_reason(max_bytes: int | None) -> None:
    found = look(max_bytes=max_bytes)
    assert found.counted == 60 == len(found.kept) + sum(found.rejected.values())


def test_every_reason_is_counted_once_by_hand() -> None:
    """Five draws: one that cannot be built, two that are the same, one too large, one alone."""
    sizes = iter([8, 0, 8, 90, 16])

    def space(classes: int, input_shape: tuple[int, int, int], generator: np.random.Generator) -> NetSpec:
        params = {"fires": 1, "base_e": next(sizes), "pools": "", "stem": 4, "stem_kernel": 3, "stem_stride": 1}
        return NetSpec(family="firenet", params=dict(params), classes=classes, input_shape=input_shape)

    large = onnx_bytes(build_graph(space(10, SHAPE, rng(0))), form="int8")
    sizes = iter([8, 0, 8, 90, 16])
    limit = 3 * large
    budget = Budget(max_bytes=limit)
    found = survey({"own": space}, [SHAPE], classes=10, budget=budget, draws=Draws(number=5, seed=0))
    assert found.rejected == {"impossible": 1, "repeated": 1, "max_bytes": 1}
    assert [c.spec.params["base_e"] for c in found.kept] == [8, 16]


def test_an_error_that_is_not_the_specifications_is_not_swallowed() -> None:
    def space(classes: int, input_shape: tuple[int, int, int], generator: np.random.Generator) -> NetSpec:
        return NetSpec(family="no such", params={}, classes=classes, input_shape=input_shape)

    with pytest.raises(FireforgeError, match="UNKNOWN_NAME"):
        survey({"own": space}, [SHAPE], classes=2, budget=Budget(), draws=Draws(number=1, seed=0))


def test_draws_depend_on_the_seed_alone_and_more_draws_begin_with_the_same() -> None:
    np.random.seed(1)
    first = look(draws=20)
    np.random.seed(2)
    assert look(draws=20) == first
    assert look(draws=20, seed=1) != first
    names = {c.spec.digest() for c in look(draws=30).kept}
    assert {c.spec.digest() for c in first.kept} <= names


def test_nothing_kept_still_tells_the_nearest() -> None:
    found = look(max_bytes=1)
    assert found.kept == ()
    assert found.nearest is not None


def test_the_nearest_is_least_over_all_limits_together_by_a_naive_search() -> None:
    """Limits that no network keeps: the sum of the shares over them counts, not the bytes alone."""

    def survey_of(budget: Budget) -> Survey:
        return survey(SPACES, [(3, 16, 16)], classes=10, budget=budget, draws=Draws(number=150, seed=1))

    every = survey_of(Budget()).kept
    size, energy_mj = min(c.bytes for c in every) // 2, min(c.energy_mj for c in every) / 50
    found = survey_of(Budget(max_bytes=size, max_energy_mj=energy_mj))
    assert found.kept == ()
    assert found.nearest == min(every, key=lambda c: c.bytes / size + c.energy_mj / energy_mj)
    assert found.nearest != min(every, key=lambda c: c.bytes)  # so the two searches differ here


def test_every_space_and_every_size_is_drawn_equally_often_by_hand() -> None:
    """7 draws over 2 spaces and 2 sizes: the pairs take turns, space by space."""
    drawn: list[tuple[str, tuple[int, int, int]]] = []

    def noting(name: str) -> SpaceFn:
        def space(classes: int, shape: tuple[int, int, int], generator: np.random.Generator) -> NetSpec:
            drawn.append((name, shape))
            return SPACES[name](classes, shape, generator)

        return space

    small, large = (1, 8, 8), (1, 16, 16)
    spaces = {name: noting(name) for name in ("firenet", "resnet")}
    draws = Draws(number=7, seed=0)
    found = survey(spaces, [small, large], classes=3, budget=Budget(), draws=draws)
    turn = [("firenet", small), ("firenet", large), ("resnet", small), ("resnet", large)]
    assert drawn == [*turn, *turn[:3]]
    assert {c.spec.input_shape for c in found.kept} == {small, large}


def test_a_known_card_counts_in_the_bytes_of_every_candidate() -> None:
    spec = firenet_space(10, SHAPE, rng(0, 0, 0))
    few, many = counted(spec, card_bytes=1_000), counted(spec, card_bytes=3_000)
    assert few is not None
    assert many is not None
    assert many.bytes - few.bytes == pytest.approx(2_000, abs=8)  # the lengths of longer texts take some bytes more


def ladder(number: int, family: str = "firenet") -> tuple[Candidate, ...]:
    cost = Cost(params=1, macs=1, activations=1, peak_activation_bytes=1, weight_bytes=1, wire_bytes=1)
    spec = NetSpec(family=family, classes=2, input_shape=SHAPE)
    return tuple(Candidate(spec=spec, cost=cost, bytes=size) for size in range(number))


def test_spread_by_hand() -> None:
    # 101 candidates, 4 wanted: 100 * sqrt(1/4, 2/4, 3/4, 1) = 50, 70.7, 86.6, 100
    assert [c.bytes for c in spread(ladder(101), 4)] == [50, 71, 87, 100]


@pytest.mark.parametrize("size", [0, 1, 2, 11, 12, 13, 14, 500])
@pytest.mark.parametrize("number", [1, 2, 12])
def test_spread_is_sorted_unique_and_ends_with_the_biggest(size: int, number: int) -> None:
    found = [c.bytes for c in spread(ladder(size), number)]
    assert found == sorted(set(found))
    assert len(found) <= number
    assert found[-1:] == ([size - 1] if size else [])
    if size <= number:
        assert found == list(range(size))


@pytest.mark.parametrize(
    ("sizes", "number", "wanted"),
    [
        ((50, 50, 50), 12, [4, 4, 4]),
        ((50, 50, 50), 2, [1, 1, 0]),
        ((50, 50, 50), 20, [7, 7, 6]),
        ((1, 50, 50), 12, [1, 6, 5]),  # what the smallest cannot give goes to the others
        ((1, 2, 50), 20, [1, 2, 17]),
        ((0, 0, 5), 12, [0, 0, 5]),
    ],
)
def test_families_share_the_places_by_hand(sizes: tuple[int, ...], number: int, wanted: list[int]) -> None:
    kept = [c for size, family in zip(sizes, ("firenet", "mobilenet", "resnet")) for c in ladder(size, family)]
    found = [c.spec.family for c in spread(kept, number)]
    assert sorted(found.count(family) for family in ("firenet", "mobilenet", "resnet")) == sorted(wanted)


def test_the_spread_rises_by_macs_whatever_the_order_given() -> None:
    kept = look(draws=60).kept
    found = spread(kept, 9)
    macs = [c.cost.macs for c in found]
    assert macs == sorted(macs)
    assert macs[-1] == max(c.cost.macs for c in kept)
    assert spread(tuple(reversed(kept)), 9) == found


def test_the_spaces_are_functions_by_name() -> None:
    assert SPACES["firenet"] is firenet_space
    assert sorted(SPACES) == ["firenet", "mobilenet", "resnet"]


def test_exactly_what_exceeds_the_energy_is_rejected_by_a_naive_recount() -> None:
    energies = sorted(c.energy_mj for c in look().kept)
    limit = energies[len(energies) // 2]
    budget = Budget(max_energy_mj=limit)
    found = survey({"firenet": firenet_space}, [SHAPE], classes=10, budget=budget, draws=Draws(number=60, seed=0))
    assert sorted(c.energy_mj for c in found.kept) == [energy for energy in energies if energy <= limit]
    assert found.rejected["max_energy_mj"] == sum(energy > limit for energy in energies)
