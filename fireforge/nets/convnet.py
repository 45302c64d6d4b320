# SPDX-License-Identifier: Apache-2.0
"""Plain convolutional networks: 3x3 convolutions with batch norm, maximum pools, one linear layer."""

from __future__ import annotations

from collections.abc import Mapping

from fireforge.base.graph import Graph
from fireforge.base.spec import NetSpec, Param
from fireforge.nets.builder import Builder
from fireforge.nets.params import int_list, need, read_params

DEFAULTS: dict[str, Param] = {
    "stages": 3,  # each doubles the filters
    "width": 16,  # filters of the first stage
    "widths": "",  # filters of each stage, as "16,32,64", in the place of width and stages
    "convs": 1,  # convolutions a stage
    "kernel": 3,
    "stem_stride": 1,  # of the first convolution
    "pools": 2,  # so many stages, from the first on, end with a 2x2 maximum pool that halves the map
    "dropout": 0.0,
}
LEAST_PX = 4  # side of the map below which a preset pools no more
STEM = ((128, 4), (64, 2), (0, 1))  # shorter side from which a preset's stem has this stride


def convnet(spec: NetSpec) -> Graph:
    """A plain ConvNet as a Graph.

    Args:
      spec: family "convnet"; parameters as in DEFAULTS.

    Returns:
      The Graph, "input" (N, C, H, W) to "logits" (N, classes).

    Raises:
      FireforgeError: UNKNOWN_NAME or BAD_SPEC, if a parameter is unknown or makes no network.

    Source:
      The plain way since LeCun et al. 1998, with batch norm (Ioffe and Szegedy 2015) and a global average in the place
      of hidden linear layers (Lin et al. 2013).
    """
    p = read_params(spec, DEFAULTS)
    for name in ("stages", "width", "convs", "kernel", "stem_stride"):
        need(p[name] >= 1, f"got {p[name]}", where=f"convnet.{name}", allowed="at least 1")
    need(p["kernel"] % 2 == 1, f"got {p['kernel']}", where="convnet.kernel", allowed="an odd number")
    need(0 <= p["dropout"] < 1, f"got {p['dropout']}", where="convnet.dropout", allowed="0 to below 1")
    widths = int_list(p["widths"], where="convnet.widths") or tuple(p["width"] << i for i in range(p["stages"]))
    need(min(widths) >= 1, f"got {widths}", where="convnet.widths", allowed="at least 1 each")
    need(0 <= p["pools"] <= len(widths), f"got {p['pools']}", where="convnet.pools", allowed=f"0 to {len(widths)}")
    b = Builder(spec)
    x = b.input
    for stage, width in enumerate(widths, 1):
        for place in range(1, p["convs"] + 1):
            stride = p["stem_stride"] if stage == place == 1 else 1
            name = f"stage{stage}.conv{place}"
            x = b.conv(x, width, p["kernel"], name=name, stride=stride, pad=p["kernel"] // 2, bias=False)
            x = b.relu(b.batch_norm(x, name=f"{name}_norm"))
        if stage <= p["pools"]:
            x = b.max_pool(x, 2, name=f"pool{stage}", stride=2)
    x = b.flatten(b.global_average_pool(x))
    x = b.dropout(x, p["dropout"])
    return b.graph(b.linear(x, spec.classes, name="classifier"))


def small_convnet(
    classes: int = 10,
    *,
    input_shape: tuple[int, int, int] = (3, 32, 32),
    params: Mapping[str, Param] | None = None,
) -> NetSpec:
    """Three stages of one convolution, 16 to 64 filters, pools as the size of the pictures allows.

    Args:
      classes: outputs.
      input_shape: (C, H, W).
      params: parameters of DEFAULTS that shall differ.

    Returns:
      The NetSpec.
    """
    shorter = min(input_shape[1:])
    stride = next(stride for least, stride in STEM if shorter >= least)
    side, pools = -(-shorter // stride), 0
    while pools < 3 and side // 2 >= LEAST_PX:
        side, pools = side // 2, pools + 1
    own: dict[str, Param] = {"stem_stride": stride, "pools": pools, **(params or {})}
    return NetSpec(family="convnet", params=own, classes=classes, input_shape=input_shape)
