# SPDX-License-Identifier: Apache-2.0
"""A Caffe network: prototxt and caffemodel to a Graph with its numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fireforge.base.errors import FireforgeError
from fireforge.base.graph import Graph
from fireforge.base.model import dense
from fireforge.base.preprocess import ImageSteps
from fireforge.base.validate import validate
from fireforge.importers.caffe_layers import LAYERS
from fireforge.importers.caffe_net import ASIDE, SOURCES, TEST, TRAIN, Feed, feed_of, in_phase, layers_of
from fireforge.importers.caffe_pen import FEED, Layer, Pen, Wanted
from fireforge.importers.caffe_wire import array_of, read_net
from fireforge.importers.imported import Imported

IMAGENET_SIDES = (192, 256)  # inputs of these sides are cut out of pictures whose shorter side is 256
IMAGENET_MEANS = (104.0, 117.0, 123.0)  # blue, green, red
MOST_NAMES = 20  # in one note
Blobs = Mapping[str, Sequence[Any]]


def import_caffe(files: Sequence[Path], known: Graph | None) -> Imported:
    """Read a Caffe model.

    Args:
      files: a prototxt and a caffemodel in any order, or a caffemodel alone.
      known: not needed: Caffe's files name their layers.

    Returns:
      The model: what runs in the phase TEST; layers for data, loss and accuracy and a Softmax at the end are left out.

    Raises:
      FireforgeError: NO_FILE; BAD_MODEL_FILE; BAD_WEIGHTS, if numbers are absent or of another shape;
        UNKNOWN_OPERATOR, naming the layer; UNSAFE_FILE, if a layer would run Python; BAD_GRAPH or BAD_SHAPE.
    """
    texts, binaries = _sorted(files)
    stored: dict[str, Sequence[Any]] = {}
    for _, net in binaries:
        stored = {layer.name: layer.blobs for layer in layers_of(net, binaries[0][0]) if layer.blobs}
    path, net = (texts or binaries)[0]
    pen, feed, graph = network(net, path, stored)
    if not stored and pen.wanted:
        do = "name the .caffemodel as well" if texts else "the .caffemodel that training wrote"
        raise FireforgeError("BAD_WEIGHTS", "a network without numbers", where=str(path), do=do)
    arrays = _arrays(pen, graph, stored)
    notes = list(pen.notes)
    spare = sorted(set(stored) - _used(pen, graph).keys())
    if spare:
        notes.append(
            f"numbers of layers that the network does not have: {', '.join(name[:80] for name in spare[:MOST_NAMES])}"
        )
    steps = steps_of(graph, feed, notes)
    source = f"Caffe model {net.name[:80]!r}, {' and '.join(sorted(path.name for path in files))}"
    return Imported(graph=graph, weights=dense(arrays), steps=steps, source=source, notes=tuple(notes))


def _sorted(files: Sequence[Path]) -> tuple[list[tuple[Path, Any]], list[tuple[Path, Any]]]:
    """The messages of the texts and of the binaries."""
    texts: list[tuple[Path, Any]] = []
    binaries: list[tuple[Path, Any]] = []
    for path in files:
        net, is_text = read_net(path)
        (texts if is_text else binaries).append((path, net))
    if len(texts) > 1 or len(binaries) > 1 or not files:
        got = f"{len(texts)} prototxt and {len(binaries)} caffemodel files"
        raise FireforgeError("BAD_MODEL_FILE", got, where=str((*files, "")[0]), allowed="one of each")
    return texts, binaries


def network(net: Any, where: str | Path, stored: Blobs) -> tuple[Pen, Feed, Graph]:
    """A Caffe network as a Graph without numbers.

    Args:
      net: a NetParameter.
      where: its file, for errors.
      stored: blobs of each layer, for what only they tell.

    Returns:
      The pen, which knows what weights want; what feeds the network; and the graph.

    Raises:
      FireforgeError: as `import_caffe`.
    """
    pen = Pen(str(where))
    every = layers_of(net, where)
    layers = in_phase(net, every, TEST)
    feed = feed_of(net, layers, stored, where)
    if not feed.shapes:  # a caffemodel of training knows the data of training alone
        layers = in_phase(net, every, TRAIN)
        feed = feed_of(net, layers, stored, where)
        pen.notes.append("layers of the phase TRAIN: there are no data in the phase TEST")
    _draw(pen, layers, feed)
    graph = pen.graph(_answer(pen))
    validate(graph)
    return pen, feed, graph


def _draw(pen: Pen, layers: Sequence[Any], feed: Feed) -> None:
    """All layers, in their order."""
    for blob, shape in feed.shapes.items():
        if shape is not None:
            pen.feed(blob, shape)
    skipped: Counter[str] = Counter()
    read = {name for proto in layers for name in proto.bottom}
    for proto, sole in zip(layers, _sole(layers)):
        if proto.type in SOURCES or proto.type in ASIDE or _is_last_argmax(proto, read):
            skipped[proto.type] += proto.type != "Input"
            continue
        unsized = next((name for name in proto.bottom if feed.shapes.get(name, ()) is None), None)
        if unsized is not None and unsized not in pen.blobs:
            what = f"the size of the input {unsized[:80]!r} is told nowhere"
            raise FireforgeError("BAD_MODEL_FILE", what, where=pen.where, do="the prototxt for deployment")
        lost = next((name for name in proto.bottom if name not in pen.blobs), None)
        if lost is not None:
            what = f"layer {proto.name[:80]!r} reads {lost[:80]!r}, which nothing before it makes"
            raise FireforgeError("BAD_GRAPH", what, where=pen.where)
        layer = Layer(proto=proto, bottoms=tuple(pen.blobs[name] for name in proto.bottom), sole=sole)
        _check_type(layer)
        if layer.name in pen.wanted:
            raise FireforgeError("BAD_GRAPH", f"two layers called {layer.name[:80]!r}", where=pen.where)
        pen.blobs.update(zip(proto.top, LAYERS[proto.type](pen, layer)))
    if +skipped:
        pen.notes.append(f"left out: {', '.join(f'{count} {kind}' for kind, count in sorted((+skipped).items()))}")


def _check_type(layer: Layer) -> None:
    kind = layer.proto.type
    if kind == "Python":
        param = layer.proto.python_param
        what = f"the layer runs Python code, {param.module[:80]}.{param.layer[:80]}"
        raise FireforgeError("UNSAFE_FILE", what, where=layer.name[:80], allowed="layers that are no code")
    if kind not in LAYERS:
        allowed = ", ".join(sorted(LAYERS))
        raise FireforgeError("UNKNOWN_OPERATOR", f"layer type {kind[:80]!r}", where=layer.name[:80], allowed=allowed)


def _is_last_argmax(proto: Any, read: set[str]) -> bool:
    """Whether this is an ArgMax at the end: the answer's best class, which is found from the scores anyway."""
    return proto.type == "ArgMax" and read.isdisjoint(proto.top)


def _sole(layers: Sequence[Any]) -> list[bool]:
    """Of each layer, whether it alone reads its first bottom and a BatchNorm made that."""
    version: dict[str, int] = {}  # blob to the layer that made it last
    reads: Counter[tuple[str, int]] = Counter()
    first: list[tuple[str, int]] = []
    for i, layer in enumerate(layers):
        keys = [(name, version.get(name, -1)) for name in layer.bottom]
        reads.update(keys)
        first.append(keys[0] if keys else ("", -1))
        version.update((top, i) for top in layer.top)
    return [reads[key] == 1 and key[1] >= 0 and layers[key[1]].type == "BatchNorm" for key in first]


def _answer(pen: Pen) -> str:
    """The tensor with one score a class: the last that nobody reads, before a Softmax, (N, K)."""
    read = {name for node in pen.nodes for name in node.inputs}
    open_ends = [name for node in pen.nodes for name in node.outputs if name not in read]
    if not open_ends:
        raise FireforgeError("BAD_GRAPH", "a network without layers that compute", where=pen.where)
    if open_ends[1:]:
        others = ", ".join(repr(name[:80]) for name in open_ends[:-1][-MOST_NAMES:])
        pen.notes.append(f"left out: {len(open_ends) - 1} other outputs: {others}")
    output = _before_softmax(pen, open_ends[-1])
    shape = pen.shape(output)
    if len(shape) > 2 and all(size == 1 for size in shape[2:]):
        return pen.node("Flatten", (output,), "flatten", {"axis": 1})
    if len(shape) != 2 or output.startswith(FEED):
        what = f"the network's answer {output[:80]!r} has the shape {shape}"
        raise FireforgeError("BAD_GRAPH", what, where=pen.where, allowed="(N, K): one score a class")
    return output


def _before_softmax(pen: Pen, output: str) -> str:
    """What goes into the Softmax over the classes that ends the network, where one does, perhaps in another shape."""
    makers = {name: node for node in pen.nodes for name in node.outputs}
    at = output
    while at in makers and makers[at].op in ("Flatten", "Reshape", "Softmax"):
        node = makers[at]
        at = node.inputs[0]
        if node.op == "Softmax":
            if node.attrs["axis"] != 1:
                break
            pen.notes.append(f"left out: the Softmax {node.name[:80]!r} at the end")
            output = at
    return output


def _used(pen: Pen, graph: Graph) -> dict[str, list[Wanted]]:
    """Layers whose blobs the graph needs."""
    names = {weight.name for weight in graph.weights}
    return {layer: blobs for layer, blobs in pen.wanted.items() if any(blob.name in names for blob in blobs)}


def _arrays(pen: Pen, graph: Graph, stored: Blobs) -> dict[str, np.ndarray]:
    """An array for each weight of the graph."""
    found: dict[str, np.ndarray] = {}
    for layer, wanted in _used(pen, graph).items():
        blobs = stored.get(layer, ())
        if len(blobs) != len(wanted):
            what = f"{len(blobs)} blobs of numbers in the caffemodel"
            do = "the caffemodel of this very prototxt"
            raise FireforgeError("BAD_WEIGHTS", what, where=layer[:80], allowed=str(len(wanted)), do=do)
        arrays = [_fitted(array_of(blob, layer), want.shape, layer) for blob, want in zip(blobs, wanted)]
        factor = next((array[0] for array, want in zip(arrays, wanted) if not want.name), np.float32(1))
        with np.errstate(over="ignore", invalid="ignore"):  # what becomes infinite or NaN is refused below
            share = np.float32(0) if factor == 0 else np.float32(1) / factor
            for array, want in zip(arrays, wanted):
                if want.name:
                    found[want.name] = array * share if want.norm else array
    result = {}
    for weight in graph.weights:
        shape: Any = weight.shape
        made = pen.made.get(weight.name)
        array = np.full(shape, made, np.float32) if made is not None else found[weight.name].reshape(shape)
        if not np.isfinite(array).all():
            raise FireforgeError("BAD_WEIGHTS", "NaN or infinity among the numbers", where=weight.name[:80])
        result[weight.name] = array
    return result


def _fitted(array: np.ndarray, shape: tuple[int, ...], layer: str) -> np.ndarray:
    """The array in the shape that the layer wants; old files put axes of size 1 before it."""
    if _bare(array.shape) != _bare(shape):
        what = f"numbers of shape {array.shape}"
        do = "the caffemodel of this very prototxt"
        raise FireforgeError("BAD_WEIGHTS", what, where=layer[:80], allowed=str(shape), do=do)
    return array.reshape(shape)


def _bare(shape: tuple[int, ...]) -> tuple[int, ...]:
    first = next((i for i, size in enumerate(shape) if size != 1), len(shape))
    return shape[first:]


def steps_of(graph: Graph, feed: Feed, notes: list[str]) -> ImageSteps | None:
    """How pictures become the input: as the file tells it, or as ImageNet's networks of Caffe's time had it.

    Args:
      graph: one input (N, C, H, W).
      feed: what the file tells.
      notes: told here where the file is silent; changed.

    Returns:
      Steps, blue before red; None where the input is not like ImageNet's and nothing is told.
    """
    shape: Any = graph.inputs[0].shape
    channels, height, width = shape[1:]
    side = max(height, width)
    alike = channels == 3 and IMAGENET_SIDES[0] <= min(height, width) and side <= IMAGENET_SIDES[1]
    means = feed.means * channels if len(feed.means) == 1 else feed.means
    told = bool(means) or feed.scale != 1
    fits = channels in (1, 3) and len(means) in (0, channels) and feed.scale > 0 and np.isfinite(feed.scale)
    if not fits or not (told or alike):
        notes.append("how pictures become the input is not told")
        return None
    if not told:
        means = IMAGENET_MEANS
        why = "the means lie in another file" if feed.mean_file else "the file does not tell how pictures are fed"
        notes.append(
            f"{why}: read as ImageNet's, blue, green, red minus (104, 117, 123), centre crop of a shorter side of 256"
        )
    return ImageSteps(
        channels=channels,
        resize=256 if alike else (height, width),
        crop=(height, width),
        order="BGR" if channels == 3 else "L",
        mean=means or (0.0,) * channels,
        std=(1 / feed.scale,) * channels,
    )
