# SPDX-License-Identifier: Apache-2.0
"""VGG (Simonyan and Zisserman 2014): 3x3 convolutions alone, in the six configurations of its table."""

from __future__ import annotations

from collections.abc import Mapping

from fireforge.base.errors import lookup
from fireforge.base.graph import Graph
from fireforge.base.spec import NetSpec, Param
from fireforge.nets.builder import Builder
from fireforge.nets.fillers import Filler
from fireforge.nets.fit import halvings, stem_stride
from fireforge.nets.params import int_list, need, read_params
from fireforge.nets.preset import preset

# table 1: five blocks, each ended by a pool; the side of each convolution, L for a response norm
CONFIGURATIONS: dict[str, tuple[str, ...]] = {
    "A": ("3", "3", "33", "33", "33"),
    "A-LRN": ("3L", "3", "33", "33", "33"),
    "B": ("33", "33", "33", "33", "33"),
    "C": ("33", "33", "331", "331", "331"),
    "D": ("33", "33", "333", "333", "333"),
    "E": ("33", "33", "3333", "3333", "3333"),
}
DEFAULTS: dict[str, Param] = {
    "configuration": "D",
    "blocks": 5,  # so many of the configuration's, from the first on
    "width": 64,  # filters of the first block; each doubles them up to eight times as many
    "pools": 5,  # so many blocks, from the first on, end with a pool
    "stem_stride": 1,  # of the first convolution
    "units": "4096,4096",
    "dropout": 0.5,  # behind each of the units
    "norm": False,  # batch norm behind each convolution; these have no bias then
}


def vgg(spec: NetSpec) -> Graph:
    """A VGG network as a Graph.

    Args:
      spec: family "vgg"; parameters as in DEFAULTS.

    Returns:
      The Graph, "input" (N, C, H, W) to "logits" (N, classes).

    Raises:
      FireforgeError: UNKNOWN_NAME or BAD_SPEC, if a parameter is unknown or makes no network.

    Source:
      Simonyan and Zisserman 2014, table 1; the response norm of A-LRN with Krizhevsky's numbers.
    """
    p = read_params(spec, DEFAULTS)
    blocks = lookup(CONFIGURATIONS, p["configuration"], "VGG configuration")
    for name, low, high in (("blocks", 1, 5), ("pools", 0, 5), ("width", 1, 1 << 20), ("stem_stride", 1, 1 << 20)):
        need(low <= p[name] <= high, f"got {p[name]}", where=f"vgg.{name}", allowed=f"{low} to {high}")
    need(0 <= p["dropout"] < 1, f"got {p['dropout']}", where="vgg.dropout", allowed="0 to below 1")
    units = int_list(p["units"], where="vgg.units")
    need(min(units, default=1) >= 1, f"got {p['units']!r}", where="vgg.units", allowed="at least 1 each")
    b = Builder(spec)
    x = b.input
    for block, layers in enumerate(blocks[: p["blocks"]], 1):
        width = p["width"] << min(block - 1, 3)
        for place, kind in enumerate(layers, 1):
            name = f"conv{block}_{place}"
            if kind == "L":
                x = b.response_norm(x, name=f"norm{block}", alpha=5e-4, bias=2.0)
                continue
            stride = p["stem_stride"] if block == place == 1 else 1
            x = b.conv(x, width, int(kind), name=name, stride=stride, pad=int(kind) // 2, bias=not p["norm"])
            x = b.relu(b.batch_norm(x, name=f"{name}_norm") if p["norm"] else x)
        if block <= p["pools"]:
            x = b.max_pool(x, 2, name=f"pool{block}", stride=2)
    x = b.flatten(x)
    for i, number in enumerate(units, 6):
        x = b.dropout(b.relu(b.linear(x, number, name=f"fc{i}")), p["dropout"], name=f"dropout{i}")
    return b.graph(b.linear(x, spec.classes, name=f"fc{6 + len(units)}"))


def fillers(spec: NetSpec) -> tuple[Filler, ...]:
    """Glorot and Bengio's law, which by the authors' own remark (section 3.1) makes their pre-training of A needless.

    With batch norm the default rule holds.
    """
    return () if read_params(spec, DEFAULTS)["norm"] else (Filler(layers="*", law="glorot"),)


vgg_a, vgg_a_lrn, vgg_b, vgg_c, vgg_d, vgg_e = (preset("vgg", {"configuration": letter}) for letter in CONFIGURATIONS)


def small_vgg(
    classes: int = 10,
    *,
    input_shape: tuple[int, int, int] = (3, 32, 32),
    params: Mapping[str, Param] | None = None,
) -> NetSpec:
    """The first three blocks of configuration D at half the width, batch norm, pools as many as the image bears.

    Args:
      classes: outputs.
      input_shape: (C, H, W).
      params: parameters of DEFAULTS that shall differ.

    Returns:
      The NetSpec; from 64 px on its first layer has a stride.
    """
    own: dict[str, Param] = {"configuration": "D", "blocks": 3, "width": 32, "units": "256", "norm": True}
    own.update({"stem_stride": stem_stride(input_shape), "pools": halvings(input_shape, 3)})
    return NetSpec(family="vgg", params={**own, **(params or {})}, classes=classes, input_shape=input_shape)
