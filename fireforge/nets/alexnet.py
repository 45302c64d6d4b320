# SPDX-License-Identifier: Apache-2.0
"""AlexNet in its printings: the paper's, Caffe's two, ungrouped, of one tower, and one for small images."""

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
    "filters": "96,256,384,384,256",  # of conv1 to conv5
    "groups": 2,  # of conv2, conv4 and conv5: the two towers, which conv3 joins
    "stem_kernel": 11,
    "stem_stride": 4,
    "stem_pad": 0,
    "norm": "caffe",  # response norm of Caffe, "paper": that of the paper, "batch": batch norm, "none"
    "pool_first": False,  # pool before the response norm, as in CaffeNet
    "pools": "1,2,5",  # convolutions behind which a 3x3 pool of stride 2 stands
    "units": "4096,4096",  # of fc6 and fc7
    "dropout": 0.5,  # behind both
}
NORMS = {"caffe": (1e-4, 1.0), "paper": (5e-4, 2.0)}  # (alpha of the mean of squares, bias)
KERNELS = (0, 5, 3, 3, 3)  # of conv1 to conv5; the first is a parameter
GROUPED = (False, True, False, True, True)


def alexnet(spec: NetSpec) -> Graph:
    """An AlexNet as a Graph.

    Args:
      spec: family "alexnet"; parameters as in DEFAULTS.

    Returns:
      The Graph, "input" (N, C, H, W) to "logits" (N, classes).

    Raises:
      FireforgeError: UNKNOWN_NAME or BAD_SPEC, if a parameter is unknown or makes no network.

    Source:
      Krizhevsky et al. 2012, section 3; Caffe's bvlc_alexnet. The first layer sees 227 px: with the paper's 224 its
      maps would have no whole size. The response norm of Caffe divides alpha by the 5 channels of its window and has
      k = 1; the paper's does not divide and has k = 2. Pools round up, as Caffe's do.
    """
    p = _checked(spec)
    filters, pools = int_list(p["filters"], where="alexnet.filters"), int_list(p["pools"], where="alexnet.pools")
    b = Builder(spec)
    x = b.input
    for i, number in enumerate(filters, 1):
        kernel, stride, pad = KERNELS[i - 1], 1, KERNELS[i - 1] // 2
        if i == 1:
            kernel, stride, pad = p["stem_kernel"], p["stem_stride"], p["stem_pad"]
        groups = p["groups"] if GROUPED[i - 1] else 1
        batch = p["norm"] == "batch"
        x = b.conv(x, number, kernel, name=f"conv{i}", stride=stride, pad=pad, groups=groups, bias=not batch)
        x = b.relu(b.batch_norm(x, name=f"conv{i}_norm") if batch else x)
        if not p["pool_first"]:
            x = _response_norm(b, x, i, p)
        if i in pools:
            x = b.max_pool(x, 3, name=f"pool{i}", stride=2, ceil=True)
        if p["pool_first"]:
            x = _response_norm(b, x, i, p)
    x = b.flatten(x)
    for i, units in enumerate(int_list(p["units"], where="alexnet.units"), 6):
        x = b.dropout(b.relu(b.linear(x, units, name=f"fc{i}")), p["dropout"], name=f"dropout{i}")
    return b.graph(b.linear(x, spec.classes, name="fc8"))


def _response_norm(b: Builder, x: str, layer: int, p: Mapping[str, Any]) -> str:
    """Behind conv1 and conv2."""
    if layer > 2 or p["norm"] not in NORMS:
        return x
    alpha, bias = NORMS[p["norm"]]
    return b.response_norm(x, name=f"norm{layer}", alpha=alpha, bias=bias)


def _checked(spec: NetSpec) -> dict[str, Any]:
    p = read_params(spec, DEFAULTS)
    for name, low in {"groups": 1, "stem_kernel": 1, "stem_stride": 1, "stem_pad": 0}.items():
        need(p[name] >= low, f"got {p[name]}", where=f"alexnet.{name}", allowed=f"at least {low}")
    need(
        p["norm"] in (*NORMS, "batch", "none"),
        f"got {p['norm']!r}",
        where="alexnet.norm",
        allowed="caffe, paper, batch, none",
    )
    need(0 <= p["dropout"] < 1, f"got {p['dropout']}", where="alexnet.dropout", allowed="0 to below 1")
    for name, length in {"filters": 5, "units": 2}.items():
        numbers = int_list(p[name], where=f"alexnet.{name}")
        good = len(numbers) == length and min(numbers) >= 1
        need(good, f"got {p[name]!r}", where=f"alexnet.{name}", allowed=f"{length} numbers, at least 1 each")
    pools = int_list(p["pools"], where="alexnet.pools")
    good = all(1 <= layer <= 5 for layer in pools) and list(pools) == sorted(set(pools))
    need(good, f"got {p['pools']!r}", where="alexnet.pools", allowed="rising layer numbers, 1 to 5")
    return p


def fillers(spec: NetSpec) -> tuple[Filler, ...]:
    """Krizhevsky et al. 2012, section 5: N(0, 0.01), biases of conv2, conv4, conv5, fc6 and fc7 at 1, so of "paper".

    Caffe has 0.1 for these biases and draws fc6 and fc7 with 0.005. With batch norm the default rule holds.
    """
    norm = read_params(spec, DEFAULTS)["norm"]
    if norm == "batch":
        return ()
    if norm == "paper":
        return (
            Filler(layers="fc[67]", law="gaussian", amount=0.01, bias=1.0),
            Filler(layers="conv[245]", law="gaussian", amount=0.01, bias=1.0),
            Filler(layers="*", law="gaussian", amount=0.01),
        )
    return (
        Filler(layers="fc[67]", law="gaussian", amount=0.005, bias=0.1),
        Filler(layers="conv[245]", law="gaussian", amount=0.01, bias=0.1),
        Filler(layers="*", law="gaussian", amount=0.01),
    )


alexnet_caffe = preset("alexnet", input_shape=(3, 227, 227))
alexnet_paper = preset("alexnet", {"norm": "paper"}, input_shape=(3, 227, 227))
alexnet_ungrouped = preset("alexnet", {"groups": 1}, input_shape=(3, 227, 227))
caffenet = preset("alexnet", {"pool_first": True}, input_shape=(3, 227, 227))
alexnet_owt = preset("alexnet", {"filters": "64,192,384,256,256", "groups": 1, "norm": "none", "stem_pad": 2})


def small_alexnet(
    classes: int = 10,
    *,
    input_shape: tuple[int, int, int] = (3, 32, 32),
    params: Mapping[str, Param] | None = None,
) -> NetSpec:
    """An AlexNet for small images: 5x5 stem, batch norm, pools as many as the image bears.

    Args:
      classes: outputs.
      input_shape: (C, H, W).
      params: parameters of DEFAULTS that shall differ.

    Returns:
      The NetSpec.
    """
    own: dict[str, Param] = {"filters": "32,96,128,128,96", "groups": 1, "norm": "batch", "units": "256,256"}
    own.update({"stem_kernel": 5, "stem_pad": 2, "stem_stride": stem_stride(input_shape)})
    own["pools"] = ",".join(("1", "2", "5")[: halvings(input_shape, 3)])
    return NetSpec(family="alexnet", params={**own, **(params or {})}, classes=classes, input_shape=input_shape)
