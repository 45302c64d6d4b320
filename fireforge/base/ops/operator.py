# SPDX-License-Identifier: Apache-2.0
"""What one operator is: its arity, its attributes, its shape rule and its naive numpy meaning."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from fireforge.base.graph import Attr, Shape

Typed = tuple[str, Shape]  # dtype and shape of one tensor
Attrs = dict[str, Attr]  # complete: absent attributes hold their defaults

# (dtype and shape of each input, None where an optional one is absent; attributes) -> dtype and shape of each output
InferFn = Callable[[Sequence[Typed | None], Attrs], tuple[Typed, ...]]
# (each input array, None where absent; attributes) -> each output array
RunFn = Callable[[Sequence[np.ndarray | None], Attrs], tuple[np.ndarray, ...]]


@dataclass(frozen=True, kw_only=True)
class Operator:
    """One member of the closed operator list.

    Args:
      infer: shape rule; raises FireforgeError BAD_SHAPE where the inputs do not fit.
      run: numpy reference, naive and exact: the definition that every runtime is held to.
      inputs: least and greatest number of inputs; the greatest is -1 where any number may come.
      outputs: number of outputs; -1 where the attributes decide (Split).
      required: attributes without default, with the type their value has.
      defaults: attributes with ONNX's default.
      buffers: positions of inputs that are statistics and are not trained (BatchNormalization's 3 and 4).
    """

    infer: InferFn
    run: RunFn
    inputs: tuple[int, int]
    outputs: int = 1
    required: dict[str, type] = field(default_factory=dict)
    defaults: Attrs = field(default_factory=dict)
    buffers: tuple[int, ...] = ()
