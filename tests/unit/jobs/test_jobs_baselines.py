# SPDX-License-Identifier: Apache-2.0
"""The baselines of a run: within their time, recorded, taken up, repeated, and held against a network's answer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from fireforge.base.answer import Answer, Score
from fireforge.base.baseline import BaselineResult
from fireforge.base.budget import Budget
from fireforge.base.exported import Exported
from fireforge.base.files import sha256_of_file
from fireforge.base.machine import this_machine
from fireforge.base.measurement import Measurement
from fireforge.base.progress import Update, silent
from fireforge.base.spec import NetSpec
from fireforge.baseline.lesson import Lesson
from fireforge.baseline.result import left_out
from fireforge.jobs.baselines import WEIGHTS, baseline_answer, run_baselines
from fireforge.jobs.convnet import Given, Plan, plan_for
from fireforge.jobs.folder import RunFolder
from fireforge.jobs.scene import Scene, look

NAMES = ["majority", "neighbours", "k-means", "hog-svm", "linear", "mlp", "convnet"]
SECONDS = 300.0  # far more than the digits take: nothing is left out, even where others use the cores too
Made = tuple[RunFolder, list[BaselineResult], list[Update]]


@pytest.fixture(scope="module")
def scene() -> Scene:
    pytest.importorskip("torch")
    return look("digits", seed=0)


@pytest.fixture(scope="module")
def made(scene: Scene, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    """The network's plan is given, so that it is trained however slow the machine is; all else is measured."""
    updates: list[Update] = []
    with RunFolder(tmp_path_factory.mktemp("baselines") / "run") as run:
        run.choice("baseline convnet", lambda: {"pictures": 600, "epochs": 5, "why": ""}, why="test")
        results = run_baselines(run, scene, seconds=SECONDS, seed=0, device="cpu", progress=updates.append)
        yield run, results, updates


def recorded(run: RunFolder) -> list[BaselineResult]:
    return [BaselineResult.from_json(entry.value) for entry in run.entries() if entry.type == "baseline"]


def test_all_seven_are_there_and_recorded(made: Made) -> None:
    run, results, updates = made
    assert list(WEIGHTS) == [result.name for result in results] == NAMES
    assert recorded(run) == results
    assert updates[-1].done == updates[-1].total == 7
    assert not [result.left_out for result in results if result.left_out]


def test_figures_are_measured_and_the_sample_is_named(made: Made, scene: Scene) -> None:
    for result in made[1]:
        assert result.samples == len(scene.parts.val)
        assert result.interval[0] <= result.accuracy <= result.interval[1]
        assert result.latency_ms is not None
        assert 0 < result.latency_ms < 50
        assert (result.memory_bytes is None) == (result.name == "convnet")
        assert 0 < result.trained_on <= len(scene.parts.train)
        whole = result.trained_on == len(scene.parts.train)
        assert result.notes[0].startswith("all 1,222" if whole else f"{result.trained_on:,} of 1,222 training pictures")


def test_what_is_recorded_is_not_run_again(made: Made, scene: Scene) -> None:
    run, results, _ = made
    before = run.journal.read()
    assert run_baselines(run, scene, seconds=SECONDS, seed=0, device="cpu", progress=silent) == results
    assert run.journal.read() == before


def test_the_same_choices_give_the_same_results(made: Made, scene: Scene, tmp_path: Path) -> None:
    """Times and memory apart, which are measured; the network's weights to the byte."""
    run, results, _ = made
    with RunFolder(tmp_path / "again") as other:
        for entry in run.entries():
            if entry.type == "choice":
                other.journal.append("choice", entry.value)
        again = run_baselines(other, scene, seconds=0.0, seed=0, device="cpu", progress=silent)
    for first, second in zip(results, again):
        untimed = {"seconds": 0.0, "latency_ms": None, "memory_bytes": None, "record": None}
        assert second.replace(**untimed) == first.replace(**untimed)
    first_net, second_net = results[-1].record, again[-1].record
    assert first_net is not None
    assert second_net is not None
    assert first_net.weights_sha256 == second_net.weights_sha256


def test_the_network_can_be_delivered_from_its_record(made: Made) -> None:
    run, results, _ = made
    record = results[-1].record
    assert record is not None
    assert sha256_of_file(run.path / record.weights) == record.weights_sha256
    assert record.accuracy == results[-1].accuracy > 0.6  # 0.1 is chance
    assert record.samples["train"] == 600
    assert record.trial.spec.family == "convnet"
    assert not run.trials(), "a baseline is no trial of the search"


def test_no_time_leaves_out_all_but_majority_and_says_why(scene: Scene, tmp_path: Path) -> None:
    with RunFolder(tmp_path / "run") as run:
        results = run_baselines(run, scene, seconds=0.0, seed=0, device="cpu", progress=silent)
        assert recorded(run) == results
    assert [result.name for result in results if not result.left_out] == ["majority"]
    assert all(result.left_out == "too little time: its 0 s ended before it was measured" for result in results[1:])


def test_seconds_spent_before_count(made: Made, scene: Scene, tmp_path: Path) -> None:
    """An earlier run of the folder spent all of it on the first baselines; the last ones get nothing."""
    with RunFolder(tmp_path / "run") as run:
        for result in made[1][:-2]:
            run.journal.append("baseline", result.replace(seconds=2.0).to_json())
        results = run_baselines(run, scene, seconds=10.0, seed=0, device="cpu", progress=silent)
    assert [bool(result.left_out) for result in results[-2:]] == [True, True]


@pytest.mark.parametrize(
    ("seconds", "left_s", "a_picture_ms", "pictures", "epochs", "why"),
    [
        (5.0, 4.051, 1.0, 770, 3, "its 5 s pay for no more"),  # (2.4306 - 0.12) s: 2,310 pictures, 3 epochs of 770
        (10.0, 10.0, 1.0, 1_000, 5, ""),  # (6 - 0.12) s: 5,880 pictures
        (30.0, 25.0, 1.0, 1_000, 14, ""),  # (15 - 0.12) s: 14,880 pictures
        (600.0, 600.0, 1.0, 1_000, 40, ""),
        (5.0, 1.5, 1.0, 0, 0, "too little time: it needs 1.9 s, and 1.5 of its 5 s are left"),  # 780 < 1,000 pictures
        (5.0, 0.0, 1.0, 0, 0, "too little time: it needs 1.9 s, and 0 of its 5 s are left"),
    ],
)
def test_the_networks_plan_by_hand(
    seconds: float, left_s: float, a_picture_ms: float, pictures: int, epochs: int, why: str
) -> None:
    """1,000 training pictures, 400 asked at 0.3 of a picture's time each, 60 % of the time left."""
    lesson = Lesson(pixels=np.zeros((1000, 1, 1, 1), np.uint8), labels=np.arange(1000) % 10, classes=10)
    given = Given(seconds=seconds, left_s=left_s, a_picture_s=a_picture_ms / 1000)
    assert plan_for(given, lesson, asked=400) == Plan(pictures=pictures, epochs=epochs, why=why)


def answer_of(val_accuracy: float | None) -> Answer:
    measured = Measurement(
        bytes=30_000,
        latency_ms=0.1,
        latency_p90_ms=0.1,
        memory_bytes=10**6,
        load_ms=1.0,
        accuracy=0.9,
        n=100,
        runs=100,
        threads=1,
        runtime="OnnxSession",
        torch_loaded=False,
        hardware=this_machine(),
        how={},
    )
    return Answer(
        model=Exported(path="model.onnx", form="int8", bytes=30_000, sha256=""),
        test=Score(accuracy=0.9, n=100, interval=(0.8, 0.95)),
        measured=measured,
        limits=(),
        feasible=True,
        spec=NetSpec(family="firenet", classes=10, input_shape=(1, 8, 8)),
        val_accuracy=val_accuracy,
        versions={},
        hardware=this_machine(),
    )


def result_of(name: str, accuracy: float, size: int, latency_ms: float | None = 0.2) -> BaselineResult:
    return BaselineResult(
        name=name,
        accuracy=accuracy,
        interval=(0.0, 1.0),
        bytes=size,
        seconds=1.0,
        samples=100,
        latency_ms=latency_ms,
        memory_bytes=10**6,
    )


SMALL, GOOD, LARGE = result_of("linear", 0.95, 3_000), result_of("mlp", 0.97, 40_000), result_of("knn", 0.99, 10**6)
UNTIMED, AS_GOOD = result_of("convnet", 0.98, 20_000, None), result_of("k-means", 0.97, 6_000)


@pytest.mark.parametrize(
    ("budget", "own", "wanted"),
    [
        (Budget(), 0.97, "knn"),
        (Budget(max_bytes=50_000), 0.97, "convnet"),
        (Budget(max_bytes=50_000, max_latency_ms=1.0), 0.97, "k-means"),  # convnet not measured; mlp as good but larger
        (Budget(max_bytes=50_000, max_latency_ms=1.0), 0.96, "k-means"),
        (Budget(max_bytes=5_000), 0.95, "linear"),
        (Budget(max_bytes=5_000), 0.951, None),
        (Budget(max_bytes=5_000, min_accuracy=0.96), 0.9, None),
        (Budget(max_memory_bytes=1_000), 0.9, None),
        (Budget(max_energy_mj=5.0), 0.9, None),  # nobody measured it
        (Budget(), 1.0, None),
        (Budget(), None, None),
    ],
)
def test_the_answer_names_a_baseline_only_if_it_meets_all_limits_by_hand(
    budget: Budget, own: float | None, wanted: str | None
) -> None:
    results = [SMALL, GOOD, LARGE, UNTIMED, AS_GOOD, left_out("hog-svm", "too little time")]
    found = baseline_answer(results, answer_of(own), budget)
    assert (found.name if found else None) == wanted


def test_what_was_left_out_is_never_the_answer() -> None:
    assert baseline_answer([left_out("mlp", "no time")], answer_of(0.0), Budget()) is None
