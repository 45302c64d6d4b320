# SPDX-License-Identifier: Apache-2.0
"""A trained network made ready for other classes: its last layer's own rows, or rows fitted to what that layer sees."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fireforge.base.graph import Graph, Node
from fireforge.base.head import bare, head_of, with_classes
from fireforge.base.model import Model
from fireforge.base.progress import Progress, silent
from fireforge.baseline.scikit import Terms, fit_logistic
from fireforge.jobs.scene import Scene
from fireforge.nets.module import GraphModule, load_arrays
from fireforge.train.features import features_of
from fireforge.train.world import make_world

PROBED = 5_000  # training pictures that new rows of the last layer are fitted to, at most
PENALTY = 0.03  # C of that fit, on features of deviation 1
ROUNDS = 300  # of its solver
LEAST = 1e-6  # deviation of a feature below which it is one number
OWN = "the model's own, which knows all classes by name"


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """What the first rows of a new last layer are fitted with.

    Args:
      scene: the pictures.
      device: see `fireforge.train.world.make_world`.
      progress: receives updates.
    """

    scene: Scene
    device: str = "auto"
    progress: Progress = silent


def for_classes(start: Model, labels: tuple[str, ...]) -> Graph:
    """The model's graph for the classes to come.

    Args:
      start: the model.
      labels: of the classes.

    Returns:
      Its own where they are its own in its order; where it knows them all, with their rows alone; otherwise without an
      activation behind the last layer, whose rows are fitted.

    Raises:
      FireforgeError: NO_HEAD.
    """
    if labels == start.card.labels and _knows(start, labels):
        return start.graph
    return with_classes(start.graph if _knows(start, labels) else bare(start.graph), len(labels))


def begun(graph: Graph, start: Model, lesson: Lesson) -> tuple[dict[str, np.ndarray], str]:
    """The numbers that a training starts from.

    Args:
      graph: of `for_classes`.
      start: the model.
      lesson: its pictures' classes are the graph's.

    Returns:
      An array for each weight of the graph, and where the last layer's rows come from, in words.
    """
    arrays = {name: np.asarray(array) for name, array in start.arrays().items()}
    labels = lesson.scene.dataset.labels
    if graph == start.graph and labels == start.card.labels:
        return arrays, OWN
    head = head_of(graph)
    if _knows(start, labels):
        rows = [start.card.labels.index(label) for label in labels]
        own = {name: np.take(arrays[name], rows, _axis(head, name)) for name in _numbers(head)}
        return arrays | own, OWN
    for weight in graph.weights:
        if weight.name in _numbers(head):
            arrays[weight.name] = np.zeros([int(size) for size in weight.shape], np.float32)
    numbers, words = probed(graph, arrays, lesson)
    return arrays | numbers, words


def probed(graph: Graph, arrays: dict[str, np.ndarray], lesson: Lesson) -> tuple[dict[str, np.ndarray], str]:
    """The head's numbers, fitted by logistic regression to what it sees of training pictures.

    Args:
      graph: of the network.
      arrays: its numbers; the head's own do not matter.
      lesson: pictures and classes.

    Returns:
      Name to array, and how they came about, in words; a class that no picture has gets a row of zeros and the least
      bias.
    """
    scene, head = lesson.scene, head_of(graph)
    ids = scene.part("train")
    taken = np.linspace(0, len(ids) - 1, min(PROBED, len(ids))).astype(int)
    module = GraphModule(graph)
    load_arrays(module, arrays)
    world = make_world(lesson.device)
    pixels = scene.pixels["train"][taken]
    seen = features_of(module.eval(), head, pixels, scene.steps, world=world, progress=lesson.progress)
    biased = len(_numbers(head)) == 2
    centre = seen.mean(axis=0) if biased else np.zeros(seen.shape[1], np.float32)
    spread = np.where(seen.std(axis=0) > LEAST, seen.std(axis=0), 1.0)
    truth, terms = scene.truth[ids[taken]], Terms(penalty=PENALTY, rounds=ROUNDS, intercept=biased)
    planes, notes = fit_logistic((seen - centre) / spread, truth, terms)
    halved = 0.5 if len(planes.classes) == 2 else 1.0  # of two classes the planes are the fit's own and its negative
    rows, offset = halved * planes.weights[-1].T / spread, halved * planes.biases[-1]
    table = np.zeros((len(scene.dataset.labels), seen.shape[1]), np.float32)
    bias = np.full(len(table), offset.min(), np.float32)
    table[planes.classes] = rows
    bias[planes.classes] = offset - rows @ centre
    weight = np.moveaxis(table, 0, _axis(head, head.inputs[1])).reshape(arrays[head.inputs[1]].shape)
    words = "; ".join([f"fitted to {len(taken):,} training pictures by logistic regression", *notes])
    return dict(zip(_numbers(head), (np.ascontiguousarray(weight), bias))), words


def _knows(start: Model, labels: tuple[str, ...]) -> bool:
    """Whether the model has a row for each of the labels; numbers, or names that occur twice, tell nothing."""
    own = start.card.labels
    named = not all(label.isdigit() for label in own) and len(set(own)) == len(own)
    return named and set(labels) <= set(own)


def _numbers(head: Node) -> tuple[str, ...]:
    """Names of the head's weight and, where it has one, its bias."""
    return tuple(name for name in head.inputs[1:] if name)


def _axis(head: Node, name: str) -> int:
    """Where the classes stand in one of the head's numbers."""
    across = head.op == "Gemm" and not head.attrs.get("transB", 0) and name == head.inputs[1]
    return 1 if across else 0
