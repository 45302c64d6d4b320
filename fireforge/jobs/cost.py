# SPDX-License-Identifier: Apache-2.0
"""cost: what networks cost, counted on their graphs; nothing is trained or run."""

from __future__ import annotations

from pathlib import Path

from fireforge.base.cost import Cost
from fireforge.base.errors import FireforgeError, lookup
from fireforge.base.files import read_json
from fireforge.base.graph import Graph
from fireforge.base.spec import NetSpec
from fireforge.cost.count import NodeCost, by_node, count
from fireforge.importers.onnx_file import import_onnx
from fireforge.nets.families import NETWORKS, build_graph


def cost_all(
    nets: list[str], *, list_all: bool = False, classes: int | None = None, image: tuple[int, int, int] | None = None
) -> list[tuple[str, Cost]]:
    """The costs of several networks.

    Args:
      nets: what `graph_of` takes.
      list_all: all of NETWORKS as well, as also where no net is given.
      classes: outputs of named networks; None for their default.
      image: (C, H, W) of named networks; None for their default.

    Returns:
      (name, Cost) in the order given.
    """
    names = [*nets, *(NETWORKS if list_all or not nets else ())]
    return [(name, cost(name, classes=classes, image=image)) for name in names]


def image_of(text: str | None) -> tuple[int, int, int] | None:
    """(C, H, W) of "3x32x32"; None of None."""
    if text is None:
        return None
    parts = text.lower().split("x")
    if len(parts) != 3 or not all(part.isdigit() and int(part) > 0 for part in parts):
        raise FireforgeError(
            "BAD_UNIT", f"{text!r} is not a picture's shape", allowed="3x32x32 (channels, height, width)"
        )
    return int(parts[0]), int(parts[1]), int(parts[2])


def cost(net: str, *, classes: int | None = None, image: tuple[int, int, int] | None = None) -> Cost:
    """The cost of one network.

    Args:
      net: a name of NETWORKS, an .onnx file, a spec.json, or a run's folder.
      classes: outputs of a named network; None for its default.
      image: (C, H, W) of a named network; None for its default.

    Returns:
      The Cost.
    """
    return count(graph_of(net, classes=classes, image=image))


def layers(net: str, *, classes: int | None = None, image: tuple[int, int, int] | None = None) -> tuple[NodeCost, ...]:
    """The cost of each node of one network; arguments as for `cost`."""
    return by_node(graph_of(net, classes=classes, image=image))


def graph_of(net: str, *, classes: int | None = None, image: tuple[int, int, int] | None = None) -> Graph:
    """The Graph that a user means; arguments as for `cost`."""
    path = Path(net)
    if path.is_dir():
        path = path / "spec.json"
    if path.suffix == ".onnx":
        return import_onnx(path)[0]
    if path.suffix == ".json":
        return build_graph(NetSpec.from_json(read_json(path)))
    preset = lookup(NETWORKS, net, "network")
    given = {} if classes is None else {"classes": classes}
    return build_graph(preset(**given) if image is None else preset(**given, input_shape=image))
