# SPDX-License-Identifier: Apache-2.0
"""A crew of processes: whole, stopped, left early, killed; every listener ends without a word."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from fireforge.base.deadline import Deadline
from fireforge.base.errors import FireforgeError
from fireforge.base.machine import this_machine, usable_cores
from fireforge.base.preprocess import ImageSteps, Preprocess
from fireforge.base.record import RunRecord
from fireforge.base.trial import DataRef, Recipe, Trial
from fireforge.jobs import crew as file
from fireforge.jobs.crew import Crew, Orders
from fireforge.nets.firenet import small_firenet
from fireforge.train import shelf
from fireforge.train.trial import give_up_state, make_ready

ENDLESS = 100_000  # epochs
STEPS = ImageSteps(channels=1, resize=None, crop=(8, 8), order="L", mean=(100.0,), std=(70.0,))


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("crew") / "tiny.npz"
    generator = np.random.default_rng(5)
    np.savez(path, x=generator.integers(0, 255, (60, 8, 8)).astype(np.uint8), y=np.arange(60) % 3)
    return path


@pytest.fixture(autouse=True)
def _two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file, "usable_cores", lambda: 2)


@pytest.fixture(scope="module")
def two() -> Iterator[Crew]:
    """Two processes that several tests order from, one after another, as a build does; none of them stops the crew."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(file, "usable_cores", lambda: 2)
        with Crew("cpu") as crew:
            yield crew


def trials(pictures: Path, count: int, epochs: int) -> list[Trial]:
    params = {"fires": 1, "base_e": 4, "incr_e": 4, "stem": 4}
    return [
        Trial(
            spec=small_firenet(3, input_shape=(1, 8, 8), params=dict(params)),
            recipe=Recipe(epochs=epochs, batch=16, ema=0.9),
            data=DataRef(source=str(pictures)),
            preprocess=Preprocess(image=STEPS),
            seed=seed,
        )
        for seed in range(count)
    ]


def records(crew: Crew, orders: Orders) -> list[RunRecord]:
    return [found for found in crew.run(orders) if isinstance(found, RunRecord)]


def cut(record: RunRecord) -> bool:
    """Whether it was judged and written, but not trained whole."""
    assert record.accuracy is not None
    assert record.weights
    return 0 < record.metrics["train/epoch"][-1] < record.trial.recipe.epochs


def listeners() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if "_listen" in thread.name]


@pytest.fixture
def one_thread() -> Iterator[None]:
    """A sum in two threads has other bits than in one, which is what each worker has."""
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("one_thread")
def test_several_processes_give_what_one_gives(pictures: Path, two: Crew, tmp_path: Path) -> None:
    todo = trials(pictures, 3, 2)
    assert two.size == 2 == len({worker._process.pid for worker in two._workers})
    together = {r.trial_digest: r for r in records(two, Orders(trials=todo, folder=tmp_path / "a"))}
    alone = records(Crew("cpu"), Orders(trials=todo, folder=tmp_path / "b"))  # not entered: no processes
    assert [together[r.trial_digest].weights_sha256 for r in alone] == [r.weights_sha256 for r in alone]
    assert [together[r.trial_digest].metrics for r in alone] == [r.metrics for r in alone]


def test_one_process_reads_the_pictures_once_and_counts_it_as_data(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(trial: Trial, *, cache: Path | None = None) -> object:
        time.sleep(0.3)
        return make_ready(trial, cache=cache)

    monkeypatch.setattr(shelf, "make_ready", slow)
    todo = [trial.replace(pictures=20) for trial in trials(pictures, 3, 1)]
    found = records(Crew("cpu"), Orders(trials=todo, folder=tmp_path))
    assert [record.seconds["data"] >= 0.3 for record in found] == [True, False, False]
    assert [record.samples["train"] for record in found] == [20, 20, 20]


@pytest.mark.parametrize("entered", [True, False])
@pytest.mark.parametrize("at_least_one", [True, False])
def test_an_order_whose_time_is_up_begins_the_first_trial_or_none(
    pictures: Path, two: Crew, tmp_path: Path, entered: bool, at_least_one: bool
) -> None:
    todo = trials(pictures, 3, 4)
    orders = Orders(trials=todo, folder=tmp_path, deadline=Deadline(0.0), at_least_one=at_least_one)
    found = records(two if entered else Crew("cpu"), orders)
    assert [record.trial_digest for record in found] == [trial.digest() for trial in todo][: int(at_least_one)]
    assert all(map(cut, found))


@pytest.mark.parametrize("entered", [True, False])
@pytest.mark.parametrize("keep", [True, False])
def test_a_state_is_kept_where_the_orders_say_so(
    pictures: Path, two: Crew, tmp_path: Path, entered: bool, keep: bool
) -> None:
    """A training that has ended leaves its last state, until its record is safe."""
    orders = Orders(trials=trials(pictures, 1, 4), folder=tmp_path, keep=keep)
    for found in (two if entered else Crew("cpu")).run(orders):
        if isinstance(found, RunRecord):
            assert (tmp_path / "checkpoint").exists() == keep
            give_up_state(tmp_path, found)
    assert not list(tmp_path.glob("checkpoint/*"))


@pytest.mark.parametrize("who", ["crew", "deadline"])
def test_a_stop_ends_what_runs_and_begins_nothing_more(pictures: Path, two: Crew, tmp_path: Path, who: str) -> None:
    clock = Deadline()
    found: list[RunRecord] = []
    with Crew("cpu") if who == "crew" else contextlib.nullcontext(two) as crew:
        for item in crew.run(Orders(trials=trials(pictures, 4, ENDLESS), folder=tmp_path, deadline=clock)):
            if isinstance(item, RunRecord):
                found.append(item)
            elif not found:
                crew.stop() if who == "crew" else clock.stop()
        assert 1 <= len(found) <= 2
        assert all(map(cut, found))
        assert clock.stopped() == (who == "deadline")
        again = records(crew, Orders(trials=trials(pictures, 3, ENDLESS if who == "crew" else 1), folder=tmp_path))
        assert [cut(record) for record in again] == ([True] if who == "crew" else [False] * 3)


def test_a_stop_before_the_processes_have_begun_is_not_lost(pictures: Path, tmp_path: Path) -> None:
    """They are still importing when the interrupt comes; unheld it would kill them."""
    clock = Deadline()
    with Crew("cpu") as crew:
        threading.Timer(0.3, crew.stop).start()
        found = records(crew, Orders(trials=trials(pictures, 4, ENDLESS), folder=tmp_path, deadline=clock))
    assert all(map(cut, found))
    assert len(found) == 2


def test_a_signal_handler_may_stop_a_crew(pictures: Path, tmp_path: Path) -> None:
    with Crew("cpu") as crew:
        before = signal.signal(signal.SIGINT, lambda number, frame: crew.stop())
        try:
            threading.Timer(4.0, signal.raise_signal, (signal.SIGINT,)).start()
            found = records(crew, Orders(trials=trials(pictures, 4, ENDLESS), folder=tmp_path))
        finally:
            signal.signal(signal.SIGINT, before)
    assert all(map(cut, found))
    assert 1 <= len(found) <= 2


def test_who_was_left_in_mid_trial_does_not_answer_the_next_order(pictures: Path, two: Crew, tmp_path: Path) -> None:
    for _ in two.run(Orders(trials=trials(pictures, 2, ENDLESS), folder=tmp_path)):
        break
    todo = trials(pictures, 3, 2)
    found = records(two, Orders(trials=todo, folder=tmp_path))
    assert sorted(r.trial_digest for r in found) == sorted(trial.digest() for trial in todo)


def test_a_killed_worker_is_told_and_every_listener_ends(
    pictures: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with Crew("cpu") as crew:
        found = crew.run(Orders(trials=trials(pictures, 2, ENDLESS), folder=tmp_path))
        next(found)
        os.kill(crew._workers[1]._process.pid, signal.SIGKILL)
        with pytest.raises(FireforgeError, match="WORKER_DIED: a training process ended: exit code -9"):
            list(found)
    assert listeners() == []
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("entered", [True, False])
def test_a_trial_stops_where_the_orders_say_an_earlier_run_stopped_it(
    pictures: Path, two: Crew, tmp_path: Path, entered: bool
) -> None:
    """Both in processes and here; the trial that the orders do not name is trained whole."""
    todo = trials(pictures, 2, 3)
    orders = Orders(trials=todo, folder=tmp_path, cache=tmp_path / "cache", until={todo[0].digest(): 1.25})
    done = records(two if entered else Crew("cpu"), orders)
    found = {record.trial_digest: record.metrics["train/epoch"][-1] for record in done}
    steps = -(-len(make_ready(todo[0]).train) // 16)
    wanted = next(1 + step / steps for step in range(1, steps + 1) if 1 + step / steps >= 1.25)
    assert found == {todo[0].digest(): wanted, todo[1].digest(): 3}


def test_a_network_that_goes_on_from_another_trials_weights_does_so_in_a_process(
    pictures: Path, two: Crew, tmp_path: Path
) -> None:
    first = trials(pictures, 1, 1)[0]
    second = first.replace(start=first.digest(), rung=1)
    for trial in (first, second):
        (found,) = records(two, Orders(trials=[trial], folder=tmp_path / "a"))
    alone = [records(Crew("cpu"), Orders(trials=[trial], folder=tmp_path / "b"))[0] for trial in (first, second)]
    assert found.weights_sha256 == alone[1].weights_sha256 != alone[0].weights_sha256


LEAVE = """
import json, sys, time
from pathlib import Path
from fireforge.base.trial import Trial
from fireforge.jobs import crew as file
file.usable_cores = lambda: 2
last_words = file._Worker._last_words
file._Worker._last_words = lambda self: (time.sleep(0.2), last_words(self))[1]  # a listener that is late
trials = [Trial.from_json(item) for item in json.loads(Path(sys.argv[1]).read_text())]
with file.Crew("cpu") as crew:
    items = crew.run(file.Orders(trials=trials, folder=Path(sys.argv[2])))
    next(items)
    if sys.argv[3] == "raise":
        raise SystemExit(7)
time.sleep(0.5)
sys.exit(7)
"""


@pytest.mark.parametrize("how", ["raise", "leave"])
def test_who_leaves_early_hears_nothing(pictures: Path, tmp_path: Path, how: str) -> None:
    orders = tmp_path / "trials.json"
    orders.write_text(json.dumps([trial.to_json() for trial in trials(pictures, 3, ENDLESS)]))
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", LEAVE, str(orders), str(tmp_path), how],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (7, "", "")


@pytest.mark.parametrize(("share", "wanted"), [(0.0, 8), (0.25 / 8, 8), (0.25 / 3.5, 3), (0.2, 1), (3.0, 1)])
def test_workers_hold_their_pictures_in_a_quarter_of_the_memory(
    share: float, wanted: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file, "usable_cores", lambda: 8)
    memory = 2**33
    monkeypatch.setattr(file, "this_machine", lambda: this_machine().replace(memory_bytes=memory))
    assert Crew("cpu", data_bytes=int(memory * share)).size == wanted


def test_an_unknown_memory_caps_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file, "this_machine", lambda: this_machine().replace(memory_bytes=0))
    assert Crew("cpu", data_bytes=10**15).size == usable_cores()
