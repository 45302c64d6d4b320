# SPDX-License-Identifier: Apache-2.0
"""Whole trainings: bit for bit the same after any interruption, in any process, and refused where they must be."""

from __future__ import annotations

import concurrent.futures
import hashlib
import itertools
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from fireforge.base.deadline import Deadline
from fireforge.base.errors import FireforgeError
from fireforge.base.progress import Update
from fireforge.base.record import RunRecord
from fireforge.base.trial import Augment, Trial
from fireforge.base.value import sha256_of
from fireforge.data.open import open_dataset
from fireforge.nets.families import build_graph
from fireforge.nets.module import GraphModule, initialise, load_arrays
from fireforge.train.evaluate import judge, logits_of
from fireforge.train.feed import Ready, batches
from fireforge.train.keeper import Keeper
from fireforge.train.norms import refresh_norms
from fireforge.train.shelf import Shelf
from fireforge.train.trial import batching_of, give_up_state, make_ready, run_trial
from fireforge.train.weights import read_weights
from fireforge.train.world import make_world

MakeTrial = Callable[..., Trial]


STEPS = 4  # batches an epoch: 60 training pictures, 16 at a time


class Over(Deadline):
    """A deadline that runs out in the batch with this number of the epoch with this number, both counted from 1."""

    def __init__(self, epoch: int, batch: int = STEPS) -> None:
        super().__init__()
        self.looks = (epoch - 1) * (STEPS + 1) + batch  # one after each batch and one after each epoch

    def over(self) -> bool:
        self.looks -= 1
        return self.looks <= 0


class StopError(Exception):
    """What an interrupted progress raises."""


@pytest.fixture(autouse=True)
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """A state is written after each batch."""
    monkeypatch.setattr(Keeper, "due", lambda self: self._keeping.folder is not None)


def into(epochs: list[float]) -> Callable[[Update], None]:
    """Notes how far a training came."""
    return lambda update: epochs.append(update.done) if update.stage == "train" else None


def stop_after(epochs: int) -> Callable[[Update], None]:
    def progress(update: Update) -> None:
        if update.done >= epochs:
            raise StopError

    return progress


def run(trial: Trial, folder: Path, **rest: object) -> RunRecord:
    return run_trial(trial, folder=folder, device="cpu", **rest)  # type: ignore[arg-type]


def same(one: RunRecord, two: RunRecord) -> bool:
    return (one.weights_sha256, one.metrics, one.accuracy) == (two.weights_sha256, two.metrics, two.accuracy)


def state_of(folder: Path, trial: Trial) -> Path:
    return folder / "checkpoint" / trial.digest()[:12]


def test_the_loss_falls_and_the_classes_are_learned(make_trial: MakeTrial, tmp_path: Path) -> None:
    record = run(make_trial(epochs=16, augment=Augment()), tmp_path)
    loss = record.metrics["train/loss"]
    assert len(loss) == 16
    assert np.mean(loss[-3:]) < 0.6 * np.mean(loss[:3])
    assert record.accuracy is not None
    assert record.accuracy > 0.8  # three bright regions; chance is 1/3
    assert record.metrics["lr"][-1] < 0.1 * max(record.metrics["lr"])


def test_the_record_tells_what_its_weights_do(make_trial: MakeTrial, tmp_path: Path) -> None:
    """The stored file, read anew into a fresh module, gives the recorded validation numbers."""
    trial = make_trial()
    record = run(trial, tmp_path)
    path = tmp_path / record.weights
    assert hashlib.sha256(path.read_bytes()).hexdigest() == record.weights_sha256
    module = GraphModule(build_graph(trial.spec))
    load_arrays(module, read_weights(path))
    ready = make_ready(trial)
    found = judge(logits_of(module, ready.val, batching_of(trial), world=make_world("cpu")), ready.val.labels)
    assert found["accuracy"] == record.accuracy == record.metrics["val/accuracy"][-1]
    assert found["loss"] == record.metrics["val/loss"][-1]
    assert record.samples == {"train": len(ready.train), "val": len(ready.val)}
    assert record.trial_digest == trial.digest()
    assert RunRecord.from_json(json.loads(json.dumps(record.to_json()))) == record


def test_the_same_seed_gives_the_same_bits_and_another_seed_others(make_trial: MakeTrial, tmp_path: Path) -> None:
    first = run(make_trial(), tmp_path / "a")
    assert same(first, run(make_trial(), tmp_path / "b"))
    assert run(make_trial(seed=1), tmp_path / "c").weights_sha256 != first.weights_sha256


@pytest.mark.parametrize("optimizer", ["sgd", "adamw", "muon"])
@pytest.mark.parametrize("how", ["deadline", "exception"])
@pytest.mark.parametrize("after", [1, 3])
def test_an_interrupted_training_goes_on_to_the_same_bits(
    make_trial: MakeTrial, tmp_path: Path, optimizer: str, how: str, after: int
) -> None:
    trial = make_trial(optimizer=optimizer, lr=0.01)
    whole = run(trial, tmp_path / "whole")
    if how == "deadline":
        cut = run(trial, tmp_path / "cut", deadline=Over(after))
        assert len(cut.metrics["train/loss"]) == after
        assert cut.accuracy is not None
    else:
        with pytest.raises(StopError):
            run(trial, tmp_path / "cut", progress=stop_after(after))
    epochs: list[float] = []
    assert same(whole, run(trial, tmp_path / "cut", progress=into(epochs)))
    assert epochs == list(range(after + 1, 5))  # the epochs before were not trained again


@pytest.mark.parametrize("how", ["deadline", "exception"])
def test_a_training_that_judges_every_second_epoch_goes_on_to_the_same_bits(
    make_trial: MakeTrial, tmp_path: Path, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = itertools.count()
    monkeypatch.setattr(Keeper, "due", lambda self: next(steps) % 7 == 0)
    trial = make_trial(epochs=41, ema=0.0, augment=Augment())
    whole = run(trial, tmp_path / "whole")
    assert whole.metrics["val/epoch"] == (*range(2, 41, 2), 41)
    if how == "deadline":
        assert run(trial, tmp_path / "cut", deadline=Over(7)).metrics["val/epoch"] == (2, 4, 6, 7)
    else:
        with pytest.raises(StopError):
            run(trial, tmp_path / "cut", progress=stop_after(7))
    assert same(whole, run(trial, tmp_path / "cut"))


@pytest.mark.parametrize(("epoch", "batch"), [(1, 1), (1, 3), (3, 2)])
def test_a_deadline_within_an_epoch_stops_after_the_batch_and_gives_usable_weights(
    make_trial: MakeTrial, tmp_path: Path, epoch: int, batch: int
) -> None:
    trial = make_trial()
    done: list[float] = []
    record = run(trial, tmp_path, deadline=Over(epoch, batch), progress=into(done))
    assert len(make_ready(trial).train) == 60  # what STEPS counts with
    share = epoch - 1 + batch / STEPS
    assert done == [*range(1, epoch), share]
    assert record.metrics["train/epoch"] == (*range(1, epoch), share)
    assert {len(record.metrics[name]) for name in ("train/loss", "train/accuracy", "lr")} == {epoch}
    assert record.metrics["val/epoch"][-1] == share
    module = GraphModule(build_graph(trial.spec))
    load_arrays(module, read_weights(tmp_path / record.weights))
    val = make_ready(trial).val
    found = judge(logits_of(module, val, batching_of(trial), world=make_world("cpu")), val.labels)
    assert (found["accuracy"], found["loss"]) == (record.accuracy, record.metrics["val/loss"][-1])


def test_a_cut_epochs_loss_is_the_mean_over_the_pictures_seen(make_trial: MakeTrial, tmp_path: Path) -> None:
    """Without training (lr 0), dropout and variation the loss of the batches seen can be computed anew."""
    trial = make_trial(lr=1e-30, ema=0.0, augment=Augment(), label_smoothing=0.0)
    trial = trial.replace(spec=trial.spec.replace(params={**trial.spec.params, "dropout": 0.0}))
    record = run(trial, tmp_path, deadline=Over(1, 2))
    ready, batching = make_ready(trial), batching_of(trial)
    module = GraphModule(build_graph(trial.spec)).train()
    initialise(module, trial.seed)
    rows = list(itertools.islice(batches(ready.train, batching, epoch=0, world=make_world("cpu")), 2))
    losses = [torch.nn.functional.cross_entropy(module(x), y).item() for x, y in rows]
    assert record.metrics["train/loss"][0] == pytest.approx(np.mean(losses), rel=1e-5)  # float32, two batches of 16


@pytest.mark.parametrize(("epoch", "batch"), [(1, 2), (3, 1)])
def test_a_training_cut_within_an_epoch_goes_on_to_the_same_bits(
    make_trial: MakeTrial, tmp_path: Path, epoch: int, batch: int
) -> None:
    trial = make_trial()
    run(trial, tmp_path / "cut", deadline=Over(epoch, batch))
    epochs: list[float] = []
    resumed = run(trial, tmp_path / "cut", progress=into(epochs))
    assert epochs == list(range(epoch, 5))  # the cut epoch is trained anew, whole ones are not
    assert same(run(trial, tmp_path / "whole"), resumed)
    give_up_state(tmp_path / "cut", resumed)
    assert not state_of(tmp_path / "cut", trial).exists()


def test_a_cut_last_epoch_leaves_its_state(make_trial: MakeTrial, tmp_path: Path) -> None:
    trial = make_trial()
    record = run(trial, tmp_path, deadline=Over(4, 2))
    assert len(record.metrics["train/loss"]) == trial.recipe.epochs
    give_up_state(tmp_path, record)
    assert state_of(tmp_path, trial).exists()


def test_seconds_of_all_parts_of_a_training_are_added(make_trial: MakeTrial, tmp_path: Path) -> None:
    trial = make_trial()
    first = run(trial, tmp_path, deadline=Over(2))
    newest = max(state_of(tmp_path, trial).glob("*.json"))
    state = json.loads(newest.read_text())["state"]
    assert 0 < state["course"]["seconds"] <= first.seconds["train"]
    state["course"]["seconds"] = 1000.0
    newest.write_text(json.dumps({"state": state, "sha256": sha256_of(state)}))
    assert 1000 < run(trial, tmp_path).seconds["train"] < 1100


def test_reading_counts_as_data_and_training_as_train(make_trial: MakeTrial, tmp_path: Path) -> None:
    def slow(trial: Trial) -> Ready:
        time.sleep(0.3)
        return make_ready(trial)

    trial = make_trial(epochs=1)
    record = run(trial, tmp_path / "a", ready=slow)
    assert record.seconds["data"] >= 0.3
    ready = make_ready(trial)
    assert run(trial, tmp_path / "b", ready=ready).seconds["data"] < 0.1
    assert same(record, run(trial, tmp_path / "c", ready=ready))


def test_without_keep_no_state_is_written_or_taken_up(make_trial: MakeTrial, tmp_path: Path) -> None:
    trial = make_trial()
    run(trial, tmp_path, deadline=Over(2), keep=False)
    assert not (tmp_path / "checkpoint").exists()
    run(trial, tmp_path, deadline=Over(2))
    before = sorted(state_of(tmp_path, trial).iterdir())
    epochs: list[float] = []
    run(trial, tmp_path, keep=False, progress=into(epochs))
    assert epochs == [1, 2, 3, 4]
    assert sorted(state_of(tmp_path, trial).iterdir()) == before


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_the_written_statistics_are_those_of_the_written_weights(
    make_trial: MakeTrial, tmp_path: Path, ema: float
) -> None:
    """Estimating them once more changes nothing, neither for averaged weights nor for the last ones."""
    trial = make_trial(epochs=1, ema=ema)
    record = run(trial, tmp_path)
    module = GraphModule(build_graph(trial.spec))
    load_arrays(module, read_weights(tmp_path / record.weights))
    before = {name: buffer.clone() for name, buffer in module.named_buffers()}
    refresh_norms(module, make_ready(trial).train, batching_of(trial), world=make_world("cpu"))
    assert len(before) >= 2
    assert all(torch.equal(buffer, before[name]) for name, buffer in module.named_buffers())


CHILD = """
import json, os, signal, sys
import torch
from fireforge.base.trial import Trial
from fireforge.train.keeper import Keeper
from fireforge.train.trial import run_trial
torch.set_num_threads(1)
def progress(update):
    if update.done == 2:
        os.kill(os.getpid(), signal.SIGKILL)
Keeper.due = lambda self: True
run_trial(Trial.from_json(json.loads(sys.argv[1])), folder=sys.argv[2], device="cpu", progress=progress)
"""


def test_a_killed_process_is_taken_up_to_the_same_bits(make_trial: MakeTrial, tmp_path: Path) -> None:
    trial = make_trial()
    command = [sys.executable, "-c", CHILD, json.dumps(trial.to_json()), str(tmp_path / "killed")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert not list((tmp_path / "killed" / "trials").iterdir())
    epochs: list[float] = []
    resumed = run(trial, tmp_path / "killed", progress=into(epochs))
    assert epochs == [3, 4]
    assert same(resumed, run(trial, tmp_path / "whole"))


def test_a_spawned_child_process_gives_the_same_bits(make_trial: MakeTrial, tmp_path: Path) -> None:
    trial = make_trial(epochs=2)
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(
        1, mp_context=context, initializer=torch.set_num_threads, initargs=(1,)
    ) as pool:
        child = pool.submit(run_trial, trial, folder=tmp_path / "child", device="cpu").result(timeout=120)
    assert same(child, run(trial, tmp_path / "here"))


def test_the_callers_generators_are_left_as_they_were(make_trial: MakeTrial, tmp_path: Path) -> None:
    torch.manual_seed(123)
    np.random.seed(123)
    before, before_numpy = torch.get_rng_state(), np.random.get_state(legacy=False)["state"]["key"].copy()
    first = run(make_trial(epochs=1), tmp_path / "a")
    assert torch.equal(torch.get_rng_state(), before)
    assert np.array_equal(np.random.get_state(legacy=False)["state"]["key"], before_numpy)
    torch.manual_seed(7)
    assert same(first, run(make_trial(epochs=1), tmp_path / "b"))


def only_finite(folder: Path) -> bool:
    """No weights were written, and the states that are left hold numbers alone."""
    states = list(folder.rglob("*.safetensors"))
    numbers = [array for path in states for array in read_weights(path).values()]
    return all(path.name.startswith("state-") for path in states) and all(np.isfinite(one).all() for one in numbers)


def test_a_training_that_diverges_is_told_and_leaves_nothing_that_is_not_finite(
    make_trial: MakeTrial, tmp_path: Path
) -> None:
    trial = make_trial(lr=1e38, warmup_epochs=0.0, momentum=0.0)
    with pytest.raises(FireforgeError) as raised:
        run(trial, tmp_path)
    assert raised.value.code == "DIVERGED"
    assert "learning rate" in raised.value.do
    assert only_finite(tmp_path)


def test_a_training_that_judges_nothing_is_told_of_its_divergence_by_the_training_loss(
    make_trial: MakeTrial, tmp_path: Path
) -> None:
    trial = make_trial(lr=1e38, warmup_epochs=0.0, momentum=0.0).replace(parts=("train", "val"))
    with pytest.raises(FireforgeError, match=r"DIVERGED: the loss is nan.* at step 2 of epoch 1, .*tiny.npz/x\[\d+\]"):
        run(trial, tmp_path)
    assert only_finite(tmp_path)


def test_another_trials_state_is_not_taken_up(make_trial: MakeTrial, tmp_path: Path) -> None:
    trial, other = make_trial(), make_trial(seed=1)
    with pytest.raises(StopError):
        run(other, tmp_path, progress=stop_after(2))
    state_of(tmp_path, other).rename(state_of(tmp_path, trial))  # even where the name says it were this one's
    epochs: list[float] = []
    found = run(trial, tmp_path, progress=into(epochs))
    assert epochs == [1, 2, 3, 4]
    assert same(found, run(trial, tmp_path / "alone"))


def test_an_unfinished_trial_keeps_its_state_beside_others_and_a_finished_one_can_give_it_up(
    make_trial: MakeTrial, tmp_path: Path
) -> None:
    unfinished, finished = make_trial(), make_trial(seed=1)
    with pytest.raises(StopError):
        run(unfinished, tmp_path, progress=stop_after(2))
    give_up_state(tmp_path, run(finished, tmp_path))
    assert not state_of(tmp_path, finished).exists()
    epochs: list[float] = []
    run(unfinished, tmp_path, progress=into(epochs))
    assert epochs == [3, 4]


def test_a_finished_trial_whose_record_was_lost_is_not_trained_again(make_trial: MakeTrial, tmp_path: Path) -> None:
    trial = make_trial()
    record = run(trial, tmp_path)
    epochs: list[float] = []
    again = run(trial, tmp_path, progress=into(epochs))
    assert epochs == [4]
    assert same(record, again)


def test_data_that_changed_is_refused(make_trial: MakeTrial, tiny_npz: Path, tmp_path: Path) -> None:
    right = open_dataset(str(tiny_npz)).sha256
    run(make_trial(epochs=1, sha256=right), tmp_path)
    with pytest.raises(FireforgeError, match="DATA_CHANGED"):
        run(make_trial(epochs=1, sha256="0" * 64), tmp_path)


def test_a_device_that_is_not_there_is_refused(
    make_trial: MakeTrial, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(FireforgeError, match="NO_DEVICE"):
        run_trial(make_trial(), folder=tmp_path, device="cuda")


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_autocast_to_half_trains_and_keeps_float32_weights(
    make_trial: MakeTrial, tmp_path: Path, precision: str
) -> None:
    record = run(make_trial(precision=precision, epochs=8, augment=Augment()), tmp_path / "b")
    exact = run(make_trial(epochs=8, augment=Augment()), tmp_path / "f")
    assert record.weights_sha256 != exact.weights_sha256
    assert record.metrics["train/loss"][-1] < record.metrics["train/loss"][0]
    # bfloat16 has 8 bits of mantissa; the first epoch's mean loss stays within a few percent
    assert record.metrics["train/loss"][0] == pytest.approx(exact.metrics["train/loss"][0], rel=0.05)
    assert all(array.dtype == np.float32 for array in read_weights(tmp_path / "b" / record.weights).values())


def test_training_on_all_parts_but_test_judges_nothing(make_trial: MakeTrial, tmp_path: Path) -> None:
    trial = make_trial(epochs=1).replace(parts=("train", "val"))
    record = run(trial, tmp_path)
    plain = make_ready(make_trial(epochs=1))
    assert record.accuracy is None
    assert record.samples == {"train": len(plain.train) + len(plain.val), "val": 0}


@pytest.mark.parametrize(("until", "epoch", "batch"), [(2.5, 3, 2), (0.25, 1, 1), (1.0, 1, 4)])
def test_until_stops_at_the_step_and_with_the_bits_of_a_deadline(
    make_trial: MakeTrial, tmp_path: Path, until: float, epoch: int, batch: int
) -> None:
    trial = make_trial()
    cut = run(trial, tmp_path / "deadline", deadline=Over(epoch, batch))
    assert cut.metrics["train/epoch"][-1] == until
    again = run(trial, tmp_path / "until", until=cut.metrics["train/epoch"][-1])
    assert same(cut, again)
    assert again.metrics["val/epoch"] == cut.metrics["val/epoch"]


def test_until_the_end_and_beyond_is_a_whole_training(make_trial: MakeTrial, tmp_path: Path) -> None:
    trial = make_trial()
    whole = run(trial, tmp_path / "whole")
    for until in (4.0, 7.5):
        record = run(trial, tmp_path / str(until), until=until)
        assert same(whole, record)
        give_up_state(tmp_path / str(until), record)
        assert not state_of(tmp_path / str(until), trial).exists()


def parameters(folder: Path, record: RunRecord) -> dict[str, np.ndarray]:
    """Weights without the statistics of the batch norms, which are estimated anew."""
    arrays = read_weights(folder / record.weights)
    return {name: array for name, array in arrays.items() if not name.endswith(("running_mean", "running_var"))}


def test_a_trial_with_a_start_begins_at_exactly_those_weights(make_trial: MakeTrial, tmp_path: Path) -> None:
    """With a rate of 1e-30 no float32 weight moves, so what comes out is what went in."""
    first = make_trial()
    one = parameters(tmp_path, run(first, tmp_path))
    still = make_trial(lr=1e-30, ema=0.0, epochs=1).replace(start=first.digest(), seed=9)
    two = parameters(tmp_path, run(still, tmp_path))
    assert len(one) > 4
    assert sorted(one) == sorted(two)
    assert all(np.array_equal(one[name], two[name]) for name in one)
    fresh = parameters(tmp_path, run(still.replace(start=""), tmp_path))
    assert not all(np.array_equal(one[name], fresh[name]) for name in one)


def test_a_started_trial_that_is_interrupted_goes_on_to_the_same_bits(make_trial: MakeTrial, tmp_path: Path) -> None:
    first = make_trial(epochs=1)
    for name in ("whole", "cut"):
        run(first, tmp_path / name)
    trial = make_trial().replace(start=first.digest())
    whole = run(trial, tmp_path / "whole")
    run(trial, tmp_path / "cut", deadline=Over(3, 2))
    assert same(whole, run(trial, tmp_path / "cut"))
    assert not same(whole, run(make_trial(), tmp_path / "fresh"))


def test_a_start_that_is_not_there_or_of_another_network_is_refused(make_trial: MakeTrial, tmp_path: Path) -> None:
    with pytest.raises(FireforgeError, match="NO_FILE"):
        run(make_trial().replace(start="0" * 64), tmp_path)
    other = make_trial(epochs=1)
    other = other.replace(spec=other.spec.replace(params={**other.spec.params, "base_e": 16}))
    run(other, tmp_path)
    with pytest.raises(FireforgeError, match="BAD_WEIGHTS"):
        run(make_trial().replace(start=other.digest()), tmp_path)


def test_the_layouts_agree_to_rounding_and_each_is_the_same_twice(make_trial: MakeTrial, tmp_path: Path) -> None:
    """8 updates at a low rate: float32 sums in another order, to 1e-3 of the loss. Without dropout, which draws its
    numbers in the order of memory."""

    def trained(layout: str, folder: str) -> RunRecord:
        trial = make_trial(layout=layout, epochs=2, lr=0.005)
        trial = trial.replace(spec=trial.spec.replace(params={**trial.spec.params, "dropout": 0.0}))
        return run(trial, tmp_path / folder)

    found = {layout: trained(layout, layout) for layout in ("contiguous", "channels_last")}
    one, two = found["contiguous"], found["channels_last"]
    np.testing.assert_allclose(one.metrics["train/loss"], two.metrics["train/loss"], rtol=1e-3)
    np.testing.assert_allclose(one.metrics["val/loss"], two.metrics["val/loss"], rtol=1e-3)
    for name, array in read_weights(tmp_path / "contiguous" / one.weights).items():
        np.testing.assert_allclose(
            array, read_weights(tmp_path / "channels_last" / two.weights)[name], rtol=1e-2, atol=1e-3
        )
    assert same(two, trained("channels_last", "again"))


@pytest.mark.parametrize(
    ("changes", "threads"),
    [
        ({"layout": "channels_last"}, 2),
        ({"precision": "bfloat16", "layout": "channels_last"}, 1),
        ({"precision": "float16"}, 1),
    ],
)
def test_every_manner_goes_on_to_the_same_bits(
    make_trial: MakeTrial, tmp_path: Path, changes: dict[str, object], threads: int
) -> None:
    trial = make_trial(epochs=2, **changes).replace(threads=threads, pictures=32)
    whole = run(trial, tmp_path / "whole")
    with pytest.raises(StopError):
        run(trial, tmp_path / "cut", progress=stop_after(1))
    assert same(whole, run(trial, tmp_path / "cut"))


@pytest.mark.parametrize("threads", [1, 3])
def test_a_training_has_its_threads_and_gives_the_caller_back_his(
    make_trial: MakeTrial, tmp_path: Path, threads: int
) -> None:
    torch.set_num_threads(2)
    seen: list[int] = []
    trial = make_trial(epochs=2).replace(threads=threads)
    run(trial, tmp_path, progress=lambda update: seen.append(torch.get_num_threads()))
    assert (set(seen), torch.get_num_threads()) == ({threads}, 2)
    with pytest.raises(StopError):
        run(trial, tmp_path / "stopped", progress=stop_after(1))
    assert torch.get_num_threads() == 2
    assert trial.digest() != trial.replace(threads=threads + 1).digest()  # rounding depends on it


def test_a_training_on_some_pictures_is_the_same_from_kept_and_from_read_pictures(
    make_trial: MakeTrial, tmp_path: Path
) -> None:
    trial = make_trial(sha256=open_dataset(make_trial().data.source).sha256).replace(pictures=40, val_pictures=9)
    plain = run(trial, tmp_path / "a", ready=Shelf().ready)
    assert plain.samples == {"train": 40, "val": 9}
    for name in ("made", "mapped"):
        assert same(plain, run(trial, tmp_path / name, ready=Shelf(tmp_path / "cache").ready))
