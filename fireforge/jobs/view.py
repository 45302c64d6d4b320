# SPDX-License-Identifier: Apache-2.0
"""How long work looks: one live panel on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from fireforge.base.budget import LIMITS, Budget
from fireforge.base.progress import Update
from fireforge.base.units import show_bytes, show_seconds
from fireforge.report.show import LIMIT_WORDS, limit_words

PLAIN_EVERY_S = 3.0
DRAWN_A_SECOND = 4
BAR = 28


class View:
    """A Progress that draws a panel with rate, time left and the best so far on a terminal; elsewhere plain lines.

    Args:
      quiet: show nothing.
      budget: of a build, whose time and limits are shown; None for other work.
    """

    def __init__(self, *, quiet: bool = False, budget: Budget | None = None) -> None:
        self._console = Console(stderr=True, quiet=quiet)
        self._quiet = quiet
        self._budget = budget
        self._start = time.monotonic()
        self._last = Update(stage="start")
        self._best: tuple[float | None, int | None] = (None, None)
        self._used: tuple[float, float] | None = None  # seconds of the whole work, and when they were told
        self._rate = Rate()
        self._printed = (0.0, "")
        self._live: Live | None = None
        if self._console.is_terminal and not quiet:
            self._live = Live(
                console=self._console,
                get_renderable=self.panel,
                refresh_per_second=DRAWN_A_SECOND,
                redirect_stdout=False,
            )

    def __enter__(self) -> View:
        """Start drawing."""
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop drawing and leave the last state on the screen."""
        if self._live is not None:
            self._live.stop()

    def __call__(self, update: Update) -> None:
        """Show one update.

        Args:
          update: where the work stands.
        """
        if update.lasting:
            self._say(update.note)
        if self._quiet or update.lasting:
            return
        now = time.monotonic()
        self._rate.see(update, now)
        self._last = update
        if update.best_accuracy is not None:
            self._best = (update.best_accuracy, update.best_bytes)
        if update.used_s is not None:
            self._used = (update.used_s, now)
        if self._live is None:
            self._print(update, now)

    def _say(self, note: str) -> None:
        """A line that stays, also where nothing else is shown: what is told is no part of the result."""
        if self._live is not None:
            self._live.console.print(Text(note))
        else:
            print(note, file=sys.stderr, flush=True)

    def panel(self) -> RenderableType:
        """What stands on the terminal now."""
        rows = Table.grid(padding=(0, 2))
        rows.add_row("stage", self._stage())
        if self._last.total:
            bar = ProgressBar(total=self._last.total, completed=self._last.done, width=BAR)
            rows.add_row("", _beside(bar, f"{self._counted()}{self._rate.words(self._last)}"))
        if self._best[0] is not None:
            size = "" if self._best[1] is None else f", {show_bytes(self._best[1])}"
            rows.add_row("best so far", f"{self._best[0]:.1%} on validation{size}")
        if self._budget is not None:
            rows.add_row("time", self._time(self._budget))
            rows.add_row("limits", _limits(self._budget))
        else:
            rows.add_row("time", show_seconds(time.monotonic() - self._start))
        return Panel(rows, title="fireforge", title_align="left", expand=False)

    def _stage(self) -> Text:
        note = f"  {self._last.note}" if self._last.note else ""
        return Text(f"{self._last.stage}{note}")

    def _counted(self) -> str:
        return f"{self._last.done:g}/{self._last.total:g} {self._last.unit}"

    def _used_s(self, now: float) -> float:
        """Seconds of the whole work, those of earlier runs of it counted where an update told them."""
        return now - self._start if self._used is None else self._used[0] + now - self._used[1]

    def _time(self, budget: Budget) -> RenderableType:
        used = self._used_s(time.monotonic())
        if budget.seconds is None:
            return Text(show_seconds(used))
        left = max(0.0, budget.seconds - used)
        bar = ProgressBar(total=budget.seconds, completed=min(used, budget.seconds), width=BAR)
        return _beside(bar, f"{show_seconds(used)} of {show_seconds(budget.seconds)}, {show_seconds(left)} left")

    def _print(self, update: Update, now: float) -> None:
        finished = update.total and update.done >= update.total
        when, stage = self._printed
        if now - when < PLAIN_EVERY_S and (stage == update.stage) and not finished:
            return
        self._printed = (now, update.stage)
        count = f" {self._counted()}{self._rate.words(update)}" if update.total else ""
        note = f"  {update.note}" if update.note else ""
        print(f"{self._used_s(now):6.1f} s  {update.stage}{count}{note}", file=sys.stderr, flush=True)


class Rate:
    """Units a second of the present stage, over all of it so far."""

    def __init__(self) -> None:
        self._stage = ""
        self._first = (0.0, 0.0)
        self._last = (0.0, 0.0)

    def see(self, update: Update, now: float) -> None:
        """Take an update.

        Args:
          update: where the work stands.
          now: by the monotonic clock, in seconds.
        """
        if update.stage != self._stage or update.done < self._last[0]:
            self._stage, self._first = update.stage, (update.done, now)
        self._last = (update.done, now)

    def words(self, update: Update) -> str:
        """Rate and time left as ", 3.1 images/s, 12 s left"; nothing where they are unknown."""
        done, seconds = self._last[0] - self._first[0], self._last[1] - self._first[1]
        if done <= 0 or seconds <= 0 or update.done >= update.total:
            return ""
        rate = done / seconds
        each = f"{rate:.1f} {update.unit}/s" if rate >= 0.1 else f"{60 * rate:.1f} {update.unit}/min"
        return f", {each}, {show_seconds((update.total - update.done) / rate)} left"


def _beside(bar: ProgressBar, words: str) -> RenderableType:
    row = Table.grid(padding=(0, 1))
    row.add_row(bar, Text(words))
    return row


def _limits(budget: Budget) -> RenderableType:
    told = []
    for name in LIMITS:
        limit = getattr(budget, name)
        if limit is not None:
            told.append(Text(f"{LIMIT_WORDS[name]} {limit_words(name, limit, None)[0]}"))
    return Group(*told) if told else Text("none")
