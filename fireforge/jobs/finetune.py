# SPDX-License-Identifier: Apache-2.0
"""finetune: a trained network, imported or built, is trained on with other pictures, for their classes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fireforge.base.files import make_folder
from fireforge.base.golden import weights_digest
from fireforge.base.graph import Graph, Node
from fireforge.base.head import bare, head_of, with_classes
from fireforge.base.model import Model
from fireforge.base.progress import Progress, silent
from fireforge.base.record import RunRecord
from fireforge.base.settings import Settings
from fireforge.base.trial import Trial
from fireforge.baseline.scikit import fit_logistic
from fireforge.cost.count import count
from fireforge.jobs.begin import begin
from fireforge.jobs.compress import read_float
from fireforge.jobs.folder import RunFolder, default_folder
from fireforge.jobs.scene import Scene, look
from fireforge.jobs.train import recipe_of, train_one
from fireforge.nets.given import given_spec
from fireforge.nets.module import GraphModule, load_arrays
from fireforge.runtime.predictor import model_file
from fireforge.train.features import features_of
from fireforge.train.recipe import gentle
from fireforge.train.trial import weights_path
from fireforge.train.weights import write_weights
from fireforge.train.world import make_world

PROBED = 5_000  # training pictures that new rows of the last layer are fitted to, at most
PENALTY = 0.03  # C of that fit, on features of deviation 1
ROUNDS = 300  # of its solver


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


def finetune(
    model: str | Path, data: str, settings: Settings, *, out: str | Path | None = None, progress: Progress = silent
) -> tuple[RunRecord, Path]:
    """Train a model on; the same call on the same folder resumes after the last whole epoch.

    Where the data's classes are not the model's, in its order, the last layer gets a row for each of them: the model's
    own rows where it knows all of them by name, otherwise rows that are fitted to what the layer sees. Then all layers
    are trained.

    Args:
      model: a float ONNX file with a card, built or imported, or a run's folder.
      data: what `fireforge.data.open.open_dataset` takes; pictures are fed as the model's card says.
      settings: the recipe; net and image_size are not used.
      out: folder of the run; None for runs/<name of the data>-<name of the file>.
      progress: receives one update an epoch.

    Returns:
      The record, and the run's folder with weights/best.safetensors, metrics.csv and report.html, ready for `export`.

    Raises:
      FireforgeError: NO_CARD, if the file does not say how it is fed; BAD_STAGE, if it holds integers; NO_HEAD, if no
        single layer makes the classes; OTHER_RUN.

    Source:
      Kumar et al. 2022: a linear probe first, then all layers, since fresh rows spoil the layers before them.
    """
    source = model_file(model)
    start = read_float(source)
    folder = Path(out) if out else Path(f"{default_folder(data)}-{source.stem}")
    known = start.card.preprocess.replace(input=start.graph.inputs[0].name)
    side = min(known.steps().crop)  # asks how large the pictures are, so that crops come from more than the input
    scene = look(data, seed=settings.seed, image_size=side, known=known)
    model_digest = weights_digest(start.arrays().values())
    with RunFolder(folder) as run:
        begin(run, scene, seed=settings.seed, settings=settings.replace(net="", model=model_digest))
        lesson = Lesson(scene=scene, device=settings.device, progress=progress)
        fitted = for_classes(start, scene.dataset.labels)
        digest = run.once("begun", lambda: _keep(run, begun(fitted, start, lesson)))
        trial = Trial(
            spec=given_spec(fitted, source=start.card.source, licence=start.card.licence),
            recipe=recipe_of(settings, scene, law=gentle, graph=fitted),
            data=scene.ref,
            preprocess=scene.preprocess,
            seed=settings.seed,
            cost=count(fitted),
            start=digest,
        )
        record = train_one(run, trial, scene, device=settings.device, progress=progress)
    return record, folder


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
    if labels == start.card.labels:
        return start.graph
    graph = start.graph if set(labels) <= set(start.card.labels) else bare(start.graph)
    return with_classes(graph, len(labels))


def begun(graph: Graph, start: Model, lesson: Lesson) -> dict[str, np.ndarray]:
    """The numbers that a training starts from.

    Args:
      graph: of `for_classes`.
      start: the model.
      lesson: its pictures' classes are the graph's.

    Returns:
      An array for each weight of the graph.
    """
    arrays = {name: np.asarray(array) for name, array in start.arrays().items()}
    labels = lesson.scene.dataset.labels
    if labels == start.card.labels:
        return arrays
    head = head_of(graph)
    if set(labels) <= set(start.card.labels):
        rows = [start.card.labels.index(label) for label in labels]
        return arrays | {name: np.take(arrays[name], rows, _axis(head, name)) for name in _numbers(head)}
    for weight in graph.weights:
        if weight.name in _numbers(head):
            arrays[weight.name] = np.zeros([int(size) for size in weight.shape], np.float32)
    return arrays | probed(graph, arrays, lesson)


def probed(graph: Graph, arrays: dict[str, np.ndarray], lesson: Lesson) -> dict[str, np.ndarray]:
    """The head's numbers, fitted by logistic regression to what it sees of training pictures.

    Args:
      graph: of the network.
      arrays: its numbers; the head's own do not matter.
      lesson: pictures and classes.

    Returns:
      Name to array; a class that no picture has gets a row of zeros and the least bias.
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
    spread = seen.std(axis=0) + 1e-6
    planes, _ = fit_logistic((seen - centre) / spread, scene.truth[ids[taken]], penalty=PENALTY, rounds=ROUNDS)
    rows = planes.weights[-1].T / spread
    table = np.zeros((len(scene.dataset.labels), seen.shape[1]), np.float32)
    bias = np.full(len(table), planes.biases[-1].min(), np.float32)
    table[planes.classes] = rows
    bias[planes.classes] = planes.biases[-1] - rows @ centre
    weight = np.moveaxis(table, 0, _axis(head, head.inputs[1])).reshape(arrays[head.inputs[1]].shape)
    return dict(zip(_numbers(head), (np.ascontiguousarray(weight), bias)))


def _numbers(head: Node) -> tuple[str, ...]:
    """Names of the head's weight and, where it has one, its bias."""
    return tuple(name for name in head.inputs[1:] if name)


def _axis(head: Node, name: str) -> int:
    """Where the classes stand in one of the head's numbers."""
    across = head.op == "Gemm" and not head.attrs.get("transB", 0) and name == head.inputs[1]
    return 1 if across else 0


def _keep(run: RunFolder, arrays: dict[str, np.ndarray]) -> str:
    """Write the numbers that a training starts from, where it looks for them; their digest."""
    digest = weights_digest(arrays.values())
    path = weights_path(run.path, digest)
    make_folder(path.parent)
    write_weights(path, arrays)
    return digest
