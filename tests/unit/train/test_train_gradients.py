# SPDX-License-Identifier: Apache-2.0
"""Looks at gradients: right sizes, known gains by depth, and not a bit of the training changed."""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fireforge.base.gradients import Gradients, Look, growth
from fireforge.base.trial import Trial
from fireforge.nets.families import build_graph
from fireforge.nets.module import GraphModule, initialise
from fireforge.nets.resnet import cifar_plain_20
from fireforge.train.gradients import LOOKS, SPACED, GradientLooks
from fireforge.train.kernels import Forward
from fireforge.train.trial import run_trial

MakeTrial = Callable[..., Trial]


def looks(module: nn.Module, *, epochs: int = 1, per_epoch: int = SPACED) -> GradientLooks:
    return GradientLooks(module, epochs=epochs, per_epoch=per_epoch, found=Gradients())


def seen(module: nn.Module, inputs: Tensor, loss: Callable[[Tensor], Tensor]) -> tuple[tuple[str, ...], Look]:
    """What one look tells."""
    watch = looks(module)
    with watch.look(module, epoch=0, step=0) as forward:
        loss(forward(inputs)).backward()  # type: ignore[arg-type, no-untyped-call]
    return watch.found.layers, watch.found.looks[0]


def test_sizes_are_those_of_gradients_by_hand() -> None:
    """loss = c * relu(x A) B by plain numpy: dA = x' (c B' where positive), dB = relu(x A)' c; four digits are kept."""
    generator = torch.Generator().manual_seed(3)
    module = nn.Sequential(nn.Linear(5, 4, bias=False), nn.ReLU(), nn.Linear(4, 3, bias=False))
    inputs, factor = torch.randn(6, 5, generator=generator), torch.randn(6, 3, generator=generator)
    names, look = seen(module, inputs, lambda out: (out * factor).sum())
    first, second, x, c = (
        t.detach().numpy().astype(float) for t in (module[0].weight, module[2].weight, inputs, factor)
    )
    hidden = x @ first.T
    back = (c @ second) * (hidden > 0)
    by_weight = [back.T @ x, c.T @ np.maximum(hidden, 0)]

    def rms(array: np.ndarray) -> float:
        return float(np.sqrt(np.mean(array**2)))

    assert names == ("0", "2")
    np.testing.assert_allclose(look.outputs, [rms(back), rms(c)], rtol=1e-3)
    np.testing.assert_allclose(look.weights, [rms(g) for g in by_weight], rtol=1e-3)
    expected = [rms(g) / rms(w) for g, w in zip(by_weight, (first, second))]
    np.testing.assert_allclose(look.relative, expected, rtol=1e-3)


def stack(depth: int, width: int, std: float, *, norm: bool = False, relu: bool = True) -> nn.Sequential:
    """Equal layers of matrix product, norm and activation."""
    generator = torch.Generator().manual_seed(0)
    layers: list[nn.Module] = []
    for _ in range(depth):
        layer = nn.Linear(width, width, bias=False)
        layer.weight.data = torch.randn(width, width, generator=generator) * std / math.sqrt(width)
        layers += [layer, *[nn.BatchNorm1d(width)] * norm, *[nn.ReLU()] * relu]
    return nn.Sequential(*layers)


@pytest.mark.parametrize(
    ("std", "norm", "relu", "gain"),
    [
        (math.sqrt(2), False, True, 1.0),  # He et al. 2015, equation 14: half of n Var[w] a layer
        (1.0, False, True, math.sqrt(1 / 2)),  # the same with Xavier's variance, section 2.2
        (math.sqrt(1 / 3), False, False, math.sqrt(1 / 3)),  # Glorot and Bengio 2010, equation 15, the usual law
        (1.0, True, True, math.sqrt(math.pi / (math.pi - 1))),  # Yang et al. 2019: batch norms explode
    ],
)
def test_gains_by_depth_are_the_published_ones(std: float, norm: bool, relu: bool, gain: float) -> None:
    """Wide random layers: the gain a layer within 4 %, the spread over seeds at width 256 being some 2 %."""
    depth, width = 16, 256
    generator = torch.Generator().manual_seed(1)
    inputs, factor = (torch.randn(256, width, generator=generator) for _ in range(2))
    _, look = seen(stack(depth, width, std, norm=norm, relu=relu), inputs, lambda out: (out * factor).mean())
    found = growth(look.outputs)
    assert found is not None
    assert found ** (1 / (depth - 2)) == pytest.approx(gain, rel=0.04)
    if not norm:  # Glorot and Bengio 2010, equation 14: gradients by the weights tell nothing of it
        assert max(look.weights) / min(look.weights) < 2  # type: ignore[type-var, operator]


def test_layers_come_in_the_graphs_order_without_norms() -> None:
    module = GraphModule(build_graph(cifar_plain_20(params={"width": 4})))
    initialise(module, 0)
    layers, look = seen(module, torch.randn(2, 3, 32, 32), lambda out: F.cross_entropy(out, torch.tensor([1, 2])))
    expected = [f"stage{s}.block{b}.conv{c}" for s in (1, 2, 3) for b in (1, 2, 3) for c in (1, 2)]
    assert list(layers) == ["stem", *expected, "classifier"]
    assert len(look.outputs) == len(look.weights) == len(look.relative) == 20


def test_looks_are_few_and_spaced() -> None:
    module = nn.Linear(2, 2)
    for epochs, per_epoch in ((100, 400), (8, 400), (40, 4), (1, 1), (3, 20)):
        watch = looks(module, epochs=epochs, per_epoch=per_epoch)
        for epoch in range(epochs):
            for step in (0, 1):
                with watch.look(module, epoch=epoch, step=step) as forward:
                    module.zero_grad()
                    forward(torch.ones(1, 2)).sum().backward()  # type: ignore[union-attr]
        told = [look.epoch for look in watch.found.looks]
        assert told[0] == 0
        assert len(told) <= LOOKS
        assert all((later - told) * per_epoch >= SPACED for told, later in itertools.pairwise(told))
    assert told == [0.0]


def test_numbers_that_are_not_finite_are_kept_as_none() -> None:
    _, look = seen(nn.Linear(2, 2), torch.ones(1, 2), lambda out: out.sum() * math.inf)
    assert look.outputs == look.weights == look.relative == (None,)


def test_nothing_stays_on_the_module_even_after_an_error() -> None:
    module = nn.Linear(2, 2)
    watch = looks(module)
    with contextlib.suppress(ZeroDivisionError), watch.look(module, epoch=0, step=0):
        1 / 0  # noqa: B018
    assert not module._forward_hooks
    assert not watch.found.looks


def test_a_compiled_step_is_looked_at_on_its_module() -> None:
    module = nn.Linear(2, 2)
    watch = looks(module)

    def kernels(inputs: Tensor) -> Tensor:
        return inputs

    with watch.look(kernels, epoch=0, step=0) as forward:
        assert forward is module
    with watch.look(kernels, epoch=0, step=1) as forward:
        assert forward is kernels


def test_a_training_has_the_same_bits_whether_it_is_looked_at_or_not(
    make_trial: MakeTrial, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = make_trial(epochs=2)
    record = run_trial(trial, folder=tmp_path / "seen", device="cpu")
    assert [look.epoch for look in record.gradients.looks] == [0.0]

    @contextlib.contextmanager
    def away(self: GradientLooks, forward: Forward, *, epoch: int, step: int) -> Iterator[Forward]:
        yield forward

    monkeypatch.setattr(GradientLooks, "look", away)
    unseen = run_trial(trial, folder=tmp_path / "unseen", device="cpu")
    assert not unseen.gradients.looks
    assert unseen.weights_sha256 == record.weights_sha256
    assert unseen.metrics == record.metrics


def test_looks_of_before_an_interruption_are_kept(
    make_trial: MakeTrial, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fireforge.train.gradients.SPACED", 1)
    trial = make_trial(epochs=3)
    whole = run_trial(trial, folder=tmp_path / "whole", device="cpu")
    assert [look.epoch for look in whole.gradients.looks] == [0.0, 1.0, 2.0]

    def stop(update: object) -> None:
        if getattr(update, "done", 0) == 2:
            raise KeyboardInterrupt

    with contextlib.suppress(KeyboardInterrupt):
        run_trial(trial, folder=tmp_path / "cut", device="cpu", progress=stop)
    again = run_trial(trial, folder=tmp_path / "cut", device="cpu")
    assert again.gradients == whole.gradients
