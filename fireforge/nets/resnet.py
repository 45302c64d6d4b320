# SPDX-License-Identifier: Apache-2.0
"""Residual networks for small images (He et al. 2015, section 4.2), with projection shortcuts."""

from __future__ import annotations

from collections.abc import Mapping

from fireforge.base.graph import Graph
from fireforge.base.spec import NetSpec, Param
from fireforge.nets.builder import Builder
from fireforge.nets.params import int_list, need, read_params

DEFAULTS: dict[str, Param] = {
    "blocks": 3,  # basic blocks a stage: n of the paper, 6n + 2 layers with three stages
    "width": 16,  # filters of the stem and the first stage
    "stages": 3,  # each halves the map, the first excepted, and doubles the filters
    "widths": "",  # filters of each stage, as "16,32,64", in the place of width and stages
    "stem": 0,  # filters of the stem; 0 for those of the first stage
    "stem_kernel": 3,
    "stem_stride": 1,
    "stem_pool": False,  # 3x3 max pool with stride 2 behind the stem, as the networks for 224 px have it
    "first_stride": 1,  # of the first stage; the others have 2
    "dropout": 0.0,
}


def resnet(spec: NetSpec) -> Graph:
    """A ResNet with basic blocks as a Graph.

    Args:
      spec: family "resnet"; parameters as in DEFAULTS.

    Returns:
      The Graph, "input" (N, C, H, W) to "logits" (N, classes).

    Raises:
      FireforgeError: UNKNOWN_NAME or BAD_SPEC, if a parameter is unknown or makes no network.

    Source:
      He et al. 2015, section 4.2 (CIFAR); shortcuts of option B (1x1 projection where the shape changes) where the
      paper takes option A there, so ResNet-20 has 272,474 parameters instead of 269,722.
    """
    p = read_params(spec, DEFAULTS)
    for name in ("blocks", "width", "stages", "stem_stride", "first_stride"):
        need(p[name] >= 1, f"got {p[name]}", where=f"resnet.{name}", allowed="at least 1")
    need(p["stem"] >= 0, f"got {p['stem']}", where="resnet.stem", allowed="0 or more")
    need(0 <= p["dropout"] < 1, f"got {p['dropout']}", where="resnet.dropout", allowed="0 to below 1")
    widths = int_list(p["widths"], where="resnet.widths") or tuple(p["width"] << i for i in range(p["stages"]))
    need(min(widths) >= 1, f"got {widths}", where="resnet.widths", allowed="at least 1 each")
    b = Builder(spec)
    need(p["stem_kernel"] in (3, 5, 7), f"got {p['stem_kernel']}", where="resnet.stem_kernel", allowed="3, 5 or 7")
    x = b.relu(_conv(b, b.input, p["stem"] or widths[0], p["stem_kernel"], name="stem", stride=p["stem_stride"]))
    if p["stem_pool"]:
        x = b.max_pool(x, 3, name="stem_pool", stride=2, pad=1)
    for stage, width in enumerate(widths, 1):
        for block in range(1, p["blocks"] + 1):
            stride = 1 if block > 1 else 2 if stage > 1 else p["first_stride"]
            x = _basic(b, x, width, stride=stride, name=f"stage{stage}.block{block}")
    x = b.flatten(b.global_average_pool(x))
    x = b.dropout(x, p["dropout"])
    return b.graph(b.linear(x, spec.classes, name="classifier"))


def _basic(b: Builder, x: str, width: int, *, stride: int, name: str) -> str:
    out = b.relu(_conv(b, x, width, 3, name=f"{name}.conv1", stride=stride))
    out = _conv(b, out, width, 3, name=f"{name}.conv2")
    if stride != 1 or b.channels(x) != width:
        x = _conv(b, x, width, 1, name=f"{name}.shortcut", stride=stride)
    return b.relu(b.add(x, out, name=f"{name}.sum"))


def _conv(b: Builder, x: str, width: int, kernel: int, *, name: str, stride: int = 1) -> str:
    x = b.conv(x, width, kernel, name=name, stride=stride, pad=kernel // 2, bias=False)
    return b.batch_norm(x, name=f"{name}_norm")


def small_resnet(
    classes: int = 10,
    *,
    input_shape: tuple[int, int, int] = (3, 32, 32),
    params: Mapping[str, Param] | None = None,
) -> NetSpec:
    """ResNet-8: one block a stage, 16 to 64 filters.

    Args:
      classes: outputs.
      input_shape: (C, H, W).
      params: parameters of DEFAULTS that shall differ.

    Returns:
      The NetSpec.
    """
    own: dict[str, Param] = {"blocks": 1, **(params or {})}
    return NetSpec(family="resnet", params=own, classes=classes, input_shape=input_shape)


def resnet_20(
    classes: int = 10,
    *,
    input_shape: tuple[int, int, int] = (3, 32, 32),
    params: Mapping[str, Param] | None = None,
) -> NetSpec:
    """ResNet-20 of the CIFAR experiments: 272,474 parameters at 10 classes.

    Args:
      classes: outputs.
      input_shape: (C, H, W).
      params: parameters of DEFAULTS that shall differ.

    Returns:
      The NetSpec.
    """
    return NetSpec(family="resnet", params=dict(params or {}), classes=classes, input_shape=input_shape)
