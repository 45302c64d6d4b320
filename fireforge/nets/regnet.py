# SPDX-License-Identifier: Apache-2.0
"""RegNet X and Y: widths that follow a line, rounded to a few stages (Radosavovic et al. 2020)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import groupby
from typing import Any

from fireforge.base.graph import Graph
from fireforge.base.spec import NetSpec, Param
from fireforge.nets.builder import Builder
from fireforge.nets.fillers import Filler
from fireforge.nets.params import need, read_params
from fireforge.nets.parts import HE, conv_norm, squeeze_excite
from fireforge.nets.preset import preset

DEFAULTS: dict[str, Param] = {
    "depth": 13,  # blocks in all
    "w_0": 24,  # width of the first block ...
    "w_a": 36.44,  # ... added for each further one ...
    "w_m": 2.49,  # ... and the ratio of two stages' widths
    "group_width": 8,  # filters of a group of the 3x3 convolution
    "se": 0.0,  # channels of the squeeze by channels of the block's input; 0 for none (X), 0.25 in Y
    "stem": 32,
    "stem_stride": 2,
    "dropout": 0.0,
}
MULTIPLE = 8  # of which all widths are


def regnet(spec: NetSpec) -> Graph:
    """A RegNet as a Graph.

    Args:
      spec: family "regnet"; parameters as in DEFAULTS.

    Returns:
      The Graph, "input" (N, C, H, W) to "logits" (N, classes).

    Raises:
      FireforgeError: UNKNOWN_NAME or BAD_SPEC, if a parameter is unknown or makes no network.

    Source:
      Radosavovic et al. 2020, section 3.1 (stem, stages that all halve the map, head) and figure 4 (block X, whose
      bottleneck ratio is 1 here); squeeze-excite of Y behind the 3x3 convolution, section 4.
    """
    p = read_params(spec, DEFAULTS)
    _check(p)
    b = Builder(spec)
    x = b.relu(conv_norm(b, b.input, p["stem"], 3, name="stem", stride=p["stem_stride"]))
    for stage, (width, depth) in enumerate(stages(p), 1):
        for i in range(1, depth + 1):
            x = _block(b, x, width, stride=2 if i == 1 else 1, name=f"stage{stage}.block{i}", p=p)
    x = b.flatten(b.global_average_pool(x))
    x = b.dropout(x, p["dropout"])
    return b.graph(b.linear(x, spec.classes, name="classifier"))


def fillers(spec: NetSpec) -> tuple[Filler, ...]:
    """First weights: He's normal law by the fan-in for all convolutions, N(0, 0.01) for the classifier.

    Args:
      spec: of family "regnet".

    Returns:
      The fillers.

    Source:
      The laws of the residual networks that the paper compares itself with; its code takes He's law by the fan-out.
    """
    return HE


def stages(p: Mapping[str, Any]) -> list[tuple[int, int]]:
    """Width and depth of each stage.

    u_j = w_0 + w_a * j for the blocks j = 0, 1, ...; s_j = round(log(u_j / w_0) / log(w_m)); w_j = w_0 * w_m ** s_j,
    as a multiple of 8. Blocks of one width are a stage; its width then becomes a multiple of the group's. Halves are
    rounded to even.

    Args:
      p: the parameters depth, w_0, w_a, w_m and group_width.

    Returns:
      (width, depth) a stage; the group is as wide as the stage where that is less than group_width.

    Source:
      Radosavovic et al. 2020, equations 2 to 4.

    Example:
      >>> stages(DEFAULTS)
      [(24, 1), (56, 1), (152, 4), (368, 7)]
    """
    steps = (round(math.log1p(p["w_a"] * j / p["w_0"]) / math.log(p["w_m"])) for j in range(p["depth"]))
    widths = (round(p["w_0"] * p["w_m"] ** step / MULTIPLE) * MULTIPLE for step in steps)
    found = []
    for width, blocks in groupby(widths):
        group = min(p["group_width"], width)
        found.append((round(width / group) * group, len(list(blocks))))
    return found


def _check(p: dict[str, Any]) -> None:
    for name in ("depth", "group_width", "stem", "stem_stride"):
        need(p[name] >= 1, f"got {p[name]}", where=f"regnet.{name}", allowed="at least 1")
    need(p["w_0"] >= MULTIPLE, f"got {p['w_0']}", where="regnet.w_0", allowed=f"at least {MULTIPLE}")
    need(0 <= p["w_a"] < 1e6, f"got {p['w_a']}", where="regnet.w_a", allowed="0 or more")
    need(1 < p["w_m"] < 1e6, f"got {p['w_m']}", where="regnet.w_m", allowed="above 1")
    need(0 <= p["se"] < 1e6, f"got {p['se']}", where="regnet.se", allowed="0 or more")
    need(0 <= p["dropout"] < 1, f"got {p['dropout']}", where="regnet.dropout", allowed="0 to below 1")


def _block(b: Builder, x: str, width: int, *, stride: int, name: str, p: dict[str, Any]) -> str:
    groups = width // min(p["group_width"], width)
    out = b.relu(conv_norm(b, x, width, 1, name=f"{name}.conv1"))
    out = b.relu(conv_norm(b, out, width, 3, name=f"{name}.conv2", stride=stride, groups=groups))
    if p["se"]:
        inner = max(round(b.channels(x) * p["se"]), 1)
        out = squeeze_excite(b, out, inner, gate=b.sigmoid, name=f"{name}.squeeze")
    out = conv_norm(b, out, width, 1, name=f"{name}.conv3")
    if stride != 1 or b.channels(x) != width:
        x = conv_norm(b, x, width, 1, name=f"{name}.shortcut", stride=stride)
    return b.relu(b.add(x, out, name=f"{name}.sum"))


def _point(depth: int, w_0: int, w_a: float, w_m: float, group_width: int) -> dict[str, Param]:
    return {"depth": depth, "w_0": w_0, "w_a": w_a, "w_m": w_m, "group_width": group_width}


Y: dict[str, Param] = {"se": 0.25}
regnetx_200mf = preset("regnet", _point(13, 24, 36.44, 2.49, 8))
regnetx_400mf = preset("regnet", _point(22, 24, 24.48, 2.54, 16))
regnetx_600mf = preset("regnet", _point(16, 48, 36.97, 2.24, 24))
regnetx_800mf = preset("regnet", _point(16, 56, 35.73, 2.28, 16))
regnetx_1_6gf = preset("regnet", _point(18, 80, 34.01, 2.25, 24))
regnetx_3_2gf = preset("regnet", _point(25, 88, 26.31, 2.25, 48))
regnety_200mf = preset("regnet", {**_point(13, 24, 36.44, 2.49, 8), **Y})
regnety_400mf = preset("regnet", {**_point(16, 48, 27.89, 2.09, 8), **Y})
regnety_600mf = preset("regnet", {**_point(15, 48, 32.54, 2.32, 16), **Y})
regnety_800mf = preset("regnet", {**_point(14, 56, 38.84, 2.4, 16), **Y})
regnety_1_6gf = preset("regnet", {**_point(27, 48, 20.71, 2.65, 24), **Y})
regnety_3_2gf = preset("regnet", {**_point(21, 80, 42.63, 2.66, 24), **Y})
small_regnet = preset(
    "regnet",
    {**_point(9, 24, 24.0, 2.0, 8), **Y, "stem_stride": 1},
    classes=10,
    input_shape=(3, 32, 32),
)
