# SPDX-License-Identifier: Apache-2.0
"""An ONNX file as a Graph with its numbers; whatever has no place in the closed operator list is refused by name."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import AttributeProto, TensorProto, numpy_helper

from fireforge.base.errors import FireforgeError
from fireforge.base.graph import DTYPES, Attr, Dim, Graph, Node, Shape, TensorType
from fireforge.base.infer import filled
from fireforge.base.model import METADATA_KEY, Tag
from fireforge.base.onnx_walk import read_onnx, walk_onnx
from fireforge.base.ops.operator import Typed
from fireforge.base.ops.table import OPERATORS
from fireforge.base.validate import MOST_LETTERS, validate
from fireforge.importers.drawing import MOST_TOLD
from fireforge.importers.onnx_nodes import Source, attributes_of, shortest

DOMAINS = ("", "ai.onnx")
OPSETS = (13, 21)  # between these our operators mean the same, or what differs is an attribute that is refused
# what a Constant holds its numbers in, but for a tensor
CONSTANTS = {
    "value_float": (AttributeProto.FLOAT, np.float32),
    "value_floats": (AttributeProto.FLOATS, np.float32),
    "value_int": (AttributeProto.INT, np.int64),
    "value_ints": (AttributeProto.INTS, np.int64),
}
# what attributes of another type or length than the operator's, or of 0, make of our rules
MISFITS = (IndexError, TypeError, ValueError, ArithmeticError)
Imported = tuple[Graph, dict[str, np.ndarray], Tag | None]


def import_onnx(source: str | Path | bytes) -> Imported:
    """Read an ONNX model.

    Constant inputs become attributes, Constant nodes become weights, nodes that lead to no output are dropped; the
    first axis of the inputs, where it is open, is called N.

    Args:
      source: path of the file, or its bytes.

    Returns:
      The graph, an array for each of its weights, and the tag where fireforge wrote the file.

    Raises:
      FireforgeError: NO_FILE; BAD_MODEL_FILE, if the bytes are no whole ONNX model, or too many or too deep, and
        EXTERNAL_DATA, if numbers lie in other files, both before anything parses them; BAD_OPSET; UNKNOWN_OPERATOR,
        named; BAD_GRAPH or BAD_SHAPE, if the nodes do not fit together.
    """
    where = "bytes" if isinstance(source, bytes) else str(source)
    if isinstance(source, bytes):
        walk_onnx(source, where=where)
    model = _parse(source if isinstance(source, bytes) else read_onnx(source), where)
    _check_opset(model, where)
    reader = _Reader(model.graph, where)
    for proto in model.graph.node:
        reader.add(proto)
    graph, arrays = reader.finish([item.name for item in model.graph.output])
    validate(graph)
    return graph, arrays, _tag(model, where)


def _parse(data: bytes, where: str) -> onnx.ModelProto:
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except DecodeError as error:
        raise _bad("not a whole ONNX model: its bytes cannot be decoded", where) from error
    if not model.graph.node or not model.graph.output or not model.opset_import:
        raise _bad("not an ONNX model: no nodes, outputs or operator set", where)
    return model


def _check_opset(model: onnx.ModelProto, where: str) -> None:
    found = {item.domain: item.version for item in model.opset_import}
    versions = [version for domain, version in found.items() if domain in DOMAINS]
    low, high = OPSETS
    if not versions or not low <= versions[0] <= high:
        got = f"operator set {versions[0]}" if versions else f"operator sets of {', '.join(sorted(found))} only"
        raise FireforgeError("BAD_OPSET", got, where=where, allowed=f"ONNX's own, {low} to {high}")
    if model.graph.sparse_initializer:
        raise FireforgeError("UNKNOWN_OPERATOR", "sparse initializers", where=where, allowed="dense ones")


class _Reader:
    """The graph as it grows; the type of each tensor is known before the node that reads it is looked at."""

    def __init__(self, graph: onnx.GraphProto, where: str) -> None:
        self.where = where
        self.constants = {tensor.name: self._array(tensor) for tensor in graph.initializer}
        self.inputs = tuple(self._input(item) for item in graph.input if item.name not in self.constants)
        self.types: dict[str, Typed] = {tensor.name: (tensor.dtype, tensor.shape) for tensor in self.inputs}
        self.types.update({name: (str(a.dtype), a.shape) for name, a in self.constants.items()})
        self.same: dict[str, str] = {}
        self.nodes: list[Node] = []
        self.names: set[str] = set()

    def add(self, proto: onnx.NodeProto) -> None:
        """One ONNX node."""
        name = proto.name or f"{proto.op_type}{len(self.nodes)}"
        inputs = tuple(self.same.get(item, item) for item in proto.input)
        if not proto.output:
            raise _bad(f"node {name[:80]!r} makes nothing", self.where)
        if proto.op_type == "Constant" and proto.domain in DOMAINS:
            self._keep(proto.output[0], self._constant(proto))
            return
        if proto.op_type == "Identity" and inputs and inputs[0] in self.constants:
            self.same[proto.output[0]] = inputs[0]
            return
        if proto.domain not in DOMAINS or proto.op_type not in OPERATORS:
            op = f"{proto.domain}.{proto.op_type}" if proto.domain not in DOMAINS else proto.op_type
            allowed = ", ".join(sorted(OPERATORS))
            raise FireforgeError("UNKNOWN_OPERATOR", f"operator {op[:80]}", where=name[:80], allowed=allowed)
        for item in inputs:
            if item and item not in self.types:
                raise _bad(f"node {name[:80]!r} reads {item[:80]!r}, which nothing before it makes", self.where)
        self._append(name, proto, inputs)

    def finish(self, outputs: list[str]) -> tuple[Graph, dict[str, np.ndarray]]:
        """The graph without what leads to no output."""
        outputs = [self.same.get(name, name) for name in outputs]
        used, kept = set(outputs), []
        for node in reversed(self.nodes):
            if not used.isdisjoint(node.outputs):
                kept.append(node)
                used.update(node.inputs)
        arrays = {name: array for name, array in self.constants.items() if name in used}
        for name, array in arrays.items():
            if str(array.dtype) not in DTYPES:
                raise FireforgeError("BAD_MODEL_FILE", f"{array.dtype} numbers", where=name, allowed=", ".join(DTYPES))
        weights = tuple(TensorType(name=name, dtype=str(a.dtype), shape=a.shape) for name, a in arrays.items())
        graph = Graph(inputs=self.inputs, outputs=tuple(outputs), weights=weights, nodes=tuple(reversed(kept)))
        return graph, arrays

    def _append(self, name: str, proto: onnx.NodeProto, inputs: tuple[str, ...]) -> None:
        op = proto.op_type
        outputs = tuple(proto.output)
        while outputs and not outputs[-1]:
            outputs = outputs[:-1]
        if op == "Dropout":
            outputs = outputs[:1]  # the mask is for training; who reads it is refused as reading what nothing makes
        source = Source(
            op=op,
            where=name,
            inputs=inputs,
            outputs=len(outputs),
            attrs={item.name: self._value(item, name) for item in proto.attribute},
            shapes=[self.types[item][1] if item else None for item in inputs],
            constants=[self.constants.get(item) for item in inputs],
        )
        try:
            count, attrs = attributes_of(source)
        except MISFITS as error:
            raise _odd(op, name, error) from error
        inputs = inputs[:count]
        while inputs and not inputs[-1]:
            inputs = inputs[:-1]
        while name in self.names and len(name) <= MOST_LETTERS:
            name += "_"
        if len(name) > MOST_LETTERS:
            what, allowed = "a name too long, or that of too many nodes", f"at most {MOST_LETTERS} letters"
            raise FireforgeError("BAD_GRAPH", what, where=name[:80], allowed=allowed)
        self.names.add(name)
        node = Node(name=name, op=op, inputs=inputs, outputs=outputs, attrs=attrs)
        self.nodes.append(node)
        for made, typed in zip(outputs, self._infer(node)):
            self.types[made] = typed

    def _infer(self, node: Node) -> tuple[Typed, ...]:
        operator = OPERATORS[node.op]
        least, most = operator.inputs
        if len(node.inputs) < least or len(node.inputs) > most >= 0:
            raise FireforgeError("BAD_GRAPH", f"{node.op} with {len(node.inputs)} inputs", where=node.name)
        try:
            made = operator.infer([self.types[name] if name else None for name in node.inputs], filled(node))
        except MISFITS as error:
            raise _odd(node.op, node.name, error) from error
        except FireforgeError as error:
            what = f"{node.op}: {error.what[:MOST_TOLD]}"
            raise FireforgeError(error.code, what, where=node.name, allowed=error.allowed) from None
        if len(made) != len(node.outputs):
            raise FireforgeError("UNKNOWN_OPERATOR", f"{node.op} with {len(node.outputs)} outputs", where=node.name)
        return made

    def _keep(self, name: str, array: np.ndarray) -> None:
        self.constants[name] = array
        self.types[name] = (str(array.dtype), array.shape)

    def _constant(self, proto: onnx.NodeProto) -> np.ndarray:
        for item in proto.attribute:
            if item.name == "value":
                return self._array(item.t)
            kind, dtype = CONSTANTS.get(item.name, (None, None))
            if kind == item.type:
                return np.asarray(onnx.helper.get_attribute_value(item), dtype)
        raise FireforgeError("UNKNOWN_OPERATOR", "Constant without numbers", where=proto.name or proto.output[0])

    def _array(self, tensor: TensorProto) -> np.ndarray:
        try:
            return np.asarray(numpy_helper.to_array(tensor))
        except (ValueError, TypeError, KeyError) as error:
            raise _bad(f"the numbers of {tensor.name[:80]!r} cannot be read: {error}", self.where) from error

    def _value(self, item: AttributeProto, where: str) -> Attr:
        if item.type == AttributeProto.FLOAT:
            return shortest(np.float32(item.f))
        if item.type == AttributeProto.FLOATS:
            return tuple(shortest(np.float32(number)) for number in item.floats)
        if item.type == AttributeProto.INT:
            return int(item.i)
        if item.type == AttributeProto.INTS:
            return tuple(int(number) for number in item.ints)
        if item.type == AttributeProto.STRING:
            return item.s.decode(errors="replace")
        raise FireforgeError(
            "UNKNOWN_OPERATOR", f"an attribute {item.name[:80]!r} that is no number or text", where=where
        )

    def _input(self, item: onnx.ValueInfoProto) -> TensorType:
        kind = item.type.tensor_type
        try:
            dtype = str(onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type))
        except KeyError:
            dtype = "unknown"
        if dtype not in DTYPES:
            raise FireforgeError("BAD_MODEL_FILE", f"{dtype} input", where=item.name, allowed=", ".join(DTYPES))
        return TensorType(name=item.name, dtype=dtype, shape=_shape(kind.shape))


def _shape(proto: onnx.TensorShapeProto) -> Shape:
    """Sizes; an open first axis is N, other open axes keep their name where it is an identifier."""
    dims: list[Dim] = []
    for position, dim in enumerate(proto.dim):
        if dim.HasField("dim_value") and dim.dim_value > 0:
            dims.append(int(dim.dim_value))
        elif position == 0:
            dims.append("N")
        else:
            dims.append(dim.dim_param if dim.dim_param.isidentifier() else f"dim{position}")
    return tuple(dims)


def _tag(model: onnx.ModelProto, where: str) -> Tag | None:
    for item in model.metadata_props:
        if item.key == METADATA_KEY:
            try:
                return Tag.from_json(json.loads(item.value))
            except (ValueError, RecursionError, FireforgeError) as error:
                raise _bad(f"its fireforge entry cannot be read: {error}", where) from error
    return None


def _odd(op: str, where: str, error: Exception) -> FireforgeError:
    what = f"{op} with inputs or attributes that it cannot have: {str(error)[:MOST_TOLD]}"
    return FireforgeError("BAD_GRAPH", what, where=where[:80])


def _bad(what: str, where: str) -> FireforgeError:
    return FireforgeError("BAD_MODEL_FILE", what, where=where, allowed="a whole ONNX file")
