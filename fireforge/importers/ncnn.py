# SPDX-License-Identifier: Apache-2.0
"""ncnn's two files: .param names the layers, .bin holds their numbers in the order of the layers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fireforge.base.errors import FireforgeError
from fireforge.base.files import read_bytes
from fireforge.base.graph import Graph
from fireforge.importers.drawing import INPUT, Drawing
from fireforge.importers.imported import Imported
from fireforge.importers.ncnn_layers import LAYERS, Place
from fireforge.importers.ncnn_numbers import Numbers
from fireforge.importers.ncnn_param import Layer, read_param


def import_ncnn(files: Sequence[Path], known: Graph | None) -> Imported:
    """A network of ncnn.

    Args:
      files: one .param in text and one .bin.
      known: not needed.

    Returns:
      The network; a Softmax at its end is left out. Numbers that are held in 16 bits become float32 of the same
      value.

    Raises:
      FireforgeError: NO_FILE; BAD_MODEL_FILE, if a file is damaged, is another one's, or the two do not fit;
        UNKNOWN_OPERATOR, naming a layer, a parameter or a storage of numbers that is not read; BAD_WEIGHTS, if numbers
        are not finite; BAD_GRAPH or BAD_SHAPE, if the layers do not fit together.
    """
    param = next((file for file in files if file.suffix.lower() == ".param"), None)
    held = next((file for file in files if file.suffix.lower() == ".bin"), None)
    if param is None or held is None or len(files) != 2:
        got = ", ".join(file.name for file in files)
        raise FireforgeError("BAD_MODEL_FILE", f"got {got}", allowed="one .param and the .bin beside it")
    layers = read_param(read_bytes(param), where=str(param))
    numbers = Numbers(read_bytes(held), where=str(held))
    drawing = Drawing(_input_shape(layers, str(param)), where=str(param))
    output = _draw(layers, drawing, numbers)
    numbers.end()
    graph, weights = drawing.finish(output)
    return Imported(graph=graph, weights=weights, source=f"ncnn: {param.name}, {held.name}", notes=numbers.notes())


def _input_shape(layers: Sequence[Layer], where: str) -> tuple[int, int, int]:
    """(C, H, W), as the one Input says it."""
    inputs = [layer for layer in layers if layer.kind == "Input"]
    if len(inputs) != 1:
        raise FireforgeError("BAD_MODEL_FILE", f"{len(inputs)} inputs", where=where, allowed="one layer Input")
    width, height, channels = (inputs[0].whole(key, 0) for key in (0, 1, 2))
    if min(width, height, channels) < 1:
        raise FireforgeError(
            "BAD_MODEL_FILE",
            "the file does not say how large its input is",
            where=f"{where}: {inputs[0].name}",
            allowed="0=width 1=height 2=channels",
            do="write them into the line of Input",
        )
    return channels, height, width


def _draw(layers: Sequence[Layer], drawing: Drawing, numbers: Numbers) -> str:
    """Write all layers; the name of the tensor that is the output."""
    tensors: dict[str, str] = {}  # ncnn's name of a blob to ours
    unread: dict[str, None] = {}
    for layer in layers:
        if layer.kind == "Input":
            made: Sequence[str] = (INPUT,)
        else:
            write = LAYERS.get(layer.kind)
            if write is None:
                allowed = ", ".join(sorted(LAYERS))
                raise FireforgeError("UNKNOWN_OPERATOR", f"layer {layer.kind[:80]}", where=layer.name, allowed=allowed)
            missing = next((blob for blob in layer.inputs if blob not in tensors), None)
            if missing is not None or not layer.inputs:
                what = f"reads {missing!r}, which no layer before it makes" if missing else "reads nothing"
                raise FireforgeError("BAD_MODEL_FILE", what, where=layer.name)
            place = Place(drawing=drawing, numbers=numbers, inputs=tuple(tensors[blob] for blob in layer.inputs))
            made = (write(layer, place),) * len(layer.outputs)
            for blob in layer.inputs:
                unread.pop(blob, None)
        for blob, name in zip(layer.outputs, made):
            if blob in tensors:
                raise FireforgeError("BAD_MODEL_FILE", f"{blob!r} is made twice", where=layer.name)
            tensors[blob] = name
            unread[blob] = None
    if len(unread) != 1:
        got = ", ".join(list(unread)[:5]) or "none"
        raise FireforgeError("BAD_MODEL_FILE", f"outputs: {got}", where=drawing.where, allowed="one")
    return tensors[next(iter(unread))]
