# SPDX-License-Identifier: Apache-2.0
"""TFLite files, of floats or of 8-bit integers, as imported models; read without TensorFlow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from fireforge.base.errors import FireforgeError
from fireforge.base.files import read_bytes
from fireforge.base.graph import Graph, Node, TensorType
from fireforge.base.quant import Quantization
from fireforge.base.tensorform import Dense, TensorForm
from fireforge.base.validate import validate
from fireforge.importers.drawing import INPUT, OUTPUT, Drawing
from fireforge.importers.imported import Imported
from fireforge.importers.tflite_file import TfliteFile
from fireforge.importers.tflite_layers import LAYERS, Layer, float16_constants

MOST_BYTES = 2**31 - 1
BYTES = ("int8", "uint8")


def import_tflite(files: Sequence[Path], known: Graph | None) -> Imported:
    """A network of a TFLite file.

    Args:
      files: one file.
      known: not needed.

    Returns:
      The network, its pictures as (N, C, H, W); a Softmax at its end is left out. Where the file computes with 8-bit
      integers, the weights are the same integers, and every tensor is rounded as the file rounds it, by a
      QuantizeLinear and a DequantizeLinear; pictures are fed as the real numbers that the file's integers mean.

    Raises:
      FireforgeError: NO_FILE; BAD_MODEL_FILE, if the file is none of TFLite's or damaged; UNKNOWN_OPERATOR, naming what
        has no counterpart; BAD_WEIGHTS; BAD_GRAPH or BAD_SHAPE.
    """
    if len(files) != 1:
        raise FireforgeError("BAD_MODEL_FILE", f"got {', '.join(file.name for file in files)}", allowed="one .tflite")
    path = files[0]
    if path.is_file() and path.stat().st_size > MOST_BYTES:
        raise FireforgeError("BAD_MODEL_FILE", f"{path.stat().st_size} bytes", where=str(path), allowed=str(MOST_BYTES))
    file = TfliteFile(read_bytes(path), where=str(path))
    drawing = Drawing(_input_shape(file, str(path)), where=str(path))
    names = {file.inputs[0]: INPUT}
    held = float16_constants(file)
    for number, constant in held.items():
        file.tensors[number] = file.tensors[constant]
    for operation in file.operations:
        if operation.outputs and operation.outputs[0] in held:
            continue
        layer = Layer(file, drawing, names, operation)
        draw = LAYERS.get(operation.code)
        if draw is None:
            what = f"operator {operation.custom or operation.code} of TFLite's schema has no counterpart"
            raise FireforgeError("UNKNOWN_OPERATOR", what, where=layer.where)
        names[operation.outputs[0]] = draw(layer)
    if not file.outputs or file.outputs[0] not in names:
        raise FireforgeError("BAD_GRAPH", "no operator makes the output", where=str(path))
    graph, forms = drawing.finish(names[file.outputs[0]])
    rounding = _rounding(file, names)
    last = next(node.name for node in graph.nodes if node.outputs == (OUTPUT,))
    if last in rounding:
        rounding[OUTPUT] = rounding.pop(last)
    if rounding:
        graph, forms = _rounded(graph, forms, rounding)
        validate(graph)
    return Imported(graph=graph, weights=forms, source=f"TFLite: {path.name}", notes=_notes(names, held, rounding))


def _input_shape(file: TfliteFile, where: str) -> tuple[int, int, int]:
    """(C, H, W) of the one input."""
    shape = file.tensors[file.inputs[0]].shape if len(file.inputs) == 1 and file.inputs[0] >= 0 else ()
    if len(shape) != 4:
        what = f"{len(file.inputs)} inputs, the first of shape {shape}"
        raise FireforgeError("BAD_GRAPH", what, where=where, allowed="one of (1, H, W, C)")
    return shape[3], shape[1], shape[2]


def _rounding(file: TfliteFile, names: Mapping[int, str]) -> dict[str, Quantization]:
    """How each tensor that is computed is rounded, by its name in the drawing."""
    found: dict[str, Quantization] = {}
    for number, name in names.items():
        tensor = file.tensors[number]
        if tensor.dtype == "float32":
            continue
        held = tensor.quantization
        if held is None or held.axis is not None or held.dtype not in BYTES:
            what = f"a computed tensor of {tensor.dtype}" + (" without one scale" if tensor.dtype in BYTES else "")
            raise FireforgeError("UNKNOWN_OPERATOR", what, where=tensor.name, allowed="float32; int8, uint8 with scale")
        found[name] = held
    return found


def _rounded(
    graph: Graph, forms: Mapping[str, TensorForm], rounding: Mapping[str, Quantization]
) -> tuple[Graph, dict[str, TensorForm]]:
    """The graph with a QuantizeLinear and a DequantizeLinear behind every tensor that the file rounds."""
    nodes: list[Node] = []
    weights, all_forms = list(graph.weights), dict(forms)
    taken = {tensor.name for tensor in weights} | {name for node in graph.nodes for name in (node.name, *node.outputs)}

    def fresh(name: str) -> str:
        while name in taken:
            name += "_"
        taken.add(name)
        return name

    def add(source: str, name: str, made: str) -> None:
        held = rounding[name]
        scale, zero, middle = (fresh(f"{name}.{part}") for part in ("scale", "zero", "q"))
        arrays = {scale: np.asarray(held.scale[0], np.float32), zero: np.asarray(held.zero_point[0], held.dtype)}
        for weight, array in arrays.items():
            all_forms[weight] = Dense(values=array)
            weights.append(TensorType(name=weight, dtype=str(array.dtype), shape=()))
        for op, given, out in (("QuantizeLinear", source, middle), ("DequantizeLinear", middle, made)):
            nodes.append(Node(name=fresh(f"{name}.{op}"), op=op, inputs=(given, scale, zero), outputs=(out,)))

    fed = INPUT
    if INPUT in rounding:
        fed = fresh(f"{INPUT}.real")
        add(INPUT, INPUT, fed)
    for node in graph.nodes:
        made = node.outputs[0]
        inputs = tuple(fed if name == INPUT else name for name in node.inputs)
        raw = fresh(f"{made}.raw") if made in rounding else made
        nodes.append(node.replace(inputs=inputs, outputs=(raw,)))
        if made in rounding:
            add(raw, made, made)
    return graph.replace(nodes=tuple(nodes), weights=tuple(weights)), all_forms


def _notes(names: Mapping[int, str], held: Mapping[int, int], rounding: Mapping[str, Quantization]) -> tuple[str, ...]:
    notes = []
    if held:
        notes.append(f"{len(held)} weights were held in 16 bits; they are float32 of the same value")
    if rounding:
        notes.append(f"{len(rounding)} of {len(names)} tensors are rounded to 8 bits as the file rounds them")
    return tuple(notes)
