# SPDX-License-Identifier: Apache-2.0
"""Network in Network (Lin et al. 2013): convolutions with two 1x1 convolutions behind each, no linear layer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fireforge.base.graph import Graph
from fireforge.base.spec import NetSpec, Param
from fireforge.nets.builder import Builder
from fireforge.nets.fillers import Filler
from fireforge.nets.fit import halvings, stem_stride
from fireforge.nets.params import int_list, need, read_params
from fireforge.nets.preset import preset

DEFAULTS: dict[str, Param] = {
    "filters": "96,96,96, 256,256,256, 384,384,384, 1024,1024",  # three a block; the last 1x1 has one a class
    "kernels": "11,5,3,3",  # of each block's first convolution
    "stem_stride": 4,
    "stem_pad": 0,  # of the first convolution; the others keep the map
    "pools": "max,max,max",  # 3x3 with stride 2 behind the first blocks: max or mean
    "drops": "3",  # blocks with dropout behind their pool
    "dropout": 0.5,
    "norm": False,  # batch norm behind each convolution but the last; these have no bias then
}


def nin(spec: NetSpec) -> Graph:
    """A Network in Network as a Graph.

    Args:
      spec: family "nin"; parameters as in DEFAULTS.

    Returns:
      The Graph, "input" (N, C, H, W) to "logits" (N, classes).

    Raises:
      FireforgeError: UNKNOWN_NAME or BAD_SPEC, if a parameter is unknown or makes no network.

    Source:
      Lin et al. 2013, section 3; the ImageNet network is that of the authors' Caffe file. A Relu stands behind every
      convolution, the last one too; pools round up, as Caffe's do.
    """
    p = _checked(spec)
    filters = (*int_list(p["filters"], where="nin.filters"), spec.classes)
    kernels = int_list(p["kernels"], where="nin.kernels")
    pools, drops = _words(p["pools"]), int_list(p["drops"], where="nin.drops")
    b = Builder(spec)
    x = b.input
    for block, kernel in enumerate(kernels, 1):
        wide, second, third = filters[3 * block - 3 : 3 * block]
        stride, pad = (p["stem_stride"], p["stem_pad"]) if block == 1 else (1, kernel // 2)
        x = _conv(b, x, wide, kernel, name=f"conv{block}", stride=stride, pad=pad, p=p)
        x = _conv(b, x, second, 1, name=f"cccp{2 * block - 1}", p=p)
        if block == len(kernels):
            x = b.relu(b.conv(x, third, 1, name=f"cccp{2 * block}"))
            continue
        x = _conv(b, x, third, 1, name=f"cccp{2 * block}", p=p)
        if block <= len(pools):
            pool = b.max_pool if pools[block - 1] == "max" else b.average_pool
            x = pool(x, 3, name=f"pool{block}", stride=2, ceil=True)
        if block in drops:
            x = b.dropout(x, p["dropout"], name=f"dropout{block}")
    return b.graph(b.flatten(b.global_average_pool(x)))


def _conv(
    b: Builder, x: str, filters: int, kernel: int, *, name: str, p: Mapping[str, Any], stride: int = 1, pad: int = 0
) -> str:
    x = b.conv(x, filters, kernel, name=name, stride=stride, pad=pad, bias=not p["norm"])
    return b.relu(b.batch_norm(x, name=f"{name}_norm") if p["norm"] else x)


def _words(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",")) if text.strip() else ()


def _checked(spec: NetSpec) -> dict[str, Any]:
    p = read_params(spec, DEFAULTS)
    need(p["stem_stride"] >= 1, f"got {p['stem_stride']}", where="nin.stem_stride", allowed="at least 1")
    need(p["stem_pad"] >= 0, f"got {p['stem_pad']}", where="nin.stem_pad", allowed="0 or more")
    need(0 <= p["dropout"] < 1, f"got {p['dropout']}", where="nin.dropout", allowed="0 to below 1")
    filters, kernels = int_list(p["filters"], where="nin.filters"), int_list(p["kernels"], where="nin.kernels")
    good = bool(kernels) and all(kernel % 2 for kernel in kernels)
    need(good, f"got {p['kernels']!r}", where="nin.kernels", allowed="odd numbers, one a block")
    good = len(filters) == 3 * len(kernels) - 1 and min(filters) >= 1
    need(good, f"got {p['filters']!r}", where="nin.filters", allowed=f"{3 * len(kernels) - 1} numbers from 1")
    good = len(_words(p["pools"])) < len(kernels) and set(_words(p["pools"])) <= {"max", "mean"}
    need(good, f"got {p['pools']!r}", where="nin.pools", allowed=f"at most {len(kernels) - 1} of max and mean")
    drops = int_list(p["drops"], where="nin.drops")
    good = all(1 <= block < len(kernels) for block in drops)
    need(good, f"got {p['drops']!r}", where="nin.drops", allowed=f"blocks 1 to {len(kernels) - 1}")
    return p


def fillers(spec: NetSpec) -> tuple[Filler, ...]:
    """The authors' Caffe file: N(0, 0.01), 1x1 convolutions N(0, 0.05); with batch norm the default rule holds."""
    if read_params(spec, DEFAULTS)["norm"]:
        return ()
    return (
        Filler(layers="cccp*", law="gaussian", amount=0.05),
        Filler(layers="*", law="gaussian", amount=0.01),
    )


nin_imagenet = preset("nin")


def small_nin(
    classes: int = 10,
    *,
    input_shape: tuple[int, int, int] = (3, 32, 32),
    params: Mapping[str, Param] | None = None,
) -> NetSpec:
    """The Network in Network for CIFAR-10, 966,986 parameters, with as many of its two pools as the image bears.

    Args:
      classes: outputs.
      input_shape: (C, H, W).
      params: parameters of DEFAULTS that shall differ.

    Returns:
      The NetSpec; from 64 px on its first layer has a stride.
    """
    own: dict[str, Param] = {"filters": "192,160,96, 192,192,192, 192,192", "kernels": "5,5,3", "drops": "1,2"}
    own.update({"stem_stride": stem_stride(input_shape), "stem_pad": 2})
    own["pools"] = ",".join(("max", "mean")[: halvings(input_shape, 2)])
    return NetSpec(family="nin", params={**own, **(params or {})}, classes=classes, input_shape=input_shape)
