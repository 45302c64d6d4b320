# SPDX-License-Identifier: Apache-2.0
"""How long work looks on a terminal: one live line a stage; plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

from fireforge.base.progress import Update
from fireforge.base.units import show_seconds

PLAIN_EVERY_S = 2.0


class View:
    """A Progress that draws Rich bars with rate and time left on a terminal, and prints plain lines elsewhere.

    Args:
      quiet: show nothing.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self._console = Console(stderr=True, quiet=quiet)
        self._live = self._console.is_terminal and not quiet
        self._quiet = quiet
        self._start = time.monotonic()
        self._printed = (0.0, "")
        self._tasks: dict[str, int] = {}
        self._bars = Bars(
            TextColumn("{task.description:<11}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}"),
            console=self._console,
        )

    def __enter__(self) -> View:
        """Start drawing."""
        if self._live:
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop drawing and leave the last state on the screen."""
        if self._live:
            self._bars.stop()

    def __call__(self, update: Update) -> None:
        """Show one update.

        Args:
          update: where the work stands.
        """
        if self._quiet:
            return
        if self._live:
            self._draw(update)
        else:
            self._print(update)

    def _draw(self, update: Update) -> None:
        total = update.total or None
        if update.stage not in self._tasks:
            self._tasks[update.stage] = self._bars.add_task(update.stage, total=total, note="", rate="")
        task = self._bars.tasks[self._tasks[update.stage]]
        rate = ""
        if task.speed and update.total:
            left = (update.total - update.done) / task.speed
            rate = f"{task.speed:.1f} {update.unit}/s, {show_seconds(left)} left"
        self._bars.update(task.id, completed=update.done, total=total, note=update.note, rate=rate)

    def _print(self, update: Update) -> None:
        now = time.monotonic() - self._start
        finished = update.total and update.done >= update.total
        when, stage = self._printed
        if stage == update.stage and not finished and now - when < PLAIN_EVERY_S:
            return
        self._printed = (now, update.stage)
        count = f" {update.done:g}/{update.total:g} {update.unit}" if update.total else ""
        note = f"  {update.note}" if update.note else ""
        print(f"{now:6.1f} s  {update.stage}{count}{note}", file=sys.stderr, flush=True)
