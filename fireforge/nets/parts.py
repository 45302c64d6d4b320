# SPDX-License-Identifier: Apache-2.0
"""Pieces that several families share, each a few layers."""

from __future__ import annotations

from collections.abc import Callable

from fireforge.nets.builder import Builder
from fireforge.nets.fillers import Filler

HE = (  # first weights of residual networks
    Filler(layers="*_norm", law="constant", amount=1.0),
    Filler(layers="classifier", law="gaussian", amount=0.01),
    Filler(layers="*", law="he"),
)


def conv_norm(
    b: Builder,
    x: str,
    filters: int,
    kernel: int,
    *,
    name: str,
    stride: int = 1,
    groups: int = 1,
    momentum: float = 0.9,
) -> str:
    """A convolution that keeps the map's size (at stride 1), without bias, and its batch norm.

    Args:
      b: the pen.
      x: (N, C, H, W).
      filters: K, channels out.
      kernel: R = S, odd.
      name: of the convolution; the norm's has "_norm" behind it.
      stride: step on both axes.
      groups: divides C and K.
      momentum: of the norm, see `Builder.batch_norm`.

    Returns:
      (N, K, H', W'), no activation behind the norm.
    """
    x = b.conv(x, filters, kernel, name=name, stride=stride, pad=kernel // 2, groups=groups, bias=False)
    return b.batch_norm(x, name=f"{name}_norm", momentum=momentum)


def squeeze_excite(b: Builder, x: str, inner: int, *, gate: Callable[[str], str], name: str) -> str:
    """Each map times a number in [0, 1] that follows from the means of all maps.

    Args:
      b: the pen.
      x: (N, C, H, W).
      inner: channels between the two 1x1 convolutions.
      gate: pen of the activation that makes the numbers: b.sigmoid or b.hard_sigmoid.
      name: of the piece.

    Returns:
      The shape of x.

    Source:
      Hu et al. 2018, Squeeze-and-Excitation Networks, section 3; the matrix products are 1x1 convolutions with bias.
    """
    means = b.global_average_pool(x, name=f"{name}.pool")
    squeezed = b.relu(b.conv(means, inner, 1, name=f"{name}.reduce"))
    scale = gate(b.conv(squeezed, b.channels(x), 1, name=f"{name}.expand"))
    return b.multiply(x, scale, name=f"{name}.scale")


def shuffle(b: Builder, x: str, groups: int, *, name: str) -> str:
    """The channels of the groups in turn: one of each, then the next of each.

    Args:
      b: the pen.
      x: (N, C, H, W), groups divide C.
      groups: number of groups.
      name: of the piece.

    Returns:
      The shape of x.

    Source:
      Zhang et al. 2018, ShuffleNet, section 3.1.
    """
    channels, high, wide = (int(size) for size in b.shape(x)[1:])
    x = b.reshape(x, (0, groups, channels // groups, high, wide), name=f"{name}.groups")
    x = b.transpose(x, (0, 2, 1, 3, 4), name=f"{name}.turn")
    return b.reshape(x, (0, channels, high, wide), name=f"{name}.join")
