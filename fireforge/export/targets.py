# SPDX-License-Identifier: Apache-2.0
"""The forms that a Model can be written in: name to writer."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from fireforge.base.files import write_bytes
from fireforge.base.golden import golden_inputs, make_golden
from fireforge.base.graph import Graph
from fireforge.base.model import Card, Model, Tag
from fireforge.base.reference import run_reference
from fireforge.base.value import Value
from fireforge.export.lean import lean_json
from fireforge.export.onnx_file import check_onnx, onnx_bytes
from fireforge.export.qdq import lower


@dataclass(frozen=True, kw_only=True)
class Exported(Value):
    """A file that was written.

    Args:
      path: where it stands.
      form: what it computes in.
      bytes: of the whole file.
      sha256: of the file.
    """

    path: str
    form: Literal["float32", "int8"]
    bytes: int
    sha256: str


def write_onnx(model: Model, path: str | Path) -> Exported:
    """Write a model as ONNX: quantized where it has a plan, float otherwise.

    The file's own graph is run by the numpy reference on the golden inputs, and what comes out travels in the file.

    Args:
      model: a whole model; its card says which input is fed.
      path: the file; its folder must exist. It is written whole or not at all.

    Returns:
      What was written.

    Raises:
      FireforgeError: BAD_MODEL_FILE, if ONNX's checker refuses the bytes; CANNOT_WRITE; BAD_WEIGHTS.
    """
    graph, arrays = lower(model)
    tag = tag_of(graph, arrays, model.card)
    data = onnx_bytes(graph, arrays, tag=tag)
    check_onnx(data)
    written = write_bytes(path, data)
    return Exported(
        path=str(written),
        form="float32" if model.quant is None else "int8",
        bytes=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
    )


def tag_of(graph: Graph, arrays: dict[str, np.ndarray], card: Card) -> Tag:
    """The tag of a file: the card, and the golden outputs of the file's own graph.

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
    return Tag(card=card, golden=lean_json(golden))


TARGETS: dict[str, Callable[[Model, Path], Exported]] = {"onnx": write_onnx}
