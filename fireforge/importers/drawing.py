# SPDX-License-Identifier: Apache-2.0
"""A graph as it grows while a file of layers is read: every node is checked by its shape rule as it is written."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from fireforge.base.errors import FireforgeError
from fireforge.base.graph import Attr, Graph, Node, TensorType
from fireforge.base.growing import Growing
from fireforge.base.infer import filled
from fireforge.base.ops.table import OPERATORS
from fireforge.base.tensorform import TensorForm
from fireforge.base.validate import MOST_LETTERS, validate

INPUT = "input"
OUTPUT = "logits"
MOST_SIDE = 4096  # px of an input
MOST_NUMBERS = 2**28  # of one tensor of one picture
MOST_LAYERS = 20_000
MOST_TOLD = 300  # letters of what an operator's rule says
UNSEEN = ("Softmax", "Identity", "Dropout")  # at the end they change no order of the classes


class Drawing(Growing):
    """Collects nodes and weights.

    Args:
      shape: (C, H, W) of the input.
      where: the file, for errors.
    """

    def __init__(self, shape: tuple[int, int, int], *, where: str) -> None:
        if not (1 <= shape[0] <= MOST_SIDE and 1 <= shape[1] <= MOST_SIDE and 1 <= shape[2] <= MOST_SIDE):
            raise FireforgeError("BAD_GRAPH", f"an input of {shape}", where=where, allowed=f"sides of 1 to {MOST_SIDE}")
        super().__init__({"": None, INPUT: ("float32", ("N", *shape))})
        self.where = where
        self.forms: dict[str, TensorForm] = {}
        self._nodes: list[Node] = []
        self._taken = {"", INPUT, OUTPUT}

    def weight(self, name: str, form: TensorForm, shape: Sequence[int]) -> str:
        """Keep the numbers of a layer.

        Args:
          name: as "<layer>.weight".
          form: float32 numbers.
          shape: of the numbers.

        Returns:
          The name, with an underscore behind it where it was taken.
        """
        name = self.fresh(name)
        self.forms[name] = form
        self._typed[name] = ("float32", tuple(shape))
        return name

    def add(self, op: str, inputs: Sequence[str], *, name: str, attrs: Mapping[str, Attr] | None = None) -> str:
        """Write one node with one output.

        Args:
          op: of OPERATORS.
          inputs: names of tensors.
          name: of the layer; the tensor is called the same.
          attrs: those that differ from the defaults.

        Returns:
          The name of what it makes.

        Raises:
          FireforgeError: BAD_SHAPE or BAD_GRAPH, if the inputs or the numbers do not fit.
        """
        name = self.fresh(name)
        node = Node(name=name, op=op, inputs=tuple(inputs), outputs=(name,), attrs=dict(attrs or {}))
        if len(self._nodes) >= MOST_LAYERS:
            raise FireforgeError("BAD_GRAPH", f"more than {MOST_LAYERS} layers", where=self.where)
        try:
            made = OPERATORS[op].infer([self._typed[item] for item in inputs], filled(node))
        except FireforgeError as error:
            what = f"{op}: {error.what[:MOST_TOLD]}"
            raise FireforgeError(error.code, what, where=name[:80], allowed=error.allowed) from None
        except (IndexError, TypeError, ValueError, ArithmeticError) as error:
            raise FireforgeError("BAD_GRAPH", f"{op} with inputs that it cannot have", where=name[:80]) from error
        if not 1 <= math.prod(dim for dim in made[0][1] if isinstance(dim, int)) <= MOST_NUMBERS:
            raise FireforgeError("BAD_GRAPH", f"{op} makes {made[0][1]}", where=name[:80], allowed="2^28 numbers")
        self._typed[name] = made[0]
        self._nodes.append(node)
        return name

    def fresh(self, name: str) -> str:
        """The name, with underscores behind it if it is taken; BAD_GRAPH, if that would be too long."""
        while name in self._taken and len(name) <= MOST_LETTERS:
            name += "_"
        if len(name) > MOST_LETTERS:
            what, allowed = "a name too long, or that of too many layers", f"at most {MOST_LETTERS} letters"
            raise FireforgeError("BAD_GRAPH", what, where=name[:80], allowed=allowed)
        self._taken.add(name)
        return name

    def finish(self, output: str) -> tuple[Graph, dict[str, TensorForm]]:
        """The graph whose only output is a tensor, without a Softmax at its end and without what leads nowhere.

        Args:
          output: the tensor; (N, K), or (N, K, 1, 1), which is flattened.

        Returns:
          The graph and the weights that it uses.

        Raises:
          FireforgeError: BAD_GRAPH, if the output is the input or of another shape.
        """
        nodes = {node.outputs[0]: node for node in self._nodes}
        while output in nodes and nodes[output].op in UNSEEN:
            output = nodes[output].inputs[0]
        shape = self.shape(output)
        if output not in nodes or len(shape) < 2 or any(size != 1 for size in shape[2:]):
            raise FireforgeError("BAD_GRAPH", f"the output has shape {shape}", where=self.where, allowed="(N, classes)")
        if len(shape) > 2:
            output = self.add("Flatten", (output,), name="flatten")
        used, kept = {output}, []
        for node in reversed(self._nodes):
            if not used.isdisjoint(node.outputs):
                used.update(node.inputs)
                kept.append(_renamed(node, output))
        forms = {name: form for name, form in self.forms.items() if name in used}
        graph = Graph(
            inputs=(TensorType(name=INPUT, shape=self.shape(INPUT)),),
            outputs=(OUTPUT,),
            weights=tuple(TensorType(name=name, shape=self.shape(name)) for name in forms),
            nodes=tuple(reversed(kept)),
        )
        validate(graph)
        return graph, forms


def _renamed(node: Node, output: str) -> Node:
    return node.replace(outputs=(OUTPUT,)) if node.outputs == (output,) else node


def finite(array: np.ndarray, where: str) -> np.ndarray:
    """The array, refused where it holds NaN or infinity.

    Args:
      array: any floats.
      where: its name.

    Returns:
      The same array.

    Raises:
      FireforgeError: BAD_WEIGHTS.
    """
    if not np.isfinite(array).all():
        raise FireforgeError("BAD_WEIGHTS", "numbers that are NaN or infinite", where=where[:80])
    return array
