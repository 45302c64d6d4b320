# SPDX-License-Identifier: Apache-2.0
"""Laps of a run, an earlier run, a replay, and an answer's files while a later lap looks for better ones: by hand."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from fireforge.base.answer import Answer, CandidateFile, Score
from fireforge.base.budget import Budget, Verdict
from fireforge.base.datacard import DataCard
from fireforge.base.errors import FireforgeError
from fireforge.base.exported import Exported
from fireforge.base.files import sha256_of_file, write_bytes
from fireforge.base.machine import this_machine
from fireforge.base.measurement import Measurement
from fireforge.base.pixels import encode_png
from fireforge.base.preprocess import Preprocess
from fireforge.base.record import RunRecord
from fireforge.base.settings import Wish
from fireforge.base.spec import NetSpec
from fireforge.base.start import Start
from fireforge.base.trial import DataRef, Recipe, Trial
from fireforge.jobs.begin import begin, seconds_asked
from fireforge.jobs.folder import RunFolder
from fireforge.jobs.keep import ASIDE, drop_aside, put_back, set_aside
from fireforge.jobs.past import as_replayed, open_past, same_data, take_over
from fireforge.jobs.scene import Scene, look

BUDGET = Budget(max_bytes=40_000, seconds=60.0)


def spec(width: int, *, classes: int = 2) -> NetSpec:
    return NetSpec(family="firenet", classes=classes, input_shape=(1, 12, 12), params={"base_e": width})


ELSEWHERE = DataRef(source="none")


def record(
    width: int, accuracy: float | None, folder: Path | None = None, *, classes: int = 2, data: DataRef = ELSEWHERE
) -> RunRecord:
    trial = Trial(
        spec=spec(width, classes=classes),
        recipe=Recipe(epochs=3),
        data=data,
        preprocess=Preprocess(),
    )
    name, sha256 = f"trials/{trial.digest()[:12]}.safetensors", ""
    if folder is not None:
        (folder / "trials").mkdir(parents=True, exist_ok=True)
        write_bytes(folder / name, f"weights {width}".encode())
        sha256 = sha256_of_file(folder / name)
    return RunRecord(
        trial=trial,
        trial_digest=trial.digest(),
        metrics={"train/epoch": (1.0, 2.5)},
        accuracy=accuracy,
        seconds={},
        samples={"val": 100},
        weights=name,
        weights_sha256=sha256,
        hardware=this_machine(),
        error="" if accuracy is not None else "DIVERGED",
    )


def answer(width: int, *, val_accuracy: float = 0.9, met: bool = True) -> Answer:
    measured = Measurement(
        bytes=10,
        latency_ms=0.1,
        latency_p90_ms=0.1,
        memory_bytes=None,
        load_ms=1.0,
        accuracy=0.9,
        n=10,
        runs=1,
        threads=1,
        runtime="OnnxSession",
        torch_loaded=False,
        hardware=this_machine(),
        how={},
    )
    files = (CandidateFile(path="model.onnx", form="float32", bytes=10, val_accuracy=val_accuracy),)
    return Answer(
        model=Exported(path="model.onnx", form="float32", bytes=10, sha256=""),
        test=Score(accuracy=0.9, n=10, interval=(0.5, 1.0)),
        measured=measured,
        limits=(Verdict(name="max_bytes", limit=40_000.0, achieved=10.0, met=met, how=""),),
        feasible=met,
        spec=spec(width),
        candidates=files,
        val_accuracy=val_accuracy,
        versions={},
        hardware=this_machine(),
    )


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    """Two classes of ten gray pictures of 12 px."""
    folder = tmp_path_factory.mktemp("laps") / "data"
    draw = np.random.default_rng(0)
    for place, name in enumerate(("dark", "light")):
        (folder / name).mkdir(parents=True)
        for index in range(10):
            pixels = draw.integers(0, 100, (12, 12), np.uint8) + np.uint8(place * 120)
            write_bytes(folder / name / f"{index}.png", encode_png(pixels))
    return look(str(folder), seed=0)


def finished(path: Path, scene: Scene, *, wish: Wish | None = None) -> RunFolder:
    """A run of 60 s with three trials and an answer; the winner is the network of width 16."""
    with RunFolder(path) as run:
        begin(run, scene, seed=0, budget=BUDGET, wish=wish or Wish())
        for width, accuracy in ((8, 0.95), (16, 0.9), (24, None)):
            run.journal.append("trial", record(width, accuracy, path, data=scene.ref).to_json())
        run.choice("rung 0 epochs", lambda: 7, why="the clock")
        run.tick(50.0, now=True)
        run.journal.append("answer", answer(16).to_json())
    return run


def test_a_longer_time_after_an_answer_begins_a_lap_with_its_own_choices(tmp_path: Path, scene: Scene) -> None:
    run = finished(tmp_path / "run", scene)
    assert run.answered() == answer(16)
    with run:
        begin(run, scene, seed=0, budget=BUDGET.replace(seconds=120.0), wish=Wish())
        assert (run.answered(), run.answered_before()) == (None, answer(16))
        assert len(run.trials()) == 3
        assert (seconds_asked(run), run.seconds_used()) == (120.0, 50.0)
        assert run.choice("rung 0 epochs", lambda: 30, why="the clock") == 30
        assert run.choice("rung 0 epochs", lambda: 40, why="the clock") == 30
        first, second = run.earlier()
        assert (first.trial.spec, second.trial.spec) == (spec(16), spec(8))  # the winner, then by accuracy


def test_the_same_time_and_one_that_leaves_too_little_begin_no_lap(tmp_path: Path, scene: Scene) -> None:
    run = finished(tmp_path / "run", scene)
    with run:
        for seconds in (60.0, 64.9):
            begin(run, scene, seed=0, budget=BUDGET.replace(seconds=seconds), wish=Wish())
            assert run.answered() == answer(16)
        begin(run, scene, seed=0, budget=BUDGET.replace(seconds=65.0), wish=Wish())
        assert run.answered() is None  # 15 s are left


def test_a_shorter_time_is_refused_and_says_what_would_do(tmp_path: Path, scene: Scene) -> None:
    with finished(tmp_path / "run", scene) as run:
        before = run.journal.path.read_bytes()
        with pytest.raises(FireforgeError, match="OTHER_RUN") as raised:
            begin(run, scene, seed=0, budget=BUDGET.replace(seconds=45.0), wish=Wish())
        assert run.journal.path.read_bytes() == before
    assert "given 1 min 00 s, this command gives 45 s" in raised.value.what
    assert raised.value.do.startswith("--time 60s or longer")


@pytest.mark.parametrize("wish", [Wish(image_size=8), Wish(earlier="elsewhere"), Wish(replay="elsewhere")])
def test_another_wish_is_another_run_but_another_device_is_not(tmp_path: Path, scene: Scene, wish: Wish) -> None:
    with finished(tmp_path / "run", scene) as run:
        begin(run, scene, seed=0, budget=BUDGET, wish=Wish(device="cpu"))
        with pytest.raises(FireforgeError, match="OTHER_RUN"):
            begin(run, scene, seed=0, budget=BUDGET, wish=wish)


def test_a_record_that_knew_no_wish_goes_on(tmp_path: Path, scene: Scene) -> None:
    with finished(tmp_path / "run", scene) as run:
        lines = run.journal.path.read_text().splitlines()
        first = json.loads(lines[0])
        del first["value"]["wish"]
        run.journal.path.write_text("\n".join([json.dumps(first), *lines[1:]]) + "\n")
        begin(run, scene, seed=0, budget=BUDGET, wish=Wish())
        assert run.answered() is not None


def test_an_earlier_run_is_taken_over_with_its_winner_first_and_its_weights(tmp_path: Path, scene: Scene) -> None:
    past = finished(tmp_path / "past", scene)
    with RunFolder(tmp_path / "run") as run:
        begin(run, scene, seed=0, budget=BUDGET, wish=Wish(earlier="past"))
        assert run.earlier() == ()
        take_over(open_past(str(past.path)), run, scene)
        taken = run.earlier()
        assert [found.trial.spec for found in taken] == [spec(16), spec(8)]  # what diverged stays behind
        assert [(run.path / found.weights).read_text() for found in taken] == ["weights 16", "weights 8"]
        assert run.trials() == {}


def test_weights_from_another_split_do_not_come_along_since_they_saw_pictures_that_test_now(
    tmp_path: Path, scene: Scene
) -> None:
    past = finished(tmp_path / "past", scene)
    split_anew = look(scene.ref.source, seed=1)
    with RunFolder(tmp_path / "run") as run:
        begin(run, split_anew, seed=1, budget=BUDGET, wish=Wish(seed=1, earlier="past"))
        take_over(past, run, split_anew)
        assert [(found.trial.spec, found.weights) for found in run.earlier()] == [(spec(16), ""), (spec(8), "")]


def test_a_run_is_not_replayed_on_other_data(tmp_path: Path, scene: Scene) -> None:
    past = finished(tmp_path / "past", scene)
    same_data(past, scene)
    other = dataclasses.replace(scene, ref=scene.ref.replace(sha256="0" * 64))
    with pytest.raises(FireforgeError, match="OTHER_RUN"):
        same_data(past, other)


def test_weights_for_other_classes_do_not_come_along(tmp_path: Path, scene: Scene) -> None:
    past = finished(tmp_path / "past", scene)
    with past:
        past.journal.append("trial", record(32, 0.99, past.path, classes=3).to_json())
    with RunFolder(tmp_path / "run") as run:
        begin(run, scene, seed=0, budget=BUDGET, wish=Wish(earlier="past"))
        take_over(past, run, scene)
        other = next(found for found in run.earlier() if found.trial.spec.params["base_e"] == 32)
    assert (other.trial.spec.classes, other.weights) == (2, "")


def test_damaged_weights_of_an_earlier_run_are_refused(tmp_path: Path, scene: Scene) -> None:
    past = finished(tmp_path / "past", scene)
    (past.path / record(8, 0.95, data=scene.ref).weights).write_bytes(b"other")
    with RunFolder(tmp_path / "run") as run, pytest.raises(FireforgeError, match="BAD_WEIGHTS"):
        take_over(past, run, scene)


@pytest.mark.parametrize("content", ["nothing", "a training"])
def test_what_is_no_build_cannot_be_gone_back_to(tmp_path: Path, scene: Scene, content: str) -> None:
    if content == "a training":
        with RunFolder(tmp_path) as run:
            begin(run, scene, seed=0)
            run.journal.append("trial", record(8, 0.9).to_json())
    with pytest.raises(FireforgeError, match="NO_RUN"):
        open_past(str(tmp_path))


def test_a_replay_takes_the_choices_of_the_run_and_measures_nothing(tmp_path: Path, scene: Scene) -> None:
    past = finished(tmp_path / "past", scene)
    with RunFolder(tmp_path / "run", replay=past) as run:
        assert run.choice("rung 0 epochs", lambda: pytest.fail("it measured"), why="the clock") == 7
        assert run.entry("choice") == {"name": "rung 0 epochs", "value": 7, "why": "the clock"}
        with pytest.raises(FireforgeError, match="NO_CHOICE"):
            run.choice("rung 1 epochs", lambda: 3, why="the clock")
        stopped = run.replayed()[record(8, 0.95, data=scene.ref).trial_digest]
    assert stopped.metrics["train/epoch"][-1] == 2.5
    assert RunFolder(tmp_path / "past").replayed() == {}


def test_a_replay_is_asked_for_what_the_run_was(tmp_path: Path, scene: Scene) -> None:
    past = finished(tmp_path / "past", scene)
    was = (Budget(max_bytes=40_000), Wish(replay="past", device="cpu"))
    assert as_replayed(past, Budget(seconds=600.0), Wish(replay="past", device="cpu")) == was
    assert as_replayed(past, BUDGET, Wish(replay="past", device="cpu")) == was
    for budget, wish in ((Budget(max_bytes=1), Wish()), (Budget(), Wish(seed=1)), (Budget(), Wish(image_size=8))):
        with pytest.raises(FireforgeError, match="OTHER_RUN"):
            as_replayed(past, budget, wish.replace(replay="past"))


def test_a_run_that_has_not_ended_or_went_on_is_not_replayed(tmp_path: Path, scene: Scene) -> None:
    run = finished(tmp_path / "run", scene)
    with run:
        begin(run, scene, seed=0, budget=BUDGET.replace(seconds=120.0), wish=Wish())
    with pytest.raises(FireforgeError, match=r"NO_CHOICE.*has not ended"):
        as_replayed(run, Budget(), Wish(replay="run"))
    run.journal.append("answer", answer(8).to_json())
    with pytest.raises(FireforgeError, match=r"NO_CHOICE.*went on"):
        as_replayed(run, Budget(), Wish(replay="run"))


def test_files_of_an_answer_stand_again_where_a_later_lap_found_nothing_better(tmp_path: Path, scene: Scene) -> None:
    run = finished(tmp_path / "run", scene)
    file = run.path / "model.onnx"
    file.write_bytes(b"the answer's")
    with run:
        run.journal.append("answer", answer(16).to_json())
        begin(run, scene, seed=0, budget=BUDGET.replace(seconds=120.0), wish=Wish())
        set_aside(run, answer(16))
        file.write_bytes(b"another")
        set_aside(run, answer(16))  # as after a kill: the copy is not overwritten by what came later
        put_back(run)
        assert file.read_bytes() == b"the answer's"
        drop_aside(run)
        drop_aside(run)
    assert not (run.path / ASIDE).exists()


def test_what_the_record_says_of_files_is_said_again_when_they_are_put_back(tmp_path: Path, scene: Scene) -> None:
    with RunFolder(tmp_path / "run") as run:
        begin(run, scene, seed=0, budget=BUDGET, wish=Wish())
        run.journal.append("export", {"path": "model.onnx", "bytes": 10})
        run.journal.append("answer", answer(16).to_json())
        begin(run, scene, seed=0, budget=BUDGET.replace(seconds=120.0), wish=Wish())
        run.journal.append("export", {"path": "model.onnx", "bytes": 20})
        put_back(run)
        assert run.entry("export") == {"path": "model.onnx", "bytes": 10}


def test_start_keeps_the_wish(tmp_path: Path, scene: Scene) -> None:
    wish = Wish(seed=0, image_size=12, device="cpu")
    run = finished(tmp_path / "run", scene, wish=wish)
    start = Start.from_json(run.entry("start"))
    assert start.wish == wish
    assert isinstance(start.dataset, DataCard)
