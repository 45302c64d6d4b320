# SPDX-License-Identifier: Apache-2.0
"""What is known of the tensors of a graph while it is written node by node."""

from __future__ import annotations

from fireforge.base.graph import Shape
from fireforge.base.ops.operator import Typed


class Growing:
    """Tensors with their types; who writes a graph stands on this.

    Args:
      typed: name to dtype and shape; None for an optional input that is absent.
    """

    def __init__(self, typed: dict[str, Typed | None]) -> None:
        self._typed = typed

    def shape(self, x: str) -> Shape:
        """Shape of a tensor.

        Args:
          x: tensor name.

        Returns:
          The shape, batch first as the symbol "N".
        """
        typed = self._typed[x]
        assert typed is not None
        return typed[1]

    def channels(self, x: str) -> int:
        """Size of the second axis of a tensor."""
        size = self.shape(x)[1]
        assert isinstance(size, int)
        return size
