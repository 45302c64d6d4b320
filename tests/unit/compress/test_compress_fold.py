# SPDX-License-Identifier: Apache-2.0
"""Folding against the unfolded network in the numpy reference, and against weights worked by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fireforge.base.errors import FireforgeError
from fireforge.base.model import Model, dense
from fireforge.base.quant import QuantPlan
from fireforge.base.record import Facts
from fireforge.base.reference import run_reference
from fireforge.base.tensorform import Masked
from fireforge.base.validate import validate
from fireforge.compress.fold import fold, folded
from fireforge.compress.stage import Context

R = np.random.default_rng(0)
# float64 arithmetic rounded once to float32, then sums of at most some hundred float32 products: 1e-4 is the promise
TOLERANCE = 1e-4


def numbers(*shape: int) -> np.ndarray:
    return R.normal(size=shape).astype(np.float32)


def norm(count: int, name: str = "n") -> dict[str, np.ndarray]:
    return {
        f"{name}.g": numbers(count),
        f"{name}.b": numbers(count),
        f"{name}.m": numbers(count),
        f"{name}.v": np.abs(numbers(count)) + np.float32(0.5),
    }


def norm_inputs(source: str, name: str = "n") -> tuple[str, ...]:
    return (source, f"{name}.g", f"{name}.b", f"{name}.m", f"{name}.v")


def outputs(model: Model, x: np.ndarray) -> np.ndarray:
    (name,) = model.graph.outputs
    return run_reference(model.graph, model.arrays(), {model.graph.inputs[0].name: x})[name]


def assert_same(before: Model, after: Model, x: np.ndarray) -> None:
    want, got = outputs(before, x), outputs(after, x)
    assert np.abs(got - want).max() <= TOLERANCE * np.abs(want).max()


@pytest.mark.parametrize("name", ["firenet-small", "resnet-small", "mobilenet-small", "resnet-20"])
def test_networks_answer_as_before(network: Callable[..., Model], name: str) -> None:
    model = network(name)
    norms = sum(node.op == "BatchNormalization" for node in model.graph.nodes)
    after, notes = folded(model)
    validate(after.graph)
    assert norms > 5
    assert notes == (f"{norms} batch norms folded, 0 idle nodes removed",)
    assert not any(node.op == "BatchNormalization" for node in after.graph.nodes)
    assert_same(model, after, numbers(4, 3, 16, 16))
    assert {tensor.name for tensor in after.graph.weights} == set(after.weights)
    assert after.card == model.card


def test_names_stay_and_a_bias_is_added(network: Callable[..., Model]) -> None:
    model = network("firenet-small")
    after, _ = folded(model)
    conv = next(node for node in after.graph.nodes if node.name == "conv1")
    assert conv.inputs == ("input", "conv1.weight", "conv1.bias")
    assert conv.outputs == ("conv1_norm",)
    kept = [node.name for node in model.graph.nodes if node.op != "BatchNormalization"]
    assert [node.name for node in after.graph.nodes] == kept


def test_the_formula_by_hand(layers: Callable[..., Model]) -> None:
    arrays = {
        "w": np.array([[[[2.0]]], [[[3.0]]]], np.float32),
        "c": np.array([1.0, -1.0], np.float32),
        "n.g": np.array([2.0, 3.0], np.float32),
        "n.b": np.array([10.0, 20.0], np.float32),
        "n.m": np.array([5.0, 6.0], np.float32),
        "n.v": np.array([3.0, 8.0], np.float32),
    }
    model = layers(
        ("conv", "Conv", ("x", "w", "c"), "h", {"kernel_shape": (1, 1)}),
        ("norm", "BatchNormalization", norm_inputs("h"), "y", {"epsilon": 1.0}),
        arrays=arrays,
        shape=(1, 2, 2),
    )
    after = folded(model)[0].arrays()
    # g / sqrt(var + 1): 2 / 2 = 1 and 3 / 3 = 1; b' = 10 + (1 - 5) = 6, 20 + (-1 - 6) = 13
    assert after["w"].ravel().tolist() == [2, 3]
    assert after["c"].tolist() == [6, 13]


LAYERS: dict[str, tuple[str, dict[str, Any], tuple[int, ...], tuple[int, ...]]] = {
    # name: operator, attributes, weight, input; 6 channels come out of each
    "grouped": ("Conv", {"kernel_shape": (3, 3), "group": 2, "pads": (1, 1, 1, 1)}, (6, 2, 3, 3), (4, 5, 5)),
    "depthwise": ("Conv", {"kernel_shape": (3, 3), "group": 6}, (6, 1, 3, 3), (6, 5, 5)),
    "one axis": ("Conv", {"kernel_shape": (3,)}, (6, 4, 3), (4, 9)),
    "transposed": ("ConvTranspose", {"kernel_shape": (2, 2), "strides": (2, 2)}, (4, 6, 2, 2), (4, 3, 3)),
    "transposed grouped": ("ConvTranspose", {"kernel_shape": (3, 3), "group": 2}, (4, 3, 3, 3), (4, 3, 3)),
    "product": ("Gemm", {}, (5, 6), (5,)),
    "product, rows are filters": ("Gemm", {"transB": 1, "alpha": 0.5, "beta": 3.0}, (6, 5), (5,)),
}


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("kind", LAYERS)
def test_each_kind_of_layer(layers: Callable[..., Model], kind: str, bias: bool) -> None:
    op, attrs, weight, shape = LAYERS[kind]
    arrays = {"l.weight": numbers(*weight), **norm(6)}
    inputs: tuple[str, ...] = ("x", "l.weight")
    if bias:
        arrays["c"] = numbers(6)
        inputs += ("c",)
    model = layers(
        ("l", op, inputs, "h", attrs),
        ("norm", "BatchNormalization", norm_inputs("h"), "y", {}),
        arrays=arrays,
        shape=shape,
    )
    after, _ = folded(model)
    validate(after.graph)
    assert [node.op for node in after.graph.nodes] == [op]
    assert after.graph.nodes[0].inputs == ("x", "l.weight", "c" if bias else "l.bias")
    assert_same(model, after, numbers(3, *shape))


def test_two_norms_in_a_row_and_a_constant_addend_of_one_number(layers: Callable[..., Model]) -> None:
    model = layers(
        ("l", "Gemm", ("x", "w", "c"), "h", {}),
        ("n", "BatchNormalization", norm_inputs("h"), "i", {}),
        ("o", "BatchNormalization", norm_inputs("i", "o"), "y", {}),
        arrays={"w": numbers(5, 6), "c": numbers(1), **norm(6), **norm(6, "o")},
        shape=(5,),
    )
    after, _ = folded(model)
    validate(after.graph)
    assert len(after.graph.nodes) == 1
    assert_same(model, after, numbers(3, 5))


CONV = {"kernel_shape": (1, 1)}


def stays(layers: Callable[..., Model], nodes: list[Any], arrays: dict[str, np.ndarray], **more: Any) -> None:
    model = layers(*nodes, arrays=arrays, shape=(2, 3, 3), **more)
    after, notes = folded(model)
    assert after is model
    assert any("stays" in note for note in notes)


def test_a_layer_that_feeds_something_else_too_is_left(layers: Callable[..., Model]) -> None:
    conv = ("l", "Conv", ("x", "w"), "h", CONV)
    batch = ("n", "BatchNormalization", norm_inputs("h"), "i", {})
    arrays = {"w": numbers(2, 2, 1, 1), **norm(2)}
    stays(layers, [conv, batch, ("a", "Add", ("i", "h"), "y", {})], arrays)
    stays(layers, [conv, batch], arrays, outputs=("i", "h"))


def test_a_shared_weight_is_left(layers: Callable[..., Model]) -> None:
    nodes = [
        ("l", "Conv", ("x", "w"), "h", CONV),
        ("n", "BatchNormalization", norm_inputs("h"), "i", {}),
        ("k", "Conv", ("i", "w"), "y", CONV),
    ]
    stays(layers, nodes, {"w": numbers(2, 2, 1, 1), **norm(2)})


def test_a_norm_without_a_layer_before_it_is_left(layers: Callable[..., Model]) -> None:
    nodes = [
        ("n", "BatchNormalization", norm_inputs("x"), "h", {}),
        ("r", "Relu", ("h",), "i", {}),
        ("o", "BatchNormalization", norm_inputs("i", "o"), "y", {}),
    ]
    stays(layers, nodes, {**norm(2), **norm(2, "o")})


def test_dropout_and_identity_go(layers: Callable[..., Model]) -> None:
    model = layers(
        ("i", "Identity", ("x",), "a", {}),
        ("l", "Conv", ("a", "w"), "h", CONV),
        ("d", "Dropout", ("h",), "i", {}),
        ("n", "BatchNormalization", norm_inputs("i"), "y", {}),
        arrays={"w": numbers(2, 2, 1, 1), **norm(2)},
        shape=(2, 3, 3),
    )
    after, notes = folded(model)
    assert [node.op for node in after.graph.nodes] == ["Conv"]
    assert notes == ("1 batch norms folded, 2 idle nodes removed",)
    assert_same(model, after, numbers(2, 2, 3, 3))


def test_a_mask_stays_a_mask(layers: Callable[..., Model]) -> None:
    model = layers(
        ("l", "Conv", ("x", "w"), "h", CONV),
        ("n", "BatchNormalization", norm_inputs("h"), "y", {}),
        arrays={"w": numbers(2, 2, 1, 1), **norm(2)},
        shape=(2, 3, 3),
    )
    mask = np.array([[True, False], [False, True]]).reshape(2, 2, 1, 1)
    pruned = Masked(values=model.weights["w"].array(), mask=mask)
    model = model.replace(weights={**model.weights, "w": pruned})
    after, _ = folded(model)
    form = after.weights["w"]
    assert isinstance(form, Masked)
    assert np.array_equal(form.mask, mask)
    assert_same(model, after, numbers(2, 2, 3, 3))


def test_statistics_that_make_no_numbers_are_refused(network: Callable[..., Model]) -> None:
    model = network("firenet-small")
    bad = {**model.arrays(), "conv1_norm.running_var": np.full(32, -1, np.float32)}
    with pytest.raises(FireforgeError, match="BAD_WEIGHTS: conv1_norm"):
        folded(model.replace(weights=dense(bad)))


def test_a_quantized_model_is_refused(network: Callable[..., Model]) -> None:
    model = network("firenet-small").replace(quant=QuantPlan(activations={}, weights={}))
    with pytest.raises(FireforgeError, match="BAD_STAGE"):
        folded(model)


def test_the_stage_reports_before_and_after_and_measures_once_where_nothing_changed(
    network: Callable[..., Model],
) -> None:
    seen: list[Model] = []

    def evaluate(model: Model) -> Facts:
        seen.append(model)
        return Facts(macs=len(model.graph.nodes))

    ctx = Context(calibration=np.zeros((1, 3, 16, 16), np.float32), evaluate=evaluate)
    model = network("resnet-small")
    after, report = fold(model, ctx)
    assert seen == [model, after]
    assert (report.stage, report.before.macs, report.after.macs) == (
        "fold",
        len(model.graph.nodes),
        len(after.graph.nodes),
    )
    again, report = fold(after, ctx)
    assert again is after
    assert len(seen) == 3
    assert report.before == report.after
    assert report.seconds >= 0
