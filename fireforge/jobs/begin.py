# SPDX-License-Identifier: Apache-2.0
"""The first entry of a run: what was asked, of which data, on which machine."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from fireforge.base.budget import Budget
from fireforge.base.errors import FireforgeError
from fireforge.base.files import write_text
from fireforge.base.machine import this_machine, versions
from fireforge.base.value import Json
from fireforge.jobs.folder import RunFolder
from fireforge.jobs.scene import Scene, describe


def begin(run: RunFolder, scene: Scene, budget: Budget, seed: int) -> None:
    """Write what was asked, or see that the folder holds the same; a longer time is the one difference allowed.

    Args:
      run: an entered folder.
      scene: the data; its checksum is part of what was asked.
      budget: the limits.
      seed: of the run.

    Raises:
      FireforgeError: OTHER_RUN, if the folder holds a run of another command or of other data.
    """
    asked = {"data": scene.ref.to_json(), "budget": budget.to_json(), "seed": seed}
    before = run.entry("start")
    if before is None:
        write_text(run.path / "command.txt", command_line() + "\n")
        facts = {"hardware": this_machine().to_json(), "versions": versions(), "dataset": describe(scene)}
        run.journal.append("start", {"command": command_line(), **asked, **facts})
    elif _without_time(before) != _without_time(asked):
        raise FireforgeError(
            "OTHER_RUN",
            "the folder holds a run of another command or of other data",
            where=str(run.path),
            do="another --out",
        )


def command_line() -> str:
    """What was typed, as it can be typed again; "" where there was no command."""
    return " ".join(["fireforge", *map(shlex.quote, sys.argv[1:])]) if Path(sys.argv[0]).stem == "fireforge" else ""


def _without_time(asked: Json) -> Json:
    limits = {name: limit for name, limit in asked["budget"].items() if name != "seconds"}
    return limits, asked["data"]["sha256"], asked["data"]["seed"], asked["seed"]
