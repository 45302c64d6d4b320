# SPDX-License-Identifier: Apache-2.0
"""What ONNX Runtime did in one prediction, kernel by kernel, from its own trace."""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime

from fireforge.base.errors import Exit, FireforgeError
from fireforge.base.graph import OPSET
from fireforge.base.profile import Kernel, Size
from fireforge.runtime.onnx_runtime import CPU, DISABLED, session_options

SUFFIX = "_kernel_time"
KINDS = {  # ONNX Runtime's operator to the kind that `fireforge.cost.kernels` gives it; others keep their name
    "Conv": "conv-plain",
    "FusedConv": "conv-plain",
    "QLinearConv": "qconv",
    "MaxPool": "pool",
    "AveragePool": "pool",
    "NhwcMaxPool": "qpool",
    "QLinearAveragePool": "qpool",
    "GlobalAveragePool": "global-pool",
    "GlobalMaxPool": "global-pool",
    "QLinearGlobalAveragePool": "qglobal-pool",
    "ReorderInput": "reorder-in",
    "ReorderOutput": "reorder-out",
    "Transpose": "transpose",
    "Gemm": "gemm",
    "FusedGemm": "gemm",
    "QGemm": "qgemm",
    "Concat": "concat",
    "QLinearConcat": "concat",
    "Flatten": "flatten",
    "Add": "add",
    "QLinearAdd": "qadd",
    "QLinearMul": "qMul",
    "QLinearSigmoid": "qSigmoid",
    "QuantizeLinear": "quantize",
    "DequantizeLinear": "dequantize",
}
JOINING = ("concat", "add", "qadd", "Mul", "qMul", "Sub", "Div", "MatMul")
# operators of integers, whose channels come last
LAST = tuple(op for op in KINDS if op.startswith(("QLinear", "Nhwc")) and op != "QLinearConcat")
BLOCKED = "com.microsoft.nchwc"
Shape = tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Event:
    """One node of a network, run several times.

    Args:
      kernel: what it did.
      us: microseconds of each run as the trace has them, with the cost of tracing.
    """

    kernel: Kernel
    us: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class _Known:
    """What the optimized file tells of a node and the trace does not."""

    blocked: bool
    weight: Shape
    groups: int


def trace(
    data: bytes, feeds: Mapping[str, np.ndarray], *, runs: int, block: int, threads: int = 1
) -> tuple[Event, ...]:
    """Run a network and see how long each of its kernels takes.

    Args:
      data: an ONNX file.
      feeds: input name to array, of one image.
      runs: how often; two more before them do not count.
      block: as `block_of` tells it.
      threads: that one operator may use.

    Returns:
      One event a node, in the order in which they ran.
    """
    with tempfile.TemporaryDirectory() as folder:
        optimized = Path(folder) / "optimized.onnx"
        options = session_options(threads, str(optimized))
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder) / "trace")
        session = onnxruntime.InferenceSession(data, options, providers=[CPU], disabled_optimizers=DISABLED)
        for _ in range(runs + 2):
            session.run(None, dict(feeds))
        entries = json.loads(Path(session.end_profiling()).read_text())
        known = _known(onnx.load(str(optimized)))
    return _events(entries, known, block)


def block_of() -> int:
    """Channels that ONNX Runtime's blocked layout holds together on this processor; 0 where it has none."""
    weight = onnx.numpy_helper.from_array(np.ones((1, 3, 3, 3), np.float32), "w")
    helper = onnx.helper
    x = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, (1, 3, 8, 8))
    y = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, (1, 1, 6, 6))
    node = helper.make_node("Conv", ["x", "w"], ["y"], name="conv")
    graph = helper.make_graph([node], "probe", [x], [y], [weight])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
    with tempfile.TemporaryDirectory() as folder:
        optimized = Path(folder) / "optimized.onnx"
        options = session_options(1, str(optimized))
        onnxruntime.InferenceSession(model.SerializeToString(), options, providers=[CPU])
        kept = onnx.load(str(optimized)).graph
    blocked = any(node.domain == BLOCKED for node in kept.node)
    return int(kept.initializer[0].dims[0]) if blocked else 0


def _known(model: onnx.ModelProto) -> dict[str, _Known]:
    """By name of the node; nodes that ONNX Runtime made itself may have none."""
    dims = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    found = {}
    for node in model.graph.node:
        weights = [dims[name] for name in node.input if len(dims.get(name, ())) > 1]
        groups = next((attr.i for attr in node.attribute if attr.name == "group"), 1)
        weight = weights[0] if weights else ()
        found[node.name] = _Known(blocked=node.domain == BLOCKED, weight=weight, groups=groups)
    return found


def _events(entries: Sequence[Mapping[str, Any]], known: Mapping[str, _Known], block: int) -> tuple[Event, ...]:
    runs: dict[str, list[float]] = {}
    nodes: dict[str, Mapping[str, Any]] = {}
    for entry in entries:
        if entry["cat"] == "Node" and entry["name"].endswith(SUFFIX):
            name = entry["name"].removesuffix(SUFFIX)
            nodes.setdefault(name, entry["args"])
            runs.setdefault(name, []).append(float(entry["dur"]))
    return tuple(
        Event(kernel=_kernel(told, known.get(name), block), us=tuple(runs[name][2:])) for name, told in nodes.items()
    )


def _kernel(told: Mapping[str, Any], known: _Known | None, block: int) -> Kernel:
    op = str(told["op_name"])
    inputs, outputs = _shapes(told["input_type_shape"]), _shapes(told["output_type_shape"])
    kind = KINDS.get(op, op)
    if kind in ("conv-plain", "qconv"):
        return _conv(kind, inputs, outputs[0], known or _told(inputs), block)
    if kind == "transpose":
        size = _turned(inputs[0], outputs[0])
        return Kernel(kind=kind, source=size, result=size)
    last = op in LAST or (kind == "concat" and len(outputs[0]) == 4 and inputs[0][1] == outputs[0][1])
    joined = sum(len(shape) == len(outputs[0]) for shape in inputs) - 1 if kind in JOINING else 0
    return Kernel(kind=kind, source=_size(inputs[0], last), result=_size(outputs[0], last), joined=joined)


def _told(inputs: list[Shape]) -> _Known:
    """Of a convolution that ONNX Runtime made and did not name: its weight is the second input of four axes."""
    weight = next((shape for shape in inputs[1:] if len(shape) == len(inputs[0])), ())
    if not weight:
        raise FireforgeError("RUNTIME_FAILED", "the trace names no weight of a convolution", exit_code=Exit.BUG)
    return _Known(blocked=False, weight=weight, groups=inputs[0][1] // weight[1])


def _conv(kind: str, inputs: list[Shape], output: Shape, known: _Known, block: int) -> Kernel:
    """A convolution; in the trace of integers the weight is absent, since it is packed when the file is loaded."""
    last = kind == "qconv"
    source, result = _size(inputs[0], last), _size(output, last)
    inner, taps = known.weight[1], math.prod(known.weight[2:])
    depthwise = known.groups > 1 and inner == 1
    if known.blocked:
        kind = "depthwise" if depthwise else "conv-first" if source[0] < block else "conv"
    elif depthwise:
        kind = "qdepthwise" if last else "depthwise-plain"
    joined = sum(len(shape) == len(output) for shape in inputs[2:]) if not last else 0
    return Kernel(
        kind=kind,
        source=source,
        result=result,
        taps=taps,
        groups=1 if depthwise else known.groups,
        joined=joined,
    )


def _shapes(told: Sequence[Mapping[str, Sequence[int]]]) -> list[Shape]:
    return [tuple(shape) for entry in told for shape in entry.values()]


def _size(shape: Shape, last: bool) -> Size:
    """(C, H, W) of a shape with the batch in front, and the channels last or second."""
    channels, high, *wide = [*shape[1:], 1, 1, 1][: max(len(shape) - 1, 3)]
    return (wide[-1], channels, high) if last and len(shape) == 4 else (channels, high, math.prod(wide))


def _turned(source: Shape, result: Shape) -> Size:
    """(C, H, W) of a tensor whose channels are put last or second."""
    to_last = len(source) == len(result) == 4 and source[1] == result[3] and source[2] == result[1]
    return _size(source, False) if to_last or len(source) != 4 else _size(result, False)
