# SPDX-License-Identifier: Apache-2.0
"""MobileNet V3: inverted residuals with squeeze-excite and hard-swish (Howard et al. 2019)."""

from __future__ import annotations

from typing import Any, NamedTuple

from fireforge.base.graph import Graph
from fireforge.base.spec import NetSpec, Param
from fireforge.nets.builder import Builder
from fireforge.nets.fillers import Filler
from fireforge.nets.mobilenet import rounded
from fireforge.nets.params import int_list, need, read_params
from fireforge.nets.parts import conv_norm, squeeze_excite
from fireforge.nets.preset import preset

# the paper's table 1 and table 2, a row a block: kernel, expansion, filters, squeeze-excite, hard-swish, stride
LARGE = (
    "3,16,16,0,0,1; 3,64,24,0,0,2; 3,72,24,0,0,1; 5,72,40,1,0,2; 5,120,40,1,0,1; 5,120,40,1,0,1; "
    "3,240,80,0,1,2; 3,200,80,0,1,1; 3,184,80,0,1,1; 3,184,80,0,1,1; 3,480,112,1,1,1; 3,672,112,1,1,1; "
    "5,672,160,1,1,2; 5,960,160,1,1,1; 5,960,160,1,1,1"
)
SMALL = (
    "3,16,16,1,0,2; 3,72,24,0,0,2; 3,88,24,0,0,1; 5,96,40,1,1,2; 5,240,40,1,1,1; 5,240,40,1,1,1; "
    "5,120,48,1,1,1; 5,144,48,1,1,1; 5,288,96,1,1,2; 5,576,96,1,1,1; 5,576,96,1,1,1"
)

DEFAULTS: dict[str, Param] = {
    "width": 1.0,  # multiplies all filters but those of the hidden layer
    "stem": 16,
    "stem_stride": 2,
    "blocks": LARGE,
    "head": 960,  # filters of the last convolution
    "hidden": 1280,  # units between the pool and the classifier; width below 1 does not make them fewer
    "multiple": 8,  # of which all filter counts are
    "dropout": 0.2,
}


class Block(NamedTuple):
    """One row of the paper's tables."""

    kernel: int
    expansion: int
    filters: int
    squeeze: int
    swish: int
    stride: int


def mobilenet_v3(spec: NetSpec) -> Graph:
    """A MobileNet V3 as a Graph.

    Args:
      spec: family "mobilenet-v3"; parameters as in DEFAULTS.

    Returns:
      The Graph, "input" (N, C, H, W) to "logits" (N, classes).

    Raises:
      FireforgeError: UNKNOWN_NAME or BAD_SPEC, if a parameter is unknown or makes no network.

    Source:
      Howard et al. 2019, tables 1 and 2. The squeeze has a quarter of the expansion's channels, as a multiple of 8,
      and the two layers behind the pool are matrix products with bias and without norm, as in the authors' code.
    """
    p = read_params(spec, DEFAULTS)
    rows = _checked(p)
    b = Builder(spec)
    width, multiple = p["width"], p["multiple"]
    x = conv_norm(b, b.input, rounded(p["stem"] * width, multiple), 3, name="stem", stride=p["stem_stride"])
    x = b.hard_swish(x)
    for number, row in enumerate(rows, 1):
        expansion, filters = (rounded(size * width, multiple) for size in (row.expansion, row.filters))
        row = row._replace(expansion=expansion, filters=filters)
        x = _inverted(b, x, row, name=f"block{number}")
    x = b.hard_swish(conv_norm(b, x, rounded(p["head"] * width, multiple), 1, name="head"))
    x = b.flatten(b.global_average_pool(x))
    x = b.hard_swish(b.linear(x, rounded(p["hidden"] * max(width, 1.0), multiple), name="hidden"))
    x = b.dropout(x, p["dropout"])
    return b.graph(b.linear(x, spec.classes, name="classifier"))


def fillers(spec: NetSpec) -> tuple[Filler, ...]:
    """First weights: He's normal law by the fan-out for all convolutions, N(0, 0.01) for the matrix products.

    Args:
      spec: of family "mobilenet-v3".

    Returns:
      The fillers.

    Source:
      He et al. 2015 (Delving Deep into Rectifiers), equation 14; the paper itself names no law.
    """
    return (
        Filler(layers="*_norm", law="constant", amount=1.0),
        Filler(layers="hidden", law="gaussian", amount=0.01),
        Filler(layers="classifier", law="gaussian", amount=0.01),
        Filler(layers="*", law="he-out"),
    )


def _checked(p: dict[str, Any]) -> list[Block]:
    need(0 < p["width"] < 1e6, f"got {p['width']}", where="mobilenet-v3.width", allowed="above 0")
    need(0 <= p["dropout"] < 1, f"got {p['dropout']}", where="mobilenet-v3.dropout", allowed="0 to below 1")
    for name in ("stem", "stem_stride", "head", "hidden", "multiple"):
        need(p[name] >= 1, f"got {p[name]}", where=f"mobilenet-v3.{name}", allowed="at least 1")
    rows = [int_list(row, where="mobilenet-v3.blocks") for row in p["blocks"].split(";")]
    good = all(len(row) == 6 and min(*row[:3], row[5]) >= 1 and row[0] % 2 and max(row[3:5]) <= 1 for row in rows)
    allowed = "rows k,t,c,se,hs,s: odd k, t, c, s >= 1, se and hs 0 or 1, between them ;"
    need(good, f"got {p['blocks']!r}", where="mobilenet-v3.blocks", allowed=allowed)
    return [Block(*row) for row in rows]


def _inverted(b: Builder, x: str, row: Block, *, name: str) -> str:
    activation = b.hard_swish if row.swish else b.relu
    inner, out = row.expansion, x
    if inner != b.channels(x):
        out = activation(conv_norm(b, x, inner, 1, name=f"{name}.expand"))
    out = conv_norm(b, out, inner, row.kernel, name=f"{name}.depthwise", stride=row.stride, groups=inner)
    out = activation(out)
    if row.squeeze:
        out = squeeze_excite(b, out, rounded(inner / 4, 8), gate=b.hard_sigmoid, name=f"{name}.squeeze")
    out = conv_norm(b, out, row.filters, 1, name=f"{name}.project")
    if row.stride == 1 and b.channels(x) == row.filters:
        out = b.add(x, out, name=f"{name}.sum")
    return out


mobilenet_v3_large = preset("mobilenet-v3")
mobilenet_v3_small = preset("mobilenet-v3", {"blocks": SMALL, "head": 576, "hidden": 1024})
tiny_mobilenet_v3 = preset(
    "mobilenet-v3",
    {
        "stem_stride": 1,
        "blocks": "3,16,16,1,0,1; 3,64,24,0,0,2; 3,72,24,0,0,1; 5,96,40,1,1,2; 5,160,40,1,1,1; 5,240,64,1,1,2",
        "head": 256,
        "hidden": 256,
        "dropout": 0.0,
    },
    classes=10,
    input_shape=(3, 32, 32),
)
