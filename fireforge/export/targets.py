# SPDX-License-Identifier: Apache-2.0
"""The forms that a Model can be written in: name to writer."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from fireforge.base.exported import Exported
from fireforge.base.files import write_bytes
from fireforge.base.golden import golden_inputs, make_golden, weights_digest
from fireforge.base.graph import Graph
from fireforge.base.model import Card, Model, Tag
from fireforge.base.reference import run_reference
from fireforge.export.lean import lean_json
from fireforge.export.onnx_file import check_onnx, onnx_bytes
from fireforge.export.qdq import lower


def write_onnx(model: Model, path: str | Path) -> Exported:
    """Write a model as ONNX: quantized where it has a plan, float otherwise.

    The file's own graph is run by the numpy reference on the golden inputs, and what comes out travels in the file.

    Args:
      model: a whole model; its card says which input is fed.
      path: the file; its folder must exist. It is written whole or not at all.

    Returns:
      What was written.

    Raises:
      FireforgeError: BAD_MODEL_FILE, if ONNX's checker refuses the bytes; CANNOT_WRITE; BAD_WEIGHTS; BAD_GOLDEN.
    """
    data = pack(model)
    check_onnx(data)
    written = write_bytes(path, data)
    return Exported(
        path=str(written),
        form="float32" if model.quant is None else "int8",
        bytes=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
    )


def pack(model: Model) -> bytes:
    """The bytes of the file that `write_onnx` writes, tag included; ONNX's checker has not seen them.

    Args:
      model: a whole model; its card says which input is fed.

    Returns:
      The same bytes for the same model.

    Raises:
      FireforgeError: BAD_WEIGHTS; BAD_GOLDEN, if the network's outputs are not finite.
    """
    graph, arrays = lower(model)
    return onnx_bytes(graph, arrays, tag=tag_of(graph, arrays, model.card))


def tag_of(graph: Graph, arrays: dict[str, np.ndarray], card: Card) -> Tag:
    """The tag of a file: the card, the golden outputs of the file's own graph, and the digest of its numbers.

    Args:
      graph: what the file computes.
      arrays: its weights.
      card: names the graph's input and the first output.

    Returns:
      The tag.
    """
    name = card.postprocess.outputs[0]
    feeds = {card.preprocess.input: golden_inputs(card.preprocess.steps())}
    golden = make_golden(run_reference(graph, arrays, feeds, wanted=(name,))[name])
    weights = weights_digest(arrays[weight.name] for weight in graph.weights)
    return Tag(card=card, golden=lean_json(golden), weights=weights)


TARGETS: dict[str, Callable[[Model, Path], Exported]] = {"onnx": write_onnx}
