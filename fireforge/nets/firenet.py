# SPDX-License-Identifier: Apache-2.0
"""FIRE modules and the FireNet space, of which SqueezeNet is one point (Iandola et al. 2016)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fireforge.base.graph import Graph
from fireforge.base.spec import NetSpec, Param
from fireforge.nets.builder import Builder
from fireforge.nets.fillers import Filler
from fireforge.nets.params import int_list, need, read_params
from fireforge.nets.preset import preset

# The metaparameters are those of the paper's section 5, the rest is the macro-architecture of its table 1.
DEFAULTS: dict[str, Param] = {
    "base_e": 128,  # expand filters of the first fire
    "incr_e": 128,  # added to them ...
    "freq": 2,  # ... after every so many fires
    "pct3x3": 0.5,  # share of the expand filters that are 3x3
    "sr": 0.125,  # squeeze ratio: squeeze filters by expand filters
    "fires": 8,
    "stem": 96,  # filters of conv1
    "stem_kernel": 7,
    "stem_stride": 2,
    "stem_pad": 0,
    "pools": "1,4,8",  # layers behind which a max pool stands; conv1 is layer 1, the first fire layer 2
    "pool_kernel": 3,
    "pool_ceil": True,
    "final_pad": 1,  # of the last convolution; v1.0 has 1, v1.1 has 0
    "final_relu": True,
    "dropout": 0.5,
    "norm": False,  # batch norm behind each convolution but the last; these have no bias then
    "bypass": "none",  # "simple": a sum around each fire whose channels stay; "complex": also 1x1 around the others
}


def firenet(spec: NetSpec) -> Graph:
    """A FireNet as a Graph.

    Args:
      spec: family "firenet"; parameters as in DEFAULTS.

    Returns:
      The Graph, "input" (N, C, H, W) to "logits" (N, classes).

    Raises:
      FireforgeError: UNKNOWN_NAME or BAD_SPEC, if a parameter is unknown or makes no network.

    Source:
      Iandola et al. 2016, SqueezeNet, table 1 and sections 3.1, 5.1 (metaparameters), 6 (bypass). Counts that are not
      whole are rounded; at least one filter of each kind is kept. A complex bypass has no activation of its own.
    """
    p = _checked(spec)
    pools = int_list(p["pools"], where="firenet.pools")
    last = p["fires"] + 2
    b = Builder(spec)
    x = _conv(b, b.input, p["stem"], p["stem_kernel"], name="conv1", stride=p["stem_stride"], pad=p["stem_pad"], p=p)
    x = _pool(b, x, layer=1, pools=pools, p=p)
    for i in range(p["fires"]):
        x = _fire(b, x, fire_sizes(i, p), name=f"fire{i + 2}", p=p)
        x = _pool(b, x, layer=i + 2, pools=pools, p=p)
    x = b.dropout(x, p["dropout"])
    x = b.conv(x, spec.classes, 1, name=f"conv{last}", pad=p["final_pad"])
    if p["final_relu"]:
        x = b.relu(x)
    x = b.global_average_pool(x, name=f"pool{last}")
    return b.graph(b.flatten(x))


def fire_sizes(i: int, p: Mapping[str, Any]) -> tuple[int, int, int]:
    """Filters of fire i: squeeze, expand 1x1, expand 3x3.

    e_i = base_e + incr_e * floor(i / freq); e3 = pct3x3 * e_i; e1 = e_i - e3; s = sr * e_i.

    Args:
      i: number of the fire, from 0.
      p: the metaparameters base_e, incr_e, freq, pct3x3 and sr.

    Returns:
      (s, e1, e3), each at least 1.

    Source:
      Iandola et al. 2016, section 5.1; round() of Python where a product is not whole.

    Example:
      >>> fire_sizes(2, DEFAULTS)
      (32, 128, 128)
    """
    expand = p["base_e"] + p["incr_e"] * (i // p["freq"])
    e3 = min(max(round(p["pct3x3"] * expand), 1), expand - 1)
    return max(round(p["sr"] * expand), 1), expand - e3, e3


def _checked(spec: NetSpec) -> dict[str, Any]:
    p = read_params(spec, DEFAULTS)
    least = {"base_e": 2, "incr_e": 0, "freq": 1, "fires": 1, "stem": 1, "stem_kernel": 1, "stem_stride": 1}
    least.update({"stem_pad": 0, "pool_kernel": 1, "final_pad": 0})
    for name, low in least.items():
        need(p[name] >= low, f"got {p[name]}", where=f"firenet.{name}", allowed=f"at least {low}")
    need(0 <= p["pct3x3"] <= 1, f"got {p['pct3x3']}", where="firenet.pct3x3", allowed="0 to 1")
    need(0 < p["sr"] < 1e6, f"got {p['sr']}", where="firenet.sr", allowed="above 0")
    need(0 <= p["dropout"] < 1, f"got {p['dropout']}", where="firenet.dropout", allowed="0 to below 1")
    known = ("none", "simple", "complex")
    need(p["bypass"] in known, f"got {p['bypass']!r}", where="firenet.bypass", allowed=", ".join(known))
    layers = int_list(p["pools"], where="firenet.pools")
    good = all(1 <= layer <= p["fires"] + 1 for layer in layers) and list(layers) == sorted(set(layers))
    need(good, f"got {p['pools']!r}", where="firenet.pools", allowed=f"rising layer numbers, 1 to {p['fires'] + 1}")
    return p


def _fire(b: Builder, x: str, sizes: tuple[int, int, int], *, name: str, p: dict[str, Any]) -> str:
    squeeze, e1, e3 = sizes
    s = _conv(b, x, squeeze, 1, name=f"{name}.squeeze", p=p)
    left = _conv(b, s, e1, 1, name=f"{name}.expand1x1", p=p)
    right = _conv(b, s, e3, 3, name=f"{name}.expand3x3", pad=1, p=p)
    out = b.concat((left, right), name=f"{name}.concat")
    same = b.channels(x) == b.channels(out)
    if p["bypass"] == "complex" and not same:
        x = _linear(b, x, b.channels(out), 1, name=f"{name}.bypass1x1", p=p)
    if p["bypass"] == "complex" or (p["bypass"] == "simple" and same):
        out = b.add(x, out, name=f"{name}.bypass")
    return out


def _conv(
    b: Builder, x: str, filters: int, kernel: int, *, name: str, p: dict[str, Any], stride: int = 1, pad: int = 0
) -> str:
    return b.relu(_linear(b, x, filters, kernel, name=name, p=p, stride=stride, pad=pad))


def _linear(
    b: Builder, x: str, filters: int, kernel: int, *, name: str, p: dict[str, Any], stride: int = 1, pad: int = 0
) -> str:
    x = b.conv(x, filters, kernel, name=name, stride=stride, pad=pad, bias=not p["norm"])
    return b.batch_norm(x, name=f"{name}_norm") if p["norm"] else x


def _pool(b: Builder, x: str, *, layer: int, pools: tuple[int, ...], p: dict[str, Any]) -> str:
    if layer not in pools:
        return x
    return b.max_pool(x, p["pool_kernel"], name=f"pool{layer}", stride=2, ceil=p["pool_ceil"])


def squeezenet_1_0(
    classes: int = 1000,
    *,
    input_shape: tuple[int, int, int] = (3, 227, 227),
    params: Mapping[str, Param] | None = None,
) -> NetSpec:
    """SqueezeNet 1.0 as published: 1,248,424 parameters and 861,339,936 MACs at 1000 classes.

    Args:
      classes: outputs.
      input_shape: (C, H, W).
      params: parameters of DEFAULTS that shall differ.

    Returns:
      The NetSpec.
    """
    return NetSpec(family="firenet", params=dict(params or {}), classes=classes, input_shape=input_shape)


def squeezenet_1_1(
    classes: int = 1000,
    *,
    input_shape: tuple[int, int, int] = (3, 227, 227),
    params: Mapping[str, Param] | None = None,
) -> NetSpec:
    """SqueezeNet 1.1: the same accuracy with 2.4 times fewer MACs; 1,235,496 parameters at 1000 classes.

    Args:
      classes: outputs.
      input_shape: (C, H, W).
      params: parameters of DEFAULTS that shall differ.

    Returns:
      The NetSpec.
    """
    own: dict[str, Param] = {"stem": 64, "stem_kernel": 3, "pools": "1,3,5", "final_pad": 0}
    return NetSpec(family="firenet", params={**own, **(params or {})}, classes=classes, input_shape=input_shape)


squeezenet_simple_bypass = preset("firenet", {"bypass": "simple"}, input_shape=(3, 227, 227))
squeezenet_complex_bypass = preset("firenet", {"bypass": "complex"}, input_shape=(3, 227, 227))


def small_firenet(
    classes: int = 10,
    *,
    input_shape: tuple[int, int, int] = (3, 32, 32),
    params: Mapping[str, Param] | None = None,
) -> NetSpec:
    """A FireNet for small images: 3x3 stem with stride 1, batch norm, pools as many as the image bears.

    Args:
      classes: outputs.
      input_shape: (C, H, W); any size from 1 x 1.
      params: parameters of DEFAULTS that shall differ; `pools` follows from fires and the image if it is not given.

    Returns:
      The NetSpec.
    """
    own: dict[str, Param] = {"base_e": 32, "incr_e": 32, "sr": 0.25, "fires": 4, "stem": 32, "stem_kernel": 3}
    own.update({"stem_stride": 1, "stem_pad": 1, "final_pad": 0, "final_relu": False, "dropout": 0.0, "norm": True})
    own.update(params or {})
    own.setdefault("pools", pools_for(min(input_shape[1:]), fires=int(own["fires"])))
    return NetSpec(family="firenet", params=own, classes=classes, input_shape=input_shape)


def fillers(spec: NetSpec) -> tuple[Filler, ...]:
    """The authors' Caffe file: "xavier", the last convolution N(0, 0.01); with batch norm the default rule holds."""
    p = read_params(spec, DEFAULTS)
    if p["norm"]:
        return ()
    last = Filler(layers=f"conv{p['fires'] + 2}", law="gaussian", amount=0.01)
    return (last, Filler(layers="*", law="xavier"))


def pools_for(size_px: int, *, fires: int, least_px: int = 4) -> str:
    """Layers behind which pools of stride 2 stand, spread evenly, so that the map stays at a least size.

    Args:
      size_px: smaller side of the map before the first pool.
      fires: number of fires; the layers 1 to fires may bear a pool, so that a fire follows the last one.
      least_px: side below which no pool leads.

    Returns:
      Layer numbers as "1,3", for the parameter `pools`; empty where the map is too small for any.

    Example:
      >>> pools_for(32, fires=4), pools_for(8, fires=4), pools_for(6, fires=4)
      ('1,3,4', '3', '')
    """
    count = 0
    while size_px // 2 >= least_px and count < fires:
        size_px //= 2
        count += 1
    return ",".join(str(1 + (2 * i + 1) * fires // (2 * count)) for i in range(count))
