# SPDX-License-Identifier: Apache-2.0
"""The flow of compression: the int8 file is trained on where it loses too much, and the better file stands.

The reference is the float file on the same validation pictures. The network is trained for a few seconds; then one
channel of each squeeze layer is made 100 times as large, and what reads it as much smaller: the same function in float,
and few steps left for the other channels in integers.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from torch.nn import Module

from fireforge.base.deadline import Deadline
from fireforge.base.files import sha256_of_file
from fireforge.base.progress import Update
from fireforge.base.record import RunRecord, StageReport
from fireforge.base.trial import Trial
from fireforge.jobs.deliver import Judge, Terms, deliver, model_of
from fireforge.jobs.folder import RunFolder
from fireforge.jobs.scene import look
from fireforge.jobs.tune import Tuning, tuner
from fireforge.jobs.verify import verify
from fireforge.nets.families import NETWORKS
from fireforge.train.feed import Pictures, Ready
from fireforge.train.recipe import small_images
from fireforge.train.trial import run_trial
from fireforge.train.weights import read_weights, write_weights

FACTOR = 100.0


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    folder = tmp_path_factory.mktemp("deliver") / "run"
    scene = look("digits", seed=0)
    parts = [
        Pictures(pixels=scene.pixels[name], labels=scene.truth[scene.part(name)], ids=scene.part(name))
        for name in ("train", "val")
    ]
    recipe = small_images(samples=len(parts[0]), size_px=8, epochs=8)
    spec = NETWORKS["firenet-small"](10, input_shape=scene.input_shape)
    trial = Trial(spec=spec, recipe=recipe, data=scene.ref, preprocess=scene.preprocess)
    record = run_trial(trial, folder=folder, ready=Ready(train=parts[0], val=parts[1]), device="cpu", keep=False)
    return SimpleNamespace(scene=scene, folder=folder, record=spoiled(record, folder))


def spoiled(record: RunRecord, folder: Path) -> RunRecord:
    path = folder / record.weights
    arrays = {name: array.copy() for name, array in read_weights(path).items()}
    for fire in ("fire2", "fire3", "fire4", "fire5"):
        for part in ("weight", "bias"):
            arrays[f"{fire}.squeeze_norm.{part}"][1] *= FACTOR
        for reader in ("expand1x1", "expand3x3"):
            arrays[f"{fire}.{reader}.weight"][:, 1] /= FACTOR
    return record.replace(weights_sha256=write_weights(path, arrays))


@pytest.fixture
def run(stage: SimpleNamespace, tmp_path: Path) -> Iterator[RunFolder]:
    shutil.copytree(stage.folder, tmp_path / "run")
    with RunFolder(tmp_path / "run") as made:
        yield made


def reports(run: RunFolder) -> list[StageReport]:
    return [StageReport.from_json(entry.value) for entry in run.journal.read() if entry.type == "stage"]


def test_what_loses_more_than_the_tolerance_is_trained_and_the_better_file_stands(stage, run, monkeypatch) -> None:
    monkeypatch.setattr("fireforge.jobs.tune.MOST", 150)
    told: list[Update] = []
    found = deliver(stage.scene, run, stage.record, clock=Deadline(), progress=told.append, terms=Terms(device="cpu"))
    fold, int8, qat = reports(run)
    assert [report.stage for report in (fold, int8, qat)] == ["fold", "int8", "qat"]
    assert int8.lost is not None
    assert qat.lost is not None
    assert int8.lost.difference == pytest.approx(fold.after.accuracy - int8.after.accuracy, abs=1e-12)
    assert qat.lost.difference == pytest.approx(fold.after.accuracy - qat.after.accuracy, abs=1e-12)
    assert int8.lost.difference > 0.005
    assert "more than the tolerance of 0.50 points" in int8.notes[-1]
    assert qat.lost.difference < 0.5 * int8.lost.difference
    assert qat.before == int8.after
    assert [d.exported.form for d in found] == ["float32", "int8"]
    assert found[1].facts == qat.after
    assert found[1].exported.sha256 == sha256_of_file(run.path / "model-int8.onnx")
    assert verify(run.path / "model-int8.onnx").passed
    assert any(update.stage == "finetune" and update.total >= 20 for update in told)


def test_within_the_tolerance_nothing_is_trained(stage, run) -> None:
    terms = Terms(tolerance=1.0, device="cpu")
    deliver(stage.scene, run, stage.record, clock=Deadline(), progress=lambda _: None, terms=terms)
    assert [report.stage for report in reports(run)] == ["fold", "int8"]
    assert not any("tolerance" in note for report in reports(run) for note in report.notes)


def test_training_that_helps_nothing_leaves_the_static_file(stage, run, monkeypatch) -> None:
    """No update is made, so the trained model is the static one."""
    monkeypatch.setattr("fireforge.jobs.deliver.tuner", lambda tuning, reserve_s: lambda student, teacher, lr: 0)
    terms = Terms(tolerance=-1.0, device="cpu")
    found = deliver(stage.scene, run, stage.record, clock=Deadline(), progress=lambda _: None, terms=terms)
    _, int8, qat = reports(run)
    assert qat.notes[0] == "nothing was trained"
    assert qat.notes[-1] == "no better on validation: model-int8.onnx stays as it was"
    assert qat.after.accuracy == int8.after.accuracy
    assert found[1].facts == int8.after


def test_without_time_nothing_is_trained(stage, run) -> None:
    clock = Deadline()
    clock.stop()
    deliver(stage.scene, run, stage.record, clock=clock, progress=lambda _: None, terms=Terms(device="cpu"))
    assert [report.stage for report in reports(run)] == ["fold", "int8"]
    assert "tolerance" in reports(run)[1].notes[-1]


@pytest.mark.parametrize(("seconds", "made"), [(10.0, 0), (20.5, 25), (100.0, 400)])
def test_updates_fit_half_of_the_time_that_is_left(stage, run, monkeypatch, seconds: float, made: int) -> None:
    """An update of 10 ms and 20 s put aside: (20.5 - 20) / 2 / 0.01 = 25; the most is 400; the record keeps it."""
    monkeypatch.setattr("fireforge.jobs.tune.update_seconds", lambda *_: 0.01)
    monkeypatch.setattr("fireforge.jobs.tune.finetune", lambda *_, updates, **__: updates)
    clock = SimpleNamespace(left=lambda: seconds)
    tuning = Tuning(scene=stage.scene, run=run, winner=stage.record, device="cpu", clock=clock, progress=lambda _: None)
    assert tuner(tuning, reserve_s=20.0)(Module(), Module(), lr=0.1) == made
    assert run.choice("qat updates", lambda: -1, why="") == made


def test_a_judge_measures_a_model_once(stage, run, monkeypatch) -> None:
    calls: list[object] = []
    monkeypatch.setattr("fireforge.jobs.deliver.judged", lambda model, scene: calls.append(model) or ("facts", "right"))
    judge = Judge(stage.scene)
    model = model_of(stage.scene, stage.record, run.path)
    assert (judge(model), judge.right(model), judge(model.replace())) == ("facts", "right", "facts")
    assert len(calls) == 2
