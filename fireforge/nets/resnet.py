# SPDX-License-Identifier: Apache-2.0
"""Residual networks (He et al. 2015), their plain counterparts, and the grouped bottlenecks of ResNeXt."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

from fireforge.base.graph import Graph
from fireforge.base.spec import NetSpec, Param
from fireforge.nets.builder import Builder
from fireforge.nets.fillers import Filler
from fireforge.nets.params import int_list, need, read_params
from fireforge.nets.parts import HE, conv_norm
from fireforge.nets.preset import Preset, preset

DEFAULTS: dict[str, Param] = {
    "block": "basic",  # two 3x3 convolutions; or "bottleneck": 1x1, 3x3, and 1x1 to four times the filters
    "shortcut": "projection",  # option B of the paper; or "padding": option A; or "none": a plain network
    "blocks": 3,  # blocks a stage: n of the paper, 6n + 2 layers with three stages of basic blocks
    "depths": "",  # blocks of each stage, as "3,4,6,3", in the place of blocks
    "width": 16,  # filters of the stem and the first stage
    "stages": 3,  # each halves the map, the first excepted, and doubles the filters
    "widths": "",  # filters of each stage, as "16,32,64", in the place of width and stages
    "stem": 0,  # filters of the stem; 0 for those of the first stage
    "stem_kernel": 3,
    "stem_stride": 1,
    "stem_pool": False,  # 3x3 max pool with stride 2 behind the stem, as the networks for 224 px have it
    "first_stride": 1,  # of the first stage; the others have 2
    "stride_kernel": 3,  # the convolution of a bottleneck that halves the map: the 3x3 one, or 1: the first 1x1 one
    "groups": 1,  # of a bottleneck's 3x3 convolution
    "group_width": 0,  # filters of a group in the first stage, growing as the widths; 0 for all widths by groups
    "dropout": 0.0,
    "norm": "batch",  # behind each convolution; or "none": a bias in its place, to see what the norms do
}
EXPANSION = 4  # filters that leave a bottleneck, by its width


def resnet(spec: NetSpec) -> Graph:
    """A ResNet as a Graph.

    Args:
      spec: family "resnet"; parameters as in DEFAULTS.

    Returns:
      The Graph, "input" (N, C, H, W) to "logits" (N, classes).

    Raises:
      FireforgeError: UNKNOWN_NAME or BAD_SPEC, if a parameter is unknown or makes no network.

    Source:
      He et al. 2015, table 1 (224 px) and section 4.2 (CIFAR). The default is a network for small images with option
      B shortcuts (1x1 projection where the shape changes) where the paper takes option A there, so ResNet-20 has
      272,474 parameters instead of 269,722. Option A: every second row and column, and maps of zeros, half of them
      before and half behind; the paper leaves their place open. Bottlenecks halve the map in the 3x3 convolution, as
      Goyal et al. 2017 have it; the authors' own do it in the first 1x1. Groups: Xie et al. 2017, figure 3c.
    """
    p = read_params(spec, DEFAULTS)
    rows = _checked(p)
    b = Builder(spec)
    conv = _NORMS[p["norm"]]
    x = conv(b, b.input, p["stem"] or rows[0][1], p["stem_kernel"], name="stem", stride=p["stem_stride"])
    x = b.relu(x)
    if p["stem_pool"]:
        x = b.max_pool(x, 3, name="stem_pool", stride=2, pad=1)
    block = _bottleneck if p["block"] == "bottleneck" else _basic
    for stage, (depth, width) in enumerate(rows, 1):
        inner = p["groups"] * p["group_width"] * width // rows[0][1] or width
        for i in range(1, depth + 1):
            stride = 1 if i > 1 else 2 if stage > 1 else p["first_stride"]
            x = block(b, x, (width, inner), stride=stride, name=f"stage{stage}.block{i}", p=p)
    x = b.flatten(b.global_average_pool(x))
    x = b.dropout(x, p["dropout"])
    return b.graph(b.linear(x, spec.classes, name="classifier"))


def fillers(spec: NetSpec) -> tuple[Filler, ...]:
    """First weights: He's normal law by the fan-in for all convolutions, N(0, 0.01) for the classifier.

    Args:
      spec: of family "resnet".

    Returns:
      The fillers.

    Source:
      He et al. 2015, section 3.4, after their Delving Deep into Rectifiers, equation 10; Goyal et al. 2017, section
      5.1, for the classifier. The zero scale of a block's last norm, which the latter has too, is left out.
    """
    return HE


def _checked(p: dict[str, Any]) -> list[tuple[int, int]]:
    """Blocks and filters of each stage."""
    for name in ("blocks", "width", "stages", "stem_stride", "first_stride", "groups"):
        need(p[name] >= 1, f"got {p[name]}", where=f"resnet.{name}", allowed="at least 1")
    for name in ("stem", "group_width"):
        need(p[name] >= 0, f"got {p[name]}", where=f"resnet.{name}", allowed="0 or more")
    need(0 <= p["dropout"] < 1, f"got {p['dropout']}", where="resnet.dropout", allowed="0 to below 1")
    choices = {"block": ("basic", "bottleneck"), "shortcut": ("projection", "padding", "none"), "stride_kernel": (3, 1)}
    choices |= {"stem_kernel": (3, 5, 7), "norm": tuple(_NORMS)}
    for name, known in choices.items():
        need(p[name] in known, f"got {p[name]!r}", where=f"resnet.{name}", allowed=", ".join(map(str, known)))
    widths = int_list(p["widths"], where="resnet.widths") or tuple(p["width"] << i for i in range(p["stages"]))
    need(min(widths) >= 1, f"got {widths}", where="resnet.widths", allowed="at least 1 each")
    depths = int_list(p["depths"], where="resnet.depths") or (p["blocks"],) * len(widths)
    good = len(depths) == len(widths) and min(depths) >= 1
    need(good, f"got {depths}", where="resnet.depths", allowed=f"{len(widths)} numbers of at least 1")
    rising = all(low <= high for low, high in pairwise((p["stem"] or widths[0], *widths)))
    need(rising or p["shortcut"] != "padding", f"got {widths}", where="resnet.widths", allowed="rising, with padding")
    plain = p["groups"] == 1 and p["group_width"] == 0
    need(plain or p["block"] == "bottleneck", "got groups", where="resnet.groups", allowed="1 in basic blocks")
    return list(zip(depths, widths, strict=True))


def _basic(b: Builder, x: str, sizes: tuple[int, int], *, stride: int, name: str, p: dict[str, Any]) -> str:
    width, conv = sizes[0], _NORMS[p["norm"]]
    out = b.relu(conv(b, x, width, 3, name=f"{name}.conv1", stride=stride))
    out = conv(b, out, width, 3, name=f"{name}.conv2")
    return _joined(b, x, out, stride=stride, name=name, p=p)


def _bottleneck(b: Builder, x: str, sizes: tuple[int, int], *, stride: int, name: str, p: dict[str, Any]) -> str:
    width, inner = sizes
    first, second = (stride, 1) if p["stride_kernel"] == 1 else (1, stride)
    conv = _NORMS[p["norm"]]
    out = b.relu(conv(b, x, inner, 1, name=f"{name}.conv1", stride=first))
    out = b.relu(conv(b, out, inner, 3, name=f"{name}.conv2", stride=second, groups=p["groups"]))
    out = conv(b, out, width * EXPANSION, 1, name=f"{name}.conv3")
    return _joined(b, x, out, stride=stride, name=name, p=p)


def _joined(b: Builder, x: str, out: str, *, stride: int, name: str, p: dict[str, Any]) -> str:
    """The block's output and its shortcut, summed and rectified."""
    shortcut = p["shortcut"]
    if shortcut == "none":
        return b.relu(out)
    extra = b.channels(out) - b.channels(x)
    if shortcut == "padding":
        if stride != 1:
            x = b.subsample(x, stride, name=f"{name}.subsample")
        if extra:
            x = b.zero_channels(x, extra // 2, extra - extra // 2, name=f"{name}.shortcut")
    elif stride != 1 or extra:
        x = _NORMS[p["norm"]](b, x, b.channels(out), 1, name=f"{name}.shortcut", stride=stride)
    return b.relu(b.add(x, out, name=f"{name}.sum"))


def _conv_alone(b: Builder, x: str, filters: int, kernel: int, *, name: str, stride: int = 1, groups: int = 1) -> str:
    """As `conv_norm`, without the norm."""
    return b.conv(x, filters, kernel, name=name, stride=stride, pad=kernel // 2, groups=groups)


_NORMS: dict[str, Callable[..., str]] = {"batch": conv_norm, "none": _conv_alone}


STEM: dict[str, Param] = {"stem_kernel": 7, "stem_stride": 2, "stem_pool": True}  # table 1: conv1, pool
BASIC: dict[str, Param] = {**STEM, "widths": "64,128,256,512"}
BOTTLENECK: dict[str, Param] = {**BASIC, "block": "bottleneck"}

plain_18 = preset("resnet", {**BASIC, "depths": "2,2,2,2", "shortcut": "none"})
plain_34 = preset("resnet", {**BASIC, "depths": "3,4,6,3", "shortcut": "none"})
resnet_18 = preset("resnet", {**BASIC, "depths": "2,2,2,2"})
resnet_34 = preset("resnet", {**BASIC, "depths": "3,4,6,3"})
resnet_50 = preset("resnet", {**BOTTLENECK, "depths": "3,4,6,3"})
resnet_101 = preset("resnet", {**BOTTLENECK, "depths": "3,4,23,3"})
resnet_152 = preset("resnet", {**BOTTLENECK, "depths": "3,8,36,3"})


def for_cifar(own: Mapping[str, Param]) -> Preset:
    """A preset of the family for ten classes of 32 x 32 px.

    Args:
      own: parameters in which the network differs from DEFAULTS.

    Returns:
      The preset.
    """
    return preset("resnet", own, classes=10, input_shape=(3, 32, 32))


small_resnet = for_cifar({"blocks": 1})  # ResNet-8: 16 to 64 filters, projections
resnet_20 = for_cifar({})  # with projections in the place of option A: 2,752 numbers more
cifar_resnet_20 = for_cifar({"blocks": 3, "shortcut": "padding"})
cifar_resnet_32 = for_cifar({"blocks": 5, "shortcut": "padding"})
cifar_resnet_44 = for_cifar({"blocks": 7, "shortcut": "padding"})
cifar_resnet_56 = for_cifar({"blocks": 9, "shortcut": "padding"})
cifar_resnet_110 = for_cifar({"blocks": 18, "shortcut": "padding"})
cifar_plain_20 = for_cifar({"blocks": 3, "shortcut": "none"})
cifar_plain_32 = for_cifar({"blocks": 5, "shortcut": "none"})
cifar_plain_44 = for_cifar({"blocks": 7, "shortcut": "none"})
cifar_plain_56 = for_cifar({"blocks": 9, "shortcut": "none"})
