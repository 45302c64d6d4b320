# SPDX-License-Identifier: Apache-2.0
"""The search itself on small data: what a clock that is over leaves, resume, laps, an earlier run and a replay."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from fireforge.base.budget import Budget
from fireforge.base.deadline import Deadline
from fireforge.base.errors import FireforgeError
from fireforge.base.progress import silent
from fireforge.base.record import RunRecord
from fireforge.jobs import crew as crew_file
from fireforge.jobs import explore as file
from fireforge.jobs.explore import _middling, explore
from fireforge.jobs.folder import RunFolder
from fireforge.jobs.scene import look
from fireforge.jobs.search import Search
from fireforge.nets.firenet import small_firenet
from fireforge.nets.resnet import small_resnet
from fireforge.space.survey import counted


@pytest.fixture(autouse=True)
def _one_worker(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """In this process, and with fewer draws, so that a search takes seconds."""
    monkeypatch.setattr(crew_file, "usable_cores", lambda: 1)
    monkeypatch.setattr(file, "DRAWS", 60)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Two classes of 60 gray pictures of 8 px, bright above or below."""
    path = tmp_path_factory.mktemp("explore") / "a.npz"
    labels = np.arange(120) % 2
    pixels = np.random.default_rng(0).integers(0, 90, (120, 8, 8))
    pixels[labels == 0, :4] += 120
    pixels[labels == 1, 4:] += 120
    np.savez(path, x=pixels.astype(np.uint8), y=labels)
    return str(path)


def search(data: str, run: RunFolder, clock: Deadline, *, net: str = "") -> Search:
    scene = look(data, seed=0, cache=run.path / "cache")
    return Search(scene=scene, run=run, seed=0, device="cpu", clock=clock, progress=silent, net=net)


def stopped() -> Deadline:
    """As after Ctrl-C."""
    clock = Deadline(60.0)
    clock.stop()
    return clock


def trials(run: RunFolder) -> list[RunRecord]:
    return list(run.trials().values())


def test_a_clock_that_is_over_leaves_one_network_of_one_batch(data: str, tmp_path: Path) -> None:
    with RunFolder(tmp_path / "run") as run:
        winner = explore(search(data, run, stopped()), Budget(max_bytes=30_000))
        assert [record.trial_digest for record in trials(run)] == [winner.trial_digest]
        assert winner.metrics["train/epoch"][-1] <= 1
        assert winner.accuracy is not None
        assert (run.path / winner.weights).exists()
        names = [entry.value["name"] for entry in run.entries() if entry.type == "choice"]
        assert {"mirror", "ladder", "affordable", "starters", "rung 0"} <= set(names)
        ledger = run.entry("candidates")
        assert ledger["counted"] == 60 == ledger["kept"] + sum(ledger["rejected"].values())
        before = run.journal.path.read_bytes()
        again = explore(search(data, run, stopped()), Budget(max_bytes=30_000))  # resumed: nothing is done anew
        assert again == winner
        assert run.journal.path.read_bytes() == before


def test_a_replay_trains_what_the_run_trained_to_the_same_bits(data: str, tmp_path: Path) -> None:
    """The run was stopped at once, and most of its networks never began; the replay has all the time there is."""
    with RunFolder(tmp_path / "run") as run:
        winner = explore(search(data, run, stopped()), Budget())
        with RunFolder(tmp_path / "replay", replay=run) as replay:
            again = explore(search(data, replay, Deadline()), Budget())
            assert [record.trial_digest for record in trials(replay)] == [r.trial_digest for r in trials(run)]
    assert (again.weights_sha256, again.metrics) == (winner.weights_sha256, winner.metrics)


def test_a_lap_that_is_stopped_at_once_still_gives_a_network(data: str, tmp_path: Path) -> None:
    """It goes on from the weights of the lap before, whose trials do not count for this one."""
    with RunFolder(tmp_path / "run") as run:
        first = explore(search(data, run, stopped()), Budget())
        run.journal.append("answer", {"of": "the first lap"})
        run.journal.append("longer", {"seconds": 120.0, "command": ""})
        run.answered_before = lambda: None  # type: ignore[method-assign]
        second = explore(search(data, run, stopped()), Budget())
        assert len(trials(run)) == 2
    assert second.trial.start == first.trial_digest
    assert second.trial.spec == first.trial.spec


def taken_over(run: RunFolder, *, width: int, side: int = 8) -> RunRecord:
    """A record of an earlier run with a network of such a width, without weights."""
    spec = small_firenet(2, input_shape=(1, side, side), params={"base_e": width})
    with RunFolder(run.path / "past") as past:
        any_of_them = explore(search(str(run.path / "a.npz"), past, stopped()), Budget())
    trial = any_of_them.trial.replace(spec=spec, rung=3)
    record = any_of_them.replace(trial=trial, trial_digest=trial.digest(), weights="", weights_sha256="", accuracy=1.0)
    run.journal.append("earlier", {"run": "past", "trials": [record.to_json()]})
    return record


@pytest.mark.parametrize(("limit", "starts"), [(None, True), (30_000, False)])
def test_a_network_of_an_earlier_run_starts_first_where_it_keeps_the_limits(
    data: str, tmp_path: Path, limit: int | None, starts: bool
) -> None:
    """A FireNet of base 128 takes more than 30,000 bytes: with that limit it would win and the answer be infeasible."""
    with RunFolder(tmp_path / "run") as run:
        (run.path / "a.npz").write_bytes(Path(data).read_bytes())
        known = taken_over(run, width=128)
        found = counted(known.trial.spec)
        assert found is not None
        assert found.bytes > 30_000
        winner = explore(search(data, run, stopped()), Budget(max_bytes=limit))
        assert (winner.trial.spec == known.trial.spec) is starts
        assert winner.trial.start == ""  # it has no weights that fit
        if limit is not None:
            small = counted(winner.trial.spec)
            assert small is not None
            assert small.bytes <= limit


def test_a_network_of_a_size_that_these_pictures_do_not_have_is_left_out(data: str, tmp_path: Path) -> None:
    with RunFolder(tmp_path / "run") as run:
        (run.path / "a.npz").write_bytes(Path(data).read_bytes())
        known = taken_over(run, width=16, side=16)
        assert explore(search(data, run, stopped()), Budget()).trial.spec != known.trial.spec


def test_a_run_that_started_what_is_not_there_is_told(data: str, tmp_path: Path) -> None:
    with RunFolder(tmp_path / "run") as run:
        run.choice("starters", lambda: ["0" * 64], why="of another version")
        with pytest.raises(FireforgeError, match="OTHER_RUN"):
            explore(search(data, run, stopped()), Budget())


def test_limits_that_no_network_keeps_leave_the_nearest(data: str, tmp_path: Path) -> None:
    with RunFolder(tmp_path / "run") as run:
        winner = explore(search(data, run, stopped()), Budget(max_bytes=10))
        ledger = run.entry("candidates")
        assert ledger["kept"] == 0
        assert ledger["rejected"]["max_bytes"] == 60 - ledger["rejected"].get("impossible", 0)
        assert winner.accuracy is not None


def test_a_named_network_is_trained_alone(data: str, tmp_path: Path) -> None:
    with RunFolder(tmp_path / "run") as run:
        winner = explore(search(data, run, stopped(), net="resnet-small"), Budget())
        assert winner.trial.spec == small_resnet(2, input_shape=(1, 8, 8))
        assert run.entry("candidates") is None
    with RunFolder(tmp_path / "other") as run, pytest.raises(FireforgeError, match="UNKNOWN_NAME"):
        explore(search(data, run, stopped(), net="no such"), Budget())


def test_a_middling_network_of_each_family_by_hand() -> None:
    """A third of the others lie below it: the third of seven, the first of two, of those at the size that is asked."""
    seven = [counted(small_firenet(2, params={"base_e": width})) for width in (8, 16, 24, 32, 40, 48, 56)]
    two = [counted(small_resnet(2, params={"widths": text})) for text in ("16,32", "8,16")]
    larger = [counted(small_resnet(2, input_shape=(3, 48, 48), params={"widths": "4,8"}))]
    every = [one for one in (*reversed(seven), *two, *larger) if one is not None]
    assert _middling(every, (32, 32)) == [seven[2], two[1]]
    assert _middling(every, (48, 48)) == [seven[2], larger[0]]


@pytest.mark.slow
def test_thirty_seconds_of_digits_give_a_network_within_the_limit_and_a_replay_the_same(tmp_path: Path) -> None:
    """Above 90 %, where nearest neighbours of all training pictures have 98 % and chance 10 %; the replay gives the
    same bits for every trial, cut ones too."""
    pytest.importorskip("sklearn")
    with RunFolder(tmp_path / "run") as run:
        winner = explore(search("digits", run, Deadline(30.0)), Budget(max_bytes=40_000))
        assert winner.accuracy is not None
        assert winner.accuracy > 0.9
        first = {record.trial_digest: record.weights_sha256 for record in trials(run)}
        with RunFolder(tmp_path / "replay", replay=run) as replay:
            again = explore(search("digits", replay, Deadline()), Budget(max_bytes=40_000))
            second = {record.trial_digest: record.weights_sha256 for record in trials(replay)}
    assert second == first
    assert again.trial_digest == winner.trial_digest
