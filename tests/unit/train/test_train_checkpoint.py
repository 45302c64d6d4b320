# SPDX-License-Identifier: Apache-2.0
"""States on disk: the newest whole one is taken up, damage is named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from fireforge.base.errors import FireforgeError
from fireforge.base.trial import Recipe
from fireforge.train.checkpoint import INDEX, Course, load_checkpoint, save_checkpoint
from fireforge.train.ema import Ema
from fireforge.train.optimizer import make_optimizer


def parts_of(seed: int, optimizer: str = "adamw") -> dict[str, object]:
    torch.manual_seed(seed)
    module = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(2, 2))
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


def course(epochs: int) -> Course:
    """2.5 seconds and a loss of 0.1 an epoch."""
    return Course(epochs=epochs, metrics={"loss": [0.1] * epochs}, seconds=2.5 * epochs)


def saved(folder: Path, epochs: int, optimizer: str = "adamw") -> dict[str, object]:
    """States after 1 to so many epochs of one step each."""
    parts = parts_of(0, optimizer)
    for epoch in range(1, epochs + 1):
        step(parts)
        save_checkpoint(folder, owner="me", course=course(epoch), parts=parts)
    return parts


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_every_number_comes_back_and_the_next_step_is_the_same(tmp_path: Path, optimizer: str) -> None:
    parts, other = saved(tmp_path, 2, optimizer), parts_of(1, optimizer)
    assert load_checkpoint(tmp_path, owner="me", parts=other) == course(2)
    for _ in range(2):
        one, two = numbers(parts), numbers(other)
        assert len(one) == len(two) > 15
        assert all(a.shape == b.shape and torch.equal(a, b) for a, b in zip(one, two))
        step(parts)
        step(other)


def test_two_states_are_kept_and_nothing_else(tmp_path: Path) -> None:
    saved(tmp_path, 4)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [INDEX, "epoch-00003.safetensors", "epoch-00004.safetensors"]


def test_nothing_or_anothers_state_is_a_start_from_nothing(tmp_path: Path) -> None:
    parts = parts_of(1)
    before = [value.clone() for value in numbers(parts)]
    assert load_checkpoint(tmp_path / "absent", owner="me", parts=parts) == Course()
    saved(tmp_path, 2)
    assert load_checkpoint(tmp_path, owner="another", parts=parts) == Course()
    assert all(torch.equal(a, b) for a, b in zip(before, numbers(parts)))
    save_checkpoint(tmp_path, owner="another", course=course(1), parts=parts)
    assert sorted(path.name for path in tmp_path.glob("epoch-*")) == ["epoch-00001.safetensors"]


def damage(path: Path, how: str) -> None:
    data = bytearray(path.read_bytes())
    if how == "cut":
        data = data[: len(data) // 2]
    elif how == "bit":
        data[-9] ^= 1
    path.unlink()
    if how != "gone":
        path.write_bytes(data)


@pytest.mark.parametrize("how", ["cut", "bit", "gone"])
def test_a_damaged_newest_state_is_told_and_the_one_before_it_taken(tmp_path: Path, how: str) -> None:
    saved(tmp_path, 3)
    damage(tmp_path / "epoch-00003.safetensors", how)
    notes: list[str] = []
    parts = parts_of(1)
    found = load_checkpoint(tmp_path, owner="me", parts=parts, progress=lambda update: notes.append(update.note))
    assert found == course(2)
    assert len(notes) == 1
    assert "epoch-00003.safetensors" in notes[0]
    step(parts)
    whole = saved(tmp_path / "whole", 3)
    assert all(torch.equal(a, b) for a, b in zip(numbers(whole), numbers(parts)))


@pytest.mark.parametrize("how", ["cut", "bit"])
def test_without_a_whole_state_the_file_is_refused_by_name(tmp_path: Path, how: str) -> None:
    saved(tmp_path, 2)
    for path in tmp_path.glob("epoch-*"):
        damage(path, how)
    parts = parts_of(1)
    before = [value.clone() for value in numbers(parts)]
    with pytest.raises(FireforgeError) as raised:
        load_checkpoint(tmp_path, owner="me", parts=parts)
    assert raised.value.code == "BAD_WEIGHTS"
    assert raised.value.where == str(tmp_path / "epoch-00002.safetensors")
    assert all(torch.equal(a, b) for a, b in zip(before, numbers(parts)))


@pytest.mark.parametrize("how", ["cut", "number", "empty", "list"])
def test_a_damaged_index_is_refused_by_name(tmp_path: Path, how: str) -> None:
    saved(tmp_path, 2)
    path = tmp_path / INDEX
    text = path.read_text()
    changed = {"cut": text[:-20], "number": text.replace("0.1", "0.3", 1), "empty": "", "list": json.dumps([1])}[how]
    assert changed != text
    path.write_text(changed)
    with pytest.raises(FireforgeError) as raised:
        load_checkpoint(tmp_path, owner="me", parts=parts_of(1))
    assert (raised.value.code, raised.value.where) == ("BAD_WEIGHTS", str(path))
