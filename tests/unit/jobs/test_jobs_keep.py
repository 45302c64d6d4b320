# SPDX-License-Identifier: Apache-2.0
"""The winner's files and the metrics as CSV, by hand."""

from __future__ import annotations

import json
from pathlib import Path

from fireforge.base.machine import this_machine
from fireforge.base.preprocess import Preprocess
from fireforge.base.record import RunRecord
from fireforge.base.spec import NetSpec
from fireforge.base.trial import DataRef, Recipe, Trial
from fireforge.jobs.folder import RunFolder
from fireforge.jobs.keep import keep_winner, metrics_csv

TRIAL = Trial(
    spec=NetSpec(family="firenet", classes=2, input_shape=(1, 8, 8)),
    recipe=Recipe(epochs=3),
    data=DataRef(source="none"),
    preprocess=Preprocess(),
)
RECORD = RunRecord(
    trial=TRIAL,
    trial_digest=TRIAL.digest(),
    metrics={
        "train/loss": (2.5, 1.25, 1 / 3),
        "lr": (0.1, 0.05, 0.0),
        "val/loss": (1.5, 0.75),
        "val/epoch": (2.0, 3.0),
    },
    accuracy=0.5,
    seconds={},
    samples={},
    weights="trials/a.safetensors",
    weights_sha256="",
    hardware=this_machine(),
)
CSV = "epoch,train/loss,lr,val/loss\n1,2.5,0.1,\n2,1.25,0.05,1.5\n3,0.333333,0,0.75\n"


def test_metrics_by_epoch_with_empty_fields_where_nothing_was_judged_by_hand() -> None:
    assert metrics_csv(RECORD) == CSV
    assert metrics_csv(RECORD.replace(metrics={})) == "epoch\n"


def test_a_training_that_was_cut_says_how_far_it_came_by_hand() -> None:
    metrics = {"train/loss": (2.5, 1.25), "train/epoch": (1.0, 1.5), "val/loss": (0.75,), "val/epoch": (1.5,)}
    assert metrics_csv(RECORD.replace(metrics=metrics)) == "epoch,train/loss,val/loss\n1,2.5,\n1.5,1.25,0.75\n"


def test_the_winners_files_are_written_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "trials").mkdir()
    (tmp_path / "trials" / "a.safetensors").write_bytes(b"weights")
    for _ in range(2):
        keep_winner(RunFolder(tmp_path), RECORD)
    found = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert found == {"trials/a.safetensors", "weights/best.safetensors", "spec.json", "recipe.json", "metrics.csv"}
    assert (tmp_path / "weights" / "best.safetensors").read_bytes() == b"weights"
    assert NetSpec.from_json(json.loads((tmp_path / "spec.json").read_text())) == TRIAL.spec
    assert Recipe.from_json(json.loads((tmp_path / "recipe.json").read_text())) == TRIAL.recipe
    assert (tmp_path / "metrics.csv").read_text() == CSV
