# SPDX-License-Identifier: Apache-2.0
"""Event files for TensorBoard: a training's numbers by epoch, as they come and once more whole when it has ended.

Each file begins with the step from which it counts: TensorBoard then drops what earlier files of the folder hold from
there on, so that no number stands twice after a resume.
"""

from __future__ import annotations

import importlib
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from fireforge.base.errors import Exit, FireforgeError
from fireforge.base.files import cannot_write, make_folder, prove_writable, write_text
from fireforge.base.progress import Progress, Update
from fireforge.base.record import RunRecord

FOLDER = "tensorboard"  # within a run's folder
WHOLE = "whole"  # a file that says that the whole training stands in the folder, by the sha256 of its weights
VERSION = "brain.Event:2"  # of the files, from which on a later file may drop what earlier ones hold


class Events:
    """A Progress that writes the numbers of each epoch; the step is the number of epochs, a cut one counted whole.

    Args:
      folder: of the run.
      then: receives each update too.

    Raises:
      FireforgeError: NO_PACKAGE, if tensorboard is not installed; exit 3.
    """

    def __init__(self, folder: Path, then: Progress) -> None:
        _package()
        self._folder, self._then = folder / FOLDER, then
        self._file: _File | None = None

    def prove(self) -> None:
        """See that the files can be written, before there is something to write.

        Raises:
          FireforgeError: CANNOT_WRITE.
        """
        prove_writable(self._folder / WHOLE)

    def __call__(self, update: Update) -> None:
        """Write an update's numbers, if it has some.

        Args:
          update: where the training stands.
        """
        self._then(update)
        if not update.numbers:
            return
        step = math.ceil(update.done)
        if self._file is None:
            self._file = _File(self._folder, step)
            (self._folder / WHOLE).unlink(missing_ok=True)
        self._file.write(step, update.numbers)

    def end(self, record: RunRecord) -> None:
        """Write the whole training in a file of its own, in the place of what was written before.

        Args:
          record: of the training; also of one that had ended before, whose events are written where they are not whole.
        """
        whole_one = self._folder / WHOLE
        if self._file is None and whole_one.exists():
            return
        if self._file is not None:
            self._file.close()
        whole = _File(self._folder, 0)
        for step, numbers in sorted(by_step(record).items()):
            whole.write(step, numbers)
        whole.close()
        write_text(whole_one, f"{record.weights_sha256}\n")


def by_step(record: RunRecord) -> dict[int, dict[str, float]]:
    """The scalars of a training.

    Args:
      record: its metrics, gradients and stages are used.

    Returns:
      Step to tag to number: "train/loss" and the other metrics, "gradient/<number> <layer>" by the layers' outputs,
      "seconds/<stage>" at the last step.
    """
    found: dict[int, dict[str, float]] = {}
    for name, numbers in record.metrics.items():
        part, _, what = name.partition("/")
        epochs = record.metrics.get(f"{part}/epoch" if what else "train/epoch", ())
        if what != "epoch":
            for epoch, number in zip(epochs, numbers):
                found.setdefault(math.ceil(epoch), {})[name] = number
    layers = record.gradients.layers
    wide = len(str(len(layers)))
    for look in record.gradients.looks:
        sizes = {
            f"gradient/{place:0{wide}} {layer}": size
            for place, (layer, size) in enumerate(zip(layers, look.outputs), 1)
            if size is not None
        }
        found.setdefault(math.ceil(look.epoch), {}).update(sizes)
    found.setdefault(max(found, default=0), {}).update({f"seconds/{name}": s for name, s in record.stages.items()})
    return found


class _File:
    """One event file, whose events count from a step on."""

    def __init__(self, folder: Path, first: int) -> None:
        writer, self._event, self._summary = _package()
        self._folder = folder
        try:
            self._writer = writer.EventFileWriter(str(make_folder(folder)))
        except OSError as error:
            raise cannot_write(folder, error) from error
        self._add(file_version=VERSION, step=first)
        self._add(session_log=self._event.SessionLog(status=self._event.SessionLog.START), step=first)

    def write(self, step: int, numbers: Mapping[str, float]) -> None:
        """Write some scalars of one step, on disk when this returns."""
        values = [self._summary.Summary.Value(tag=tag, simple_value=number) for tag, number in numbers.items()]
        self._add(summary=self._summary.Summary(value=values), step=step)
        self._on_disk(self._writer.flush)

    def close(self) -> None:
        """Write what is left and close the file."""
        self._on_disk(self._writer.close)

    def _on_disk(self, work: Callable[[], None]) -> None:
        try:
            work()
        except OSError as error:
            raise cannot_write(self._folder, error) from error

    def _add(self, **fields: Any) -> None:
        self._writer.add_event(self._event.Event(wall_time=time.time(), **fields))


def _package() -> tuple[Any, Any, Any]:
    """The writer of files and the two messages that go into them."""
    names = ("summary.writer.event_file_writer", "compat.proto.event_pb2", "compat.proto.summary_pb2")
    try:
        writer, event, summary = (importlib.import_module(f"tensorboard.{name}") for name in names)
    except ImportError as error:
        do = 'pip install "fireforge[tensorboard]"'
        raise FireforgeError("NO_PACKAGE", "tensorboard is not installed", do=do, exit_code=Exit.ENVIRONMENT) from error
    return writer, event, summary
