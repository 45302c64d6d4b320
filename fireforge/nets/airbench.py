# SPDX-License-Identifier: Apache-2.0
"""Networks made to be trained in little time (Jordan 2024): whitened patches, three narrow stages, one scaled layer."""

from __future__ import annotations

from typing import Any

from fireforge.base.graph import Graph
from fireforge.base.spec import NetSpec, Param
from fireforge.nets.builder import Builder
from fireforge.nets.fillers import Filler
from fireforge.nets.params import int_list, need, read_params
from fireforge.nets.parts import conv_norm
from fireforge.nets.preset import preset

DEFAULTS: dict[str, Param] = {
    "stem": 24,  # filters of the first convolution; twice the numbers of a patch takes each direction with both signs
    "stem_kernel": 2,
    "stem_stride": 1,
    "stem_bias": True,
    "widths": "64,256,256",  # filters of each stage
    "convs": 2,  # 3x3 convolutions a stage
    "pools": "",  # stages whose first convolution has a maximum pool behind it, as "1,2"; "" for all of them
    "residual": False,  # whether the last convolution of a stage is added to what it reads
    "activation": "relu",  # or "hard-swish"; the author's is a GELU, which is not in the list of operators
    "scale": 1 / 9,  # of what the last layer reads
    "dropout": 0.0,
}
STATISTICS = 0.6  # share of the old in a batch norm's running statistics, as in the author's code


def airbench(spec: NetSpec) -> Graph:
    """A network of the airbench kind as a Graph.

    Args:
      spec: family "airbench"; parameters as in DEFAULTS.

    Returns:
      The Graph, "input" (N, C, H, W) to "logits" (N, classes).

    Raises:
      FireforgeError: UNKNOWN_NAME or BAD_SPEC, if a parameter is unknown or makes no network.

    Source:
      Jordan 2024, "94% on CIFAR-10 in 3.29 seconds", section 3.1: 2x2 convolution with bias, then stages of
      convolution, pool, norm, activation, convolution, norm, activation; a maximum over what is left of the map. The
      scale of the answer stands before the last layer here, which is the same numbers.
    """
    p = read_params(spec, DEFAULTS)
    widths = _checked(p)
    b = Builder(spec)
    pad = (p["stem_kernel"] - p["stem_stride"] + 1) // 2 if p["stem_kernel"] > 2 else 0
    x = b.conv(b.input, p["stem"], p["stem_kernel"], name="stem", stride=p["stem_stride"], pad=pad, bias=p["stem_bias"])
    x = _active(b, x, p)
    pools = int_list(p["pools"], where="airbench.pools") or range(1, len(widths) + 1)
    for stage, width in enumerate(widths, 1):
        x = _stage(b, x, width, pool=stage in pools, name=f"stage{stage}", p=p)
    x = b.flatten(b.node("GlobalMaxPool", (x,), name="pool"))
    if p["scale"] != 1:
        x = b.multiply(x, b.constant("scale", (p["scale"],)), name="scaled")
    x = b.dropout(x, p["dropout"])
    return b.graph(b.linear(x, spec.classes, name="classifier", bias=False))


def fillers(spec: NetSpec) -> tuple[Filler, ...]:
    """First weights: convolutions that begin by handing their maps on, torch's own uniform law for the rest.

    Args:
      spec: of family "airbench".

    Returns:
      The fillers.

    Source:
      Jordan 2024, section 3.3 (identity) and the author's code (uniform law).
    """
    return (
        Filler(layers="*_norm", law="constant", amount=1.0),
        Filler(layers="stage*", law="dirac"),
        Filler(layers="*", law="fan-in"),
    )


def _checked(p: dict[str, Any]) -> tuple[int, ...]:
    """Filters of each stage."""
    for name in ("stem", "stem_kernel", "stem_stride", "convs"):
        need(p[name] >= 1, f"got {p[name]}", where=f"airbench.{name}", allowed="at least 1")
    known = ("relu", "hard-swish")
    need(p["activation"] in known, f"got {p['activation']!r}", where="airbench.activation", allowed=", ".join(known))
    need(0 <= p["dropout"] < 1, f"got {p['dropout']}", where="airbench.dropout", allowed="0 to below 1")
    need(0 < p["scale"] <= 1, f"got {p['scale']}", where="airbench.scale", allowed="above 0, at most 1")
    widths = int_list(p["widths"], where="airbench.widths")
    for pool in int_list(p["pools"], where="airbench.pools"):
        need(1 <= pool <= len(widths), f"got {pool}", where="airbench.pools", allowed=f"1 to {len(widths)}")
    need(bool(widths) and min(widths) >= 1, f"got {widths}", where="airbench.widths", allowed="at least 1 each")
    return widths


def _active(b: Builder, x: str, p: dict[str, Any]) -> str:
    return b.hard_swish(x) if p["activation"] == "hard-swish" else b.relu(x)


def _stage(b: Builder, x: str, width: int, *, pool: bool, name: str, p: dict[str, Any]) -> str:
    x = b.conv(x, width, 3, name=f"{name}.conv1", pad=1, bias=False)
    if pool and min(int(side) for side in b.shape(x)[2:]) > 1:
        x = b.max_pool(x, 2, name=f"{name}.pool", stride=2)
    x = _active(b, b.batch_norm(x, name=f"{name}.conv1_norm", momentum=STATISTICS), p)
    first = x
    for place in range(2, p["convs"] + 1):
        x = conv_norm(b, x, width, 3, name=f"{name}.conv{place}", momentum=STATISTICS)
        x = _active(b, x, p)
    return b.add(first, x, name=f"{name}.sum") if p["residual"] and p["convs"] > 1 else x


airbench94 = preset("airbench", {}, classes=10, input_shape=(3, 32, 32))
airbench_small = preset("airbench", {"widths": "32,128,128", "stem_bias": False}, classes=10, input_shape=(3, 32, 32))
airbench_medium = preset(
    "airbench",
    {"widths": "48,160,160", "convs": 3, "residual": True, "stem_bias": False, "activation": "hard-swish"},
    classes=10,
    input_shape=(3, 32, 32),
)
