# SPDX-License-Identifier: Apache-2.0
"""export: the trained network of a run, written again in a chosen form and verified."""

from __future__ import annotations

from pathlib import Path

from fireforge.base.deadline import Deadline
from fireforge.base.errors import FireforgeError, lookup
from fireforge.base.exported import Exported
from fireforge.base.progress import Progress, silent
from fireforge.base.start import Start
from fireforge.compress.stages import STAGES
from fireforge.export.targets import TARGETS
from fireforge.jobs.calibrate import calibrated
from fireforge.jobs.deliver import context_of, model_of, write_verified
from fireforge.jobs.folder import RunFolder
from fireforge.jobs.scene import look
from fireforge.space.halving import winner_of

FORMS = {"float32": ("fold",), "int8": ("fold", "int8")}


def export(
    folder: str | Path,
    *,
    form: str = "float32",
    target: str = "onnx",
    out: str | Path | None = None,
    progress: Progress = silent,
) -> Exported:
    """Write a run's best network.

    Args:
      folder: of a finished `build` or `train`.
      form: "float32", or "int8" with scales from the run's own training pictures.
      target: a name of TARGETS.
      out: the file; None for model.onnx or model-int8.onnx in the run's folder, model-int8-static.onnx beside integers
        that the build trained.
      progress: receives updates.

    Returns:
      What was written; it passed `verify` on validation pictures.

    Raises:
      FireforgeError: NO_RUN, if the folder holds no trained network; PARITY, if the file does not do what it should.
    """
    stages = lookup(FORMS, form, "form")
    lookup(TARGETS, target, "target")
    run = RunFolder(folder)
    start, trials = run.entry("start"), run.trials()
    if start is None or not trials:
        raise FireforgeError("NO_RUN", "no trained network", where=str(folder), do="fireforge build or train")
    winner = winner_of(list(trials.values()))
    ref = Start.from_json(start).data
    scene = look(ref.source, seed=ref.seed, known=winner.trial.preprocess)
    context = context_of(scene, clock=Deadline(), progress=progress)
    name = "model.onnx" if form == "float32" else f"model-{form}.onnx"
    if form == "int8" and any(entry.type == "stage" and entry.value["stage"] == "qat" for entry in run.entries()):
        name = f"model-{form}-static.onnx"  # the run's own was trained with its rounding, which this one is not
    with run:
        model = trained = calibrated(model_of(scene, winner, run.path), scene, run)
        for stage in stages:
            model, _ = STAGES[stage](model, context)
        path = Path(out) if out else run.path / name
        return write_verified(model, path, scene=scene, run=run, trained=trained, target=target)
