# SPDX-License-Identifier: Apache-2.0
"""The first entry of a run: what was asked, of which data, on which machine."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from fireforge.base.errors import FireforgeError
from fireforge.base.files import write_text
from fireforge.base.machine import this_machine, versions
from fireforge.base.value import Json
from fireforge.jobs.folder import RunFolder
from fireforge.jobs.scene import Scene, describe


def begin(run: RunFolder, scene: Scene, asked: dict[str, Json]) -> None:
    """Write what was asked, or see that the folder holds the same; a longer time is the one difference allowed.

    Args:
      run: an entered folder.
      scene: the data.
      asked: everything that decides the result, as JSON: "data" (its checksum counts, not where it stands), "seed", and
        a build's "budget" or a training's "settings".

    Raises:
      FireforgeError: OTHER_RUN, if the folder holds a run of another command or of other data.
    """
    before = run.entry("start")
    if before is None:
        write_text(run.path / "command.txt", command_line() + "\n")
        facts = {"hardware": this_machine().to_json(), "versions": versions(), "dataset": describe(scene)}
        run.journal.append("start", {"command": command_line(), **asked, **facts})
    elif any(_deciding(name, before.get(name)) != _deciding(name, value) for name, value in asked.items()):
        raise FireforgeError(
            "OTHER_RUN",
            "the folder holds a run of another command or of other data",
            where=str(run.path),
            do="another --out",
        )


def command_line() -> str:
    """What was typed, as it can be typed again; "" where there was no command."""
    return " ".join(["fireforge", *map(shlex.quote, sys.argv[1:])]) if Path(sys.argv[0]).stem == "fireforge" else ""


def _deciding(name: str, value: Json) -> Json:
    """The part of an asked value that must stay the same."""
    without = {"budget": ("seconds",), "data": ("source",)}.get(name, ())
    return {key: item for key, item in value.items() if key not in without} if isinstance(value, dict) else value
