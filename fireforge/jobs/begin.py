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
from fireforge.base.settings import Settings
from fireforge.base.start import Start
from fireforge.base.value import Json
from fireforge.jobs.folder import RunFolder
from fireforge.jobs.scene import Scene, describe


def begin(
    run: RunFolder, scene: Scene, *, seed: int, budget: Budget | None = None, settings: Settings | None = None
) -> None:
    """Write what was asked, or see that the folder holds the same; a longer time is the one difference allowed.

    A folder where nothing was trained yet, such as after an impossible limit, may be asked anew.

    Args:
      run: an entered folder.
      scene: the data; its checksum counts, not where it stands.
      seed: of everything that is drawn.
      budget: of a build; its limits count, not its time.
      settings: of a training.

    Raises:
      FireforgeError: OTHER_RUN, if the folder holds a run of another command or of other data.
    """
    written = run.entry("start")
    before = None if written is None else Start.from_json(written)
    asked = Start(
        command=command_line(),
        data=scene.ref,
        seed=seed,
        budget=budget,
        settings=settings,
        hardware=this_machine(),
        versions=versions(),
        dataset=describe(scene),
    )
    if before is None or (_deciding(before) != _deciding(asked) and not run.trials()):
        write_text(run.path / "command.txt", asked.command + "\n")
        run.journal.append("start", asked.to_json())
    elif _deciding(before) != _deciding(asked):
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


def _deciding(start: Start) -> tuple[Json, ...]:
    """What must stay the same for a run to go on."""
    budget = start.budget and start.budget.replace(seconds=None)
    return (start.data.replace(source=""), start.seed, budget, start.settings)
