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


def optimized_operators(data: bytes, folder: Path) -> Counter:
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(folder / "optimized.onnx")
    options.log_severity_level = 3
    onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    return Counter(node.op_type for node in onnx.load(options.optimized_model_filepath).graph.node)


@pytest.mark.parametrize("network", NETWORKS)
def test_int8_file_gives_what_the_numpy_reference_of_its_graph_gives(network, make_model):
    """Equal up to single steps: ONNX Runtime rounds once from int32 sums, the reference from float32 products."""
    graph, arrays = lower(make_model(network, quantized=True))
    validate(graph)
    inputs = np.random.default_rng(2).normal(size=(400, 3, 16, 16)).astype(np.float32)
    got = run_ort(onnx_bytes(graph, arrays), inputs)
    want = np.concatenate([run_reference(graph, arrays, {"input": part})["logits"] for part in np.split(inputs, 8)])
    print(network, np.abs(got - want).max() / np.abs(want).max(), (got.argmax(1) == want.argmax(1)).mean())
    assert (got.argmax(1) == want.argmax(1)).mean() >= 0.99


@pytest.mark.parametrize("network", NETWORKS)
def test_onnx_runtime_runs_integer_kernels_only(network, make_model, tmp_path):
    model = make_model(network, quantized=True)
    graph, arrays = lower(model)
    kinds = optimized_operators(onnx_bytes(graph, arrays), tmp_path)
    print(network, dict(kinds))
    convolutions = sum(node.op == "Conv" for node in graph.nodes)
    assert kinds["QLinearConv"] + kinds["NhwcQLinearConv"] == convolutions
    for op in ("Conv", "Gemm", "Relu", "Clip", "Add", "MaxPool", "GlobalAveragePool", "FusedConv"):
        assert kinds[op] == 0, op
    assert kinds["DequantizeLinear"] == 1
    assert kinds["QuantizeLinear"] == 1
