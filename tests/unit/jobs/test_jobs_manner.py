# SPDX-License-Identifier: Apache-2.0
"""The manner of a training: what was asked for, what a trial chooses, and that the choice is written down."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

import fireforge.jobs.manner as room
from fireforge.base.errors import FireforgeError
from fireforge.base.preprocess import ImageSteps, Preprocess
from fireforge.base.settings import Manner
from fireforge.base.trial import DataRef, Recipe, Trial
from fireforge.jobs.folder import RunFolder
from fireforge.jobs.manner import in_manner, manner_of
from fireforge.nets.families import NETWORKS, build_graph

STEPS = ImageSteps(channels=1, resize=None, crop=(8, 8), order="L", mean=(78.0,), std=(96.0,))
SPEC = NETWORKS["firenet-small"](10, input_shape=(1, 8, 8))
GRAPH = build_graph(SPEC)
TRIAL = Trial(
    spec=SPEC,
    recipe=Recipe(epochs=10, batch=32),
    data=DataRef(source="digits"),
    preprocess=Preprocess(image=STEPS),
)
PICTURES = 32_000  # 10,000 steps

Speeds = dict[str, float]
Inside = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Recipe]]:
    """A machine with two cores that knows bfloat16 and can compile, whose steps take a second over its speeds."""

    def of(**speeds: float) -> list[Recipe]:
        tried: list[Recipe] = []

        def fake(graph: object, recipe: Recipe, *, threads: int, device: str, timed: int) -> float:
            names = [recipe.precision, recipe.layout, f"threads{threads}"]
            names += ["compile"] if recipe.compile else []
            if speeds.get("compile") == 0 and recipe.compile:
                raise FireforgeError("NOT_COMPILED", "no compiler")
            tried.append(recipe)
            speed = 1.0
            for name in names:
                speed *= speeds.get(name, 1.0)
            return 1 / speed

        monkeypatch.setattr(room, "step_seconds", fake)
        monkeypatch.setattr(room, "usable_cores", lambda: 2)
        monkeypatch.setattr(room, "knows", lambda precision, on_cpu: precision != "float16")
        monkeypatch.setattr(room, "compilable", lambda on_cpu: True)
        return tried

    return of


def chosen(tmp_path: Path, manner: Manner, *, pictures: int = PICTURES) -> Trial:
    with RunFolder(tmp_path / "run") as run:
        return in_manner(run, TRIAL, manner, pictures=pictures, graph=GRAPH, device="cpu")


def test_without_a_word_the_trial_stays_as_it_is(tmp_path: Path) -> None:
    assert chosen(tmp_path, Manner()) == TRIAL
    assert not (tmp_path / "run" / "record.jsonl").exists()


def test_what_is_asked_for_is_taken_without_a_trial(machine: Callable[..., list[Recipe]], tmp_path: Path) -> None:
    tried = machine()
    manner = manner_of("bfloat16", "channels_last", threads=2, compile=True, tune=False)
    found = chosen(tmp_path, manner)
    assert (found.recipe.precision, found.recipe.layout) == ("bfloat16", "channels_last")
    assert (found.recipe.compile, found.threads) == (True, 2)
    assert not tried


@pytest.mark.parametrize(
    ("speeds", "expected"),
    [
        ({}, ("float32", "contiguous", False, 1)),
        ({"channels_last": 1.3, "bfloat16": 1.5, "threads2": 1.7}, ("bfloat16", "channels_last", False, 2)),
        ({"channels_last": 1.3, "bfloat16": 0.5, "compile": 1.4}, ("float32", "channels_last", True, 1)),
        ({"channels_last": 1.04, "threads2": 1.04, "compile": 1.09}, ("float32", "contiguous", False, 1)),
        ({"bfloat16": 2.0, "compile": 0}, ("bfloat16", "channels_last", False, 1)),
    ],
)
def test_the_fastest_that_gains_enough_is_chosen_and_written_down(
    machine: Callable[..., list[Recipe]],
    tmp_path: Path,
    speeds: Speeds,
    expected: tuple[object, ...],
) -> None:
    tried = machine(**speeds)
    found = chosen(tmp_path, Manner(tune=True))
    assert (found.recipe.precision, found.recipe.layout, found.recipe.compile, found.threads) == expected
    assert found.replace(recipe=TRIAL.recipe, threads=1) == TRIAL
    count = len(tried)
    assert count >= 2
    machine(**{name: 1 / speed for name, speed in speeds.items() if speed})  # another machine: the choice stands
    assert chosen(tmp_path, Manner(tune=True)) == found
    assert len(tried) == count
    (entry,) = RunFolder(tmp_path / "run").journal.read()
    assert entry.value["name"] == "manner"
    assert sorted(entry.value["value"]) == ["compile", "layout", "precision", "threads"]


def test_what_is_asked_for_is_not_tried_otherwise(machine: Callable[..., list[Recipe]], tmp_path: Path) -> None:
    tried = machine(channels_last=2.0, bfloat16=2.0, threads2=2.0, compile=2.0)
    manner = manner_of("float32", None, threads=1, compile=False, tune=True)
    found = chosen(tmp_path, manner)
    assert (found.recipe.precision, found.recipe.layout) == ("float32", "channels_last")
    assert (found.recipe.compile, found.threads) == (False, 1)
    assert {recipe.precision for recipe in tried} == {"float32"}


def test_a_short_training_is_not_kept_waiting(machine: Callable[..., list[Recipe]], tmp_path: Path) -> None:
    """100 steps allow five in all, which are too few for another manner."""
    tried = machine(channels_last=2.0)
    assert chosen(tmp_path, Manner(tune=True), pictures=320) == TRIAL
    assert len(tried) == 1


@pytest.mark.parametrize(("precision", "layout"), [("int8", None), (None, "rows")])
def test_what_there_is_not_is_refused(precision: str | None, layout: str | None) -> None:
    with pytest.raises(FireforgeError) as told:
        manner_of(precision, layout, threads=None, compile=None, tune=False)
    assert told.value.code == "UNKNOWN_NAME"
    assert "float32" in told.value.line() or "contiguous" in told.value.line()


def test_train_tunes_writes_events_and_repeats_its_choice(typed: Inside, tmp_path: Path) -> None:
    words = ("train", "digits", "--epochs", "2", "--no-compile", "--tune")
    done = typed(*words, "--tensorboard", "--out", "run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    entries = RunFolder(tmp_path / "run").journal.read()
    (choice,) = [entry.value for entry in entries if entry.type == "choice"]
    (trial,) = [Trial.from_json(entry.value["trial"]) for entry in entries if entry.type == "trial"]
    told = {name: getattr(trial.recipe, name) for name in ("precision", "layout", "compile")}
    assert choice["value"] == {**told, "threads": trial.threads}
    assert "gradients, first layer beside the last but one: ideal at the first step" in done.stdout
    assert len(list((tmp_path / "run" / "tensorboard").glob("events.*"))) == 2
    again = typed(*words, "--tensorboard", "--out", "run", cwd=tmp_path)
    assert again.stdout == done.stdout
    assert len(list((tmp_path / "run" / "tensorboard").glob("events.*"))) == 2
    other = typed(*words[:-1], "--out", "run", cwd=tmp_path)
    assert (other.returncode, other.stderr[:9]) == (2, "OTHER_RUN")
