# SPDX-License-Identifier: Apache-2.0
"""cost: what networks cost, counted on their graphs; nothing is trained or run."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fireforge.base.cost import Cost
from fireforge.base.errors import FireforgeError, lookup
from fireforge.base.files import read_json
from fireforge.base.graph import Graph
from fireforge.base.profile import DeviceProfile
from fireforge.base.published import Published
from fireforge.base.spec import NetSpec
from fireforge.base.trunk import trunk
from fireforge.base.value import Json, Value
from fireforge.cost.change import Changed, changed, changes
from fireforge.cost.count import count
from fireforge.cost.latency import Latency, LatencyModel
from fireforge.cost.ledger import Line, ledger
from fireforge.cost.parallel import Way, ways
from fireforge.cost.summary import Summary, summary
from fireforge.importers.onnx_file import import_onnx
from fireforge.jobs.profiles import kept, read_profile
from fireforge.nets.families import NETWORKS, build_graph
from fireforge.nets.published import PUBLISHED
from fireforge.runtime.events import block_of

MOST_PX = 16384  # of a picture's side that costs are counted for
NUMBER = re.compile("[0-9]{1,5}")
Image = tuple[int, int, int] | int | None  # (C, H, W), the side of a square, or what the network has by default


@dataclass(frozen=True, kw_only=True)
class Asked(Value):
    """What a user wants to know of a network.

    Args:
      batch: pictures at once.
      dtype: in which its numbers are held.
      changes: one at a time.
      workers: that share a step of training; 0 for no table.
      profile: file of a machine's profile; "" for the one that is kept of this machine, where there is one.
    """

    batch: int = 1
    dtype: str = "float32"
    changes: tuple[str, ...] = ()
    workers: int = 0
    profile: str = ""


@dataclass(frozen=True, kw_only=True)
class Told(Value):
    """What one network costs.

    Args:
      name: as it was asked for.
      cost: of one picture; None where `why` says why there is none.
      why: a named network of a list cannot be; "" for all others.
      published: figures of the network of that name, where there are any, and it is told as it was published.
      summary: everything in sum; None in a list.
      changes: the network as it is and with each change; empty where none was asked for.
      ways: of sharing a step of training; empty where no workers were named.
      latency: number format to the time that is foretold of one picture; empty without a profile.
      machine: that the latency is of.
    """

    name: str
    cost: Cost | None
    why: str = ""
    published: Published | None = None
    summary: Summary | None = None
    changes: tuple[Changed, ...] = ()
    ways: tuple[Way, ...] = ()
    latency: dict[str, Latency] = field(default_factory=dict)
    machine: str = ""

    def fields(self) -> dict[str, Json]:
        """JSON with the cost's fields beside the others, and as "size" the bytes of the weights."""
        whole = self.to_json()
        own = whole.pop("cost") or {}
        return {"name": whole.pop("name"), **own, "size": own.get("weight_bytes"), **whole}


def cost_all(
    nets: Sequence[str], *, list_all: bool = False, classes: int | None = None, image: Image = None, asked: Asked
) -> list[Told]:
    """The costs of several networks.

    Args:
      nets: what `graph_of` takes; these are told in full.
      list_all: all of NETWORKS as well, as also where no net is given; of these the cost of one picture alone.
      classes: as for `graph_of`.
      image: as for `graph_of`.
      asked: what is wanted of each of the nets.

    Returns:
      One a network, in the order given.
    """
    told = [cost_told(name, classes=classes, image=image, asked=asked) for name in nets]
    names = NETWORKS if list_all or not nets else ()
    return told + [_listed(name, classes=classes, image=image) for name in names if name not in nets]


def _listed(name: str, *, classes: int | None, image: Image) -> Told:
    """One network of a list: a name that cannot be with these classes or this picture does not end the list."""
    try:
        counted = cost(name, classes=classes, image=image)
    except FireforgeError as error:
        return Told(name=name, cost=None, why=error.line())
    return Told(name=name, cost=counted, published=printed_of(name, classes=classes, image=image))


def printed_of(net: str, *, classes: int | None = None, image: Image = None) -> Published | None:
    """What was printed of a network, where it is told with the classes and the picture of the print.

    Args:
      net: as for `graph_of`.
      classes: as for `graph_of`.
      image: as for `graph_of`.

    Returns:
      The figures; None where there are none, or they are of another network than is meant.
    """
    if net not in PUBLISHED:
        return None
    usual = NETWORKS[net]()
    same = classes in (None, usual.classes) and shape_of(usual, image) == usual.input_shape
    return PUBLISHED[net] if same else None


def cost_told(net: str, *, classes: int | None = None, image: Image = None, asked: Asked) -> Told:
    """Everything of one network.

    Args:
      net: as for `graph_of`.
      classes: as for `graph_of`.
      image: as for `graph_of`.
      asked: what is wanted.

    Returns:
      What was counted.
    """
    graph = graph_of(net, classes=classes, image=image)
    found = summary(graph, batch=asked.batch, dtype=asked.dtype, block=max(block_of(), 1))
    profile = read_profile(asked.profile) if asked.profile else kept()
    alone = trunk(graph)
    forms = {} if profile is None else {form: LatencyModel(profile, form).predict(alone) for form in profile.forms}
    return Told(
        name=net,
        cost=found.cost,
        published=printed_of(net, classes=classes, image=image),
        summary=found,
        changes=changes(graph, asked.changes) if asked.changes else (),
        ways=ways(graph, batch=asked.batch, workers=asked.workers) if asked.workers else (),
        latency=forms,
        machine="" if profile is None else _machine(profile),
    )


def _machine(profile: DeviceProfile) -> str:
    return f"{profile.hardware.processor}, {profile.runtime}, {profile.threads} thread(s)"


def cost(net: str, *, classes: int | None = None, image: Image = None) -> Cost:
    """The cost of one network for one picture; arguments as for `graph_of`."""
    return count(graph_of(net, classes=classes, image=image))


def layers(net: str, *, classes: int | None = None, image: Image = None, asked: Asked) -> tuple[Line, ...]:
    """The cost of each node of one network; arguments as for `cost_told`."""
    return ledger(graph_of(net, classes=classes, image=image), batch=asked.batch, dtype=asked.dtype)


def image_of(text: str | None, side: int | None = None) -> Image:
    """What `graph_of` takes for a picture's size.

    Args:
      text: such as "3x32x32": channels, height, width; None for none.
      side: of a square; None for none.

    Returns:
      (C, H, W), the side, or None of both None.

    Raises:
      FireforgeError: BAD_UNIT, if the text is no shape; BAD_USAGE, if both are given.
    """
    if text is None:
        return side
    if side is not None:
        raise FireforgeError("BAD_USAGE", "--image and --image-size name one thing twice", do="leave one of them out")
    parts = text.lower().split("x")
    sizes = tuple(int(part) for part in parts if NUMBER.fullmatch(part))
    if len(parts) != 3 or len(sizes) != 3 or not all(0 < size <= MOST_PX for size in sizes):
        allowed = f"3x32x32 (channels, height, width), {MOST_PX} at most"
        raise FireforgeError("BAD_UNIT", f"{text!r} is not a picture's shape", where="--image", allowed=allowed)
    return sizes[0], sizes[1], sizes[2]


def graph_of(net: str, *, classes: int | None = None, image: Image = None) -> Graph:
    """The Graph that a user means.

    Args:
      net: a name of NETWORKS, an .onnx file, a spec.json, or a run's folder.
      classes: outputs; None for what the network has. The graph of a file is changed as
        `fireforge.cost.change.changed` does it.
      image: size of the picture; None for what the network has.

    Returns:
      The Graph.

    Raises:
      FireforgeError: UNKNOWN_NAME, if there is no such network; what reading a file raises; BAD_CHANGE, if a file's
        graph cannot be changed so.
    """
    path = Path(net)
    if path.is_dir():
        path = path / "spec.json"
    if path.suffix == ".onnx":
        return _fitted(import_onnx(path)[0], classes, image)
    if path.suffix == ".json":
        spec = NetSpec.from_json(read_json(path))
        return build_graph(spec.replace(classes=classes or spec.classes, input_shape=shape_of(spec, image)))
    preset = lookup(NETWORKS, net, "network")
    given = {} if classes is None else {"classes": classes}
    return build_graph(preset(**given) if image is None else preset(**given, input_shape=shape_of(preset(), image)))


def shape_of(spec: NetSpec, image: Image) -> tuple[int, int, int]:
    """The (C, H, W) of a network's picture, at its own size or another one."""
    if image is None:
        return spec.input_shape
    return (spec.input_shape[0], image, image) if isinstance(image, int) else image


def _fitted(graph: Graph, classes: int | None, image: Image) -> Graph:
    """A file's graph with other classes or another size of the picture."""
    graph = graph if classes is None else changed(graph, f"classes={classes}")
    if image is None:
        return graph
    if isinstance(image, tuple) and image[0] != graph.inputs[0].shape[1]:
        raise FireforgeError("BAD_CHANGE", f"{image[0]} channels", where="input", allowed=str(graph.inputs[0].shape[1]))
    high, wide = (image, image) if isinstance(image, int) else image[1:]
    return changed(graph, f"input={high}x{wide}")
