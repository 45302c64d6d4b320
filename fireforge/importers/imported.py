# SPDX-License-Identifier: Apache-2.0
"""A model as other people's files hold it, before it is said how pictures are fed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fireforge.base.graph import Graph
from fireforge.base.preprocess import ImageSteps
from fireforge.base.tensorform import TensorForm


@dataclass(frozen=True, kw_only=True)
class Imported:
    """What an importer makes of files.

    Args:
      graph: one image input (N, C, H, W) called "input"; the first output is logits (N, K): a Softmax at the end is
        left out, for the answer's scores are made by Postprocess.
      weights: a TensorForm for each weight of the graph, in the form in which the file holds it.
      steps: how pictures become the input, where the file or the publication of its kind of network tells it.
      labels: class names in the order of the outputs, where the file tells them.
      source: where the numbers come from, in words.
      notes: a line for each thing that was left out or read otherwise than it stands in the file.
    """

    graph: Graph
    weights: Mapping[str, TensorForm]
    steps: ImageSteps | None = None
    labels: tuple[str, ...] = ()
    source: str = ""
    notes: tuple[str, ...] = ()


# files, and the network that the user names for files that hold numbers alone (None where nobody did), to a model
Importer = Callable[[Sequence[Path], Graph | None], Imported]
