# SPDX-License-Identifier: Apache-2.0
"""The flow of a build where search and compression are played: laps, answers that stay, refusals; the rest is real."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from fireforge.base.answer import Answer
from fireforge.base.budget import Budget
from fireforge.base.deadline import Deadline
from fireforge.base.errors import FireforgeError
from fireforge.base.exported import Exported
from fireforge.base.files import read_json, sha256_of_file, write_bytes
from fireforge.base.journal import Journal
from fireforge.base.machine import this_machine
from fireforge.base.measurement import Measurement
from fireforge.base.preprocess import Preprocess
from fireforge.base.progress import Progress, Update
from fireforge.base.record import Facts, RunRecord
from fireforge.base.settings import Wish
from fireforge.base.spec import NetSpec
from fireforge.base.trial import DataRef, Recipe, Trial
from fireforge.cost.filesize import onnx_bytes
from fireforge.jobs.deliver import Delivery
from fireforge.jobs.folder import RunFolder
from fireforge.jobs.scene import Scene
from fireforge.jobs.search import Search
from fireforge.jobs.watch import Watch
from fireforge.nets.families import build_graph

pytest.importorskip("torch")
pytest.importorskip("sklearn")
build = pytest.importorskip("fireforge.jobs.build")

LABELS = tuple("0123456789")
BUDGET = Budget(max_bytes=40_000, seconds=60.0)


@dataclass
class Play:
    """What the search finds and what its file is worth on validation, one for each lap."""

    found: list[tuple[float, float]]
    write: Callable[..., Path]
    delivered: int = 0
    clocks: list[Deadline] = field(default_factory=list)
    fails: bool = False

    def explore(self, search: Search, budget: Budget) -> RunRecord:
        accuracy, _ = self.found[0]
        self.clocks.append(search.clock)
        width = 16 + len(search.run.laps())
        spec = NetSpec(family="resnet", params={"blocks": 1, "width": width}, classes=10, input_shape=(1, 8, 8))
        record = trial_of(spec, accuracy, search.scene)
        (search.run.path / "trials").mkdir(exist_ok=True)
        write_bytes(search.run.path / record.weights, str(width).encode())
        record = record.replace(weights_sha256=sha256_of_file(search.run.path / record.weights))
        search.run.journal.append("trial", record.to_json())
        return record

    def deliver(self, scene: Scene, run: RunFolder, winner: RunRecord, **_: Any) -> list[Delivery]:
        _, accuracy = self.found[0]
        self.delivered += 1
        path = self.write(run.path / "model.onnx", LABELS, channels=1)
        if self.fails:
            raise FireforgeError("WORKER_DIED", "as if it was killed here")
        exported = Exported(path=str(path), form="float32", bytes=path.stat().st_size, sha256=sha256_of_file(path))
        run.journal.append("export", exported.replace(path=path.name).to_json())
        return [Delivery(exported=exported, facts=Facts(accuracy=accuracy), measurement=measured(exported.bytes))]


def trial_of(spec: NetSpec, accuracy: float | None, scene: Scene | None = None) -> RunRecord:
    trial = Trial(
        spec=spec,
        recipe=Recipe(epochs=3),
        data=scene.ref if scene else DataRef(source="none"),
        preprocess=scene.preprocess if scene else Preprocess(),
    )
    return RunRecord(
        trial=trial,
        trial_digest=trial.digest(),
        metrics={"train/epoch": (1.0, 12.0)},
        accuracy=accuracy,
        seconds={},
        samples={"train": 1222, "val": 216},
        weights=f"trials/{trial.digest()[:12]}.safetensors",
        weights_sha256="",
        hardware=this_machine(),
    )


def measured(size: int) -> Measurement:
    return Measurement(
        bytes=size,
        latency_ms=0.1,
        latency_p90_ms=0.1,
        memory_bytes=None,
        load_ms=1.0,
        accuracy=None,
        n=0,
        runs=1,
        threads=1,
        runtime="OnnxSession",
        torch_loaded=False,
        hardware=this_machine(),
        how={},
    )


@pytest.fixture
def play(monkeypatch: pytest.MonkeyPatch, small_model: Callable[..., Path]) -> Play:
    played = Play(found=[(0.9, 0.9)], write=small_model)

    def fresh(path: Path, **_: Any) -> Measurement:
        return measured(Path(path).stat().st_size).replace(accuracy=0.5, n=359)

    monkeypatch.setattr(build, "explore", played.explore)
    monkeypatch.setattr(build, "deliver", played.deliver)
    monkeypatch.setattr(build, "run_baselines", lambda *_, **__: [])
    monkeypatch.setattr("fireforge.jobs.settle.measure_fresh", fresh)
    return played


def run(folder: Path, *, budget: Budget = BUDGET, wish: Wish | None = None, progress: Progress | None = None) -> Answer:
    told: Answer = build.build("digits", budget=budget, wish=wish, out=folder, progress=progress or (lambda _: None))
    return told


def types(folder: Path) -> list[str]:
    return [entry.type for entry in Journal(folder / "record.jsonl").read()]


def test_a_build_leaves_its_answer_its_report_and_a_program_and_nothing_that_it_can_make_again(
    play: Play, tmp_path: Path
) -> None:
    seen: list[Update] = []
    told = run(tmp_path / "run", progress=seen.append)
    folder = tmp_path / "run"
    assert read_json(folder / "result.json") == told.to_json()
    assert {"report.html", "README.md", "predict.py", "model.onnx", "spec.json", "metrics.csv"} <= {
        path.name for path in folder.iterdir()
    }
    assert not any((folder / name).exists() for name in ("lock", "cache", "before"))
    assert all(update.used_s is not None for update in seen)
    assert types(folder)[0] == "start"
    assert types(folder)[-2:] == ["clock", "answer"]


def test_time_before_the_call_counts_and_the_search_leaves_some_for_the_finish(play: Play, tmp_path: Path) -> None:
    build.build("digits", budget=BUDGET, out=tmp_path / "run", used_s=20.0)
    (clock,) = play.clocks
    assert clock.seconds == pytest.approx(54.0, abs=0.5)  # 6 s at least for the finish, a little more by the loading
    assert clock.used() > 20.0


def test_the_same_command_again_does_nothing(play: Play, tmp_path: Path) -> None:
    first = run(tmp_path / "run")
    before = types(tmp_path / "run")
    assert run(tmp_path / "run") == first
    assert types(tmp_path / "run") == before
    assert play.delivered == 1


def test_a_longer_time_that_finds_a_better_file_replaces_the_answer(play: Play, tmp_path: Path) -> None:
    first = run(tmp_path / "run")
    play.found = [(0.95, 0.94)]
    second = run(tmp_path / "run", budget=BUDGET.replace(seconds=120.0))
    assert (first.val_accuracy, second.val_accuracy) == (0.9, 0.94)
    assert second.spec != first.spec
    assert read_json(tmp_path / "run" / "result.json") == second.to_json()
    assert NetSpec.from_json(read_json(tmp_path / "run" / "spec.json")) == second.spec
    assert types(tmp_path / "run").count("answer") == 2  # the record keeps both
    assert second.seconds > first.seconds


@pytest.mark.parametrize(
    ("accuracy", "of_file", "delivered"),
    [
        (0.89, 0.99, 1),  # the network is no better: no file is made
        (0.95, 0.89, 2),  # its file is not
    ],
)
def test_a_longer_time_that_finds_nothing_better_leaves_the_answer_and_its_files(
    play: Play, tmp_path: Path, accuracy: float, of_file: float, delivered: int
) -> None:
    folder = tmp_path / "run"
    first = run(folder)
    kept = {path: (folder / path).read_bytes() for path in ("model.onnx", "spec.json", "weights/best.safetensors")}
    play.found = [(accuracy, of_file)]
    second = run(folder, budget=BUDGET.replace(seconds=120.0))
    assert play.delivered == delivered
    assert second == first.replace(seconds=second.seconds, command=second.command)
    assert {path: (folder / path).read_bytes() for path in kept} == kept
    assert not (folder / "before").exists()
    assert run(folder, budget=BUDGET.replace(seconds=120.0)) == second


def test_a_lap_that_ends_while_it_writes_files_loses_neither_the_old_ones_nor_the_lap(
    play: Play, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    first = run(folder)
    old = (folder / "model.onnx").read_bytes()
    play.found, play.fails = [(0.95, 0.89)], True
    longer = BUDGET.replace(seconds=120.0)
    with pytest.raises(FireforgeError, match="as if it was killed"):
        run(folder, budget=longer)
    (folder / "model.onnx").write_bytes(b"half of another")
    play.fails = False
    assert run(folder, budget=longer).val_accuracy == first.val_accuracy
    assert (folder / "model.onnx").read_bytes() == old
    assert types(folder).count("longer") == 1


def test_an_infeasible_answer_is_an_error_of_exit_code_4_and_the_nearest_stays(play: Play, tmp_path: Path) -> None:
    with pytest.raises(FireforgeError) as raised:
        run(tmp_path / "run", budget=Budget(max_bytes=100, seconds=60.0))
    assert (raised.value.code, int(raised.value.exit_code)) == ("INFEASIBLE", 4)
    assert raised.value.what.startswith("max_bytes binds: 100 B allowed, the nearest that was measured has ")
    (clock,) = play.clocks
    assert clock.left() <= build.HOPELESS_S  # no network is so small: it is not searched for long
    assert (tmp_path / "run" / "model.onnx").exists()
    with pytest.raises(FireforgeError, match="INFEASIBLE"):
        run(tmp_path / "run", budget=Budget(max_bytes=100, seconds=60.0))


def test_energy_without_a_counter_is_judged_by_an_estimate_that_says_so(play: Play, tmp_path: Path) -> None:
    told = run(tmp_path / "run", budget=BUDGET.replace(max_energy_mj=1.0))
    (limit,) = [row for row in told.limits if row.name == "max_energy_mj"]
    assert limit.met
    assert limit.how.startswith("estimated")
    with pytest.raises(FireforgeError, match="max_energy_mj binds"):
        run(tmp_path / "next", budget=BUDGET.replace(max_energy_mj=1e-9))


def test_an_earlier_run_and_a_replay_are_other_folders(play: Play, tmp_path: Path) -> None:
    run(tmp_path / "run")
    for wish in (Wish(earlier=str(tmp_path / "run")), Wish(replay=str(tmp_path / "run"))):
        with pytest.raises(FireforgeError, match=r"OTHER_RUN.*cannot go back to itself"):
            run(tmp_path / "run", wish=wish)
    assert run(tmp_path / "next", wish=Wish(earlier=str(tmp_path / "run"))).feasible
    assert types(tmp_path / "next")[:2] == ["start", "earlier"]
    assert run(tmp_path / "next", wish=Wish(earlier=str(tmp_path / "run"))).feasible  # resumes
    assert types(tmp_path / "next").count("earlier") == 1


def test_a_replay_has_no_clock_and_the_limits_of_the_run(play: Play, tmp_path: Path) -> None:
    run(tmp_path / "run")
    again = run(tmp_path / "again", budget=Budget(), wish=Wish(replay=str(tmp_path / "run")))
    assert play.clocks[1].left() == float("inf")
    assert [limit.name for limit in again.limits] == ["max_bytes"]


def test_a_device_that_is_not_there_and_a_place_that_cannot_hold_a_run_are_refused_first(
    play: Play, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "look", lambda *_, **__: pytest.fail("the data was read"))
    (tmp_path / "file").write_text("")
    with pytest.raises(FireforgeError, match=r"CANNOT_WRITE.*is a file"):
        run(tmp_path / "file" / "run")
    with pytest.raises(FireforgeError, match="NO_DEVICE"):
        run(tmp_path / "run", wish=Wish(device="cuda:99"))
    with pytest.raises(FireforgeError, match="TOO_LITTLE_TIME"):
        run(tmp_path / "run", budget=Budget(seconds=29.0))
    assert not (tmp_path / "run").exists()


def test_a_first_ctrl_c_in_the_search_ends_the_whole_clock(
    play: Play, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped: list[bool] = []

    def explore(search: Search, budget: Budget) -> RunRecord:
        search.clock.stop()
        return play.explore(search, budget)

    def deliver(*places: Any, clock: Deadline, **_: Any) -> list[Delivery]:
        stopped.append(clock.stopped())
        return play.deliver(*places)

    monkeypatch.setattr(build, "explore", explore)
    monkeypatch.setattr(build, "deliver", deliver)
    run(tmp_path / "run")
    assert stopped == [True]


def test_updates_keep_their_fields(play: Play, tmp_path: Path) -> None:
    """The wrapper that adds the time used changes nothing else."""
    seen: list[Update] = []
    run(tmp_path / "run", progress=seen.append)
    assert {update.stage for update in seen} == {"finish"}
    plain = dataclasses.replace(seen[0], used_s=None, best_accuracy=None, best_bytes=None)
    assert plain == Update(stage="finish", note="compress, export, verify")


def test_each_update_tells_the_best_trial_so_far(tmp_path: Path) -> None:
    """Accuracy as recorded, bytes as `fireforge.cost.filesize` predicts them; a torn line is no trial yet."""
    spec = NetSpec(family="resnet", params={"blocks": 1, "width": 4}, classes=10, input_shape=(1, 8, 8))
    seen: list[Update] = []
    with RunFolder(tmp_path) as folder:
        watch = Watch(seen.append, folder, Deadline(60.0, used=7.0))
        watch(Update(stage="rung 1"))
        for accuracy in (0.5, 0.9, 0.7, None):
            folder.journal.append("trial", trial_of(spec, accuracy).to_json())
            watch(Update(stage="rung 1", note="as it was"))
        with open(folder.journal.path, "ab") as stream:
            stream.write(b'{"type":"trial","value":{"accuracy":0.99')
        watch(Update(stage="rung 1"))
        assert folder.seconds_used() == pytest.approx(7.0, abs=1.0)
    size = onnx_bytes(build_graph(spec), form="int8")
    assert [update.best_accuracy for update in seen] == [None, 0.5, 0.9, 0.9, 0.9, 0.9]
    assert [update.best_bytes for update in seen] == [None, *[size] * 5]
    assert seen[1].note == "as it was"
