# SPDX-License-Identifier: Apache-2.0
"""A Graph and its numbers as the bytes of an ONNX file: as short as ONNX allows, the same bytes every time."""

from __future__ import annotations

import itertools
import string
from collections.abc import Iterator, Mapping

import numpy as np
import onnx
from onnx import TensorProto, helper

from fireforge.base.errors import FireforgeError
from fireforge.base.graph import Attr, Graph, Node, TensorType
from fireforge.base.infer import filled, infer
from fireforge.base.model import METADATA_KEY, Tag
from fireforge.base.ops.table import OPERATORS
from fireforge.base.value import canonical_json
from fireforge.export.constants import CONSTANTS, constants_of
from fireforge.export.lean import lean_json

IR_VERSION = 8
DTYPES = {
    "float32": TensorProto.FLOAT,
    "float16": TensorProto.FLOAT16,
    "uint8": TensorProto.UINT8,
    "int8": TensorProto.INT8,
    "int32": TensorProto.INT32,
    "int64": TensorProto.INT64,
    "bool": TensorProto.BOOL,
}
# attributes that ONNX derives from the weight's shape
DERIVED = {("Conv", "kernel_shape"), ("ConvTranspose", "kernel_shape")}
LETTERS = string.ascii_letters + string.digits


def onnx_bytes(
    graph: Graph, arrays: Mapping[str, np.ndarray], *, tag: Tag | None = None, short_names: bool = True
) -> bytes:
    """An ONNX model in opset 17, IR version 8.

    Attributes at ONNX's default are left out, so is the kernel_shape of convolutions (the weight's shape tells it), and
    numbers are stored raw.

    Args:
      graph: a graph that `validate` accepts; its batch symbol becomes ONNX's symbolic size.
      arrays: weight name to array, dtype and shape as in graph.weights; others are ignored.
      tag: stored as JSON in the metadata under "fireforge"; None for a plain ONNX file.
      short_names: give weights and inner tensors the shortest names and leave node names out; the graph's inputs and
        outputs keep theirs always.

    Returns:
      The file's bytes; equal arguments give equal bytes.

    Raises:
      FireforgeError: BAD_WEIGHTS, if an array is absent or does not fit graph.weights.
    """
    types = infer(graph)
    names = _short(graph) if short_names else {name: name for name in types}
    names[""] = ""
    constants = _Constants(set(names.values()))
    nodes = [_node(node, types, names, constants, named=not short_names) for node in graph.nodes]
    weights = [_tensor(names[weight.name], _array(weight, arrays)) for weight in graph.weights]
    body = helper.make_graph(
        nodes,
        "g",
        [_value_info(tensor) for tensor in graph.inputs],
        [_value_info(types[name]) for name in graph.outputs],
        initializer=[*weights, *constants.tensors],
    )
    model = helper.make_model(
        body, opset_imports=[helper.make_opsetid("", graph.opset)], ir_version=IR_VERSION, producer_name="fireforge"
    )
    if tag is not None:
        helper.set_model_props(model, {METADATA_KEY: canonical_json(lean_json(tag))})
    return bytes(model.SerializeToString(deterministic=True))


def check_onnx(data: bytes) -> None:
    """Read the bytes back and have ONNX's own checker judge them, shapes included.

    Shapes are left out where a pool rounds up with pads: ONNX's shape rule counts a last window that starts in the
    padding, which its text and ONNX Runtime do not.

    Args:
      data: an ONNX file's bytes.

    Raises:
      FireforgeError: BAD_MODEL_FILE, if the checker refuses them.
    """
    model = onnx.load_from_string(data)
    names = [{item.name for item in node.attribute} for node in model.graph.node]
    try:
        onnx.checker.check_model(model, full_check=not any({"ceil_mode", "pads"} <= found for found in names))
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise FireforgeError("BAD_MODEL_FILE", f"ONNX's checker refuses the file: {error}") from error


class _Constants:
    """Initializers made of attributes, one for each content."""

    def __init__(self, taken: set[str]) -> None:
        self.tensors: list[TensorProto] = []
        self._known: dict[tuple[str, tuple[int, ...], bytes], str] = {}
        self._names = _fresh(taken)

    def name_of(self, array: np.ndarray) -> str:
        key = (str(array.dtype), array.shape, array.tobytes())
        if key not in self._known:
            self._known[key] = next(self._names)
            self.tensors.append(_tensor(self._known[key], array))
        return self._known[key]


def _fresh(taken: set[str]) -> Iterator[str]:
    """The shortest names that are not taken."""
    for length in itertools.count(1):
        for letters in itertools.product(LETTERS, repeat=length):
            name = "".join(letters)
            if name not in taken and not name[0].isdigit():
                yield name


def _short(graph: Graph) -> dict[str, str]:
    """Short names; the tensors that are named most often come first."""
    kept = {tensor.name for tensor in graph.inputs} | set(graph.outputs)
    uses: dict[str, int] = {weight.name: 1 for weight in graph.weights}
    for node in graph.nodes:
        for name in (*node.inputs, *node.outputs):
            uses[name] = uses.get(name, 0) + 1
    names = {name: name for name in kept}
    fresh = _fresh(kept)
    for name in sorted(uses, key=lambda key: -uses[key]):
        if name and name not in kept:
            names[name] = next(fresh)
    return names


def _node(
    node: Node, types: Mapping[str, TensorType], names: Mapping[str, str], constants: _Constants, *, named: bool
) -> onnx.NodeProto:
    first = types[node.inputs[0]]
    inputs = [names[name] for name in node.inputs]
    for array in constants_of(node, first.dtype, first.shape):
        inputs.append("" if array is None else constants.name_of(array))
    while inputs and not inputs[-1]:
        inputs.pop()
    made = onnx.NodeProto(op_type=node.op, input=inputs, output=[names[name] for name in node.outputs])
    if named:
        made.name = node.name
    for name, value in _attributes(node).items():
        made.attribute.append(helper.make_attribute(name, value))
    return made


def _attributes(node: Node) -> dict[str, Attr]:
    """The attributes that ONNX has as such and that differ from its defaults, sorted."""
    required = {name: node.attrs[name] for name in OPERATORS[node.op].required}
    defaults = filled(node.replace(attrs=required))
    as_inputs = CONSTANTS[node.op][0] if node.op in CONSTANTS else ()
    kept: dict[str, Attr] = {}
    for name, value in sorted(filled(node).items()):
        if name in as_inputs or (node.op, name) in DERIVED or (name not in required and value == defaults[name]):
            continue
        wants_float = isinstance(defaults.get(name), float) and isinstance(value, int)
        kept[name] = float(value) if wants_float and isinstance(value, int) else value
    return kept


def _array(weight: TensorType, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    if weight.name not in arrays:
        raise FireforgeError("BAD_WEIGHTS", "no numbers for this weight", where=weight.name)
    array = arrays[weight.name]
    if str(array.dtype) != weight.dtype or array.shape != weight.shape:
        got = f"{array.dtype} {array.shape}"
        raise FireforgeError("BAD_WEIGHTS", got, where=weight.name, allowed=f"{weight.dtype} {weight.shape}")
    return array


def _tensor(name: str, array: np.ndarray) -> TensorProto:
    little = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"), copy=False)
    return TensorProto(name=name, dims=array.shape, data_type=DTYPES[str(array.dtype)], raw_data=little.tobytes())


def _value_info(tensor: TensorType) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(tensor.name, DTYPES[tensor.dtype], list(tensor.shape))
