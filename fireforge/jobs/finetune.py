# SPDX-License-Identifier: Apache-2.0
"""finetune: a trained network, imported or built, is trained on with other pictures, for their classes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fireforge.base.errors import FireforgeError
from fireforge.base.files import make_folder, sha256_of_file
from fireforge.base.golden import weights_digest
from fireforge.base.graph import Graph
from fireforge.base.model import Model
from fireforge.base.progress import Progress, silent
from fireforge.base.record import RunRecord
from fireforge.base.settings import Settings
from fireforge.base.start import Start
from fireforge.base.trial import Trial
from fireforge.base.value import Value
from fireforge.cost.count import count
from fireforge.jobs.begin import begin
from fireforge.jobs.compress import read_float
from fireforge.jobs.folder import RunFolder, default_folder
from fireforge.jobs.probe import Lesson, begun, for_classes
from fireforge.jobs.scene import Scene, look
from fireforge.jobs.train import recipe_of, train_one
from fireforge.nets.given import given_spec
from fireforge.runtime.predictor import model_file
from fireforge.train.recipe import gentle
from fireforge.train.trial import weights_path
from fireforge.train.weights import read_weights, write_weights
from fireforge.train.world import make_world

UNKNOWN = "the file does not say what it was trained on: pictures that it is judged on may be among them"


@dataclass(frozen=True, kw_only=True)
class Begun(Value):
    """What a training begins with.

    Args:
      numbers: their digest, under whose first digits they are kept.
      rows: where those of the last layer come from, in words.
    """

    numbers: str
    rows: str


@dataclass(frozen=True, kw_only=True)
class Finetuned(Value):
    """What became of a model.

    Args:
      record: of the training.
      begun: what it began with.
      seen: what is known of the pictures that the model was trained on before, in words.
    """

    record: RunRecord
    begun: Begun
    seen: str


def finetune(
    model: str | Path, data: str, settings: Settings, *, out: str | Path | None = None, progress: Progress = silent
) -> tuple[Finetuned, Path]:
    """Train a model on; the same call on the same folder goes on from the last state.

    Where the data's classes are not the model's, in its order, the last layer gets a row for each of them: the model's
    own rows where it knows all of them by name, otherwise rows that are fitted to what the layer sees. Numbers are no
    names. Then all layers are trained. Where the model lies in the folder of a run on the same data, the parts are that
    run's; of other models nobody knows what they have seen.

    Args:
      model: a float ONNX file with a card, built or imported, or a run's folder.
      data: what `fireforge.data.open.open_dataset` takes; pictures are fed as the model's card says.
      settings: the recipe; net and image_size are not used.
      out: folder of the run; None for runs/<name of the data>-<name of the file>.
      progress: receives updates.

    Returns:
      The record, and the run's folder with weights/best.safetensors, metrics.csv and report.html, ready for `export`.

    Raises:
      FireforgeError: NO_CARD, if the file does not say how it is fed; BAD_STAGE, if it holds integers; NO_HEAD, if no
        single layer makes the classes; OTHER_RUN, also where the folder's run is one of another file; BAD_WEIGHTS, if
        the numbers that a run began with are lost and cannot be made again.

    Source:
      Kumar et al. 2022: a linear probe first, then all layers, since fresh rows spoil the layers before them.
    """
    make_world(settings.device)  # an absent device is told before anything is read
    source = model_file(model)
    start = read_float(source)
    folder = Path(out) if out else Path(f"{default_folder(data)}-{source.stem}")
    scene, seen = _scene(data, start, source, seed=settings.seed, progress=progress)
    with RunFolder(folder) as run:
        begin(run, scene, seed=settings.seed, settings=settings.replace(net="", model=sha256_of_file(source)))
        lesson = Lesson(scene=scene, device=settings.device, progress=progress)
        fitted = for_classes(start, scene.dataset.labels)
        first = Begun.from_json(run.once("begun", lambda: _kept(run, fitted, start, lesson).to_json()))
        if not _whole(run, first.numbers) and _kept(run, fitted, start, lesson) != first:
            what = "the numbers that this run began with are lost"
            raise FireforgeError("BAD_WEIGHTS", what, where=str(run.path), do="another --out")
        trial = Trial(
            spec=given_spec(fitted, source=start.card.source, licence=start.card.licence),
            recipe=recipe_of(settings, scene, law=gentle, graph=fitted),
            data=scene.ref,
            preprocess=scene.preprocess,
            seed=settings.seed,
            cost=count(fitted),
            start=first.numbers,
        )
        record = train_one(run, trial, scene, settings, progress=progress)
    return Finetuned(record=record, begun=first, seen=seen), folder


def _scene(data: str, start: Model, source: Path, *, seed: int, progress: Progress) -> tuple[Scene, str]:
    """The pictures as the model sees them, on the data of the run that it lies in in that run's parts; and in words."""
    known = start.card.preprocess.replace(input=start.graph.inputs[0].name)
    side = min(known.steps().crop)  # asks how large the pictures are, so that crops come from more than the input
    scene = look(data, seed=seed, image_size=side, known=known, progress=progress)
    entry = RunFolder(source.parent).entry("start")
    before = Start.from_json(entry).data if entry else None
    if before is None or before.sha256 != scene.ref.sha256:
        return scene, UNKNOWN
    if before.seed != seed:
        scene = look(data, seed=before.seed, image_size=side, known=known)
    return scene, "the parts are those of the model's own run"


def _kept(run: RunFolder, graph: Graph, start: Model, lesson: Lesson) -> Begun:
    """Make the numbers that a training starts from and write them where it looks for them."""
    arrays, words = begun(graph, start, lesson)
    digest = weights_digest(arrays.values())
    path = weights_path(run.path, digest)
    make_folder(path.parent)
    write_weights(path, arrays)
    return Begun(numbers=digest, rows=words)


def _whole(run: RunFolder, digest: str) -> bool:
    """Whether the numbers of a digest are there and are what it says."""
    try:
        arrays = read_weights(weights_path(run.path, digest))
    except FireforgeError:
        return False
    return weights_digest(arrays.values()) == digest
