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

    A folder where nothing was trained yet, such as after an impossible limit, may be asked anew.

    Args:
      run: an entered folder.
      scene: the data.
      asked: everything that decides the result, as JSON: "data" (its checksum counts, not where it stands), "seed", and
        a build's "budget" or a training's "settings".

    Raises:
      FireforgeError: OTHER_RUN, if the folder holds a run of another command or of other data.
    """
    before = run.entry("start")
    if before is None or (_differs(before, asked) and not run.trials()):
        write_text(run.path / "command.txt", command_line() + "\n")
        facts = {"hardware": this_machine().to_json(), "versions": versions(), "dataset": describe(scene)}
        run.journal.append("start", {"command": command_line(), **asked, **facts})
    elif _differs(before, asked):
        raise FireforgeError(
            "OTHER_RUN",
            "the folder holds a run of another command or of other data",
            where=str(run.path),
            do="another --out",
        )


def command_line() -> str:
    """What was typed, as it can be typed again; "" where there was no command."""
    program = Path(sys.argv[0])
    if program.stem != "fireforge" and program.parts[-2:] != ("fireforge", "__main__.py"):
        return ""
    return " ".join(["fireforge", *map(shlex.quote, sys.argv[1:])])


def _differs(before: Json, asked: dict[str, Json]) -> bool:
    return any(_deciding(name, before.get(name)) != _deciding(name, value) for name, value in asked.items())


def _deciding(name: str, value: Json) -> Json:
    """The part of an asked value that must stay the same."""
    without = {"budget": ("seconds",), "data": ("source",)}.get(name, ())
    return {key: item for key, item in value.items() if key not in without} if isinstance(value, dict) else value
