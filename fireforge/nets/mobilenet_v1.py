# SPDX-License-Identifier: Apache-2.0
"""MobileNet V1: depthwise separable convolutions (Howard et al. 2017)."""

from __future__ import annotations

from typing import Any

from fireforge.base.graph import Graph
from fireforge.base.spec import NetSpec, Param
from fireforge.nets.builder import Builder
from fireforge.nets.mobilenet import rounded
from fireforge.nets.params import int_list, need, read_params
from fireforge.nets.parts import conv_norm
from fireforge.nets.preset import preset

DEFAULTS: dict[str, Param] = {
    "width": 1.0,  # the paper's alpha: multiplies all filters
    "stem": 32,
    "stem_stride": 2,
    "blocks": "64,1,1; 128,2,2; 256,2,2; 512,6,2; 1024,2,2",  # c, n, s of each row
    "multiple": 8,  # of which all filter counts are
    "dropout": 0.0,
}


def mobilenet_v1(spec: NetSpec) -> Graph:
    """A MobileNet V1 as a Graph.

    Args:
      spec: family "mobilenet-v1"; parameters as in DEFAULTS.

    Returns:
      The Graph, "input" (N, C, H, W) to "logits" (N, classes).

    Raises:
      FireforgeError: UNKNOWN_NAME or BAD_SPEC, if a parameter is unknown or makes no network.

    Source:
      Howard et al. 2017, table 1; c = filters, n = repeats, s = stride of the first repeat. The last depthwise
      convolution has stride 1: the table's "s2" would leave 4 x 4 px where its next row has 7 x 7.
    """
    p = read_params(spec, DEFAULTS)
    rows = _checked(p)
    b = Builder(spec)
    width, multiple = p["width"], p["multiple"]
    x = conv_norm(b, b.input, rounded(p["stem"] * width, multiple), 3, name="stem", stride=p["stem_stride"])
    x = b.relu(x)
    number = 0
    for filters, repeats, first in rows:
        for i in range(repeats):
            number += 1
            out = rounded(filters * width, multiple)
            x = _separable(b, x, out, stride=first if i == 0 else 1, name=f"block{number}")
    x = b.flatten(b.global_average_pool(x))
    x = b.dropout(x, p["dropout"])
    return b.graph(b.linear(x, spec.classes, name="classifier"))


def _checked(p: dict[str, Any]) -> list[tuple[int, ...]]:
    need(0 < p["width"] < 1e6, f"got {p['width']}", where="mobilenet-v1.width", allowed="above 0")
    need(0 <= p["dropout"] < 1, f"got {p['dropout']}", where="mobilenet-v1.dropout", allowed="0 to below 1")
    for name in ("stem", "stem_stride", "multiple"):
        need(p[name] >= 1, f"got {p[name]}", where=f"mobilenet-v1.{name}", allowed="at least 1")
    rows = [int_list(row, where="mobilenet-v1.blocks") for row in p["blocks"].split(";")]
    good = all(len(row) == 3 and min(row) >= 1 for row in rows)
    need(good, f"got {p['blocks']!r}", where="mobilenet-v1.blocks", allowed="rows c,n,s of numbers >= 1, apart by ;")
    return rows


def _separable(b: Builder, x: str, filters: int, *, stride: int, name: str) -> str:
    inner = b.channels(x)
    x = b.relu(conv_norm(b, x, inner, 3, name=f"{name}.depthwise", stride=stride, groups=inner))
    return b.relu(conv_norm(b, x, filters, 1, name=f"{name}.pointwise"))


mobilenet_v1_224 = preset("mobilenet-v1")
small_mobilenet_v1 = preset(
    "mobilenet-v1",
    {"stem_stride": 1, "blocks": "32,1,1; 64,2,2; 128,2,2; 256,2,2"},
    classes=10,
    input_shape=(3, 32, 32),
)
