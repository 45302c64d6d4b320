# SPDX-License-Identifier: Apache-2.0
"""The protocol of everything that runs a network: named arrays in, named arrays out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np

from fireforge.base.graph import TensorType


class Session(Protocol):
    """A network that is ready to run."""

    inputs: tuple[TensorType, ...]
    outputs: tuple[TensorType, ...]

    def run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run once.

        Args:
          feeds: input name to array; an image input is (N, C, H, W) as its Preprocess makes it.

        Returns:
          Output name to array.
        """
        ...
