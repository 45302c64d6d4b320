# SPDX-License-Identifier: Apache-2.0
"""From the winner's weights to files: fold, quantize, export, each measured on the validation part and verified."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fireforge.base.deadline import Deadline
from fireforge.base.errors import FireforgeError
from fireforge.base.exported import Exported
from fireforge.base.graph import Graph
from fireforge.base.measurement import Measurement
from fireforge.base.metrics import wilson
from fireforge.base.model import Card, Model, dense
from fireforge.base.paired import paired_difference
from fireforge.base.parity import ParityReport
from fireforge.base.pixels import normalize
from fireforge.base.postprocess import Postprocess
from fireforge.base.progress import Progress, Update
from fireforge.base.record import Facts, RunRecord, StageReport
from fireforge.base.spec import NetSpec
from fireforge.base.trunk import trunk
from fireforge.base.value import canonical_json
from fireforge.compress.qat import softened
from fireforge.compress.stage import Context
from fireforge.compress.stages import STAGES
from fireforge.cost.count import count
from fireforge.export.lean import lean_json
from fireforge.export.targets import pack
from fireforge.jobs.calibrate import calibrated, longest_card
from fireforge.jobs.folder import RunFolder
from fireforge.jobs.gate import write_gated
from fireforge.jobs.scene import Scene, encoded
from fireforge.jobs.tune import Tuning, tuner
from fireforge.nets.families import build_graph
from fireforge.nets.given import GIVEN
from fireforge.runtime.measure import measure_fresh
from fireforge.runtime.onnx_runtime import OnnxSession
from fireforge.train.weights import read_weights

CALIBRATION = 256  # training pictures that set the activations' ranges
PARITY = 200  # validation pictures that pass the whole path
BATCH = 256
RUNS = 100  # timed predictions of each delivery
FLOAT, INT8 = "model.onnx", "model-int8.onnx"


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


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What compression may cost, and where it may train.

    Args:
      tolerance: accuracy, as a share, that the int8 file may lose against the float file before it is trained on.
      device: of that training, see `fireforge.train.world.make_world`.
    """

    tolerance: float = 0.005
    device: str = "auto"


def deliver(
    scene: Scene,
    run: RunFolder,
    winner: RunRecord,
    *,
    clock: Deadline,
    progress: Progress,
    terms: Terms | None = None,
) -> list[Delivery]:
    """Calibrate the scores, fold, export in float, quantize, export in int8; verify and measure both.

    Where the int8 file loses more than the tolerance and there is time, it is trained with its rounding and written
    again if that made it better on the validation part: one look at it, and no choice among many. A file that the
    parity gate refuses is no delivery; the others go on.

    Args:
      scene: the data.
      run: where files and records go.
      winner: whose weights are taken.
      clock: what is left of the time.
      progress: receives updates.
      terms: None for the defaults.

    Returns:
      The deliveries that passed, at least one, the float one first.

    Raises:
      FireforgeError: PARITY, if no file does what the network did.
    """
    terms = terms or Terms()
    scene = scene.seen_by(winner.trial.preprocess)
    trained = calibrated(model_of(scene, winner, run.path), scene, run)
    judge = Judge(scene)
    context = context_of(scene, clock=clock, progress=progress, evaluate=judge)
    shop = _Shop(scene=scene, run=run, trained=trained, progress=progress)
    folded, report = STAGES["fold"](trained, context)
    shop.take(folded, FLOAT, report)
    start = clock.used()
    made, report = STAGES["int8"](folded, context)
    report = _compared(report, judge.right(folded), judge.right(made), terms)
    shop.take(made, INT8, report)
    spent_s = clock.used() - start
    loses = report.lost is not None and report.lost.difference > terms.tolerance
    if loses and shop.has(INT8) and clock.left() > spent_s:
        tuning = Tuning(scene=scene, run=run, winner=winner, device=terms.device, clock=clock, progress=progress)
        finetune = tuner(tuning, reserve_s=spent_s)
        soft = judge.same(softened(made, folded), made)
        better, report = STAGES["qat"](soft, dataclasses.replace(context, finetune=finetune))
        report = _compared(report, judge.right(folded), judge.right(better), terms)
        shop.take_if_better(better, INT8, report)
    if not shop.deliveries:
        raise shop.refused[0]
    return list(shop.deliveries.values())


class Judge:
    """Measures models on the validation part, each once, and knows which pictures they had right.

    Args:
      scene: the pictures.
    """

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._seen: list[tuple[Model, Facts, np.ndarray]] = []

    def __call__(self, model: Model) -> Facts:
        """Facts of a model, without latency."""
        return self._judged(model)[1]

    def right(self, model: Model) -> np.ndarray:
        """Whether each picture was answered right, bool (n,)."""
        return self._judged(model)[2]

    def same(self, model: Model, known: Model) -> Model:
        """Take for a model the figures of one that was measured and gives the same answers."""
        _, facts, right = self._judged(known)
        self._seen.append((model, facts, right))
        return model

    def _judged(self, model: Model) -> tuple[Model, Facts, np.ndarray]:
        for known in self._seen:
            if known[0] is model:
                return known
        self._seen.append((model, *judged(model, self._scene)))
        return self._seen[-1]


class _Shop:
    """Files as they are made: each verified, measured and told in the record."""

    def __init__(self, *, scene: Scene, run: RunFolder, trained: Model, progress: Progress) -> None:
        self.scene, self.run, self.trained, self.progress = scene, run, trained, progress
        self.deliveries: dict[str, Delivery] = {}
        self.refused: list[FireforgeError] = []
        self.done = 0
        self.before: Facts | None = None

    def has(self, name: str) -> bool:
        """Whether a file stands."""
        return name in self.deliveries

    def take(self, model: Model, name: str, report: StageReport) -> None:
        """Write a stage's model, unless the gate refuses it, and tell of the stage."""
        self._show(report.stage)
        try:
            exported = write_verified(model, self.run.path / name, scene=self.scene, run=self.run, trained=self.trained)
        except FireforgeError as error:
            if error.code != "PARITY":
                raise
            self.refused.append(error)
            self._show(error.line())
        else:
            measurement = measure_fresh(exported.path, runs=RUNS)
            facts = report.after.replace(latency_ms=measurement.latency_ms)
            report = report.replace(after=facts)
            self.deliveries[name] = Delivery(exported=exported, facts=facts, measurement=measurement)
        self._tell(report)

    def take_if_better(self, model: Model, name: str, report: StageReport) -> None:
        """Write a stage's model over an earlier file only if it is more accurate on the validation part."""
        if (report.after.accuracy or 0.0) > (self.deliveries[name].facts.accuracy or 0.0):
            self.take(model, name, report)
        else:
            note = f"no better on validation: {name} stays as it was"
            self._tell(report.replace(notes=(*report.notes, note)))

    def _tell(self, report: StageReport) -> None:
        report = report if self.before is None else report.replace(before=self.before)
        self.before = report.after
        self.run.journal.append("stage", report.to_json())
        self.done += 1

    def _show(self, note: str) -> None:
        total = max(2, self.done + 1)
        self.progress(Update(stage="compress", done=self.done, total=total, unit="stages", note=note))


def _compared(report: StageReport, whole: np.ndarray, rounded: np.ndarray, terms: Terms) -> StageReport:
    """The report with what was lost against the float file, as a value and in words."""
    lost = paired_difference(whole, rounded)
    words = (
        f"{100 * lost.difference:.2f} points lost against the float file on the same {lost.n} pictures "
        f"(95 % interval {100 * lost.low:.2f} to {100 * lost.high:.2f}; {lost.only_a} right in float alone, "
        f"{lost.only_b} in integers alone)"
    )
    notes = (*report.notes, words)
    if lost.difference > terms.tolerance:
        notes += (
            f"more than the tolerance of {100 * terms.tolerance:.2f} points: the float file is the answer where it "
            "keeps as many limits",
        )
    return report.replace(lost=lost, notes=notes)


def context_of(
    scene: Scene, *, clock: Deadline, progress: Progress, evaluate: Callable[[Model], Facts] | None = None
) -> Context:
    """What compression stages work with: calibration pictures, a judge, the time left; nothing may be trained.

    Args:
      scene: the pictures.
      clock: when the stages must be done.
      progress: receives updates.
      evaluate: measures a model; None for a Judge on the validation part.

    Returns:
      The context.
    """
    return Context(
        calibration=_calibration(scene), evaluate=evaluate or Judge(scene), deadline=clock, progress=progress
    )


def model_of(scene: Scene, record: RunRecord, folder: Path) -> Model:
    """The trained network of a record, with its card and without heads that served its training alone.

    Args:
      scene: labels and preprocessing.
      record: spec and weights.
      folder: that the weights' path starts from.

    Returns:
      A float model.
    """
    weights = read_weights(folder / record.weights, sha256=record.weights_sha256)
    graph = trunk(build_graph(record.trial.spec))
    kept = {weight.name: weights[weight.name] for weight in graph.weights}
    return Model(graph=graph, weights=dense(kept), card=_descended(card_of(scene), record.trial.spec, graph))


def card_of(scene: Scene) -> Card:
    """What every file of a run says of itself; the source without the folders it stands in."""
    return Card(
        preprocess=scene.preprocess,
        postprocess=Postprocess(),
        labels=scene.dataset.labels,
        source=f"trained from nothing on {_last_part(scene.ref.source)} by fireforge",
    )


def _descended(card: Card, spec: NetSpec, graph: Graph) -> Card:
    """The card of a network that was trained before: the source, licence and names of tensors that it came with."""
    if spec.family != GIVEN:
        return card
    first = str(spec.params["source"]) or "a model of unknown source"
    return card.replace(
        preprocess=card.preprocess.replace(input=graph.inputs[0].name),
        postprocess=card.postprocess.replace(outputs=graph.outputs[:1]),
        licence=str(spec.params["licence"]),
        source=f"{first}; {card.source.replace('trained from nothing on', 'then trained further on')}",
    )


def card_bytes(scene: Scene) -> int:
    """Bytes of the longest card that a file of a run can carry, for predictions of its size."""
    return len(canonical_json(lean_json(longest_card(card_of(scene)))).encode())


def facts_of(model: Model, scene: Scene) -> Facts:
    """Accuracy of a model on the validation part, run as its exported form runs.

    Args:
      model: float or quantized.
      scene: the pictures.

    Returns:
      Facts without latency, which is measured on the file in a fresh process; bytes are those of the whole file.
    """
    return judged(model, scene)[0]


def judged(model: Model, scene: Scene) -> tuple[Facts, np.ndarray]:
    """Accuracy of a model on the validation part, and which pictures it had right.

    Args:
      model: float or quantized.
      scene: the pictures.

    Returns:
      Facts as in `facts_of`, and bool (n,).
    """
    data = pack(model)
    session = OnnxSession(data)
    truth, pixels = scene.truth[scene.part("val")], scene.pixels["val"]
    name, output = session.inputs[0].name, model.card.postprocess.outputs[0]
    parts = (normalize(pixels[i : i + BATCH], scene.steps) for i in range(0, len(pixels), BATCH))
    right = np.concatenate([session.run({name: part})[output] for part in parts]).argmax(axis=1) == truth
    facts = Facts(
        accuracy=float(right.mean()),
        interval=wilson(int(right.sum()), len(truth)),
        samples=len(truth),
        macs=count(model.graph).macs,
        bytes=len(data),
    )
    return facts, right


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
      path: the file, as for `write_gated`.
      scene: its validation pictures go the whole way.
      run: whose record tells of the file, refused or not.
      trained: the network before any stage, as `model_of` gives it; a float file is held to it.
      target: a name of TARGETS.

    Returns:
      What was written.

    Raises:
      FireforgeError: PARITY with exit code 5; CANNOT_WRITE.
    """
    pictures = [encoded(scene.dataset, int(i)) for i in scene.part("val")[:PARITY]]
    inside = path.resolve().parent == run.path.resolve()
    told = path.name if inside else str(path)

    def note(report: ParityReport) -> None:
        run.journal.append("parity", report.replace(model=told).to_json())

    exported, _ = write_gated(model, path, pictures=pictures, trained=trained, target=target, note=note)
    run.journal.append("export", exported.replace(path=told).to_json())
    return exported
