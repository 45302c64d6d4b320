# SPDX-License-Identifier: Apache-2.0
"""export: the trained network of a run, or a float file, written again in a chosen form and verified."""

from __future__ import annotations

from pathlib import Path

from fireforge.base.deadline import Deadline
from fireforge.base.errors import FireforgeError, lookup
from fireforge.base.exported import Exported
from fireforge.base.progress import Progress, silent
from fireforge.base.start import Start
from fireforge.compress.fold import folded
from fireforge.compress.stages import STAGES
from fireforge.export.targets import TARGETS
from fireforge.jobs.calibrate import calibrated
from fireforge.jobs.compress import apart, compress, read_float
from fireforge.jobs.deliver import context_of, model_of, write_verified
from fireforge.jobs.folder import RunFolder
from fireforge.jobs.gate import place, write_gated
from fireforge.jobs.scene import look
from fireforge.jobs.verify import shown_pictures
from fireforge.space.halving import winner_of

FORMS = {"float32": ("fold",), "int8": ("fold", "int8")}


def export(
    model: str | Path,
    *,
    form: str = "float32",
    target: str = "onnx",
    data: str | None = None,
    out: str | Path | None = None,
    progress: Progress = silent,
) -> Exported:
    """Write a run's best network, or what a float file holds.

    Args:
      model: folder of a finished `build`, `train` or `finetune`; or a float ONNX file with a card, built or imported.
      form: "float32", batch norms folded; or "int8" with scales from training pictures.
      target: a name of TARGETS.
      data: pictures for a file; a run has its own. None: a float file is verified on generated ones.
      out: the file; None for model.onnx or model-int8.onnx in the run's folder, model-int8-static.onnx beside integers
        that the build trained; <name>-float32.onnx or <name>-int8.onnx beside a file.
      progress: receives updates.

    Returns:
      What was written; it passed `verify` on validation pictures, a float file on those that are given.

    Raises:
      FireforgeError: NO_FILE; NO_RUN, if the folder is not there or holds no trained network; NO_DATA, if a file shall
        be quantized without pictures; BAD_USAGE, if a run is given pictures or a file shall be written over itself;
        PARITY, if the file does not do what it should.
    """
    lookup(FORMS, form, "form")
    lookup(TARGETS, target, "target")
    if Path(model).is_dir():
        if data is not None:
            raise FireforgeError("BAD_USAGE", "a run has pictures of its own", where=str(model), do="leave --data out")
        return _of_run(Path(model), form, target, out=out, progress=progress)
    if not Path(model).exists():
        code, what = (
            ("NO_FILE", "there is no such file") if Path(model).suffix else ("NO_RUN", "there is no such folder")
        )
        raise FireforgeError(code, what, where=str(model), allowed="a run's folder, or a float file")
    if form == "int8":
        if data is None:
            raise FireforgeError(
                "NO_DATA", "int8 takes its ranges from pictures", where=str(model), do="--data PICTURES"
            )
        return compress(model, data, target=target, out=out, progress=progress).exported
    return _of_file(Path(model), target, data=data, out=out)


def _of_file(path: Path, target: str, *, data: str | None, out: str | Path | None) -> Exported:
    """A float file once more, its batch norms folded."""
    trained = read_float(path)
    made = place(apart(out or path.with_name(f"{path.stem}-float32.onnx"), path))
    pictures, _ = shown_pictures(data, trained.card.preprocess.steps())
    return write_gated(folded(trained)[0], made, pictures=pictures, trained=trained, target=target)[0]


def _of_run(folder: Path, form: str, target: str, *, out: str | Path | None, progress: Progress) -> Exported:
    """A run's best network, with scales from its training pictures, verified on its validation pictures."""
    stages = FORMS[form]
    run = RunFolder(folder)
    start, trials = run.entry("start"), run.trials()
    if start is None or not trials:
        raise FireforgeError("NO_RUN", "no trained network", where=str(folder), do="fireforge build, train or finetune")
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
