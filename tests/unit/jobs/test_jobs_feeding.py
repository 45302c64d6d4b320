# SPDX-License-Identifier: Apache-2.0
"""Whether a training keeps its pictures or streams them, and by how many workers: asked, chosen, kept in the record."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path

import numpy as np
import pytest

import fireforge.jobs.feeding as feeding
from fireforge.base.machine import this_machine
from fireforge.base.settings import Settings
from fireforge.base.trial import Augment, Recipe, Trial
from fireforge.data.open import open_dataset
from fireforge.jobs.folder import RunFolder
from fireforge.jobs.scene import Scene, look
from fireforge.jobs.train import train
from fireforge.nets.families import NETWORKS


@pytest.fixture(scope="module")
def scene() -> Scene:
    return look("digits", seed=0)


def trial_of(scene: Scene, source_px: int = 0) -> Trial:
    return Trial(
        spec=NETWORKS["convnet-small"](10, input_shape=(1, 8, 8)),
        recipe=Recipe(epochs=1, batch=128, augment=Augment(source_px=source_px)),
        data=scene.ref,
        preprocess=scene.preprocess,
    )


def test_bytes_in_memory_by_hand(scene: Scene) -> None:
    train_part, val = len(scene.part("train")), len(scene.part("val"))
    assert feeding.kept_bytes(trial_of(scene), scene) == 64 * (train_part + val)
    assert feeding.kept_bytes(trial_of(scene, 10), scene) == 100 * train_part + 64 * val


def test_small_data_is_kept_without_a_choice_and_a_number_of_workers_is_obeyed(scene: Scene, tmp_path: Path) -> None:
    with RunFolder(tmp_path) as run:
        assert not feeding.is_streamed(run, trial_of(scene), scene, Settings())
        for workers in (0, 3):
            assert feeding.is_streamed(run, trial_of(scene), scene, Settings(workers=workers))
            assert feeding.workers_of(run, trial_of(scene), scene, Settings(workers=workers)) == workers
        assert not run.entries()


def test_what_does_not_fit_is_streamed_by_as_many_as_a_measurement_says(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The choice stays when more memory is free later."""
    small = dataclasses.replace(this_machine(), memory_bytes=100_000)
    monkeypatch.setattr(feeding, "this_machine", lambda: small)
    monkeypatch.setattr(feeding, "usable_cores", lambda: 4)
    monkeypatch.setattr(feeding, "free_bytes", lambda: 50_000)
    monkeypatch.setattr(feeding, "step_seconds", lambda *graph_and_recipe, threads: 100.0)
    trial, settings = trial_of(scene), Settings(device="cpu")
    with RunFolder(tmp_path) as run:
        assert feeding.is_streamed(run, trial, scene, settings)
        monkeypatch.setattr(feeding, "free_bytes", lambda: 10**9)
        assert feeding.is_streamed(run, trial, scene, settings)
        assert feeding.workers_of(run, trial, scene, settings) == 0  # digits are fed in no time
        assert [entry.value["name"] for entry in run.entries()] == ["streamed", "workers"]
    with RunFolder(tmp_path / "slow") as run:
        slow = dataclasses.replace(scene, dataset=dataclasses.replace(scene.dataset, reader=_slow(scene)))
        monkeypatch.setattr(feeding, "PROBED", 4)
        monkeypatch.setattr(feeding, "step_seconds", lambda *graph_and_recipe, threads: 0.6)
        assert feeding.workers_of(run, trial, slow, settings) == 3


class _slow:  # noqa: N801
    """12 ms of waiting before a picture: 1,220 of them take 15 s, and 10 steps 6 s."""

    def __init__(self, scene: Scene) -> None:
        self.read = scene.dataset.reader

    def __call__(self, sample: int) -> bytes | np.ndarray:
        time.sleep(0.012)
        return self.read(sample)


@pytest.mark.slow
def test_another_number_of_workers_goes_on_in_the_same_folder(tmp_path: Path) -> None:
    settings = Settings(net="convnet-small", epochs=1, device="cpu", workers=0)
    record, _ = train("digits", settings, out=tmp_path)
    again, _ = train("digits", settings.replace(workers=1), out=tmp_path)
    assert again == record
    assert record.workers == 0
    assert record.trial.streamed
    assert record.samples["train"] + record.samples["val"] < len(open_dataset("digits").samples)
