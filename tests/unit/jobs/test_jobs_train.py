# SPDX-License-Identifier: Apache-2.0
"""train: recipes by name and by file, and what a signal does; reference: the recipes themselves, an undisturbed run."""

from __future__ import annotations

import json
import math
import os
import signal
import threading
import time
from pathlib import Path

import pytest

from fireforge.base.errors import FireforgeError
from fireforge.base.files import write_json
from fireforge.base.journal import Journal
from fireforge.base.progress import Update
from fireforge.base.settings import Settings
from fireforge.base.trial import Recipe
from fireforge.jobs.given import with_recipe
from fireforge.jobs.manner import manner_of
from fireforge.jobs.train import train

PLAIN = Settings(device="cpu", epochs=2, seed=5)


def test_a_recipe_of_a_run_is_taken_as_it_is_but_for_what_is_said_otherwise(tmp_path: Path) -> None:
    given = Recipe(epochs=1, batch=100, lr=0.02, optimizer="adamw", ema=0.9, weight_decay=0.01)
    path = write_json(tmp_path / "recipe.json", given.to_json())
    record, folder = train("digits", Settings(device="cpu", recipe=str(path), lr=0.03), out=tmp_path / "run")
    assert record.trial.recipe == given.replace(lr=0.03)
    assert json.loads((folder / "recipe.json").read_text()) == given.replace(lr=0.03).to_json()
    path.write_text(json.dumps(given.replace(ema=0.5).to_json()))  # the content counts, not the name
    with pytest.raises(FireforgeError, match="OTHER_RUN"):
        train("digits", Settings(device="cpu", recipe=str(path), lr=0.03), out=tmp_path / "run")


def test_a_named_recipe_goes_before_that_of_the_data(tmp_path: Path) -> None:
    record, _ = train("digits", Settings(device="cpu", recipe="gentle", epochs=1), out=tmp_path)
    assert record.trial.recipe.lr == pytest.approx(0.1 / 2 / 10)  # a tenth of 0.1 times 32 by 64


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (None, "NO_FILE"),
        ("{", "BAD_JSON"),
        ("[1]", "BAD_JSON.* a recipe is an object"),
        ('{"epochs": 0}', "BAD_JSON.* epochs is 0"),
        ('{"epochs": 3, "size": 1}', "BAD_JSON"),
        ('{"epochs": 3, "lr": -1.0}', "BAD_JSON.* lr is -1"),
        ('{"epochs": 3, "turn": -1.0}', "BAD_JSON.* turn is -1"),
        ('{"epochs": 3, "optimizer": "mion"}', "BAD_JSON.* optimizer: got 'mion'; allowed: sgd, adamw, muon"),
        ('{"epochs": 3, "augment": {"flip": 3}}', r"BAD_JSON.* augment\.flip: got '3'; allowed: bool"),
        ('{"epochs": 3, "label_smoothing": 7.0}', "BAD_JSON.* label_smoothing is 7"),
        ('{"epochs": 3, "ema": 1.0}', "BAD_JSON.* ema is 1"),
        ('{"epochs": 3, "augment": {"crop_area": 0.0}}', "BAD_JSON.* crop_area is 0"),
    ],
)
def test_a_recipe_that_is_none_is_refused_by_name(tmp_path: Path, text: str | None, code: str) -> None:
    path = tmp_path / "mine.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(FireforgeError, match=code) as told:
        with_recipe(Settings(recipe=str(path)))
    assert told.value.where == str(path)


def test_an_unknown_recipe_is_refused_with_those_that_are_known() -> None:
    with pytest.raises(FireforgeError, match=r"UNKNOWN_NAME: no recipe called 'quick'; allowed: .*fitted, gentle"):
        with_recipe(Settings(recipe="quick"))


def test_a_rate_that_is_no_number_and_more_threads_than_cores_are_refused() -> None:
    with pytest.raises(FireforgeError, match="BAD_USAGE: --lr inf"):
        with_recipe(Settings(lr=math.inf))
    with pytest.raises(FireforgeError, match="BAD_USAGE: --threads 100000"):
        manner_of(None, None, threads=100_000, compile=None, tune=False)


def test_a_half_done_training_is_not_replaced_by_another_and_goes_on_with_another_device_flag(tmp_path: Path) -> None:
    """The folder holds a state, and no trained network yet."""

    def progress(update: Update) -> None:
        if update.stage == "train" and update.done == 1:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train("digits", PLAIN, out=tmp_path, progress=progress)
    with pytest.raises(FireforgeError, match=r"OTHER_RUN.*command\.txt"):
        train("digits", PLAIN.replace(lr=0.01), out=tmp_path)
    record, _ = train("digits", PLAIN.replace(device="auto"), out=tmp_path)
    assert record.resumed == 1
    assert [entry.type for entry in Journal(tmp_path / "record.jsonl").read()].count("start") == 1


def test_a_finished_run_without_its_weights_says_which_file_is_missing(tmp_path: Path) -> None:
    record, _ = train("digits", PLAIN.replace(epochs=1), out=tmp_path)
    (tmp_path / record.weights).unlink()
    with pytest.raises(FireforgeError, match=r"NO_FILE.*trials"):
        train("digits", PLAIN.replace(epochs=1), out=tmp_path)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_keeps_the_state_and_the_same_call_goes_on_to_the_same_bits(
    tmp_path: Path, number: signal.Signals, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, _ = train("digits", PLAIN, out=tmp_path / "whole")

    def progress(update: Update) -> None:
        if update.stage == "train" and update.done == 1:
            os.kill(os.getpid(), number)

    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt):
        train("digits", PLAIN, out=tmp_path / "cut", progress=progress)
    assert signal.getsignal(number) is before
    assert "keeping the state at the next step" in capsys.readouterr().err
    (state,) = (tmp_path / "cut").glob("checkpoint/*/*.json")
    assert json.loads(state.read_text())["state"]["course"]["part"]["steps"] == 1
    again, _ = train("digits", PLAIN, out=tmp_path / "cut")
    assert again.resumed == 1
    assert (again.weights_sha256, again.metrics) == (whole.weights_sha256, whole.metrics)


def test_a_second_signal_is_not_waited_for(tmp_path: Path) -> None:
    """The step in which both come has not ended: the KeyboardInterrupt stands in the middle of it."""
    seen: list[str] = []

    def progress(update: Update) -> None:
        if update.stage == "train" and update.done == 1:
            os.kill(os.getpid(), signal.SIGINT)
            threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
            time.sleep(5)
            seen.append("slept")

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # who runs tests behind "&" has it ignored
    try:
        with pytest.raises(KeyboardInterrupt):
            train("digits", PLAIN, out=tmp_path, progress=progress)
    finally:
        signal.signal(signal.SIGINT, before)
    assert not seen
