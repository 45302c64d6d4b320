# SPDX-License-Identifier: Apache-2.0
"""Writes a training's state when it is due, and takes it up."""

from __future__ import annotations

import dataclasses
import time
from typing import Any

from fireforge.base.progress import Progress
from fireforge.train.checkpoint import load_checkpoint, save_checkpoint
from fireforge.train.course import Course
from fireforge.train.step import Tools
from fireforge.train.task import Keeping

COSTS = 20  # times as long as it takes to write one state must pass before the next


class Keeper:
    """Keeps a training's state on disk.

    A state is due after the seconds that were asked for, or later where writing takes so long that it would cost more
    than a twentieth of the training.

    Args:
      keeping: where and how often.
      tools: whose state is kept.
      start: when the training began, by the monotonic clock.
    """

    def __init__(self, keeping: Keeping, tools: Tools, start: float) -> None:
        self._keeping, self._tools, self._start = keeping, tools, start
        self._saved, self._took = start, 0.0

    def resume(self, progress: Progress) -> Course:
        """Take up the newest whole state, if there is one.

        Args:
          progress: told of a damaged one.

        Returns:
          How far the training came.
        """
        course = Course()
        if self._keeping.folder is not None:
            owner, parts = self._keeping.owner, self._parts()
            course = load_checkpoint(self._keeping.folder, owner=owner, parts=parts, progress=progress)
        self._start -= course.seconds
        self._tools.guard.left_out, self._tools.guard.row = course.left_out, course.row
        return course

    def due(self) -> bool:
        """Whether the last state is old enough."""
        if self._keeping.folder is None:
            return False
        return time.monotonic() - self._saved >= max(self._keeping.seconds, COSTS * self._took)

    def keep(self, course: Course, *, now: bool) -> None:
        """Write the state, where it is due.

        Args:
          course: how far the training came; its part where an epoch is under way.
          now: due or not.
        """
        if self._keeping.folder is None or not (now or self.due()):
            return
        begun = time.monotonic()
        self._tools.clock.start()
        save_checkpoint(
            self._keeping.folder,
            owner=self._keeping.owner,
            course=self.timed(course),
            parts=self._parts(),
            kept=self._keeping.kept,
        )
        self._tools.clock.lap("checkpoint")
        self._saved = time.monotonic()
        self._took = self._saved - begun

    def timed(self, course: Course) -> Course:
        """The course with what clock and guard say now."""
        return dataclasses.replace(
            course,
            seconds=time.monotonic() - self._start,
            stages=dict(self._tools.clock.seconds),
            left_out=self._tools.guard.left_out,
            row=self._tools.guard.row,
        )

    def _parts(self) -> dict[str, Any]:
        tools = self._tools
        return {"module": tools.module, "optimizer": tools.optimizer, "ema": tools.ema, "scaler": tools.scaler}
