# SPDX-License-Identifier: Apache-2.0
"""Quantization-aware training: rounding as the plan means it, gradients by hand, and accuracy that comes back.

References: the numpy meaning of a plan, the stage int8, hand values.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from fireforge.base.errors import FireforgeError
from fireforge.base.meaning import meaning
from fireforge.base.model import Card, Model, dense
from fireforge.base.pixels import normalize
from fireforge.base.postprocess import Postprocess
from fireforge.base.preprocess import ImageSteps, Preprocess
from fireforge.base.quant import Quantization, QuantPlan
from fireforge.base.record import Facts
from fireforge.base.reference import run_reference
from fireforge.base.spec import NetSpec
from fireforge.base.tensorform import Affine, Dense
from fireforge.compress.fakequant import MOMENTUM, FakeQuant
from fireforge.compress.fold import folded
from fireforge.compress.int8 import quantized
from fireforge.compress.qat import retrained, softened
from fireforge.compress.stage import Context
from fireforge.nets.builder import Builder
from fireforge.nets.module import GraphModule, arrays_of, initialise
from fireforge.train.feed import Batching, Pictures
from fireforge.train.finetune import Lesson, finetune
from fireforge.train.world import make_world

Layers = Callable[..., Model]
STEPS = ImageSteps(channels=1, resize=None, crop=(8, 8), order="L", mean=(80.0,), std=(95.0,))


class Digits(NamedTuple):
    model: Model
    pictures: Pictures
    test: np.ndarray
    truth: np.ndarray

    def context(self, updates: int) -> Context:
        batching = Batching(batch=32, classes=10, steps=STEPS, seed=0, augment=None)
        lesson = Lesson(pictures=self.pictures, batching=batching, world=make_world("cpu"), lr=0.0, teacher=0.5)

        def tune(student: nn.Module, teacher: nn.Module, *, lr: float) -> int:
            given = Lesson(**{**vars(lesson), "lr": lr})
            return finetune(student, teacher, given, updates=updates)

        shown = normalize(self.pictures.pixels[:128], STEPS)
        return Context(calibration=shown, evaluate=lambda model: Facts(), finetune=tune if updates else None)

    def accuracy(self, model: Model) -> float:
        return float((logits(model, self.test).argmax(axis=1) == self.truth).mean())


def logits(model: Model, inputs: np.ndarray) -> np.ndarray:
    return run_reference(*meaning(model), {model.graph.inputs[0].name: inputs})[model.graph.outputs[0]]


@pytest.fixture(scope="module")
def digits() -> Digits:
    """Three convolutions that read scikit-learn's digits, trained for a second or two."""
    data = pytest.importorskip("sklearn.datasets").load_digits()
    pixels = np.rint(data.images * 255 / 16).astype(np.uint8)[:, None]
    b = Builder(NetSpec(family="firenet", params={}, classes=10, input_shape=(1, 8, 8)))
    x = b.relu(b.conv(b.input, 12, 3, name="conv1", pad=1))
    x = b.relu(b.conv(x, 16, 3, name="conv2", stride=2, pad=1))
    x = b.relu(b.conv(x, 24, 3, name="conv3", pad=1))
    graph = b.graph(b.linear(b.flatten(b.global_average_pool(x)), 10, name="classifier"))
    module = GraphModule(graph)
    initialise(module, 0)
    inputs, labels = torch.from_numpy(normalize(pixels, STEPS)), torch.from_numpy(data.target)
    optimizer = torch.optim.Adam(module.parameters(), lr=4e-3)
    order = np.random.default_rng(0).permutation(1300)
    for step in range(280):
        rows = order[step * 64 % 1280 : step * 64 % 1280 + 64]
        loss = F.cross_entropy(module(inputs[rows]), labels[rows])
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
    card = Card(preprocess=Preprocess(image=STEPS), postprocess=Postprocess(), labels=tuple("0123456789"))
    model = Model(graph=graph, weights=dense(arrays_of(module)), card=card)
    pictures = Pictures(pixels=pixels[:1300], labels=data.target[:1300], ids=np.arange(1300))
    return Digits(model, pictures, normalize(pixels[1300:], STEPS), data.target[1300:])


def spoiled(model: Model, factor: float) -> Model:
    """The same function in float: a channel of each layer times a factor, what reads it divided by it."""
    arrays = {name: array.copy() for name, array in model.arrays().items()}
    for first, second, channel in (("conv1", "conv2", 3), ("conv2", "conv3", 5)):
        arrays[f"{first}.weight"][channel] *= factor
        arrays[f"{first}.bias"][channel] *= factor
        arrays[f"{second}.weight"][:, channel] /= factor
    return model.replace(weights=dense(arrays))


def fake(model: Model, inputs: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        found: np.ndarray = FakeQuant(model).eval()(torch.from_numpy(inputs)).numpy()
    return found


def agree(model: Model, got: np.ndarray, inputs: np.ndarray) -> None:
    """The same steps but for sums in another order, which now and then fall on the other side of a half."""
    want = logits(model, inputs)
    assert (want.argmax(axis=1) == got.argmax(axis=1)).mean() >= 0.995
    assert np.abs(want - got).mean() <= 1e-3 * np.abs(want).max()


def test_the_forward_pass_is_the_numpy_meaning_of_the_plan(digits: Digits) -> None:
    made, _ = quantized(digits.model, digits.context(0))
    soft = softened(made, digits.model)
    agree(made, fake(made, digits.test), digits.test)
    agree(made, fake(soft, digits.test), digits.test)
    want, plain = logits(made, digits.test), logits(digits.model, digits.test)
    apart = np.abs(want - fake(soft, digits.test)).mean()
    assert apart <= 0.1 * np.abs(want - plain).mean(), "rounding in another way differs as much as no rounding"


@pytest.mark.parametrize("name", ["firenet-small", "mobilenet-small", "resnet-small"])
def test_families_go_the_same_way(network: Callable[..., Model], name: str) -> None:
    """Concat, depthwise, sums, pools, Clip; random weights, so logits lie close and top-1 says little."""
    model, _ = folded(network(name))
    pictures = np.random.default_rng(0).normal(size=(16, 3, 16, 16)).astype(np.float32)
    made, _ = quantized(model, Context(calibration=pictures, evaluate=lambda m: Facts()))
    want, got = logits(made, pictures), fake(made, pictures)
    plain = logits(model, pictures)
    assert np.abs(want - got).mean() <= 0.1 * np.abs(want - plain).mean()


def test_a_spoiled_network_loses_in_integers_and_training_brings_it_back(digits: Digits) -> None:
    """One channel of each layer 60 times the others: static int8 has four steps left for them."""
    model = spoiled(digits.model, 60.0)
    plain = digits.accuracy(model)
    assert plain == pytest.approx(digits.accuracy(digits.model), abs=0.005)
    made, _ = quantized(model, digits.context(0))
    static = digits.accuracy(made)
    better, notes = retrained(softened(made, model), digits.context(250))
    found = digits.accuracy(better)
    assert notes[0].startswith("250 updates")
    assert static <= plain - 0.02
    assert found >= static + 0.7 * (plain - static)
    assert all(isinstance(better.weights[name], Affine) for name in made.quant.weights)  # type: ignore[union-attr]


def test_what_was_trained_means_in_numpy_what_it_was_in_torch(digits: Digits) -> None:
    made, _ = quantized(digits.model, digits.context(0))
    student = FakeQuant(softened(made, digits.model))
    digits.context(30).finetune(student, GraphModule(digits.model.graph), lr=0.1)  # type: ignore[misc]
    model = student.trained()
    with torch.no_grad():
        agree(model, student(torch.from_numpy(digits.test)).numpy(), digits.test)
    before, after = made.quant, model.quant
    assert before is not None
    assert after is not None
    assert after.activations.keys() == before.activations.keys()
    assert after.activations["input"] == before.activations["input"]
    assert after.activations != before.activations
    assert after.method.endswith("trained on")


def test_without_training_it_is_what_int8_makes(digits: Digits) -> None:
    """Every integer of every weight; scales and biases to one part in a million, since units are multiplied back."""
    made, _ = quantized(digits.model, digits.context(0))
    same, notes = retrained(digits.model, digits.context(0))
    assert notes[0] == "nothing was trained"
    for name, form in made.weights.items():
        other = same.weights[name]
        if isinstance(form, Affine):
            assert isinstance(other, Affine)
            np.testing.assert_array_equal(form.q, other.q)
        else:
            np.testing.assert_allclose(form.array(), other.array(), rtol=1e-6)
    assert made.quant is not None
    assert same.quant is not None
    for name, quantization in made.quant.activations.items():
        assert same.quant.activations[name].scale == pytest.approx(quantization.scale, rel=1e-6)
        assert same.quant.activations[name].zero_point == quantization.zero_point


def small(layers: Layers) -> Model:
    """y = w x + b with a plan by hand: x in steps of 0.1 from 0 to 25.5, w in steps of 0.01."""
    model = layers(
        ("fc", "Gemm", ("x", "fc.weight", "fc.bias"), "y", {"transB": 1}),
        arrays={
            "fc.weight": np.array([[1.27, 0.503]], np.float32),
            "fc.bias": np.array([0.5004], np.float32),
        },
        shape=(2,),
    )
    plan = QuantPlan(
        activations={"x": Quantization(scale=(0.1,), zero_point=(0,), dtype="uint8")},
        weights={"fc.weight": Quantization(scale=(0.01,), zero_point=(0,), axis=0)},
    )
    return model.replace(quant=plan)


def test_values_and_gradients_by_hand(layers: Layers) -> None:
    """x = (1.04, 30): in steps 1.0 and, clipped, 25.5; w = (1.27, 0.50); b = 0.5 in steps of 0.001."""
    student = FakeQuant(small(layers))
    x = torch.tensor([[1.04, 30.0]], requires_grad=True)
    y = student.eval()(x)
    assert float(y.detach()) == pytest.approx(1.27 * 1.0 + 0.50 * 25.5 + 0.5, rel=1e-6)
    torch.autograd.backward(y.sum())
    assert x.grad is not None
    np.testing.assert_allclose(x.grad.numpy(), [[1.27, 0.0]], rtol=1e-6)  # nothing through the clipped one
    weight, bias = (part.grad for part in student.parts)
    assert weight is not None
    assert bias is not None
    np.testing.assert_allclose(weight.numpy(), [[0.01 * 1.0, 0.01 * 25.5]], rtol=1e-6)  # a step is 0.01
    np.testing.assert_allclose(bias.numpy(), [0.01 * 25.5], rtol=1e-6)  # a weight's step on the greatest input


def test_ranges_follow_the_batches_until_they_rest(layers: Layers) -> None:
    model = layers(
        ("a", "Relu", ("x",), "r", {}),
        ("fc", "Gemm", ("r", "fc.weight"), "y", {"transB": 1}),
        arrays={"fc.weight": np.array([[1.0, -1.0]], np.float32)},
        shape=(2,),
    )
    plan = QuantPlan(
        activations={"r": Quantization(scale=(0.1,), zero_point=(0,), dtype="uint8")},
        weights={"fc.weight": Quantization(scale=(1 / 127,), zero_point=(0,), axis=0)},
    )
    student: Any = FakeQuant(model.replace(quant=plan)).train()
    x = torch.tensor([[51.0, -3.0]])
    student(x)
    want = 25.5 + MOMENTUM * (51.0 - 25.5)
    assert float(student.high[0]) == pytest.approx(want, rel=1e-6)
    assert float(student.low[0]) == 0
    student.freeze()
    student(x)
    student.eval()(x)
    assert float(student.high[0]) == pytest.approx(want, rel=1e-6)
    assert student.trained().quant.activations["r"].scale == pytest.approx((want / 255,), rel=1e-6)


@pytest.mark.parametrize("change", ["none", "signed"])
def test_other_plans_are_refused(layers: Layers, change: str) -> None:
    model = small(layers)
    assert model.quant is not None
    signed = {"x": Quantization(scale=(0.1,), zero_point=(0,), dtype="int8")}
    plan = None if change == "none" else model.quant.replace(activations=signed)
    with pytest.raises(FireforgeError, match="BAD_STAGE"):
        FakeQuant(model.replace(quant=plan))


def test_softened_takes_the_plan_and_the_biases_of_one_and_the_weights_of_the_other(digits: Digits) -> None:
    made, _ = quantized(digits.model, digits.context(0))
    moved = made.replace(weights={**made.weights, "conv1.bias": Dense(values=np.zeros(12, np.float32))})
    soft = softened(moved, digits.model)
    assert soft.quant is made.quant
    np.testing.assert_array_equal(soft.weights["conv1.bias"].array(), 0)
    np.testing.assert_array_equal(soft.weights["conv1.weight"].array(), digits.model.weights["conv1.weight"].array())
