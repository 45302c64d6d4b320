# SPDX-License-Identifier: Apache-2.0
"""Lowering a quantized model, held to the numpy reference and to what ONNX Runtime really runs."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from fireforge.base.quant import quantize
from fireforge.base.reference import run_reference
from fireforge.base.validate import validate
from fireforge.export.onnx_file import onnx_bytes
from fireforge.export.qdq import lower

NETWORKS = ("firenet-small", "resnet-small", "mobilenet-small")


def run_ort(data: bytes, inputs: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    return session.run(["logits"], {"input": inputs})[0]


def optimized_operators(data: bytes, folder: Path, *, disabled: tuple[str, ...] = ()) -> Counter:
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(folder / "optimized.onnx")
    options.log_severity_level = 3
    onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"], disabled_optimizers=list(disabled))
    return Counter(node.op_type for node in onnx.load(options.optimized_model_filepath).graph.node)


@pytest.mark.parametrize("network", NETWORKS)
def test_int8_file_gives_what_the_numpy_reference_of_its_graph_gives(network, make_model):
    """Equal up to single steps: ONNX Runtime rounds once from int32 sums, the reference from float32 products."""
    graph, arrays = lower(make_model(network, quantized=True))
    validate(graph)
    inputs = np.random.default_rng(2).normal(size=(400, 3, 16, 16)).astype(np.float32)
    got = run_ort(onnx_bytes(graph, arrays), inputs)
    want = np.concatenate([run_reference(graph, arrays, {"input": part})["logits"] for part in np.split(inputs, 8)])
    assert (got.argmax(1) == want.argmax(1)).mean() >= 0.995


@pytest.mark.parametrize("network", NETWORKS)
def test_onnx_runtime_runs_integer_kernels_only(network, make_model, tmp_path):
    model = make_model(network, quantized=True)
    graph, arrays = lower(model)
    kinds = optimized_operators(onnx_bytes(graph, arrays), tmp_path)
    convolutions = sum(node.op == "Conv" for node in graph.nodes)
    assert kinds["QLinearConv"] + kinds["NhwcQLinearConv"] == convolutions
    for op in ("Conv", "Gemm", "Relu", "Clip", "Add", "MaxPool", "GlobalAveragePool", "FusedConv"):
        assert kinds[op] == 0, op
    assert kinds["DequantizeLinear"] == 1
    assert kinds["QuantizeLinear"] == 1


def test_beside_the_weights_a_convolution_costs_under_600_bytes_at_64_filters(make_model):
    """By convolution over a FireNet: the file without weights and biases; of that, 4 bytes a filter are its scale."""
    graph, arrays = lower(make_model("firenet-small", quantized=True))
    data = onnx_bytes(graph, arrays)
    convolutions = [node for node in graph.nodes if node.op == "Conv"]
    made_by = {node.outputs[0]: node for node in graph.nodes}
    filters, stored = 0, 0
    for node in convolutions:
        for name in node.inputs[1:]:
            array = arrays[made_by[name].inputs[0]]
            stored += array.nbytes
        filters += arrays[made_by[node.inputs[2]].inputs[0]].size
    beside = len(data) - stored - 4 * filters  # without the scale of each filter
    each = beside / len(convolutions)
    assert each + 64 * 4 < 600


def test_relu_stays_where_its_bound_is_inside_the_integers_range(make_model):
    """A zero point above 0 leaves room for negative numbers, so the Relu must be written."""
    model = make_model("firenet-small", quantized=True)
    name = next(node.outputs[0] for node in model.graph.nodes if node.op == "Relu")
    quantization = model.quant.activations[name]
    assert quantization.zero_point == (0,)
    shifted = quantization.replace(zero_point=(7,))
    plan = model.quant.replace(activations={**model.quant.activations, name: shifted})
    graph, arrays = lower(model.replace(quant=plan))
    validate(graph)
    assert sum(node.op == "Relu" for node in graph.nodes) == 1
    assert not any(node.op == "Relu" for node in lower(model)[0].nodes)
    inputs = np.random.default_rng(3).normal(size=(20, 3, 16, 16)).astype(np.float32)
    want = run_reference(graph, arrays, {"input": inputs})["logits"]
    assert np.abs(run_ort(onnx_bytes(graph, arrays), inputs) - want).max() <= 0.05 * np.abs(want).max()


def test_plan_numbers_are_written_unchanged(make_model):
    """Every weight integer of the plan is found in the lowered arrays, and no scale that is not the plan's."""
    model = make_model("firenet-small", quantized=True)
    _, arrays = lower(model)
    scales = {q.scale for q in (*model.quant.activations.values(), *model.quant.weights.values())}
    found = {tuple(float(x) for x in a.reshape(-1)) for a in arrays.values() if a.dtype == np.float32}
    assert found <= scales
    for name, quantization in model.quant.weights.items():
        integers = quantize(model.weights[name].array(), quantization)
        assert any(a.dtype == np.int8 and np.array_equal(a, integers) for a in arrays.values()), name


def test_float_nodes_stay_in_float(make_model, tmp_path):
    """ONNX Runtime would quantize the float weight by itself; fireforge's session disables that optimizer too."""
    model = make_model("firenet-small", quantized=True)
    first = next(node.name for node in model.graph.nodes if node.op == "Conv")
    graph, arrays = lower(model.replace(quant=model.quant.replace(float_nodes=(first,))))
    validate(graph)
    node = next(node for node in graph.nodes if node.name == first)
    assert arrays[node.inputs[1]].dtype == np.float32
    kinds = optimized_operators(onnx_bytes(graph, arrays), tmp_path, disabled=("WeightBiasQuantization",))
    assert kinds["Conv"] + kinds["FusedConv"] == 1


def test_model_without_plan_keeps_its_numbers_and_loses_dropout(make_model):
    model = make_model("firenet-small", dropout=0.5)
    graph, arrays = lower(model)
    validate(graph)
    assert any(node.op == "Dropout" for node in model.graph.nodes)
    assert not any(node.op in ("Dropout", "Identity") for node in graph.nodes)
    assert graph.outputs == model.graph.outputs
    inputs = np.random.default_rng(4).normal(size=(2, 3, 16, 16)).astype(np.float32)
    want = run_reference(model.graph, model.arrays(), {"input": inputs})["logits"]
    np.testing.assert_array_equal(run_reference(graph, arrays, {"input": inputs})["logits"], want)


@pytest.mark.parametrize("network", NETWORKS)
def test_lowered_biases_are_the_float_biases_to_half_a_step(network, make_model):
    """The step of a bias is s_input * s_weight of its filter; its integers must mean the number that they stand for."""
    model = make_model(network, quantized=True)
    graph, arrays = lower(model)
    maker = {name: node for node in graph.nodes for name in node.outputs}
    before = {node.name: node for node in model.graph.nodes}
    products = [node for node in graph.nodes if node.op in ("Conv", "Gemm")]
    names = [name for node in products for name in (node.inputs[2], maker[node.inputs[2]].inputs[1])]
    found = run_reference(graph, arrays, {"input": np.zeros((1, 3, 16, 16), np.float32)}, wanted=names)
    for node in products:
        old = before[node.name]
        assert arrays[maker[node.inputs[2]].inputs[0]].dtype == np.int32
        step = found[maker[node.inputs[2]].inputs[1]]
        source = model.quant.activations[old.inputs[0]].scale[0]
        np.testing.assert_allclose(step, np.asarray(model.quant.weights[old.inputs[1]].scale) * source, rtol=1e-6)
        assert np.all(np.abs(found[node.inputs[2]] - model.weights[old.inputs[2]].array()) <= step * 0.501)


@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize("network", NETWORKS)
def test_int8_is_near_the_float_network(network, apart, make_model):
    """Mean difference 4 % of the greatest output: 8 bits in some tens of layers; also with scales of their own."""
    model = make_model(network, quantized=True)
    inputs = np.random.default_rng(7).normal(size=(32, 3, 16, 16)).astype(np.float32)
    if apart:
        activations = dict(model.quant.activations)
        for node in model.graph.nodes:
            if node.op in ("Concat", "MaxPool"):
                held = activations[node.outputs[0]]
                activations[node.outputs[0]] = held.replace(scale=(held.scale[0] * 1.1,))
        model = model.replace(quant=model.quant.replace(activations=activations))
    graph, arrays = lower(model)
    validate(graph)
    want = run_reference(model.graph, model.arrays(), {"input": inputs})["logits"]
    got = run_ort(onnx_bytes(graph, arrays), inputs)
    assert np.abs(got - want).mean() <= 0.04 * np.abs(want).max()


def test_a_movers_own_quantization_is_kept(make_model, tmp_path):
    """A MaxPool whose output has another scale than its input is requantized, not run on the input's integers."""
    model = make_model("firenet-small", quantized=True)
    pool = next(node for node in model.graph.nodes if node.op == "MaxPool")
    held = model.quant.activations[pool.outputs[0]]
    assert held == model.quant.activations[pool.inputs[0]]
    other = held.replace(scale=(held.scale[0] * 1.5,))
    plan = model.quant.replace(activations={**model.quant.activations, pool.outputs[0]: other})
    graph, arrays = lower(model.replace(quant=plan))
    validate(graph)
    node = next(node for node in graph.nodes if node.name == pool.name)
    after = next(user for user in graph.nodes if node.outputs[0] in user.inputs)
    assert after.op == "QuantizeLinear"
    assert arrays[after.inputs[1]] == np.float32(other.scale[0])
