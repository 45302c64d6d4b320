# SPDX-License-Identifier: Apache-2.0
"""Looks at gradients: right sizes, known gains by depth, and not a bit of the training changed."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fireforge.base.deadline import Deadline
from fireforge.base.gradients import Gradients, Look, growth
from fireforge.base.trial import Recipe, Trial
from fireforge.nets.families import build_graph
from fireforge.nets.module import GraphModule, initialise
from fireforge.nets.resnet import cifar_plain_20
from fireforge.train.course import Course
from fireforge.train.gradients import LOOKS, SPACED, TRIES, due, looking
from fireforge.train.step import Tools, make_tools, train_step
from fireforge.train.trial import run_trial

MakeTrial = Callable[..., Trial]


class Halted(Deadline):
    """A deadline that is halted after so many steps; each asks once, and a whole epoch twice more."""

    def __init__(self, asked: int) -> None:
        super().__init__()
        self.left_to_ask = asked

    def halted(self) -> bool:
        self.left_to_ask -= 1
        return self.left_to_ask <= 0


RECIPE = Recipe(epochs=1)


def tools_of(module: nn.Module, precision: str = "float32") -> Tools:
    return make_tools(module, Recipe.from_json({"epochs": 1, "precision": precision}), torch.device("cpu"))


def seen(module: nn.Module, inputs: Tensor, loss: Callable[[Tensor], Tensor]) -> tuple[tuple[str, ...], Look]:
    """What one look tells."""
    with looking(tools_of(module), True) as look:
        torch.autograd.backward(loss(look.tools.forward(inputs)))  # type: ignore[arg-type]
    found = look.into(Course(epochs=3.0)).gradients
    assert found.looks[0].epoch == 3.0
    return found.layers, found.looks[0]


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


@pytest.mark.parametrize(("epochs", "per_epoch"), [(100, 400), (8, 400), (40, 4), (3, 20), (1, 1)])
def test_looks_are_few_and_spaced(epochs: int, per_epoch: int) -> None:
    recipe, course = Recipe(epochs=epochs), Course()
    look = Look(epoch=0.0, outputs=(), weights=(), relative=())
    for epoch, step in itertools.product(range(epochs), range(min(3, per_epoch))):
        course = dataclasses.replace(course, epochs=float(epoch))
        if due(course, recipe, step=step, per_epoch=per_epoch):
            looks = (*course.gradients.looks, look.replace(epoch=float(epoch)))
            course = dataclasses.replace(course, gradients=Gradients(looks=looks))
    told = [look.epoch for look in course.gradients.looks]
    assert told[0] == 0
    assert len(told) <= LOOKS
    assert all((after - before) * per_epoch >= SPACED for before, after in itertools.pairwise(told))


def test_a_step_that_is_left_out_is_looked_at_in_the_next_one_for_a_while() -> None:
    assert [due(Course(), RECIPE, step=step, per_epoch=99) for step in (0, 1, TRIES - 1, TRIES)] == [True] * 3 + [False]


def test_the_scale_of_the_loss_is_taken_out() -> None:
    """Float16 on a loss that is scaled: the same sizes as in float32 within float16's ten bits and the four digits."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))
    batch = torch.randn(4, 6), F.one_hot(torch.tensor([0, 1, 2, 1]), 3).float()
    found = []
    for precision in ("float32", "float16"):
        recipe = Recipe.from_json({"epochs": 1, "precision": precision})
        with looking(make_tools(module, recipe, torch.device("cpu")), True) as look:
            assert train_step(look.tools, batch, rate=0.0, recipe=recipe).taken
        found.append(look.into(Course()).gradients.looks[0])
    for name in ("outputs", "weights", "relative"):
        np.testing.assert_allclose(getattr(found[0], name), getattr(found[1], name), rtol=5e-3)
    assert look.scale > 1


def test_numbers_that_are_not_finite_are_kept_as_none() -> None:
    _, look = seen(nn.Linear(2, 2), torch.ones(1, 2), lambda out: out.sum() * math.inf)
    assert look.outputs == look.weights == look.relative == (None,)


def test_nothing_stays_on_the_module_even_after_an_error() -> None:
    module = nn.Linear(2, 2)
    with contextlib.suppress(ZeroDivisionError), looking(tools_of(module), True):
        1 / 0  # noqa: B018
    assert not module._forward_hooks


def test_a_compiled_step_is_looked_at_on_its_module() -> None:
    module = nn.Linear(2, 2)
    compiled = dataclasses.replace(tools_of(module), forward=lambda inputs: inputs)
    with looking(compiled, True) as look:
        assert look.tools.forward is module
    with looking(compiled, False) as look:
        assert look.tools is compiled
    assert look.into(Course(epochs=1)) == Course(epochs=1)


def test_a_training_has_the_same_bits_whether_it_is_looked_at_or_not(
    make_trial: MakeTrial, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = make_trial(epochs=2)
    record = run_trial(trial, folder=tmp_path / "seen", device="cpu")
    assert [look.epoch for look in record.gradients.looks] == [0.0]

    monkeypatch.setattr("fireforge.train.loop.due", lambda *_, **__: False)
    unseen = run_trial(trial, folder=tmp_path / "unseen", device="cpu")
    assert not unseen.gradients.looks
    assert unseen.weights_sha256 == record.weights_sha256
    assert unseen.metrics == record.metrics


def test_looks_of_before_an_interruption_are_kept(
    make_trial: MakeTrial, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Halted in the second step of the second epoch, behind that epoch's look."""
    monkeypatch.setattr("fireforge.train.gradients.SPACED", 1)
    trial = make_trial(epochs=3)
    whole = run_trial(trial, folder=tmp_path / "whole", device="cpu")
    assert [look.epoch for look in whole.gradients.looks] == [0.0, 1.0, 2.0]
    with pytest.raises(KeyboardInterrupt):
        run_trial(trial, folder=tmp_path / "cut", device="cpu", deadline=Halted(4 + 2 + 2))
    again = run_trial(trial, folder=tmp_path / "cut", device="cpu")
    assert again.resumed == 1
    assert again.gradients == whole.gradients
    assert again.weights_sha256 == whole.weights_sha256
