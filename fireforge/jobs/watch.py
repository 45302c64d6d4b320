# SPDX-License-Identifier: Apache-2.0
"""What a build tells beside each update: the time used, which is also noted, and the best network so far."""

from __future__ import annotations

import json

from fireforge.base.deadline import Deadline
from fireforge.base.progress import Progress, Update
from fireforge.base.record import RunRecord
from fireforge.base.trunk import trunk
from fireforge.cost.filesize import onnx_bytes
from fireforge.jobs.folder import RunFolder
from fireforge.nets.families import build_graph

TRIAL = b'{"type":"trial",'  # how such a line of the record begins


class Watch:
    """A Progress that adds to each update what the whole build knows, and hands it on.

    Args:
      progress: receives the updates.
      run: whose record is read for new trials, and which keeps the time used.
      clock: of the build.
    """

    def __init__(self, progress: Progress, run: RunFolder, clock: Deadline) -> None:
        self._progress, self._run, self._clock = progress, run, clock
        self._read = 0  # bytes of the record
        self._accuracy: float | None = None
        self._bytes: int | None = None

    def __call__(self, update: Update) -> None:
        """Tell one update.

        Args:
          update: where the work stands.
        """
        used_s = self._clock.used()
        self._run.tick(used_s)
        self._look()
        best = {} if self._accuracy is None else {"best_accuracy": self._accuracy, "best_bytes": self._bytes}
        self._progress(update.replace(used_s=used_s, **best))

    def _look(self) -> None:
        """Trials that were written since the last look; the size is that of the int8 file, as it is predicted."""
        path = self._run.journal.path
        if not path.exists() or path.stat().st_size <= self._read:
            return
        with open(path, "rb") as stream:
            stream.seek(self._read)
            new = stream.read()
        whole = new[: new.rfind(b"\n") + 1]
        self._read += len(whole)
        for line in whole.splitlines():
            if not line.startswith(TRIAL):
                continue
            record = RunRecord.from_json(json.loads(line)["value"])
            if record.accuracy is not None and record.accuracy > (self._accuracy or -1.0):
                self._accuracy = record.accuracy
                self._bytes = onnx_bytes(trunk(build_graph(record.trial.spec)), form="int8")
