# SPDX-License-Identifier: Apache-2.0
"""Static int8: hand-worked ranges and scales, the lowered network in ONNX Runtime and in the numpy reference."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.linear_model import RidgeClassifier

from fireforge.base.deadline import Deadline
from fireforge.base.errors import FireforgeError
from fireforge.base.metrics import accuracy
from fireforge.base.model import Model, dense
from fireforge.base.quant import QuantPlan, affine_of_range
from fireforge.base.record import Facts
from fireforge.base.reference import run_reference
from fireforge.base.tensorform import Affine
from fireforge.base.validate import validate
from fireforge.base.value import canonical_json
from fireforge.compress.fold import folded
from fireforge.compress.int8 import int8, quantized, weight_quantizations
from fireforge.compress.stage import Context
from fireforge.export.onnx_file import onnx_bytes
from fireforge.export.qdq import lower
from fireforge.runtime.onnx_runtime import OnnxSession

R = np.random.default_rng(0)
CONV = {"kernel_shape": (1, 1)}
Make = Callable[..., Model]
Ctx = Callable[[np.ndarray], Context]


def numbers(*shape: int) -> np.ndarray:
    return R.normal(size=shape).astype(np.float32)


def in_float(model: Model, x: np.ndarray) -> np.ndarray:
    name = model.graph.inputs[0].name
    return run_reference(model.graph, model.arrays(), {name: x})[model.graph.outputs[0]]


def in_runtime(model: Model, x: np.ndarray) -> np.ndarray:
    graph, arrays = lower(model)
    return OnnxSession(onnx_bytes(graph, arrays)).run({graph.inputs[0].name: x})[graph.outputs[0]]


def error(model: Model, x: np.ndarray, want: np.ndarray) -> float:
    return float(np.square(in_runtime(model, x) - want).mean() / want.var())


# --- a network worked by hand ----------------------------------------------------------------------------------------


def small(layers: Make) -> Model:
    """x (1, 1, 2) -> two 1x1 filters with weights 1.27 and -2.54 -> Relu -> sum over both."""
    return layers(
        ("a", "Conv", ("x", "w", "c"), "h", CONV),
        ("r", "Relu", ("h",), "i", {}),
        ("f", "Flatten", ("i",), "j", {"axis": 1}),
        ("g", "Gemm", ("j", "u"), "y", {"transB": 1}),
        arrays={
            "w": np.array([[[[1.27]]], [[[-2.54]]]], np.float32),
            "c": np.array([0.0, 1.0], np.float32),
            "u": np.array([[1.0, 0.0, 1.0, 0.0], [0.0, 2.0, 0.0, -4.0]], np.float32),
        },
        shape=(1, 1, 2),
    )


def test_ranges_and_scales_by_hand(layers: Make, context: Ctx) -> None:
    x = np.array([[-1.0, 2.0], [0.0, 1.0]], np.float32).reshape(2, 1, 1, 2)
    model, _ = quantized(small(layers), Context(calibration=x, evaluate=lambda m: Facts(), deadline=Deadline(0.0)))
    plan = model.quant
    assert plan is not None
    assert plan.method == "min-max of 2 pictures"  # with the time over, only the first way is tried
    assert plan.activations["x"] == affine_of_range(-1.0, 2.0)
    # relu of 1.27 x: at most 2.54; relu of 1 - 2.54 x: at most 3.54, which is 1 + 2.54 for x = -1
    assert plan.activations["i"].scale[0] == pytest.approx(3.54 / 255, rel=1e-6)  # float32
    assert plan.activations["i"].zero_point == (0,)
    assert plan.activations["j"] == plan.activations["i"]
    assert set(plan.activations) == {"x", "i", "j"}
    assert plan.weights["w"].scale == pytest.approx((0.01, 0.02), rel=1e-6)
    assert plan.weights["u"].scale == pytest.approx((1 / 127, 4 / 127), rel=1e-6)
    form = model.weights["w"]
    assert isinstance(form, Affine)
    assert form.q.ravel().tolist() == [127, -127]
    assert form.q.dtype == np.int8
    assert model.weights["u"].q.tolist() == [[127, 0, 127, 0], [0, 64, 0, -127]]  # type: ignore[union-attr]


def test_ranges_cover_the_pictures_by_min_max(network: Make) -> None:
    model, _ = folded(network("resnet-small"))
    x = numbers(16, 3, 16, 16)
    ctx = Context(calibration=x, evaluate=lambda m: Facts(), deadline=Deadline(0.0))
    plan = quantized(model, ctx)[0].quant
    assert plan is not None
    held = run_reference(model.graph, model.arrays(), {"input": x}, wanted=list(plan.activations))
    for name, q in plan.activations.items():
        low, high = -q.zero_point[0] * q.scale[0], (255 - q.zero_point[0]) * q.scale[0]
        # half a step of the rounded zero point
        assert low - 0.51 * q.scale[0] <= held[name].min(), name
        assert held[name].max() <= high + 0.51 * q.scale[0], name


def axes_model(layers: Make) -> Model:
    return layers(
        ("a", "Conv", ("x", "w"), "h", {"kernel_shape": (1, 1), "group": 2}),
        ("t", "ConvTranspose", ("h", "v"), "i", {"kernel_shape": (2, 2)}),
        ("s", "ConvTranspose", ("i", "s.w"), "j", {"kernel_shape": (1, 1), "group": 2}),
        ("f", "Flatten", ("j",), "k", {"axis": 1}),
        ("g", "Gemm", ("k", "u"), "l", {}),
        ("m", "MatMul", ("l", "z"), "y", {}),
        arrays={
            "w": numbers(4, 1, 1, 1),
            "v": numbers(4, 6, 2, 2),
            "s.w": numbers(6, 1, 1, 1),
            "u": numbers(2 * 9, 5),
            "z": numbers(5, 3),
        },
        shape=(2, 2, 2),
    )


def test_axes_by_operator(layers: Make, context: Ctx) -> None:
    model = axes_model(layers)
    x = numbers(16, 2, 2, 2)
    made, _ = quantized(model, context(x))
    assert made.quant is not None
    got = {name: (q.axis, len(q.scale)) for name, q in made.quant.weights.items()}
    assert got == {"w": (0, 4), "v": (None, 1), "s.w": (None, 1), "u": (1, 5), "z": (1, 3)}
    for name, q in made.quant.weights.items():
        peak = np.abs(model.weights[name].array())
        others = tuple(i for i in range(peak.ndim) if i != q.axis)
        want = peak.max(axis=others) / 127 if q.axis is not None else peak.max() / 127
        np.testing.assert_allclose(q.scale, np.atleast_1d(want), rtol=1e-6)  # float32
    assert error(made, x, in_float(model, x)) < 0.01


# --- whole networks --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["firenet-small", "resnet-small", "mobilenet-small"])
def test_networks_of_random_weights(network: Make, context: Ctx, name: str) -> None:
    model, _ = folded(network(name))
    x, fresh = numbers(64, 3, 16, 16), numbers(200, 3, 16, 16)
    made, notes = quantized(model, context(x))
    validate(lower(made)[0])
    # random weights tell classes apart poorly: the error is bounded, not the label; 1 % is a signal to noise of 20 dB
    assert error(made, fresh, in_float(model, fresh)) < 0.01
    graph, arrays = lower(made)
    reference = run_reference(graph, arrays, {"input": fresh})["logits"]
    assert np.mean(reference.argmax(axis=1) == in_runtime(made, fresh).argmax(axis=1)) >= 0.995
    assert notes[0].startswith("ranges by ")
    assert made.card == model.card
    assert made.graph.outputs == model.graph.outputs


def test_the_plan_survives_json(network: Make, context: Ctx) -> None:
    made, _ = quantized(folded(network("firenet-small"))[0], context(numbers(8, 3, 16, 16)))
    assert made.quant is not None
    again = QuantPlan.from_json(json.loads(canonical_json(made.quant.to_json())))
    assert again == made.quant
    x = numbers(4, 3, 16, 16)
    assert np.array_equal(in_runtime(made.replace(quant=again), x), in_runtime(made, x))


def test_the_same_pictures_give_the_same_model(network: Make, context: Ctx) -> None:
    model, x = folded(network("resnet-small"))[0], numbers(16, 3, 16, 16)
    first, second = quantized(model, context(x))[0], quantized(model, context(x))[0]
    assert first.quant == second.quant
    assert all(np.array_equal(first.weights[name].array(), second.weights[name].array()) for name in first.weights)


def test_digits_by_a_linear_classifier_in_closed_form(layers: Make) -> None:
    """Ridge regression on random convolution features; scikit-learn's own answers are the reference."""
    digits = load_digits()
    x = (digits.images / 16).astype(np.float32)[:, None]
    kernels = np.random.default_rng(1).normal(size=(24, 1, 3, 3)).astype(np.float32)
    nodes: list[tuple[str, str, tuple[str, ...], str, dict[str, Any]]] = [
        ("a", "Conv", ("x", "w", "c"), "h", {"kernel_shape": (3, 3)}),
        ("r", "Relu", ("h",), "i", {}),
        ("p", "MaxPool", ("i",), "j", {"kernel_shape": (2, 2), "strides": (2, 2)}),
        ("f", "Flatten", ("j",), "k", {"axis": 1}),
    ]
    arrays = {"w": kernels, "c": np.zeros(24, np.float32)}
    features = in_float(layers(*nodes, arrays=arrays, shape=(1, 8, 8)), x)
    train, test = np.arange(1200), np.arange(1200, len(x))
    ridge = RidgeClassifier(alpha=1.0).fit(features[train], digits.target[train])
    arrays.update(u=ridge.coef_.astype(np.float32), b=ridge.intercept_.astype(np.float32))
    gemm = ("g", "Gemm", ("k", "u", "b"), "y", {"transB": 1})
    model = layers(*nodes, gemm, arrays=arrays, shape=(1, 8, 8))

    def evaluate(candidate: Model) -> Facts:
        return Facts(accuracy=accuracy(digits.target[test], in_runtime(candidate, x[test]).argmax(axis=1)))

    made, report = int8(model, Context(calibration=x[train][:256], evaluate=evaluate))
    want = ridge.predict(features[test])
    assert report.before.accuracy == pytest.approx(accuracy(digits.target[test], want), abs=0.002)  # float32 ties
    assert report.before.accuracy > 0.9
    assert np.mean(in_runtime(made, x[test]).argmax(axis=1) == want) >= 0.99
    assert report.after.accuracy >= report.before.accuracy - 0.01  # type: ignore[operator]
    graph, lowered = lower(made)
    reference = run_reference(graph, lowered, {"x": x[test]})["y"]
    assert np.mean(reference.argmax(axis=1) == in_runtime(made, x[test]).argmax(axis=1)) >= 0.995
    assert report.stage == "int8"


# --- choices ---------------------------------------------------------------------------------------------------------


def test_the_range_of_least_output_error_is_taken(layers: Make, context: Ctx) -> None:
    """262,144 numbers up to 1 and one of 2: it pays to clip it to 1.5, neither to keep it nor to drop it to 1."""
    x = R.uniform(0, 1, (64, 1, 64, 64)).astype(np.float32)
    x[0, 0, 0, 0] = 2.0
    model = layers(
        ("a", "Conv", ("x", "w"), "y", CONV), arrays={"w": np.ones((1, 1, 1, 1), np.float32)}, shape=(1, 64, 64)
    )
    made, notes = quantized(model, context(x))
    assert made.quant is not None
    assert made.quant.method == "mse of 64 pictures"
    assert 255 * made.quant.activations["x"].scale[0] == pytest.approx(1.5, abs=0.05)  # 2 / (1 + n / 780,300)
    errors = {note.split(" gave ")[0]: float(note.split(" gave ")[1]) for note in notes if " gave " in note}
    assert set(errors) == {"min-max", "percentile"}
    assert notes[0].startswith("ranges by mse: output error ")
    assert float(notes[0].split("error ")[1].split()[0]) < min(errors.values())


def test_bias_correction_takes_the_mean_shift_off(layers: Make, context: Ctx) -> None:
    """Inputs far from 0 in the mean: rounding the weights shifts outputs, and the correction must lower the error."""
    r = np.random.default_rng(3)
    arrays = {"w": r.normal(size=(8, 16, 1, 1)).astype(np.float32), "c": np.zeros(8, np.float32)}
    model = layers(("a", "Conv", ("x", "w", "c"), "y", CONV), arrays=arrays, shape=(16, 4, 4))
    x = (5 + 0.1 * r.normal(size=(64, 16, 4, 4))).astype(np.float32)
    made, notes = quantized(model, context(x))
    (note,) = [note for note in notes if note.startswith("bias correction")]
    before, after = (float(part) for part in note.removeprefix("bias correction: ").split(" to "))
    assert after < before
    # by hand: the shift of a 1x1 convolution is (rounded - weight) times the channels' means
    rounding = (made.weights["w"].array() - arrays["w"])[:, :, 0, 0].astype(np.float64)
    want = -rounding @ x.mean(axis=(0, 2, 3), dtype=np.float64)
    np.testing.assert_allclose(made.weights["c"].array(), want, atol=1e-6)


def test_a_dead_channel_keeps_its_bias(layers: Make, context: Ctx) -> None:
    """Weights of 1e-12 would make a bias of 0.5 too great for int32 at the scale s_x * s_w."""
    weight = numbers(2, 2, 1, 1)
    weight[1] = 1e-12
    model = layers(
        ("a", "Conv", ("x", "w", "c"), "y", CONV),
        arrays={"w": weight, "c": np.array([0.1, 0.5], np.float32)},
        shape=(2, 3, 3),
    )
    x = numbers(16, 2, 3, 3)
    made, _ = quantized(model, context(x))
    got, want = in_runtime(made, x), in_float(model, x)
    step = made.quant.activations["y"].scale[0]  # type: ignore[union-attr]
    assert np.abs(got[:, 1] - want[:, 1]).max() <= step  # half a step, and the rest of the rounding
    plain = weight_quantizations(model.weights, model.graph.nodes, {})
    assert plain["w"].scale[1] < made.quant.weights["w"].scale[1]  # type: ignore[union-attr]


def test_a_weight_with_two_users_stays_in_float(layers: Make, context: Ctx) -> None:
    model = layers(
        ("a", "Conv", ("x", "w"), "h", CONV),
        ("b", "Conv", ("h", "w"), "i", CONV),
        ("c", "Conv", ("i", "v"), "y", CONV),
        arrays={"w": numbers(2, 2, 1, 1), "v": numbers(2, 2, 1, 1)},
        shape=(2, 3, 3),
    )
    x = numbers(32, 2, 3, 3)
    made, notes = quantized(model, context(x))
    assert made.quant is not None
    assert set(made.quant.weights) == {"v"}
    assert made.quant.float_nodes == ("a", "b")
    assert notes[-1] == "in float: a, b"
    assert error(made, x, in_float(model, x)) < 0.01


# --- refusals --------------------------------------------------------------------------------------------------------


def test_pictures_that_cannot_calibrate_are_refused(network: Make, context: Ctx) -> None:
    model = network("firenet-small")
    bad = numbers(4, 3, 16, 16)
    bad[2, 0, 0, 0] = np.nan
    for pictures, says in ((bad, "picture 2"), (bad[:0], "no calibration pictures"), (bad[:, :, :8], "allowed")):
        with pytest.raises(FireforgeError, match=rf"BAD_CALIBRATION.*{says}"):
            int8(model, context(pictures))


def test_models_that_cannot_be_quantized_are_refused(network: Make, layers: Make, context: Ctx) -> None:
    x = numbers(4, 3, 16, 16)
    done = network("firenet-small").replace(quant=QuantPlan(activations={}, weights={}))
    with pytest.raises(FireforgeError, match=r"BAD_STAGE.*quantized already"):
        quantized(done, context(x))
    with pytest.raises(FireforgeError, match=r"BAD_STAGE.*no convolution"):
        quantized(layers(("r", "Relu", ("x",), "y", {}), arrays={}, shape=(3, 16, 16)), context(x))


def test_a_weight_of_nan_is_refused_by_name(layers: Make) -> None:
    arrays = {"w": np.full((2, 2, 1, 1), np.nan, np.float32)}
    model = layers(("a", "Conv", ("x", "w"), "y", CONV), arrays=arrays, shape=(2, 3, 3))
    with pytest.raises(FireforgeError, match="BAD_RANGE: w"):
        weight_quantizations(dense(arrays), model.graph.nodes, {})
