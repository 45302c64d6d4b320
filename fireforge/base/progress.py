# SPDX-License-Identifier: Apache-2.0
"""Progress of long work as small records; whoever watches decides how to show them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from fireforge.base.value import Value


@dataclass(frozen=True, kw_only=True)
class Update(Value):
    """Where long work stands.

    Args:
      stage: what runs now ("train", "explore").
      done: units finished.
      total: units in all; 0 where unknown.
      unit: what is counted ("epoch", "trial").
      note: one short line for people.
      best_accuracy: of the best so far, on the validation part; None where this update does not tell.
      best_bytes: of the best so far, predicted or on disk; likewise.
      used_s: seconds of the whole work so far, those of earlier runs of it counted; likewise.
      numbers: what was measured last, by name; empty where this update tells none.
      lasting: whether the note must be seen, and stays: a line of its own.
    """

    stage: str
    done: float = 0.0
    total: float = 0.0
    unit: str = ""
    note: str = ""
    best_accuracy: float | None = None
    best_bytes: int | None = None
    used_s: float | None = None
    numbers: dict[str, float] = field(default_factory=dict)
    lasting: bool = False


class Progress(Protocol):
    """Receives updates; must return quickly."""

    def __call__(self, update: Update) -> None:
        """Take one update.

        Args:
          update: where the work stands.
        """


def silent(update: Update) -> None:
    """A Progress that shows nothing.

    Args:
      update: ignored.
    """
