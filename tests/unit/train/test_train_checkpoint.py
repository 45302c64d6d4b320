# SPDX-License-Identifier: Apache-2.0
"""States on disk: the newest whole one is taken up, damage is named."""

from __future__ import annotations

import errno
import io
import json
import os
import random
import re
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from fireforge.base import files
from fireforge.base.errors import FireforgeError
from fireforge.base.trial import Recipe
from fireforge.base.value import sha256_of
from fireforge.train import checkpoint
from fireforge.train.checkpoint import load_checkpoint, save_checkpoint
from fireforge.train.course import Course, Part
from fireforge.train.ema import Ema
from fireforge.train.optimizer import make_optimizer

GOLDEN = Path(__file__).parents[2] / "golden"
THIRD = "state-000003-000000000"


def parts_of(seed: int, optimizer: str = "adamw", width: int = 2) -> dict[str, object]:
    torch.manual_seed(seed)
    module = nn.Sequential(nn.Conv2d(1, width, 3), nn.BatchNorm2d(width), nn.Flatten(), nn.Linear(width, 2))
    recipe = Recipe.from_json({"epochs": 3, "optimizer": optimizer, "lr": 0.1})
    return {"module": module, "optimizer": make_optimizer(module, recipe), "ema": Ema(module, 0.9)}


def step(parts: dict[str, object]) -> None:
    module, optimizer, ema = parts["module"], parts["optimizer"], parts["ema"]
    assert isinstance(module, nn.Module)
    assert isinstance(optimizer, torch.optim.Optimizer)
    assert isinstance(ema, Ema)
    optimizer.zero_grad()
    torch.autograd.backward(module(torch.arange(18.0).reshape(2, 1, 3, 3)).square().mean())
    optimizer.step()
    ema.update(module)


def numbers(parts: dict[str, object]) -> list[torch.Tensor]:
    optimizer = parts["optimizer"].state_dict()["state"]  # type: ignore[attr-defined]
    ema = parts["ema"]
    assert isinstance(ema, Ema)
    slots = [torch.as_tensor(value) for _, slots in sorted(optimizer.items()) for _, value in sorted(slots.items())]
    module = parts["module"].state_dict()  # type: ignore[attr-defined]
    return [*module.values(), *slots, *ema.state.values(), torch.tensor(ema.steps)]


def course(epochs: int, steps: int = 0) -> Course:
    """2.5 seconds and a loss of 0.1 an epoch; numbers that float32 cannot hold, within an epoch."""
    part = Part(steps=steps, seen=8 * steps, loss=0.1, right=3.0, rate=1e-3) if steps else None
    return Course(epochs=epochs, metrics={"loss": (0.1,) * epochs}, seconds=2.5 * epochs, part=part, left_out=1)


def taken_up(course: Course, times: int = 1) -> Course:
    return course.replace(resumed=times)


def saved(folder: Path, epochs: int, optimizer: str = "adamw") -> dict[str, object]:
    """States after 1 to so many epochs of one step each."""
    parts = parts_of(0, optimizer)
    for epoch in range(1, epochs + 1):
        step(parts)
        save_checkpoint(folder, owner="me", course=course(epoch), parts=parts)
    return parts


@pytest.mark.parametrize("optimizer", ["sgd", "adamw", "muon"])
def test_every_number_comes_back_and_the_next_step_is_the_same(tmp_path: Path, optimizer: str) -> None:
    parts, other = saved(tmp_path, 2, optimizer), parts_of(1, optimizer)
    assert load_checkpoint(tmp_path, owner="me", parts=other) == taken_up(course(2))
    for _ in range(2):
        one, two = numbers(parts), numbers(other)
        assert len(one) == len(two) > 15
        assert all(a.shape == b.shape and torch.equal(a, b) for a, b in zip(one, two))
        step(parts)
        step(other)


def test_states_within_an_epoch_lie_between_those_of_whole_ones(tmp_path: Path) -> None:
    parts = parts_of(0)
    for one in (course(9), course(9, 80), course(9, 1000), course(10), course(10, 7)):
        save_checkpoint(tmp_path, owner="me", course=one, parts=parts)
        assert load_checkpoint(tmp_path, owner="me", parts=parts_of(1)) == taken_up(one)


def test_the_last_ones_are_kept_and_nothing_else(tmp_path: Path) -> None:
    parts = saved(tmp_path, 4)
    for kept in (2, 3):
        names = sorted(path.name for path in tmp_path.iterdir())
        assert names == sorted(f"state-{n:06d}-000000000.{s}" for n in range(5 - 2, 3 + kept) for s in TYPES)
        save_checkpoint(tmp_path, owner="me", course=course(5), parts=parts, kept=3)


TYPES = ("json", "safetensors")


def test_nothing_or_anothers_state_is_a_start_from_nothing(tmp_path: Path) -> None:
    parts = parts_of(1)
    before = [value.clone() for value in numbers(parts)]
    assert load_checkpoint(tmp_path / "absent", owner="me", parts=parts) == Course()
    saved(tmp_path, 2)
    assert load_checkpoint(tmp_path, owner="another", parts=parts) == Course()
    assert all(torch.equal(a, b) for a, b in zip(before, numbers(parts)))
    save_checkpoint(tmp_path, owner="another", course=course(1), parts=parts)
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"state-000001-000000000.{one}" for one in TYPES]


def damage(path: Path, how: str) -> None:
    data = bytearray(path.read_bytes())
    if how == "cut":
        data = data[: len(data) // 2]
    elif how == "bit":
        data[-9] ^= 1
    path.unlink()
    if how != "gone":
        path.write_bytes(b"" if how == "empty" else b"[1]" if how == "list" else data)


@pytest.mark.parametrize(
    ("kind", "how"),
    [
        *(("safetensors", how) for how in ("cut", "bit", "gone")),
        *(("json", how) for how in ("cut", "bit", "empty", "list")),
    ],
)
def test_a_damaged_newest_state_is_told_and_the_one_before_it_taken(tmp_path: Path, kind: str, how: str) -> None:
    saved(tmp_path, 3)
    damage(tmp_path / f"{THIRD}.{kind}", how)
    notes: list[str] = []
    parts = parts_of(1)
    found = load_checkpoint(tmp_path, owner="me", parts=parts, progress=lambda update: notes.append(update.note))
    assert found == taken_up(course(2))
    assert len(notes) == 2
    assert notes[0].startswith("not used: ")
    assert f"{THIRD}.{kind}" in notes[0]
    assert notes[1] == "goes on after epoch 2"
    step(parts)
    whole = saved(tmp_path / "whole", 3)
    assert all(torch.equal(a, b) for a, b in zip(numbers(whole), numbers(parts)))
    save_checkpoint(tmp_path, owner="me", course=course(2, 5), parts=parts)  # the damaged one gives way
    assert sorted(path.stem for path in tmp_path.glob("*.json")) == ["state-000002-000000000", "state-000002-000000005"]


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("how", ["cut", "bit"])
def test_without_a_whole_state_the_newest_file_is_refused_by_name(tmp_path: Path, how: str, kind: str) -> None:
    saved(tmp_path, 2)
    for path in tmp_path.glob(f"*.{kind}"):
        damage(path, how)
    parts = parts_of(1)
    before = [value.clone() for value in numbers(parts)]
    with pytest.raises(FireforgeError) as raised:
        load_checkpoint(tmp_path, owner="me", parts=parts)
    assert raised.value.code == "BAD_WEIGHTS"
    assert raised.value.where == str(tmp_path / f"state-000002-000000000.{kind}")
    assert all(torch.equal(a, b) for a, b in zip(before, numbers(parts)))


def test_each_flipped_bit_and_each_cut_is_found(tmp_path: Path) -> None:
    """F13 and F14: 64 lengths and 1,000 bits of the newest state's files; the one before it is taken each time."""
    saved(tmp_path, 2)
    paths = [tmp_path / f"state-000002-000000000.{kind}" for kind in TYPES]
    draw = random.Random(6)
    parts = parts_of(1)
    for path in paths:
        whole = path.read_bytes()
        cuts = [whole[: len(whole) * part // 64] for part in range(64)]
        flips = []
        for _ in range(500):
            data = bytearray(whole)
            data[draw.randrange(len(whole))] ^= 1 << draw.randrange(8)
            flips.append(bytes(data))
        for data in (*cuts, *flips):
            path.write_bytes(data)
            assert load_checkpoint(tmp_path, owner="me", parts=parts).epochs == 1
        path.write_bytes(whole)
    assert load_checkpoint(tmp_path, owner="me", parts=parts).epochs == 2


def test_a_state_of_another_network_lists_what_differs_and_changes_nothing(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, owner="me", course=course(1), parts=parts_of(0, width=3))
    parts = parts_of(1)
    before = [value.clone() for value in numbers(parts)]
    with pytest.raises(FireforgeError) as raised:
        load_checkpoint(tmp_path, owner="me", parts=parts)
    assert "0.weight is (3, 1, 3, 3), not (2, 1, 3, 3)" in raised.value.what
    assert all(torch.equal(a, b) for a, b in zip(before, numbers(parts)))


def test_a_state_of_another_version_and_one_that_names_another_file_are_refused(tmp_path: Path) -> None:
    saved(tmp_path, 1)
    path = tmp_path / "state-000001-000000000.json"
    plain = json.loads(path.read_text())["state"]
    for change, said in (
        ({"version": 3}, "a state of version 3"),
        ({"file": "../x.safetensors"}, "belongs to another file"),
        ({"threads": "two"}, "damaged"),
    ):
        changed = plain | change
        path.write_text(json.dumps({"state": changed, "sha256": sha256_of(changed)}))
        with pytest.raises(FireforgeError, match=said):
            load_checkpoint(tmp_path, owner="me", parts=parts_of(1))


def test_other_threads_and_another_torch_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved(tmp_path, 1)
    monkeypatch.setattr(checkpoint, "versions", lambda: {"torch": "9.9"})
    notes: list[str] = []
    load_checkpoint(tmp_path, owner="me", parts=parts_of(1), progress=lambda update: notes.append(update.note))
    assert "bits will differ" in notes[0]
    assert "torch 9.9" not in notes[0].partition(" then")[0]
    monkeypatch.undo()
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "NEON")
    load_checkpoint(tmp_path, owner="me", parts=parts_of(1), progress=lambda update: notes.append(update.note))
    assert "NEON now" in notes[1]


def test_what_an_interrupted_write_left_is_removed(tmp_path: Path) -> None:
    saved(tmp_path, 1)
    (tmp_path / ".state-000002-000000000.safetensors.123.tmp").write_bytes(b"half")
    (tmp_path / "mine.tmp").write_bytes(b"not ours")
    load_checkpoint(tmp_path, owner="me", parts=parts_of(1))
    assert sorted(path.name for path in tmp_path.iterdir())[:1] == ["mine.tmp"]
    assert len(list(tmp_path.iterdir())) == 3


def test_a_version_is_read_for_ever() -> None:
    """F16: a state that version 2 wrote; each of its numbers is 0.5, those that count are 7."""
    script = runpy.run_path(str(GOLDEN / "regenerate.py"))
    parts = script["state_parts"](-1.0)
    assert load_checkpoint(GOLDEN / "state-2", owner="golden", parts=parts) == taken_up(script["state_course"](), 3)
    found = numbers(parts)
    assert len(found) > 30
    assert found[-1] == 9
    assert all((one == (0.5 if one.is_floating_point() else 7)).all() for one in found[:-1])


def test_a_state_of_the_first_version_is_told_and_gives_way(tmp_path: Path) -> None:
    """F16: version 1 had `checkpoint.json` and epoch-*.safetensors."""
    for name in ("checkpoint.json", "epoch-000003.safetensors"):
        (tmp_path / name).write_text("{}")
    notes: list[str] = []
    parts = parts_of(0)
    found = load_checkpoint(tmp_path, owner="me", parts=parts, progress=lambda update: notes.append(update.note))
    assert found == Course()
    assert len(notes) == 1
    assert notes[0].startswith("not used: ")
    assert "version 1" in notes[0]
    save_checkpoint(tmp_path, owner="me", course=course(1), parts=parts)
    assert {path.stem for path in tmp_path.iterdir()} == {"state-000001-000000000"}


@pytest.mark.parametrize("kind", TYPES)
def test_a_file_that_the_disk_does_not_give_is_told_and_the_state_before_it_taken(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F12: an input/output error."""
    saved(tmp_path, 3)
    read, stat = Path.read_bytes, Path.stat

    def fails(inner: Callable[[Path], Any]) -> Callable[[Path], Any]:
        def call(path: Path, **named: Any) -> Any:
            if path.name == f"{THIRD}.{kind}" and not named:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            return inner(path, **named)

        return call

    notes: list[str] = []
    for name, inner in (("read_bytes", read), ("stat", stat)):
        with monkeypatch.context() as patch:
            patch.setattr(Path, name, fails(inner))
            found = load_checkpoint(
                tmp_path, owner="me", parts=parts_of(1), progress=lambda update: notes.append(update.note)
            )
        assert found.epochs == (3 if (kind, name) == ("safetensors", "stat") else 2)
    assert "Input/output error" in notes[0]
    assert f"{THIRD}.{kind}" in notes[0]
    assert load_checkpoint(tmp_path, owner="me", parts=parts_of(1)).epochs == 3  # nothing was removed


def test_a_state_that_is_damaged_does_not_count_as_one_that_is_kept(tmp_path: Path) -> None:
    """Fallen back and saved: the damaged one goes, so that the next damage finds a whole one before it."""
    parts = saved(tmp_path, 3)
    damage(tmp_path / f"{THIRD}.safetensors", "bit")
    save_checkpoint(tmp_path, owner="me", course=course(4), parts=parts)
    damage(tmp_path / "state-000004-000000000.safetensors", "bit")
    assert load_checkpoint(tmp_path, owner="me", parts=parts_of(1)).epochs == 2


@pytest.mark.parametrize("at", range(1, 21))
def test_a_full_disk_leaves_the_state_before_it_and_says_what_is_needed(
    tmp_path: Path, at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F11: the disk is full at the n-th 200 bytes of what a state writes."""
    parts = saved(tmp_path, 2)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    step(parts)
    with monkeypatch.context() as patch:
        room = full_after(patch, 200 * (at - 1))
        with pytest.raises(FireforgeError, match="CANNOT_WRITE") as raised:
            save_checkpoint(tmp_path, owner="me", course=course(3), parts=parts)
    assert room[0] < 0
    assert raised.value.exit_code == 3
    assert re.search(r"[0-9,]+ bytes are needed, [0-9,]+ are free", raised.value.what)
    assert str(tmp_path / THIRD) in raised.value.where
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert load_checkpoint(tmp_path, owner="me", parts=parts_of(1)).epochs == 2
    save_checkpoint(tmp_path, owner="me", course=course(3), parts=parts)  # there is room again
    assert load_checkpoint(tmp_path, owner="me", parts=parts_of(1)).epochs == 3


def full_after(patch: pytest.MonkeyPatch, room: int) -> list[int]:
    """Files take so many bytes more, then the disk is full; the bytes that are left, below 0 once it was."""
    left = [room]

    class Stream(io.FileIO):
        def write(self, data: Any) -> int:
            data = memoryview(data).cast("B")
            if len(data) > left[0]:
                super().write(data[: max(0, left[0])])
                left[0] = -1
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            left[0] -= len(data)
            return super().write(data)

    def open_(path: Path, mode: str) -> Any:
        return io.BufferedWriter(Stream(path, mode)) if "w" in mode else open(path, mode)

    patch.setattr(files, "open", open_, raising=False)
    return left


def test_a_state_in_whose_way_a_folder_stands_is_one_error(tmp_path: Path) -> None:
    parts = saved(tmp_path, 2)
    (tmp_path / f"{THIRD}.safetensors").mkdir()
    with pytest.raises(FireforgeError, match="CANNOT_WRITE"):
        save_checkpoint(tmp_path, owner="me", course=course(3), parts=parts)
    assert load_checkpoint(tmp_path, owner="me", parts=parts_of(1)).epochs == 2
