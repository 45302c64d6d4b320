# SPDX-License-Identifier: Apache-2.0
"""Compiled kernels: asked for by the recipe alone, for whole batches, with torch's own compiler as the reference."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("torch")

import torch
from torch import nn
from torch._dynamo.exc import TorchDynamoException
from torch._inductor.exc import InductorError

from fireforge.base.errors import FireforgeError
from fireforge.base.trial import Recipe, Trial
from fireforge.train.kernels import compilable, forward_of, making
from fireforge.train.trial import run_trial

COMPILED = Recipe(epochs=1, batch=4, compile=True)


def counting(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Sizes of the batches that come to compiled kernels, where torch.compile gives the module itself."""
    sizes: list[int] = []

    def compiled(module: nn.Module) -> Callable[[torch.Tensor], torch.Tensor]:
        return lambda inputs: (sizes.append(len(inputs)), module(inputs))[1]

    monkeypatch.setattr(torch, "compile", compiled)
    return sizes


def test_only_a_recipe_that_asks_compiles_and_only_whole_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = counting(monkeypatch)
    module = nn.Linear(3, 2)
    assert forward_of(module, Recipe(epochs=1)) is module
    forward = forward_of(module, Recipe(epochs=1, batch=4, compile=True))
    for size in (4, 4, 1):
        x = torch.randn(size, 3)
        assert torch.equal(forward(x), module(x))
    assert sizes == [4, 4]


@pytest.mark.parametrize("compiled", [True, False])
def test_a_training_uses_them_for_each_whole_batch(
    make_trial: Callable[..., Trial], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compiled: bool
) -> None:
    """The kernels are the module's own here, so the weights are the same bit by bit."""
    sizes = counting(monkeypatch)
    trial = make_trial(compile=compiled, epochs=2)
    record = run_trial(trial, folder=tmp_path / "a")
    whole = 2 * (record.samples["train"] // trial.recipe.batch) - 1  # the first step shows its gradients instead
    assert len(sizes) == (whole if compiled else 0)
    assert set(sizes) <= {trial.recipe.batch}
    plain = run_trial(make_trial(epochs=2), folder=tmp_path / "b")
    assert record.weights_sha256 == plain.weights_sha256


def test_kernels_that_cannot_be_made_are_told() -> None:
    """Those of the forward pass and, made later, those of the backward pass; other errors stay what they are."""
    for error in (TorchDynamoException("no compiler\nand a long tale"), InductorError(OSError("no compiler"), None)):
        with pytest.raises(FireforgeError, match=r"NOT_COMPILED: .*no compiler") as caught, making(COMPILED):
            raise error
        assert "tale" not in str(caught.value)
    with pytest.raises(ZeroDivisionError), making(COMPILED):
        raise ZeroDivisionError
    with pytest.raises(TorchDynamoException), making(Recipe(epochs=1)):
        raise TorchDynamoException("of somebody else")


def test_a_training_whose_kernels_cannot_be_made_is_told(
    make_trial: Callable[..., Trial], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(inputs: torch.Tensor) -> torch.Tensor:
        raise TorchDynamoException("no compiler")

    monkeypatch.setattr(torch, "compile", lambda module: failing)
    with pytest.raises(FireforgeError, match="NOT_COMPILED: no compiler"):
        run_trial(make_trial(compile=True, epochs=1), folder=tmp_path)


def test_what_a_machine_must_have(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not compilable(on_cpu=True)
    (tmp_path / "clang++").write_text("#!/bin/sh\n")
    (tmp_path / "clang++").chmod(0o755)
    assert compilable(on_cpu=True)
    for there in (True, False):
        monkeypatch.setattr(importlib.util, "find_spec", lambda name, there=there: name if there else None)
        assert compilable(on_cpu=False) is there


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # torch's compiler warns of its own parts
@pytest.mark.skipif(not compilable(on_cpu=True), reason="no C++ compiler")
def test_really_compiled_kernels_train_as_eager_ones(make_trial: Callable[..., Trial], tmp_path: Path) -> None:
    """The same losses as without them, to rounding that two epochs amplify; without dropout, which draws otherwise."""
    losses = []
    for name, compiled in (("a", True), ("b", False)):
        trial = make_trial(compile=compiled, epochs=2)
        spec = trial.spec.replace(params={**trial.spec.params, "dropout": 0.0})
        losses.append(run_trial(trial.replace(spec=spec), folder=tmp_path / name).metrics["train/loss"])
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)
