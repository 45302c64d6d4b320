# SPDX-License-Identifier: Apache-2.0
"""compress: any float file of ours in integers, with ranges from pictures, and what that cost."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fireforge.base.deadline import Deadline
from fireforge.base.errors import FireforgeError
from fireforge.base.exported import Exported
from fireforge.base.model import Model, dense
from fireforge.base.paired import Paired, paired_difference
from fireforge.base.parity import ParityReport
from fireforge.base.progress import Progress, silent
from fireforge.base.record import StageReport
from fireforge.base.trunk import trunk
from fireforge.base.value import Value
from fireforge.compress.stages import STAGES
from fireforge.importers.onnx_file import import_onnx
from fireforge.jobs.deliver import PARITY, Judge, context_of
from fireforge.jobs.evaluate import check_labels
from fireforge.jobs.gate import place, write_gated
from fireforge.jobs.scene import Scene, encoded, look
from fireforge.runtime.predictor import model_file

QUANTIZERS = ("QuantizeLinear", "DequantizeLinear")
SEED = 0  # of the split of pictures that have no parts
LEFT = "the card's tree of answers: left out; its bonus was fitted to the float file, fireforge hedge fits another"


@dataclass(frozen=True, kw_only=True)
class Compressed(Value):
    """What became of a file.

    Args:
      exported: the file that was written.
      report: of the stage, before and after it, on the validation part of the pictures.
      lost: accuracy of the float file less that of the new one, on the same pictures.
      parity: that the file does what its integers say.
    """

    exported: Exported
    report: StageReport
    lost: Paired
    parity: ParityReport


def compress(
    model: str | Path,
    data: str,
    *,
    target: str = "onnx",
    out: str | Path | None = None,
    progress: Progress = silent,
) -> Compressed:
    """Quantize a float file to int8: ranges from training pictures, accuracy from the validation part.

    Args:
      model: a float ONNX file with a card, built or imported, or a run's folder.
      data: labelled pictures; their classes are some or all of the model's.
      target: a name of TARGETS.
      out: the file; None for <name>-int8.onnx beside the model.
      progress: receives updates.

    Returns:
      What was written; it passed the parity gate on validation pictures. A tree of answers is left out, with a note
      in the report: its bonus was fitted to the float file.

    Raises:
      FireforgeError: NO_FILE; NO_CARD, if the file does not say how it is fed; BAD_LABELS; BAD_STAGE, if it is
        quantized already; BAD_USAGE, if it shall be written over itself; PARITY; CANNOT_WRITE.
    """
    source = model_file(model)
    trained = read_float(source)
    path = place(apart(out or source.with_name(f"{source.stem}-int8.onnx"), source))
    post = trained.card.postprocess
    left = (LEFT,) if post.hedge is not None else ()
    trained = trained.replace(card=trained.card.replace(postprocess=post.replace(hedge=None)))
    scene = _scene(data, trained, progress)
    judge = Judge(scene)
    context = context_of(scene, clock=Deadline(), progress=progress, evaluate=judge)
    folded, _ = STAGES["fold"](trained, context)
    made, report = STAGES["int8"](folded, context)
    report = report.replace(notes=(*report.notes, *left))
    pictures = [encoded(scene.dataset, int(i)) for i in scene.part("val")[:PARITY]]
    exported, parity = write_gated(made, path, pictures=pictures, trained=trained, target=target)
    lost = paired_difference(judge.right(folded), judge.right(made))
    return Compressed(exported=exported, report=report, lost=lost, parity=parity)


def apart(path: str | Path, source: Path) -> Path:
    """Where a file shall be written, which is not where it is made from: nobody might have the floats elsewhere.

    Args:
      path: the file to write.
      source: the file that is read; it is there.

    Returns:
      The path.

    Raises:
      FireforgeError: BAD_USAGE, if they are one file, by whatever name.
    """
    path = Path(path)
    if path.exists() and path.samefile(source):
        raise FireforgeError("BAD_USAGE", "it would be written over itself", where=str(path), do="another --out")
    return path


def read_model(path: Path) -> Model:
    """The model in a file of ours.

    Args:
      path: an ONNX file.

    Returns:
      The model.

    Raises:
      FireforgeError: NO_CARD; what reading the file raises.
    """
    graph, arrays, tag = import_onnx(path)
    if tag is None:
        do = "fireforge import, which says how it is fed"
        raise FireforgeError("NO_CARD", "the file does not say how it is fed", where=str(path), do=do)
    return Model(graph=graph, weights=dense(arrays), card=tag.card)


def read_float(path: Path) -> Model:
    """The model in a float file of ours, without outputs that served its training alone.

    Args:
      path: an ONNX file.

    Returns:
      The model.

    Raises:
      FireforgeError: BAD_STAGE, if the file holds integers; what `read_model` raises.
    """
    model = read_model(path)
    if any(node.op in QUANTIZERS for node in model.graph.nodes):
        do = "the float file that it was made of; fireforge export RUN writes a run's again"
        raise FireforgeError("BAD_STAGE", "the file is quantized already", where=str(path), do=do)
    graph = trunk(model.graph)
    return model.replace(graph=graph, weights={weight.name: model.weights[weight.name] for weight in graph.weights})


def _scene(data: str, model: Model, progress: Progress) -> Scene:
    """The pictures as the model sees them, their classes counted as the model counts them."""
    scene = look(data, seed=SEED, known=model.card.preprocess, progress=progress).seen_by(model.card.preprocess)
    check_labels(scene.dataset, model.card.labels)
    place = np.array([model.card.labels.index(label) for label in scene.dataset.labels], np.int64)
    return dataclasses.replace(scene, truth=place[scene.truth])
