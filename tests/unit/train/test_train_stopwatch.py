# SPDX-License-Identifier: Apache-2.0
"""The clock of a training: 20 ms that are put into a stage are found in it, and the stages are the whole."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import fireforge.train.feed as feed
import fireforge.train.keeper as keeper
import fireforge.train.loop as loop
import fireforge.train.step as step
from fireforge.base.feeding import loop_stages
from fireforge.base.preprocess import ImageSteps, Preprocess
from fireforge.base.record import RunRecord
from fireforge.base.trial import Augment, DataRef, Recipe, Trial
from fireforge.data.open import open_dataset
from fireforge.jobs import tell
from fireforge.nets.families import NETWORKS
from fireforge.train.feed import Ready
from fireforge.train.render import Renderer
from fireforge.train.stopwatch import STAGES, Stopwatch
from fireforge.train.stream import Streamed
from fireforge.train.trial import run_trial

PUT_S = 0.02
STEPS = ImageSteps(channels=1, resize=None, crop=(8, 8), order="L", mean=(78.0,), std=(96.0,))
TRIAL = Trial(
    spec=NETWORKS["convnet-small"](10, input_shape=(1, 8, 8)),
    recipe=Recipe(epochs=2, batch=128, ema=0.9, augment=Augment(shift_px=1)),
    data=DataRef(source="digits"),
    preprocess=Preprocess(image=STEPS),
)


def slowed(function: Callable[..., Any]) -> Callable[..., Any]:
    def call(*words: Any, **named: Any) -> Any:
        time.sleep(PUT_S)
        return function(*words, **named)

    return call


# what is slowed for each stage, and how often the stage calls it in two epochs of 10 batches; the last look at the
# validation part, after the training, belongs to no stage
PLACES = {
    "prepare": (step, "make_optimizer", 1),
    "collate": (feed, "permutation", 2),
    "augment": (feed, "vary", 20),
    "forward": (step, "_precision", 20),
    "backward": (torch.autograd, "backward", 20),
    "update": (torch.optim.SGD, "step", 20),
    "evaluate": (loop, "_judge_val", 1),
    "checkpoint": (keeper, "save_checkpoint", 1),
}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> RunRecord:
    return run_trial(TRIAL, folder=tmp_path_factory.mktemp("plain"), device="cpu")


def test_the_stages_are_the_training(plain: RunRecord) -> None:
    """All but the loop around them: within a tenth, and 50 ms on a busy machine."""
    stages = loop_stages(plain.stages)
    assert set(stages) == set(STAGES)
    assert sum(stages.values()) <= plain.seconds["train"]
    assert sum(stages.values()) >= 0.9 * plain.seconds["train"] - 0.05


@pytest.mark.parametrize("stage", PLACES)
def test_time_that_is_put_into_a_stage_is_found_there(
    stage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, name, times = PLACES[stage]
    monkeypatch.setattr(place, name, slowed(getattr(place, name)))
    record = run_trial(TRIAL, folder=tmp_path, device="cpu")
    assert record.stages[stage] >= times * PUT_S
    if times == 20:
        stages = loop_stages(record.stages)
        assert max(stages, key=stages.__getitem__) == stage
        assert tell.trained(record, tmp_path)[1].startswith(f"time: {stage} ")


def test_time_that_is_put_into_copying_is_found_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twice a step, for inputs and targets, the only ones that are moved as whole numbers."""
    move = torch.Tensor.to

    def slow(tensor: torch.Tensor, *words: Any, **named: Any) -> torch.Tensor:
        whole = tensor.dtype in (torch.uint8, torch.int64)
        time.sleep(PUT_S / 2 if whole and words and isinstance(words[0], torch.device) else 0)
        return move(tensor, *words, **named)

    monkeypatch.setattr(torch.Tensor, "to", slow)
    record = run_trial(TRIAL.replace(recipe=TRIAL.recipe.replace(epochs=1)), folder=tmp_path, device="cpu")
    assert record.stages["copy"] >= 10 * PUT_S
    assert tell.trained(record, tmp_path)[1].startswith("time: copy ")


@pytest.mark.parametrize("stage", ["read", "decode"])
def test_time_that_is_put_into_feeding_is_found_there(
    stage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Streamed without workers; the verdict has a remedy, and the stages are still the whole training."""
    data = open_dataset("digits")
    if stage == "read":
        data = dataclasses.replace(data, reader=slowed(data.reader))
    else:
        monkeypatch.setattr(Renderer, "_decoded", slowed(Renderer._decoded))
    some = Streamed(data, np.arange(24), STEPS)
    ready = Ready(train=some, val=some.take(np.array([], np.int64)))
    recipe = TRIAL.recipe.replace(batch=6, augment=Augment(crop_area=0.5))
    record = run_trial(TRIAL.replace(recipe=recipe, streamed=True), folder=tmp_path, ready=ready, device="cpu")
    assert record.stages[stage] >= 48 * PUT_S
    stages = loop_stages(record.stages)
    assert 0.9 * record.seconds["train"] - 0.05 <= sum(stages.values()) <= record.seconds["train"]
    lines = tell.trained(record, tmp_path)
    assert lines[1].startswith(f"time: {stage} ")
    assert "kept in memory: +" in lines[2]


def test_a_resumed_training_counts_what_was_before() -> None:
    clock = Stopwatch(torch.device("cpu"))
    clock.lap("forward")
    clock.add({"forward": 3.0})
    assert 3 <= clock.seconds["forward"] < 3.5


def test_on_an_accelerator_one_step_stands_for_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without one: its synchronisation does nothing here, and is asked for in the timed steps alone."""
    waits: list[object] = []
    monkeypatch.setattr(torch.cuda, "synchronize", waits.append)
    clock = Stopwatch(torch.device("cuda"))
    del waits[:]
    for _ in range(20):
        clock.step()
        time.sleep(0.001)
        clock.lap("forward")
    assert len(waits) == 2
    assert 0.02 <= clock.seconds["forward"] < 0.2
