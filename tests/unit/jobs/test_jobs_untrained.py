# SPDX-License-Identifier: Apache-2.0
"""Limits that are measured, held against untrained files: chosen by hand where times are given, and really measured."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from fireforge.base.budget import Budget
from fireforge.base.deadline import Deadline
from fireforge.jobs import untrained as file
from fireforge.jobs.scene import Scene, look
from fireforge.jobs.untrained import MARGIN, ROUNDS, _interleaved, quick_enough, within
from fireforge.nets.firenet import small_firenet
from fireforge.nets.resnet import small_resnet
from fireforge.space.survey import Candidate, counted, spread

UNIT = 2.5e6  # MACs that use the whole of a made-up limit
LATENCY = Budget(max_latency_ms=1.0)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    path = tmp_path_factory.mktemp("untrained") / "a.npz"
    pixels = np.random.default_rng(0).integers(0, 256, (60, 16, 16, 3)).astype(np.uint8)
    np.savez(path, x=pixels, y=np.arange(60) % 3)
    return look(str(path), seed=0)


def made(width: int) -> Candidate:
    found = counted(small_firenet(3, input_shape=(3, 16, 16), params={"base_e": width}))
    assert found is not None
    return found


@pytest.fixture(scope="module")
def many() -> list[Candidate]:
    return [made(width) for width in range(8, 128, 4)]


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Candidate]]:
    """Candidates in the order in which they are measured; a network uses its MACs of UNIT."""
    seen: list[Candidate] = []

    def excess(scene: Scene, candidate: Candidate, budget: Budget) -> float:
        seen.append(candidate)
        return candidate.cost.macs / UNIT

    monkeypatch.setattr(file, "_excess", excess)
    return seen


def test_without_such_limits_nothing_is_measured(
    scene: Scene, many: list[Candidate], measured: list[Candidate]
) -> None:
    found = quick_enough(scene, many, Budget(max_bytes=1), number=5, clock=Deadline())
    assert found == spread(many, 5)
    assert measured == []


def test_those_within_the_margin_are_kept_by_hand(
    scene: Scene, many: list[Candidate], measured: list[Candidate]
) -> None:
    found = quick_enough(scene, many, LATENCY, number=6, clock=Deadline())
    tried = spread(many, 6 * ROUNDS)
    assert sorted(c.cost.macs for c in measured) == [c.cost.macs for c in tried]
    good = [c for c in tried if c.cost.macs <= MARGIN * UNIT]
    assert 0 < len(good) < len(tried)
    assert found == spread(good, 6)


def test_where_none_keeps_the_limits_the_nearest_comes(
    scene: Scene, many: list[Candidate], measured: list[Candidate]
) -> None:
    heavy = [c for c in many if c.cost.macs > UNIT]
    assert quick_enough(scene, heavy, LATENCY, number=6, clock=Deadline()) == (min(heavy, key=lambda c: c.cost.macs),)


def test_where_few_keep_the_limits_the_lighter_ones_are_tried_too(
    scene: Scene, many: list[Candidate], measured: list[Candidate], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A spread leans to the heavy side: its lightest of 6 x 3 is the 8th of 30. Only the 3 lightest keep this limit;
    then so many of them are found as a spread of the lighter half holds, the lightest of all at least."""
    light = sorted(many, key=lambda c: c.cost.macs)
    limit = light[2].cost.macs
    monkeypatch.setattr(file, "_excess", lambda scene, c, budget: (measured.append(c), c.cost.macs / limit * MARGIN)[1])
    found = quick_enough(scene, many, LATENCY, number=6, clock=Deadline())
    assert all(one in light[:3] for one in found)
    assert light[0] in found
    assert len({c.spec.digest() for c in measured}) == len(measured)  # none is measured twice
    measured.clear()
    found = quick_enough(scene, light[20:], LATENCY, number=2, clock=Deadline(), spare=many)
    assert found
    assert all(one in light[:3] for one in found)


def test_a_clock_that_is_over_ends_it_once_one_is_found_and_a_stop_at_once(
    scene: Scene, many: list[Candidate], measured: list[Candidate]
) -> None:
    assert quick_enough(scene, many, LATENCY, number=6, clock=Deadline(1e-9)) == (measured[0],)
    assert len(measured) == 1  # the lightest that is tried keeps it
    measured.clear()
    heavy = [c for c in many if c.cost.macs > UNIT]
    stopped = Deadline()
    stopped.stop()
    quick_enough(scene, heavy, LATENCY, number=6, clock=stopped)
    assert len(measured) == 1
    measured.clear()
    quick_enough(scene, heavy, LATENCY, number=6, clock=Deadline(1e-9))
    assert len(measured) == 1  # it is long over


def test_the_sweeps_go_from_light_to_heavy_by_hand(many: list[Candidate]) -> None:
    rows = {c.spec.digest(): place for place, c in enumerate(many[:10])}
    assert [rows[c.spec.digest()] for c in _interleaved(many[:10])] == [0, 4, 8, 1, 5, 9, 2, 6, 3, 7]


def test_a_network_of_an_earlier_run_is_held_against_every_limit(
    scene: Scene, many: list[Candidate], measured: list[Candidate]
) -> None:
    one = next(c for c in many if c.cost.macs < MARGIN * UNIT)
    assert within(scene, one, Budget())
    assert within(scene, one, Budget(max_bytes=one.bytes))
    assert not within(scene, one, Budget(max_bytes=one.bytes - 1))
    assert not within(scene, one, Budget(max_energy_mj=one.energy_mj * 0.99))
    assert measured == []
    assert within(scene, one, LATENCY)
    assert not within(scene, many[-1], LATENCY)


def test_a_limit_of_latency_rejects_slow_networks_by_measuring(scene: Scene) -> None:
    """Real files of untrained networks: one has 300 times the MACs of the other. Between their times, measured here
    first, lies a limit that tells them apart."""
    light = counted(small_firenet(3, input_shape=(3, 16, 16), params={"base_e": 4, "stem": 4, "fires": 1}))
    heavy = counted(small_resnet(3, input_shape=(3, 16, 16), params={"widths": "96,128", "blocks": 2}))
    assert light is not None
    assert heavy is not None
    assert heavy.cost.macs > 100 * light.cost.macs
    times = [file._excess(scene, one, LATENCY) for one in (light, heavy)]  # of 1 ms, so milliseconds
    assert times[0] < times[1]
    limit = Budget(max_latency_ms=(times[0] * times[1]) ** 0.5 / MARGIN)
    assert quick_enough(scene, [heavy, light], limit, number=2, clock=Deadline()) == (light,)


def test_a_limit_of_memory_is_measured_in_a_process_of_its_own(scene: Scene) -> None:
    light = made(8)
    assert within(scene, light, Budget(max_memory_bytes=2**33))
    assert not within(scene, light, Budget(max_memory_bytes=2**10))


def test_another_size_of_the_input_is_measured_in_that_size(scene: Scene, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 80, 80, 3)).astype(np.uint8)
    np.savez(tmp_path / "a.npz", x=pixels, y=np.arange(40) % 2)
    large = look(str(tmp_path / "a.npz"), seed=0)
    assert large.input_shape == (3, 64, 64)
    small = counted(small_firenet(2, input_shape=(3, 32, 32)))
    assert small is not None
    assert 0 < file._excess(large, small, Budget(max_latency_ms=1e6)) < 1
