# SPDX-License-Identifier: Apache-2.0
"""How a search describes its trials: at their own size, in their family's manner, and as a replayed run had them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from fireforge.base.deadline import Deadline
from fireforge.base.machine import this_machine
from fireforge.base.progress import silent
from fireforge.base.record import RunRecord
from fireforge.base.trial import Trial
from fireforge.jobs.folder import RunFolder
from fireforge.jobs.scene import look
from fireforge.jobs.search import Course, Plan, Search
from fireforge.nets.firenet import small_firenet
from fireforge.nets.resnet import small_resnet
from fireforge.space.survey import Candidate, counted


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Two classes of 20 coloured pictures of 100 px."""
    path = tmp_path_factory.mktemp("search") / "a.npz"
    pixels = np.random.default_rng(0).integers(0, 256, (40, 100, 100, 3)).astype(np.uint8)
    np.savez(path, x=pixels, y=np.arange(40) % 2)
    return str(path)


@pytest.fixture
def past(tmp_path: Path) -> Iterator[RunFolder]:
    with RunFolder(tmp_path / "past") as run:
        yield run


def plan_of(data: str, run: RunFolder, *, mirror: bool = True, image_size: int | None = None) -> Plan:
    scene = look(data, seed=3, image_size=image_size, cache=run.path / "cache")
    search = Search(scene=scene, run=run, seed=3, device="cpu", clock=Deadline(), progress=silent)
    return Plan(search=search, mirror=mirror)


def candidate(side: int, *, resnet: bool = False) -> Candidate:
    found = counted((small_resnet if resnet else small_firenet)(2, input_shape=(3, side, side)))
    assert found is not None
    return found


def record(trial: Trial, *, epochs: float | None) -> RunRecord:
    return RunRecord(
        trial=trial,
        trial_digest=trial.digest(),
        metrics={} if epochs is None else {"train/epoch": (1.0, epochs)},
        accuracy=None if epochs is None else 0.5,
        seconds={},
        samples={},
        weights="",
        weights_sha256="",
        hardware=this_machine(),
        error="DIVERGED: the loss is nan" if epochs is None else "",
    )


def test_a_trial_sees_pictures_in_the_size_of_its_network(data: str, past: RunFolder) -> None:
    plan = plan_of(data, past)
    for side in (32, 48, 96):
        trial = plan.trial(candidate(side), Course(epochs=30, pictures=20, judged=7, threads=2), rung=2, start="ab")
        assert trial.preprocess.steps().crop == (side, side)
        assert trial.preprocess.steps().resize in (side, (side, side))
        assert trial.preprocess.steps().mean == plan.search.scene.steps.mean
        assert (trial.seed, trial.rung, trial.start, trial.threads) == (3, 2, "ab", 2)
        assert (trial.pictures, trial.val_pictures, trial.recipe.epochs) == (20, 7, 30)
        assert trial.recipe.augment.source_px == min(96, round(side * 1.3 / 8) * 8)
        assert trial.cost == candidate(side).cost
        assert Trial.from_json(trial.to_json()).digest() == trial.digest()


@pytest.mark.parametrize("image_size", [48, None])
def test_a_size_that_is_asked_for_does_not_change_how_photographs_are_varied(
    data: str, past: RunFolder, image_size: int | None
) -> None:
    trial = plan_of(data, past, image_size=image_size).trial(candidate(48), Course(epochs=30))
    assert (trial.recipe.augment.crop_area, trial.recipe.augment.source_px) == (0.35, 64)


def test_a_family_trains_in_its_manner_and_the_others_plainly(data: str, past: RunFolder) -> None:
    plan = plan_of(data, past).with_manners({"resnet": {"precision": "bfloat16", "layout": "channels_last"}})
    own = plan.trial(candidate(32, resnet=True), Course(epochs=3)).recipe
    other = plan.trial(candidate(32), Course(epochs=3)).recipe
    assert (own.precision, own.layout) == ("bfloat16", "channels_last")
    assert (other.precision, other.layout) == ("float32", "contiguous")
    assert own.replace(precision="float32", layout="contiguous") == other


@pytest.mark.parametrize("mirror", [True, False])
def test_pictures_are_mirrored_only_where_the_data_allow_it(data: str, past: RunFolder, mirror: bool) -> None:
    assert plan_of(data, past, mirror=mirror).trial(candidate(32), Course(epochs=3)).recipe.augment.flip is mirror


def test_without_a_replay_every_trial_goes_to_its_end(data: str, past: RunFolder) -> None:
    plan = plan_of(data, past)
    trials = [plan.trial(candidate(32), Course(epochs=3), rung=rung) for rung in (0, 1)]
    orders = plan.orders(trials, at_least_one=True)
    assert (list(orders.trials), orders.until, orders.at_least_one) == (trials, {}, True)
    assert (orders.folder, orders.cache) == (past.path, past.path / "cache")


def test_a_replay_begins_what_the_run_began_and_stops_it_where_the_run_stopped(
    data: str, past: RunFolder, tmp_path: Path
) -> None:
    """One was cut, one diverged, which it does again by itself, and one was never begun. The data may have been moved
    meanwhile, so that the trials' digests are others."""
    before = plan_of(data, past)
    cut, lost, never = (before.trial(candidate(side), Course(epochs=9)) for side in (32, 48, 64))
    for trial, epochs in ((cut, 2.5), (lost, None)):
        past.journal.append("trial", record(trial, epochs=epochs).to_json())
    moved = tmp_path / "elsewhere.npz"
    moved.write_bytes(Path(data).read_bytes())
    with RunFolder(tmp_path / "run", replay=past) as run:
        plan = plan_of(str(moved), run)
        trials = [plan.trial(candidate(side), Course(epochs=9)) for side in (32, 48, 64)]
        assert trials[0].digest() != cut.digest()
        orders = plan.orders(trials)
    assert list(orders.trials) == trials[:2]
    assert orders.until == {trials[0].digest(): 2.5, trials[1].digest(): math.inf}
    assert never.spec == trials[2].spec
