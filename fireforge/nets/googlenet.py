# SPDX-License-Identifier: Apache-2.0
"""GoogLeNet (Szegedy et al. 2014): Inception modules, with the auxiliary heads or without, reduced or naive."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from fireforge.base.graph import Graph
from fireforge.base.spec import NetSpec, Param
from fireforge.nets.builder import Builder
from fireforge.nets.fillers import Filler
from fireforge.nets.fit import halvings, stem_stride
from fireforge.nets.params import need, read_params
from fireforge.nets.preset import preset


class Sizes(NamedTuple):
    """Filters of one Inception module, a row of the paper's table 1."""

    conv1: int
    reduce3: int
    conv3: int
    reduce5: int
    conv5: int
    project: int


INCEPTIONS = {
    "3a": Sizes(64, 96, 128, 16, 32, 32),
    "3b": Sizes(128, 128, 192, 32, 96, 64),
    "4a": Sizes(192, 96, 208, 16, 48, 64),
    "4b": Sizes(160, 112, 224, 24, 64, 64),
    "4c": Sizes(128, 128, 256, 24, 64, 64),
    "4d": Sizes(112, 144, 288, 32, 64, 64),
    "4e": Sizes(256, 160, 320, 32, 128, 128),
    "5a": Sizes(256, 160, 320, 32, 128, 128),
    "5b": Sizes(384, 192, 384, 48, 128, 128),
}
STEM = (64, 64, 192)  # filters of the 7x7, the 1x1 and the 3x3 convolution
POOLED = ("3b", "4e")  # modules with a pool behind them
HEADS = {"4a": "aux1", "4d": "aux2"}
HEAD_UNITS = (128, 1024)  # filters of a head's 1x1 convolution, units of its linear layer

DEFAULTS: dict[str, Param] = {
    "aux": False,  # the auxiliary heads as further outputs "aux1" and "aux2", which serve training alone
    "naive": False,  # modules without the 1x1 convolutions before the 3x3, the 5x5 and behind the pool
    "width": 1.0,  # times all filters
    "small_stem": False,  # one 3x3 convolution of stem_stride in the place of the three with two pools
    "stem_stride": 1,  # of that one
    "pools": 2,  # of those behind 3b and 4e, from the first on
    "dropout": 0.4,
    "norm": False,  # batch norm behind each convolution, and no response norm; the convolutions have no bias then
}


def googlenet(spec: NetSpec) -> Graph:
    """A GoogLeNet as a Graph.

    Args:
      spec: family "googlenet"; parameters as in DEFAULTS.

    Returns:
      The Graph, "input" (N, C, H, W) to "logits" (N, classes); with aux also to "aux1" and "aux2", of the same shape.

    Raises:
      FireforgeError: UNKNOWN_NAME or BAD_SPEC, if a parameter is unknown or makes no network.

    Source:
      Szegedy et al. 2014, table 1, figures 2 and 3, section 5; order and response norms of Caffe's bvlc_googlenet. The
      last pool is a mean over the whole map, which is 7 x 7 at 224 px. Pools round up.
    """
    p = read_params(spec, DEFAULTS)
    need(0 < p["width"] <= 100, f"got {p['width']}", where="googlenet.width", allowed="above 0, at most 100")
    need(p["stem_stride"] >= 1, f"got {p['stem_stride']}", where="googlenet.stem_stride", allowed="at least 1")
    need(0 <= p["pools"] <= 2, f"got {p['pools']}", where="googlenet.pools", allowed="0 to 2")
    need(0 <= p["dropout"] < 1, f"got {p['dropout']}", where="googlenet.dropout", allowed="0 to below 1")
    b = Builder(spec)
    x = _stem(b, p)
    heads = {}
    for name, sizes in INCEPTIONS.items():
        x = _naive(b, x, sizes, name, p) if p["naive"] else _inception(b, x, sizes, name, p)
        if name in HEADS and p["aux"]:
            heads[HEADS[name]] = _head(b, x, HEADS[name], p)
        if name in POOLED[: p["pools"]]:
            x = b.max_pool(x, 3, name=f"pool{name[0]}", stride=2, ceil=True)
    x = b.dropout(b.flatten(b.global_average_pool(x, name="pool5")), p["dropout"])
    return b.graph(b.linear(x, spec.classes, name="classifier"), heads)


def _stem(b: Builder, p: Mapping[str, Any]) -> str:
    first, reduce, second = (_scaled(number, p) for number in STEM)
    if p["small_stem"]:
        return _conv(b, b.input, first, 3, "conv1", p, stride=p["stem_stride"])
    x = _conv(b, b.input, first, 7, "conv1", p, stride=2)
    x = b.max_pool(x, 3, name="pool1", stride=2, ceil=True)
    x = x if p["norm"] else b.response_norm(x, name="norm1")
    x = _conv(b, x, reduce, 1, "conv2_reduce", p)
    x = _conv(b, x, second, 3, "conv2", p)
    x = x if p["norm"] else b.response_norm(x, name="norm2")
    return b.max_pool(x, 3, name="pool2", stride=2, ceil=True)


def _inception(b: Builder, x: str, sizes: Sizes, name: str, p: Mapping[str, Any]) -> str:
    """Figure 2b: four branches side by side, three of them with a 1x1 convolution that keeps them cheap."""
    n = Sizes(*(_scaled(number, p) for number in sizes))
    at = f"inception{name}"
    plain = _conv(b, x, n.conv1, 1, f"{at}.conv1", p)
    three = _conv(b, _conv(b, x, n.reduce3, 1, f"{at}.reduce3", p), n.conv3, 3, f"{at}.conv3", p)
    five = _conv(b, _conv(b, x, n.reduce5, 1, f"{at}.reduce5", p), n.conv5, 5, f"{at}.conv5", p)
    pool = b.max_pool(x, 3, name=f"{at}.pool", stride=1, pad=1)
    return b.concat((plain, three, five, _conv(b, pool, n.project, 1, f"{at}.project", p)), name=at)


def _naive(b: Builder, x: str, sizes: Sizes, name: str, p: Mapping[str, Any]) -> str:
    """Figure 2a: the same without those; the maps of the pool go on as they are, so each module is wider."""
    n = Sizes(*(_scaled(number, p) for number in sizes))
    at = f"inception{name}"
    convs = (
        _conv(b, x, n.conv1, 1, f"{at}.conv1", p),
        _conv(b, x, n.conv3, 3, f"{at}.conv3", p),
        _conv(b, x, n.conv5, 5, f"{at}.conv5", p),
    )
    return b.concat((*convs, b.max_pool(x, 3, name=f"{at}.pool", stride=1, pad=1)), name=at)


def _head(b: Builder, x: str, name: str, p: Mapping[str, Any]) -> str:
    """Section 5: 5x5 means of stride 3, 1x1 convolution, linear layer, 70 % dropout, classifier."""
    filters, units = (_scaled(number, p) for number in HEAD_UNITS)
    x = b.average_pool(x, 5, name=f"{name}.pool", stride=3, ceil=True)
    x = b.flatten(_conv(b, x, filters, 1, f"{name}.conv", p), name=f"{name}.flatten")
    x = b.dropout(b.relu(b.linear(x, units, name=f"{name}.fc")), 0.7, name=f"{name}.dropout")
    return b.linear(x, b.spec.classes, name=f"{name}.classifier")


def _conv(b: Builder, x: str, filters: int, kernel: int, name: str, p: Mapping[str, Any], *, stride: int = 1) -> str:
    x = b.conv(x, filters, kernel, name=name, stride=stride, pad=kernel // 2, bias=not p["norm"])
    return b.relu(b.batch_norm(x, name=f"{name}_norm") if p["norm"] else x)


def _scaled(number: int, p: Mapping[str, Any]) -> int:
    return max(1, round(number * float(p["width"])))


def fillers(spec: NetSpec) -> tuple[Filler, ...]:
    """Caffe's bvlc_googlenet: "xavier", biases 0.2 but 0 in the classifiers; with batch norm the default rule holds."""
    if read_params(spec, DEFAULTS)["norm"]:
        return ()
    return (Filler(layers="*classifier", law="xavier"), Filler(layers="*", law="xavier", bias=0.2))


googlenet_main = preset("googlenet")
googlenet_aux = preset("googlenet", {"aux": True})
googlenet_naive = preset("googlenet", {"naive": True})


def small_googlenet(
    classes: int = 10,
    *,
    input_shape: tuple[int, int, int] = (3, 32, 32),
    params: Mapping[str, Param] | None = None,
) -> NetSpec:
    """A GoogLeNet for small images: a quarter of the filters, a 3x3 stem, batch norm, pools as many as the image bears.

    Args:
      classes: outputs.
      input_shape: (C, H, W).
      params: parameters of DEFAULTS that shall differ.

    Returns:
      The NetSpec; from 64 px on its first layer has a stride.
    """
    own: dict[str, Param] = {"width": 0.25, "small_stem": True, "norm": True, "dropout": 0.0}
    own.update({"stem_stride": stem_stride(input_shape), "pools": halvings(input_shape, 2)})
    return NetSpec(family="googlenet", params={**own, **(params or {})}, classes=classes, input_shape=input_shape)
