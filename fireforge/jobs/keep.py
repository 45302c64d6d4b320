# SPDX-License-Identifier: Apache-2.0
"""The winner's files in the run's folder, and an answer's files while a later lap looks for a better one."""

from __future__ import annotations

import csv
import io
import os
import shutil

from fireforge.base.answer import Answer
from fireforge.base.files import (
    make_folder,
    prove_writable,
    read_bytes,
    sync_folder,
    write_bytes,
    write_json,
    write_text,
)
from fireforge.base.record import RunRecord
from fireforge.jobs.folder import RunFolder

FILES = ("weights/best.safetensors", "spec.json", "recipe.json", "metrics.csv", "report.html")  # of a training's folder


def prove_place(run: RunFolder) -> None:
    """Prove before a training that what it ends with can be written.

    Args:
      run: where.

    Raises:
      FireforgeError: CANNOT_WRITE with exit code 3.
    """
    for name in FILES:
        prove_writable(run.path / name)


def keep_winner(run: RunFolder, winner: RunRecord) -> None:
    """Write weights/best.safetensors, spec.json, recipe.json and metrics.csv of the winner.

    Args:
      run: where.
      winner: what.
    """
    best = make_folder(run.path / "weights") / "best.safetensors"
    write_bytes(best, read_bytes(run.path / winner.weights))
    write_json(run.path / "spec.json", winner.trial.spec.to_json())
    write_json(run.path / "recipe.json", winner.trial.recipe.to_json())
    write_text(run.path / "metrics.csv", metrics_csv(winner))


COLUMNS = ("train/loss", "train/accuracy", "lr", "val/loss", "val/accuracy")  # of metrics.csv; others follow
ASIDE = "before"  # folder of an answer's files while others are written under their names


def set_aside(run: RunFolder, answer: Answer) -> None:
    """Copy the files that an answer chose from, so that new ones can be written in their place.

    Args:
      run: where; what an interrupted lap has set aside stays as it is.
      answer: of the lap before.
    """
    if (run.path / ASIDE).exists():
        return
    waiting = make_folder(run.path / f".{ASIDE}.tmp")
    for file in answer.candidates:
        if (run.path / file.path).is_file():
            write_bytes(waiting / file.path, read_bytes(run.path / file.path))
    os.replace(waiting, run.path / ASIDE)
    sync_folder(run.path)


def put_back(run: RunFolder) -> None:
    """Let the files that were set aside stand under their names again, and let the record say so.

    Args:
      run: where.
    """
    for path in sorted((run.path / ASIDE).glob("*")):
        write_bytes(run.path / path.name, path.read_bytes())
    for entry in run.laps()[-2]:
        if entry.type in ("stage", "export", "parity"):  # of two entries on one file the newer counts
            run.journal.append(entry.type, entry.value)


def drop_aside(run: RunFolder) -> None:
    """Remove the copies that `set_aside` made, once an answer is written."""
    if (run.path / ASIDE).exists():
        shutil.rmtree(run.path / ASIDE)


def metrics_csv(record: RunRecord) -> str:
    """Metrics by epoch as CSV text; validation columns are empty in epochs that were not judged."""
    others = sorted(set(record.metrics) - {*COLUMNS, "train/epoch", "val/epoch"})
    columns = [name for name in (*COLUMNS, *others) if name in record.metrics]  # a record from disk has another order
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
