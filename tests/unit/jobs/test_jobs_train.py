# SPDX-License-Identifier: Apache-2.0
"""train: recipes by name and by file, and what a signal does; reference: the recipes themselves, an undisturbed run."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from pathlib import Path

import pytest

from fireforge.base.errors import FireforgeError
from fireforge.base.files import write_json
from fireforge.base.progress import Update
from fireforge.base.settings import Settings
from fireforge.base.trial import Recipe
from fireforge.jobs.train import train, with_recipe

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
    [(None, "NO_FILE"), ("{", "BAD_JSON"), ('{"epochs": 0}', "BAD_JSON"), ('{"epochs": 3, "size": 1}', "BAD_JSON")],
)
def test_a_recipe_that_is_none_is_refused_by_name(tmp_path: Path, text: str | None, code: str) -> None:
    path = tmp_path / "mine.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(FireforgeError, match=f"{code}.*mine.json"):
        with_recipe(Settings(recipe=str(path)))
    with pytest.raises(FireforgeError, match="UNKNOWN_NAME: no recipe called 'quick'; allowed: fitted, gentle"):
        with_recipe(Settings(recipe="quick"))


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

    with pytest.raises(KeyboardInterrupt):
        train("digits", PLAIN, out=tmp_path, progress=progress)
    assert not seen
