# SPDX-License-Identifier: Apache-2.0
"""A Keras model in HDF5: a description in JSON and arrays; channels last becomes channels first."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fireforge.base.errors import FireforgeError
from fireforge.base.files import read_bytes
from fireforge.base.graph import Graph
from fireforge.importers.child import in_child
from fireforge.importers.drawing import INPUT, MOST_LAYERS, Drawing
from fireforge.importers.imported import Imported
from fireforge.importers.keras_config import Layer, layers_of
from fireforge.importers.keras_layers import LAYERS, Place
from fireforge.importers.safetensors_file import read_safetensors

CHILD = "fireforge.importers.keras_open"
HDF5 = b"\x89HDF\r\n\x1a\n"
DO = 'model.save("FILE.h5") in Keras'


def import_keras(files: Sequence[Path], known: Graph | None) -> Imported:
    """A Keras model of layers without code.

    Args:
      files: one .h5 that model.save wrote.
      known: not needed.

    Returns:
      The network; its input is (N, C, H, W) where Keras has (N, H, W, C), and weights are permuted to fit; a Softmax
      at its end is left out.

    Raises:
      FireforgeError: UNSAFE_FILE, if there is a Lambda or a class that is not Keras' own, or numbers lie in other
        files; UNKNOWN_OPERATOR, naming a layer or a form of one that is not read; NO_FILE; BAD_MODEL_FILE, if the file
        is damaged or of another form of Keras; BAD_WEIGHTS, if numbers are missing, not finite or of another shape;
        BAD_GRAPH or BAD_SHAPE, if the layers do not fit together; NO_PACKAGE, if h5py is not installed.
    """
    path = files[0]
    if len(files) != 1:
        raise FireforgeError("BAD_MODEL_FILE", f"{len(files)} files", where=str(path), allowed="one .h5 of Keras")
    try:
        with open(path, "rb") as stream:
            head = stream.read(len(HDF5))
    except OSError as error:
        raise FireforgeError("NO_FILE", error.strerror or "cannot be read", where=str(path)) from error
    if head != HDF5:
        kind = "the zip form of Keras, which is not read" if head.startswith(b"PK") else "not HDF5"
        raise FireforgeError("BAD_MODEL_FILE", kind, where=str(path), allowed=DO)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "weights.safetensors"
        told = in_child(CHILD, path, out)
        arrays = read_safetensors(read_bytes(out), where=str(path))
    return _network(_parsed(str(told["config"]), str(path)), arrays, version=str(told["version"]), path=path)


def _parsed(text: str, where: str) -> dict[str, Any]:
    try:
        config = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FireforgeError("BAD_MODEL_FILE", "its description is no JSON", where=where) from error
    if not isinstance(config, dict):
        raise FireforgeError("BAD_MODEL_FILE", "its description is no network", where=where)
    return config


def _network(config: dict[str, Any], arrays: dict[str, np.ndarray], *, version: str, path: Path) -> Imported:
    where = str(path)
    layers, output = layers_of(config, where=where)
    if len(layers) > MOST_LAYERS:
        raise FireforgeError("BAD_MODEL_FILE", f"{len(layers)} layers", where=where, allowed=f"at most {MOST_LAYERS}")
    for layer in layers:
        if layer.kind not in LAYERS and layer.kind != "InputLayer":
            allowed = ", ".join(sorted(LAYERS))
            raise FireforgeError("UNKNOWN_OPERATOR", f"layer {layer.kind[:80]}", where=layer.name[:80], allowed=allowed)
    drawing = Drawing(_input_shape(layers, where), where=where)
    place = Place(
        drawing=drawing, arrays=dict(arrays), flat={}, version=int(version[:1]) if version[:1].isdecimal() else 2
    )
    tensors: dict[str, str] = {}
    for layer in layers:
        if layer.kind == "InputLayer":
            tensors[layer.name] = INPUT
            continue
        missing = next((name for name in layer.inputs if name not in tensors), None)
        if missing is not None or not layer.inputs or layer.name in tensors:
            what = f"reads {missing!r}, which no layer before it makes" if missing else "reads nothing, or comes twice"
            raise FireforgeError("BAD_MODEL_FILE", what, where=layer.name[:80])
        tensors[layer.name] = LAYERS[layer.kind](layer, place, tuple(tensors[name] for name in layer.inputs))
    if output not in tensors or tensors[output] in place.flat:
        raise FireforgeError("BAD_MODEL_FILE", f"output {output[:80]!r} is no layer that can be one", where=where)
    if place.arrays:
        raise FireforgeError("BAD_WEIGHTS", f"left over: {', '.join(list(place.arrays)[:5])}", where=where)
    graph, weights = drawing.finish(tensors[output])
    if drawing.shape(tensors[output])[1] == 1:
        raise FireforgeError("BAD_GRAPH", "one output, a yes or no", where=where, allowed="an output for each class")
    notes = ("channels last in the file, channels first here",)
    return Imported(graph=graph, weights=weights, source=f"Keras {version}: {path.name}", notes=notes)


def _input_shape(layers: Sequence[Layer], where: str) -> tuple[int, int, int]:
    inputs = [layer for layer in layers if layer.kind == "InputLayer"]
    if len(inputs) != 1:
        raise FireforgeError("BAD_MODEL_FILE", f"{len(inputs)} inputs", where=where, allowed="one")
    shape: Any = inputs[0].config.get("batch_shape") or inputs[0].config.get("batch_input_shape")
    good = isinstance(shape, list) and len(shape) == 4 and all(type(size) is int for size in shape[1:])
    if not good:
        what = f"an input of shape {str(shape)[:80]}"
        raise FireforgeError("BAD_MODEL_FILE", what, where=where, allowed="(None, height, width, channels), all known")
    return shape[3], shape[1], shape[2]
