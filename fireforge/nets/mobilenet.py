# SPDX-License-Identifier: Apache-2.0
"""MobileNet V2: inverted residuals with linear bottlenecks (Sandler et al. 2018)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fireforge.base.graph import Graph
from fireforge.base.spec import NetSpec, Param
from fireforge.nets.builder import Builder
from fireforge.nets.params import int_list, need, read_params

DEFAULTS: dict[str, Param] = {
    "width": 1.0,  # multiplies all filters but those of the classifier
    "stem": 32,
    "stem_stride": 2,
    "blocks": "1,16,1,1; 6,24,2,2; 6,32,3,2; 6,64,4,2; 6,96,3,1; 6,160,3,2; 6,320,1,1",  # t, c, n, s of each row
    "head": 1280,  # filters of the last convolution; width below 1 does not make it smaller
    "multiple": 8,  # of which all filter counts are
    "dropout": 0.2,
}


def mobilenet(spec: NetSpec) -> Graph:
    """A MobileNet V2 as a Graph.

    Args:
      spec: family "mobilenet"; parameters as in DEFAULTS.

    Returns:
      The Graph, "input" (N, C, H, W) to "logits" (N, classes).

    Raises:
      FireforgeError: UNKNOWN_NAME or BAD_SPEC, if a parameter is unknown or makes no network.

    Source:
      Sandler et al. 2018, table 2; t = expansion, c = filters, n = repeats, s = stride of the first repeat. The last
      classifier is a matrix product, as the authors' code has it.
    """
    p = read_params(spec, DEFAULTS)
    rows = _checked(p)
    b = Builder(spec)
    width, multiple = p["width"], p["multiple"]
    x = _conv(b, b.input, rounded(p["stem"] * width, multiple), 3, name="stem", stride=p["stem_stride"])
    number = 0
    for expansion, filters, repeats, first in rows:
        for i in range(repeats):
            number += 1
            out = rounded(filters * width, multiple)
            x = _inverted(b, x, out, expansion=expansion, stride=first if i == 0 else 1, name=f"block{number}")
    x = _conv(b, x, rounded(p["head"] * max(width, 1.0), multiple), 1, name="head")
    x = b.flatten(b.global_average_pool(x))
    x = b.dropout(x, p["dropout"])
    return b.graph(b.linear(x, spec.classes, name="classifier"))


def rounded(filters: float, multiple: int) -> int:
    """The nearest multiple, not below 90 % of the number.

    Args:
      filters: any positive number.
      multiple: what the result is a multiple of.

    Returns:
      At least `multiple`.

    Source:
      The rule of the authors' code (8 where the paper rounds nothing).

    Example:
      >>> rounded(16 * 0.35, 8), rounded(24 * 0.75, 8), rounded(32 * 0.35, 8)
      (8, 24, 16)
    """
    nearest = max(multiple, int(filters + multiple / 2) // multiple * multiple)
    return nearest + multiple if nearest < 0.9 * filters else nearest


def _checked(p: dict[str, Any]) -> list[tuple[int, ...]]:
    need(0 < p["width"] < 1e6, f"got {p['width']}", where="mobilenet.width", allowed="above 0")
    need(0 <= p["dropout"] < 1, f"got {p['dropout']}", where="mobilenet.dropout", allowed="0 to below 1")
    for name in ("stem", "stem_stride", "head", "multiple"):
        need(p[name] >= 1, f"got {p[name]}", where=f"mobilenet.{name}", allowed="at least 1")
    rows = [int_list(row, where="mobilenet.blocks") for row in p["blocks"].split(";")]
    good = all(len(row) == 4 and min(row) >= 1 for row in rows)
    need(good, f"got {p['blocks']!r}", where="mobilenet.blocks", allowed="rows t,c,n,s of numbers >= 1, between them ;")
    return rows


def _inverted(b: Builder, x: str, filters: int, *, expansion: int, stride: int, name: str) -> str:
    inner = b.channels(x) * expansion
    out = _conv(b, x, inner, 1, name=f"{name}.expand") if expansion != 1 else x
    out = _conv(b, out, inner, 3, name=f"{name}.depthwise", stride=stride, groups=inner)
    out = b.conv(out, filters, 1, name=f"{name}.project", bias=False)
    out = b.batch_norm(out, name=f"{name}.project_norm")
    if stride == 1 and b.channels(x) == filters:
        out = b.add(x, out, name=f"{name}.sum")
    return out


def _conv(b: Builder, x: str, filters: int, kernel: int, *, name: str, stride: int = 1, groups: int = 1) -> str:
    x = b.conv(x, filters, kernel, name=name, stride=stride, pad=kernel // 2, groups=groups, bias=False)
    return b.relu6(b.batch_norm(x, name=f"{name}_norm"))


def mobilenet_v2(
    classes: int = 1000,
    *,
    input_shape: tuple[int, int, int] = (3, 224, 224),
    params: Mapping[str, Param] | None = None,
) -> NetSpec:
    """MobileNet V2 as published: 3,504,872 parameters at 1000 classes.

    Args:
      classes: outputs.
      input_shape: (C, H, W).
      params: parameters of DEFAULTS that shall differ.

    Returns:
      The NetSpec.
    """
    return NetSpec(family="mobilenet", params=dict(params or {}), classes=classes, input_shape=input_shape)


def small_mobilenet(
    classes: int = 10,
    *,
    input_shape: tuple[int, int, int] = (3, 32, 32),
    params: Mapping[str, Param] | None = None,
) -> NetSpec:
    """A MobileNet V2 for small images: stem with stride 1, five blocks, two of which halve the map.

    Args:
      classes: outputs.
      input_shape: (C, H, W).
      params: parameters of DEFAULTS that shall differ.

    Returns:
      The NetSpec.
    """
    own: dict[str, Param] = {"stem": 16, "stem_stride": 1, "head": 128, "dropout": 0.0}
    own["blocks"] = "1,16,1,1; 4,24,2,2; 4,32,2,2"
    return NetSpec(family="mobilenet", params={**own, **(params or {})}, classes=classes, input_shape=input_shape)
