# SPDX-License-Identifier: Apache-2.0
"""A classifier in an ONNX file as an imported model: one open batch of pictures in, logits out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from fireforge.base.errors import FireforgeError
from fireforge.base.graph import Graph, Node, Shape
from fireforge.base.infer import filled, infer
from fireforge.base.model import Tag, dense
from fireforge.base.validate import validate
from fireforge.importers.drawing import INPUT, MOST_NUMBERS, OUTPUT, UNSEEN, finite
from fireforge.importers.imported import Imported
from fireforge.importers.onnx_file import import_onnx

BATCH = "N"
SHAPERS = ("Flatten", "Reshape")  # between a Softmax and the output they do not change which class is which


def import_onnx_model(files: Sequence[Path], known: Graph | None) -> Imported:
    """A network of an ONNX file.

    Args:
      files: one file.
      known: not needed.

    Returns:
      The network; a Softmax at its end is left out, a fixed batch is opened, of several outputs the first is kept.
      Where fireforge wrote the file, its steps and labels come back too.

    Raises:
      FireforgeError: BAD_MODEL_FILE, if there are several files; BAD_GRAPH, if the network does not take pictures of
        one size or makes no (N, classes); BAD_WEIGHTS, if numbers are not finite; what `import_onnx` raises.
    """
    if len(files) != 1:
        got = ", ".join(file.name for file in files)
        raise FireforgeError("BAD_MODEL_FILE", f"got {got}", allowed="one .onnx file with its numbers inside")
    graph, arrays, tag = import_onnx(files[0])
    where = str(files[0])
    notes = []
    if len(graph.outputs) > 1:
        notes.append(f"of {len(graph.outputs)} outputs the first, {graph.outputs[0]!r}, is kept")
    graph, batch = _opened(graph, where)
    if batch is not None:
        notes.append(f"the batch was fixed to {batch}; it is open now")
    graph, softmax = _without_softmax(graph)
    if softmax:
        notes.append("the Softmax at the end is left out: scores are made of the logits")
    graph = _renamed(_used(_flat(graph, where)))
    validate(graph)
    _check_sizes(graph, where)
    weights = {tensor.name: arrays[tensor.name] for tensor in graph.weights}
    for name, array in weights.items():
        if array.dtype.kind == "f":
            finite(array, name)
    source = tag.card.source if tag is not None and tag.card.source else f"ONNX: {files[0].name}"
    notes += _passed_over(tag)
    found = Imported(graph=graph, weights=dense(weights), source=source, notes=tuple(notes))
    return found if tag is None else _told(found, tag)


def _told(found: Imported, tag: Tag) -> Imported:
    """The model with what our own card says of it."""
    return Imported(
        graph=found.graph,
        weights=found.weights,
        steps=tag.card.preprocess.steps(),
        labels=tag.card.labels,
        source=found.source,
        notes=found.notes,
    )


def _passed_over(tag: Tag | None) -> list[str]:
    """A note where the card says more of the answer than an import keeps."""
    if tag is None:
        return []
    post = tag.card.postprocess
    left = {"temperature": post.temperature != 1, "threshold": post.threshold != 0, "tree": post.hedge is not None}
    names = ", ".join(name for name, is_left in left.items() if is_left)
    return [f"the card's {names} of scores: left out"] if names else []


def _opened(graph: Graph, where: str) -> tuple[Graph, int | None]:
    """The graph with an open batch, and the number that it was fixed to."""
    shape = graph.inputs[0].shape if len(graph.inputs) == 1 else ()
    sizes = shape[1:]
    if len(shape) != 4 or any(isinstance(size, str) for size in sizes) or graph.inputs[0].dtype != "float32":
        got = "; ".join(f"{tensor.name[:80]!r} {tensor.dtype} {tensor.shape}" for tensor in graph.inputs[:4])
        raise FireforgeError(
            "BAD_GRAPH", f"inputs {got}", where=where, allowed="one float32 (N, C, H, W) with C, H and W fixed"
        )
    batch = shape[0]
    if batch == BATCH:
        return graph, None
    given = graph.inputs[0].replace(shape=(BATCH, *sizes))
    graph = graph.replace(inputs=(given,))
    if isinstance(batch, str):
        return graph, None
    return graph.replace(nodes=tuple(_copying(node, batch) for node in graph.nodes)), batch


def _copying(node: Node, batch: int) -> Node:
    """A Reshape that repeats a fixed batch takes the batch of its input instead."""
    target = node.attrs.get("shape")
    if node.op != "Reshape" or not isinstance(target, tuple) or not target or target[0] != batch:
        return node
    return node.replace(attrs={**node.attrs, "shape": (0, *target[1:])})


def _without_softmax(graph: Graph) -> tuple[Graph, bool]:
    """The graph without what changes no order of classes at its end; whether there was a Softmax."""
    makers = {name: node for node in graph.nodes for name in node.outputs}
    types = infer(graph)
    output = graph.outputs[0]
    nodes = {node.name: node for node in graph.nodes}
    reader: Node | None = None  # the node between what is looked at and the output, if any
    name, removed = output, False
    while name in makers and makers[name].op in (*UNSEEN, *SHAPERS):
        node = makers[name]
        if node.op == "Softmax" and not _over_classes(node, types[name].shape):
            break
        name = node.inputs[0]
        if node.op in SHAPERS:
            reader = nodes[node.name]
            continue
        removed = removed or node.op == "Softmax"
        if reader is None:
            output = name
        else:
            reader = reader.replace(inputs=(name,))
            nodes[reader.name] = reader
    return graph.replace(nodes=tuple(nodes.values()), outputs=(output,)), removed


def _over_classes(node: Node, shape: Shape) -> bool:
    """Whether a Softmax takes all numbers of a picture together."""
    axis = filled(node)["axis"]
    assert isinstance(axis, int)
    return all(size == 1 for place, size in enumerate(shape) if place not in (0, axis % len(shape)))


def _flat(graph: Graph, where: str) -> Graph:
    """The graph with an output (N, K); (N, K, 1, 1) is flattened."""
    made = infer(graph)[graph.outputs[0]]
    sizes = [size for size in made.shape[1:] if isinstance(size, int)]
    good = made.shape[:1] == (BATCH,) and len(sizes) == len(made.shape) - 1 > 0 and set(sizes[1:]) <= {1}
    if not good or made.name in {tensor.name for tensor in (*graph.inputs, *graph.weights)}:
        raise FireforgeError(
            "BAD_GRAPH", f"the output is {made.dtype} {made.shape}", where=where, allowed="(N, classes), N the batch"
        )
    if len(made.shape) == 2:
        return graph
    taken = {node.name for node in graph.nodes} | {name for node in graph.nodes for name in node.outputs}
    name = "flatten"
    while name in taken:
        name += "_"
    node = Node(name=name, op="Flatten", inputs=(made.name,), outputs=(name,))
    return graph.replace(nodes=(*graph.nodes, node), outputs=(name,))


def _used(graph: Graph) -> Graph:
    """The graph without what leads nowhere."""
    used, kept = set(graph.outputs), []
    for node in reversed(graph.nodes):
        if not used.isdisjoint(node.outputs):
            kept.append(node)
            used.update(node.inputs)
    weights = tuple(tensor for tensor in graph.weights if tensor.name in used)
    return graph.replace(nodes=tuple(reversed(kept)), weights=weights)


def _renamed(graph: Graph) -> Graph:
    """The graph with its input called "input" and its output "logits"; who had these names gets an underscore."""
    names = {graph.inputs[0].name: INPUT, graph.outputs[0]: OUTPUT}
    weights = {tensor.name for tensor in graph.weights}
    taken = {name for node in graph.nodes for name in (*node.inputs, *node.outputs)}
    for wanted in (INPUT, OUTPUT):
        if wanted in taken and wanted not in names:
            if wanted in weights:
                raise FireforgeError("BAD_GRAPH", f"a weight is called {wanted!r}", allowed="another name")
            free = wanted
            while free in taken:
                free += "_"
            names[wanted] = free
            taken.add(free)

    def new(old: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(names.get(name, name) for name in old)

    return graph.replace(
        inputs=(graph.inputs[0].replace(name=INPUT),),
        outputs=(OUTPUT,),
        nodes=tuple(node.replace(inputs=new(node.inputs), outputs=new(node.outputs)) for node in graph.nodes),
    )


def _check_sizes(graph: Graph, where: str) -> None:
    for name, tensor in infer(graph).items():
        if math.prod(size for size in tensor.shape if isinstance(size, int)) > MOST_NUMBERS:
            what = f"{name[:80]!r} has {tensor.shape} numbers"
            raise FireforgeError("BAD_GRAPH", what, where=where, allowed=f"at most {MOST_NUMBERS} a picture")
