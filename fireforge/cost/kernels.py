# SPDX-License-Identifier: Apache-2.0
"""The kernels that ONNX Runtime makes of a Graph, from the Graph alone: fused, laid out and quantized as it does it."""

from __future__ import annotations

from collections.abc import Callable

from fireforge.base.errors import lookup
from fireforge.base.graph import Graph
from fireforge.base.profile import Kernel
from fireforge.cost.blocked import BlockedWalk
from fireforge.cost.integers import IntegerWalk
from fireforge.cost.walk import Step, as_delivered

FORMS: dict[str, Callable[[Graph, int], tuple[Step, ...]]] = {
    "float32": lambda graph, block: BlockedWalk(graph, block).steps(),
    "int8": lambda graph, block: IntegerWalk(graph).steps(),
}


def kernels(graph: Graph, *, form: str, block: int) -> tuple[Kernel, ...]:
    """The kernels of one prediction of one image.

    Args:
      graph: a valid graph, as it is trained (batch norms are folded here) or as it stands in a file.
      form: "float32" or "int8".
      block: channels that the runtime's blocked layout holds together in float32; 0 where it has none.

    Returns:
      In the graph's order; a kernel that changes the layout stands before the one that needs it.

    Raises:
      FireforgeError: UNKNOWN_NAME, if there is no such form.
    """
    return tuple(step.kernel for step in lookup(FORMS, form, "number format")(as_delivered(graph), block))
