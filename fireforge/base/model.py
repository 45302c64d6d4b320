# SPDX-License-Identifier: Apache-2.0
"""A network with its numbers and everything that is needed to use it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from fireforge.base.errors import FireforgeError
from fireforge.base.graph import Graph
from fireforge.base.postprocess import Postprocess
from fireforge.base.preprocess import Preprocess
from fireforge.base.quant import QuantPlan
from fireforge.base.tensorform import Dense, TensorForm
from fireforge.base.value import Json, Value


@dataclass(frozen=True, kw_only=True)
class Card(Value):
    """What travels with a model's numbers: how to feed it, how to read it, where it comes from.

    Args:
      preprocess: bytes to input.
      postprocess: output to answer.
      labels: class names in the order of the outputs.
      licence: of the weights, in SPDX's words where there are such.
      source: where the numbers come from, in words.

    Raises:
      FireforgeError: BAD_TREE, if the answers' tree has another number of classes than there are labels.
    """

    preprocess: Preprocess
    postprocess: Postprocess
    labels: tuple[str, ...]
    licence: str = ""
    source: str = ""

    def __post_init__(self) -> None:
        """Refuse a tree over other classes."""
        hedge = self.postprocess.hedge
        if hedge is not None and hedge.tree.classes != len(self.labels):
            what = f"a tree of {hedge.tree.classes} classes for {len(self.labels)} labels"
            raise FireforgeError("BAD_TREE", what, where="card")


@dataclass(frozen=True, kw_only=True)
class Model:
    """Graph, numbers and card.

    Args:
      graph: the network as data.
      weights: a TensorForm for each weight of the graph.
      card: preprocessing, postprocessing, labels, licence and source.
      quant: the quantization, where there is one.
    """

    graph: Graph
    weights: Mapping[str, TensorForm]
    card: Card
    quant: QuantPlan | None = None

    def arrays(self) -> dict[str, np.ndarray]:
        """Every weight as the numbers that the graph computes with."""
        return {name: form.array() for name, form in self.weights.items()}

    def replace(self, **changes: object) -> Model:
        """A copy with some fields changed."""
        return replace(self, **changes)  # type: ignore[arg-type]


def dense(arrays: Mapping[str, np.ndarray]) -> dict[str, TensorForm]:
    """Each array as a Dense form."""
    return {name: Dense(values=array) for name, array in arrays.items()}


METADATA_KEY = "fireforge"  # under which an ONNX file holds its Tag


@dataclass(frozen=True, kw_only=True)
class Tag(Value):
    """What an exported file says of itself, in its metadata, as one JSON text.

    Args:
      card: see Card.
      golden: what `fireforge.base.golden` stores.
      weights: `fireforge.base.golden.weights_digest` of the file's own numbers; "" where nobody counted them.
      format: version of this layout.
    """

    card: Card
    golden: dict[str, Json] = field(default_factory=dict)
    weights: str = ""
    format: int = 1
