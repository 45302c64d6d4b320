# SPDX-License-Identifier: Apache-2.0
"""The winner's files in the run's folder: weights, spec, recipe, metrics."""

from __future__ import annotations

import csv
import io

from fireforge.base.files import make_folder, write_bytes, write_json, write_text
from fireforge.base.record import RunRecord
from fireforge.jobs.folder import RunFolder


def keep_winner(run: RunFolder, winner: RunRecord) -> None:
    """Write weights/best.safetensors, spec.json, recipe.json and metrics.csv of the winner.

    Args:
      run: where.
      winner: what.
    """
    best = make_folder(run.path / "weights") / "best.safetensors"
    write_bytes(best, (run.path / winner.weights).read_bytes())
    write_json(run.path / "spec.json", winner.trial.spec.to_json())
    write_json(run.path / "recipe.json", winner.trial.recipe.to_json())
    write_text(run.path / "metrics.csv", metrics_csv(winner))


def metrics_csv(record: RunRecord) -> str:
    """Metrics by epoch as CSV text; validation columns are empty in epochs that were not judged."""
    columns = [name for name in record.metrics if name not in ("train/epoch", "val/epoch")]
    losses = record.metrics.get("train/loss", ())
    epochs = record.metrics.get("train/epoch", tuple(float(number) for number in range(1, len(losses) + 1)))
    judged = {epoch: place for place, epoch in enumerate(record.metrics.get("val/epoch", ()))}
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["epoch", *columns])
    for row, epoch in enumerate(epochs):
        cells = [f"{epoch:.6g}"]
        for name in columns:
            place = judged.get(epoch) if name.startswith("val/") else row
            cells.append("" if place is None else f"{record.metrics[name][place]:.6g}")
        writer.writerow(cells)
    return stream.getvalue()
