# SPDX-License-Identifier: Apache-2.0
"""ShuffleNet V2: half the channels stand still, then all are shuffled (Ma et al. 2018)."""

from __future__ import annotations

from typing import Any

from fireforge.base.graph import Graph
from fireforge.base.spec import NetSpec, Param
from fireforge.nets.builder import Builder
from fireforge.nets.params import int_list, need, read_params
from fireforge.nets.parts import conv_norm, shuffle
from fireforge.nets.preset import preset

DEFAULTS: dict[str, Param] = {
    "stem": 24,
    "stem_stride": 2,
    "stem_pool": True,  # 3x3 max pool with stride 2
    "widths": "116,232,464",  # channels that leave each stage; the paper's 1x
    "repeats": "4,8,4",  # units of each stage, the first of which halves the map
    "head": 1024,  # filters of the last convolution
    "dropout": 0.0,
}


def shufflenet(spec: NetSpec) -> Graph:
    """A ShuffleNet V2 as a Graph.

    Args:
      spec: family "shufflenet"; parameters as in DEFAULTS.

    Returns:
      The Graph, "input" (N, C, H, W) to "logits" (N, classes).

    Raises:
      FireforgeError: UNKNOWN_NAME or BAD_SPEC, if a parameter is unknown or makes no network.

    Source:
      Ma et al. 2018, table 5 and figure 3 (c, d). At 2x the authors' own network, whose figures the paper prints, has
      244, 488 and 976 channels, and so has this one.
    """
    p = read_params(spec, DEFAULTS)
    rows = _checked(p)
    b = Builder(spec)
    x = b.relu(conv_norm(b, b.input, p["stem"], 3, name="stem", stride=p["stem_stride"]))
    if p["stem_pool"]:
        x = b.max_pool(x, 3, name="stem_pool", stride=2, pad=1)
    for stage, (width, repeats) in enumerate(rows, 2):
        x = _halving(b, x, width, name=f"stage{stage}.unit1")
        for unit in range(2, repeats + 1):
            x = _unit(b, x, name=f"stage{stage}.unit{unit}")
    x = b.relu(conv_norm(b, x, p["head"], 1, name="head"))
    x = b.flatten(b.global_average_pool(x))
    x = b.dropout(x, p["dropout"])
    return b.graph(b.linear(x, spec.classes, name="classifier"))


def _checked(p: dict[str, Any]) -> list[tuple[int, int]]:
    need(0 <= p["dropout"] < 1, f"got {p['dropout']}", where="shufflenet.dropout", allowed="0 to below 1")
    for name in ("stem", "stem_stride", "head"):
        need(p[name] >= 1, f"got {p[name]}", where=f"shufflenet.{name}", allowed="at least 1")
    widths, repeats = (int_list(p[name], where=f"shufflenet.{name}") for name in ("widths", "repeats"))
    even = bool(widths) and all(width >= 2 and width % 2 == 0 for width in widths)
    need(even, f"got {p['widths']!r}", where="shufflenet.widths", allowed="even numbers of at least 2")
    good = len(repeats) == len(widths) and min(repeats) >= 1
    need(good, f"got {p['repeats']!r}", where="shufflenet.repeats", allowed=f"{len(widths)} numbers of at least 1")
    return list(zip(widths, repeats, strict=True))


def _unit(b: Builder, x: str, *, name: str) -> str:
    """Figure 3 (c): one half goes through three convolutions, the other stays."""
    half = b.channels(x) // 2
    still, moved = b.split(x, (half, half), name=f"{name}.split")
    return _joined(b, still, _branch(b, moved, half, stride=1, name=f"{name}.right"), name=name)


def _halving(b: Builder, x: str, width: int, *, name: str) -> str:
    """Figure 3 (d): both branches see all channels and halve the map."""
    left = conv_norm(b, x, b.channels(x), 3, name=f"{name}.left.depthwise", stride=2, groups=b.channels(x))
    left = b.relu(conv_norm(b, left, width // 2, 1, name=f"{name}.left.pointwise"))
    return _joined(b, left, _branch(b, x, width // 2, stride=2, name=f"{name}.right"), name=name)


def _branch(b: Builder, x: str, width: int, *, stride: int, name: str) -> str:
    x = b.relu(conv_norm(b, x, width, 1, name=f"{name}.pointwise1"))
    x = conv_norm(b, x, width, 3, name=f"{name}.depthwise", stride=stride, groups=width)
    return b.relu(conv_norm(b, x, width, 1, name=f"{name}.pointwise2"))


def _joined(b: Builder, left: str, right: str, *, name: str) -> str:
    return shuffle(b, b.concat((left, right), name=f"{name}.concat"), 2, name=f"{name}.shuffle")


shufflenet_v2_0_5 = preset("shufflenet", {"widths": "48,96,192"})
shufflenet_v2_1_0 = preset("shufflenet")
shufflenet_v2_1_5 = preset("shufflenet", {"widths": "176,352,704"})
shufflenet_v2_2_0 = preset("shufflenet", {"widths": "244,488,976", "head": 2048})
small_shufflenet = preset(
    "shufflenet",
    {"stem_stride": 1, "stem_pool": False, "widths": "64,128,256", "repeats": "3,4,3", "head": 512},
    classes=10,
    input_shape=(3, 32, 32),
)
