# SPDX-License-Identifier: Apache-2.0
"""What may differ between a run and the command that goes on with it, by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fireforge.base.budget import Budget
from fireforge.base.errors import FireforgeError
from fireforge.base.files import write_bytes
from fireforge.base.pixels import encode_png
from fireforge.base.settings import Settings
from fireforge.base.start import Start
from fireforge.jobs.begin import begin
from fireforge.jobs.folder import RunFolder
from fireforge.jobs.scene import Scene, look

BUDGET = Budget(max_bytes=40_000, seconds=60.0)


def scene_of(folder: Path, *, shade: int = 0) -> Scene:
    draw = np.random.default_rng(0)
    for place, name in enumerate(("dark", "light")):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for index in range(10):
            pixels = draw.integers(0, 100, (12, 12), np.uint8) + np.uint8(place * 120 + shade)
            write_bytes(folder / name / f"{index}.png", encode_png(pixels))
    return look(str(folder), seed=0)


def trained(run: RunFolder, scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that has begun and holds a trial, so that it may not be asked anew."""
    begin(run, scene, seed=0, budget=BUDGET)
    monkeypatch.setattr(RunFolder, "trials", lambda _: {"digest": None})


def test_the_first_entry_is_a_start(tmp_path: Path) -> None:
    scene = scene_of(tmp_path / "data")
    with RunFolder(tmp_path / "run") as run:
        begin(run, scene, seed=5, budget=BUDGET)
        (entry,) = run.journal.read()
    start = Start.from_json(entry.value)
    assert (entry.type, start.seed, start.budget, start.settings, start.data) == ("start", 5, BUDGET, None, scene.ref)
    assert start.dataset.labels == ("dark", "light")
    assert {part: sum(counts) for part, counts in start.dataset.counts.items()} == {"train": 14, "val": 2, "test": 4}
    assert (start.dataset.found, start.dataset.used, start.dataset.input[0]) == (20, 20, 1)
    assert len(start.dataset.samples) == 14
    assert start.to_json() == entry.value


def test_a_longer_time_and_data_that_moved_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with RunFolder(tmp_path / "run") as run:
        trained(run, scene_of(tmp_path / "data"), monkeypatch)
        begin(run, scene_of(tmp_path / "moved"), seed=0, budget=BUDGET.replace(seconds=120.0))
        assert [entry.type for entry in run.journal.read()] == ["start", "longer"]


@pytest.mark.parametrize(
    ("budget", "settings", "shade"),
    [
        (BUDGET.replace(max_bytes=40_001), None, 0),
        (BUDGET, None, 1),  # other pictures
        (None, Settings(), 0),  # a training
        (BUDGET, Settings(), 0),
    ],
)
def test_other_limits_data_or_verb_are_another_run(
    budget: Budget | None, settings: Settings | None, shade: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with RunFolder(tmp_path / "run") as run:
        trained(run, scene_of(tmp_path / "data"), monkeypatch)
        before = run.journal.path.read_bytes()
        with pytest.raises(FireforgeError, match="OTHER_RUN"):
            begin(run, scene_of(tmp_path / "other", shade=shade), seed=0, budget=budget, settings=settings)
        assert run.journal.path.read_bytes() == before


def test_another_seed_is_another_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = scene_of(tmp_path / "data")
    with RunFolder(tmp_path / "run") as run:
        trained(run, scene, monkeypatch)
        with pytest.raises(FireforgeError, match="OTHER_RUN"):
            begin(run, scene, seed=1, budget=BUDGET)


def test_a_folder_where_nothing_was_trained_may_be_asked_anew(tmp_path: Path) -> None:
    scene = scene_of(tmp_path / "data")
    with RunFolder(tmp_path / "run") as run:
        begin(run, scene, seed=0, budget=BUDGET)
        begin(run, scene, seed=0, budget=BUDGET.replace(max_bytes=50_000))
        start = Start.from_json(run.entry("start"))
    assert start.budget is not None
    assert start.budget.max_bytes == 50_000
