# SPDX-License-Identifier: Apache-2.0
"""All that is known of a network's cost before it is trained, in sum."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from fireforge.base.cost import Cost
from fireforge.base.errors import FireforgeError
from fireforge.base.graph import Graph, Shape
from fireforge.base.trial import Recipe
from fireforge.base.value import Value
from fireforge.cost.count import count, frozen, size
from fireforge.cost.energy import MAC_PJ, Energy, energy
from fireforge.cost.field import Field
from fireforge.cost.filesize import FORMS, onnx_bytes
from fireforge.cost.ledger import ledger
from fireforge.cost.memory import BLOCK, InferenceMemory, inference_memory
from fireforge.cost.parallel import Volumes, volumes
from fireforge.cost.training import FLOAT, TrainingMemory, training_memory

T = TypeVar("T")
STATES = {"sgd": 0, "momentum": 1, "adamw": 2, "average": 1}  # numbers that training keeps of each parameter
PRECISIONS = ("float32", "bfloat16")  # that a training computes in


@dataclass(frozen=True, kw_only=True)
class Summary(Value):
    """The sum of a ledger, and what is no sum over layers.

    Args:
      batch: pictures at once, for all that follows but cost, energy and files.
      dtype: in which float32 numbers are held, for bytes moved and training.
      cost: of one picture.
      macs: multiply-adds for the batch.
      activations: numbers in the outputs of convolutions and matrix products, for the batch.
      read_bytes: by all nodes, one by one.
      written_bytes: by all nodes, one by one.
      intensity: macs per byte read or written; None where there are no macs.
      field: what a place of the last map that is larger than one number sees of the picture.
      energy: of one picture by number format, in millijoules.
      state_bytes: what training keeps besides weights and gradients: by optimizer, and for averaged weights.
      file_bytes: of the exported file by form.
      volumes: |W| and |D|.
      inference: memory of predicting; None where `absent` says why.
      training: memory of a training step with momentum; None where `absent` says why.
      absent: what could not be counted, with the reason.
    """

    batch: int
    dtype: str
    cost: Cost
    macs: int
    activations: int
    read_bytes: int
    written_bytes: int
    intensity: float | None
    field: Field | None
    energy: dict[str, Energy]
    state_bytes: dict[str, int]
    file_bytes: dict[str, int]
    volumes: Volumes
    inference: InferenceMemory | None
    training: TrainingMemory | None
    absent: dict[str, str]


def summary(graph: Graph, *, batch: int = 1, dtype: str = "float32", block: int = BLOCK) -> Summary:
    """Count everything.

    Args:
      graph: a valid graph.
      batch: pictures at once.
      dtype: a name of `fireforge.cost.ledger.ITEM_BYTES`.
      block: channels in a block of the processor's kernels; see `fireforge.cost.places.written`.

    Returns:
      The Summary.

    Raises:
      FireforgeError: UNKNOWN_OPERATOR, if an operator has no count; UNKNOWN_NAME, if there is no such dtype.
    """
    lines = ledger(graph, batch=batch, dtype=dtype)
    still = frozen(graph)
    trained = FLOAT * sum(size(weight.shape) for weight in graph.weights if weight.name not in still)
    read, written = sum(line.read_bytes for line in lines), sum(line.written_bytes for line in lines)
    macs = sum(line.macs for line in lines)
    absent: dict[str, str] = {}
    quantized = any(node.op == "QuantizeLinear" for node in graph.nodes)
    return Summary(
        batch=batch,
        dtype=dtype,
        cost=count(graph),
        macs=macs,
        activations=sum(line.activations for line in lines),
        read_bytes=read,
        written_bytes=written,
        intensity=macs / (read + written) if macs else None,
        field=next((line.field for line in reversed(lines) if _is_map(line.shape)), None),
        energy={form: energy(graph, form=form) for form in MAC_PJ},
        state_bytes={name: number * trained for name, number in STATES.items()},
        file_bytes={} if quantized else {form: onnx_bytes(graph, form=form) for form in FORMS},
        volumes=volumes(graph, batch=batch),
        inference=_inference(graph, batch, dtype, block, absent),
        training=_training(graph, batch, dtype, absent),
        absent=absent,
    )


def _is_map(shape: Shape) -> bool:
    """Whether a tensor has places."""
    return len(shape) == 4 and any(size != 1 for size in shape[2:])


def _inference(graph: Graph, batch: int, dtype: str, block: int, absent: dict[str, str]) -> InferenceMemory | None:
    if dtype != "float32":
        absent["inference"] = "memory of predicting is counted in float32 alone"
        return None
    return _tried("inference", lambda: inference_memory(graph, batch=batch, block=block), absent)


def _training(graph: Graph, batch: int, dtype: str, absent: dict[str, str]) -> TrainingMemory | None:
    if dtype not in PRECISIONS:
        absent["training"] = f"memory of training is counted in {' and '.join(PRECISIONS)}"
        return None
    recipe = Recipe(epochs=1, batch=batch, precision="float32" if dtype == "float32" else "bfloat16")
    return _tried("training", lambda: training_memory(graph, recipe), absent)


def _tried(name: str, call: Callable[[], T], absent: dict[str, str]) -> T | None:
    """What a count finds; where an operator has no rule, None, and the reason."""
    try:
        return call()
    except FireforgeError as error:
        if error.code != "UNKNOWN_OPERATOR":
            raise
        absent[name] = error.line()
        return None
