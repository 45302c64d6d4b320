# SPDX-License-Identifier: Apache-2.0
"""From the winner's weights to files: fold, quantize, export, each measured on the validation part and verified."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fireforge.base.deadline import Deadline
from fireforge.base.errors import FireforgeError
from fireforge.base.exported import Exported
from fireforge.base.files import cannot_write
from fireforge.base.measurement import Measurement
from fireforge.base.metrics import accuracy, wilson
from fireforge.base.model import Card, Model, dense
from fireforge.base.pixels import normalize
from fireforge.base.postprocess import Postprocess
from fireforge.base.progress import Progress, Update
from fireforge.base.record import Facts, RunRecord, StageReport
from fireforge.compress.stage import Context
from fireforge.compress.stages import STAGES
from fireforge.cost.count import count
from fireforge.export.targets import TARGETS, pack
from fireforge.jobs.folder import RunFolder
from fireforge.jobs.scene import Scene, encoded
from fireforge.jobs.verify import Source, refusal, verify_file
from fireforge.nets.families import build_graph
from fireforge.runtime.measure import measure_fresh
from fireforge.runtime.onnx_runtime import OnnxSession
from fireforge.train.weights import read_weights

CALIBRATION = 256  # training pictures that set the activations' ranges
PARITY = 200  # validation pictures that pass the whole path
BATCH = 256
RUNS = 100  # timed predictions of each delivery


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """A file that may become the answer.

    Args:
      exported: the file.
      facts: of the model in it, on the validation part.
      measurement: of the file in a fresh process, on generated pictures: bytes, latency, memory.
    """

    exported: Exported
    facts: Facts
    measurement: Measurement


def deliver(scene: Scene, run: RunFolder, winner: RunRecord, *, clock: Deadline, progress: Progress) -> list[Delivery]:
    """Fold, export in float, quantize, export in int8; verify and measure both.

    A file that the parity gate refuses is no delivery; the others go on.

    Args:
      scene: the data.
      run: where files and records go.
      winner: whose weights are taken.
      clock: what is left of the time.
      progress: receives updates.

    Returns:
      The deliveries that passed, at least one, the float one first.

    Raises:
      FireforgeError: PARITY, if no file does what the network did.
    """
    model = trained = model_of(scene, winner, run.path)
    context = context_of(scene, clock=clock, progress=progress)
    stages = (("fold", "model.onnx"), ("int8", "model-int8.onnx"))
    deliveries: list[Delivery] = []
    refused: list[FireforgeError] = []
    before: Facts | None = None
    for done, (stage, name) in enumerate(stages):
        progress(Update(stage="compress", done=done, total=len(stages), unit="stages", note=stage))
        model, report = STAGES[stage](model, context)
        report = report if before is None else report.replace(before=before)
        try:
            exported = write_verified(model, run.path / name, scene=scene, run=run, trained=trained)
        except FireforgeError as error:
            if error.code != "PARITY":
                raise
            refused.append(error)
            progress(Update(stage="compress", done=done + 1, total=len(stages), unit="stages", note=error.line()))
        else:
            report = _delivered(report, exported, deliveries)
        before = report.after
        run.journal.append("stage", report.to_json())
    if not deliveries:
        raise refused[0]
    return deliveries


def _delivered(report: StageReport, exported: Exported, deliveries: list[Delivery]) -> StageReport:
    """The stage's report with the file's latency; the file joins the deliveries."""
    measurement = measure_fresh(exported.path, runs=RUNS)
    facts = report.after.replace(latency_ms=measurement.latency_ms)
    deliveries.append(Delivery(exported=exported, facts=facts, measurement=measurement))
    return report.replace(after=facts)


def context_of(scene: Scene, *, clock: Deadline, progress: Progress) -> Context:
    """What compression stages work with: calibration pictures, a judge, the time left."""
    return Context(
        calibration=_calibration(scene),
        evaluate=lambda candidate: facts_of(candidate, scene),
        finetune=None,
        deadline=clock,
        progress=progress,
    )


def model_of(scene: Scene, record: RunRecord, folder: Path) -> Model:
    """The trained network of a record, with its card.

    Args:
      scene: labels and preprocessing.
      record: spec and weights.
      folder: that the weights' path starts from.

    Returns:
      A float model.
    """
    weights = read_weights(folder / record.weights, sha256=record.weights_sha256)
    return Model(graph=build_graph(record.trial.spec), weights=dense(weights), card=card_of(scene))


def card_of(scene: Scene) -> Card:
    """What every file of a run says of itself; the source without the folders it stands in."""
    return Card(
        preprocess=scene.preprocess,
        postprocess=Postprocess(),
        labels=scene.dataset.labels,
        source=f"trained from nothing on {_last_part(scene.ref.source)} by fireforge",
    )


def facts_of(model: Model, scene: Scene) -> Facts:
    """Accuracy of a model on the validation part, run as its exported form runs.

    Args:
      model: float or quantized.
      scene: the pictures.

    Returns:
      Facts without latency, which is measured on the file in a fresh process; bytes are those of the whole file.
    """
    data = pack(model)
    session = OnnxSession(data)
    truth = scene.truth[scene.part("val")]
    inputs = normalize(scene.pixels["val"], scene.steps)
    name, output = session.inputs[0].name, model.card.postprocess.outputs[0]
    rows = [session.run({name: inputs[i : i + BATCH]})[output] for i in range(0, len(inputs), BATCH)]
    right = np.concatenate(rows).argmax(axis=1) == truth
    return Facts(
        accuracy=accuracy(truth, np.where(right, truth, -1)),
        interval=wilson(int(right.sum()), len(truth)),
        samples=len(truth),
        macs=count(model.graph).macs,
        bytes=len(data),
    )


def _last_part(source: str) -> str:
    """The name of a source without the folders it lies in, which are nobody's business where the file goes."""
    return Path(source).resolve().name or "pictures"


def _calibration(scene: Scene) -> np.ndarray:
    pixels = scene.pixels["train"]
    rows = np.linspace(0, len(pixels) - 1, min(CALIBRATION, len(pixels))).astype(int)
    return normalize(pixels[rows], scene.steps)


def write_verified(
    model: Model, path: Path, *, scene: Scene, run: RunFolder, trained: Model, target: str = "onnx"
) -> Exported:
    """Write a model and let the file stand under its name only after it passed the parity gate.

    Args:
      model: what is written; its card is what the file must say of itself.
      path: the file. Until it passed, and for ever where it is refused, it is called <name>.refused.<suffix>.
      scene: its validation pictures go the whole way.
      run: whose record tells of the file, refused or not.
      trained: the network before any stage, as `model_of` gives it; a float file is held to it.
      target: a name of TARGETS.

    Returns:
      What was written.

    Raises:
      FireforgeError: PARITY with exit code 5; CANNOT_WRITE.
    """
    waiting = path.with_name(f"{path.stem}.refused{path.suffix}")
    exported = TARGETS[target](model, waiting)
    pictures = [encoded(scene.dataset, int(i)) for i in scene.part("val")[:PARITY]]
    source = Source(trained=trained, model=model)
    report = verify_file(waiting, pictures, source=source, sha256=(exported.sha256,))
    inside = path.resolve().parent == run.path.resolve()
    told = path.name if inside else str(path)
    run.journal.append("parity", report.replace(model=told).to_json())
    if not report.passed:
        raise refusal(report)
    try:
        os.replace(waiting, path)
    except OSError as error:
        raise cannot_write(path, error) from error
    run.journal.append("export", exported.replace(path=told).to_json())
    return exported.replace(path=str(path))
