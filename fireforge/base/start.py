# SPDX-License-Identifier: Apache-2.0
"""How a run began: what was asked, of which data, on which machine."""

from __future__ import annotations

from dataclasses import dataclass

from fireforge.base.budget import Budget
from fireforge.base.datacard import DataCard
from fireforge.base.machine import Hardware
from fireforge.base.settings import Settings, Wish
from fireforge.base.trial import DataRef
from fireforge.base.value import Value


@dataclass(frozen=True, kw_only=True)
class Start(Value):
    """The first entry of a record.

    Args:
      command: what was typed; "" where there was no command.
      data: finds the pictures again.
      seed: of everything that is drawn.
      budget: of a build; None in a training.
      settings: of a training; None in a build.
      wish: of a build; None in a training, and in records that did not keep it.
      hardware: the machine.
      versions: package to version.
      dataset: what the data holds.
    """

    command: str = ""
    data: DataRef
    seed: int
    budget: Budget | None = None
    settings: Settings | None = None
    wish: Wish | None = None
    hardware: Hardware
    versions: dict[str, str]
    dataset: DataCard
