# SPDX-License-Identifier: Apache-2.0
"""What a network costs, as one record."""

from __future__ import annotations

from dataclasses import dataclass

from fireforge.base.value import Value


@dataclass(frozen=True, kw_only=True)
class Cost(Value):
    """Counts for one image, from the Graph.

    Args:
      params: trained numbers; running statistics are not among them.
      macs: multiply-adds of convolutions and matrix products, biases not counted.
      activations: numbers in the outputs of convolutions and matrix products (Radosavovic et al. 2020).
      peak_activation_bytes: greatest sum of tensors alive at once when nodes run in order, batch 1.
      weight_bytes: bytes of all weights and buffers as the graph types them.
      wire_bytes: bytes that one worker sends of its gradient in each data-parallel step, before any algorithm's factor.
    """

    params: int
    macs: int
    activations: int
    peak_activation_bytes: int
    weight_bytes: int
    wire_bytes: int
