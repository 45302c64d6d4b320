# SPDX-License-Identifier: Apache-2.0
"""The first entry of a run: what was asked, of which data, on which machine; and a longer time that it got later."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from fireforge.base.budget import Budget
from fireforge.base.errors import FireforgeError
from fireforge.base.files import write_text
from fireforge.base.machine import this_machine, versions
from fireforge.base.settings import Settings, Wish
from fireforge.base.start import Start
from fireforge.base.units import show_seconds
from fireforge.base.value import Json
from fireforge.data.remote.address import shown
from fireforge.jobs.folder import RunFolder
from fireforge.jobs.scene import Scene, describe
from fireforge.jobs.timetable import DEFAULT_SECONDS, seconds_of

LEAST_MORE_S = 15.0  # a longer time that leaves less for another lap after an answer leaves the answer as it is


def begin(
    run: RunFolder,
    scene: Scene,
    *,
    seed: int,
    budget: Budget | None = None,
    settings: Settings | None = None,
    wish: Wish | None = None,
) -> None:
    """Write what was asked, or see that the folder holds the same; a longer time is the one difference allowed.

    A folder where nothing was trained yet, not even a part of an epoch, may be asked anew.

    Args:
      run: an entered folder.
      scene: the data; its checksum counts, not where it stands.
      seed: of everything that is drawn.
      budget: of a build; its limits count, not its time.
      settings: of a training; the device may differ.
      wish: of a build; the device may differ.

    Raises:
      FireforgeError: OTHER_RUN, if the folder holds a run of another command, of other data or of a longer time.
    """
    written = run.entry("start")
    before = None if written is None else Start.from_json(written)
    asked = Start(
        command=command_line(),
        data=scene.ref,
        seed=seed,
        budget=budget,
        settings=settings,
        wish=wish,
        hardware=this_machine(),
        versions=versions(),
        dataset=describe(scene),
    )
    if before is None or (_deciding(before) != _deciding(asked) and not run.began_training()):
        write_text(run.path / "command.txt", asked.command + "\n")
        run.journal.append("start", asked.to_json())
    elif _deciding(before) != _deciding(asked):
        raise FireforgeError(
            "OTHER_RUN",
            "the folder holds a run of another command, of other data or of another model",
            where=str(run.path),
            do=f"another --out; what began it stands in {run.path / 'command.txt'}",
        )
    elif budget is not None:
        _check_time(run, budget)


def seconds_asked(run: RunFolder) -> float:
    """The longest time that a build was given so far, in seconds."""
    start = Start.from_json(run.entry("start"))
    first = start.budget.seconds if start.budget and start.budget.seconds else DEFAULT_SECONDS
    return max([first, *(float(entry.value["seconds"]) for entry in run.entries() if entry.type == "longer")])


def command_line() -> str:
    """What was typed, as it can be typed again, URLs without their secrets; "" where there was no command."""
    program = Path(sys.argv[0])
    if program.stem != "fireforge" and program.parts[-2:] != ("fireforge", "__main__.py"):
        return ""
    return " ".join(["fireforge", *map(shlex.quote, map(shown, sys.argv[1:]))])


def _check_time(run: RunFolder, budget: Budget) -> None:
    """Refuse a shorter time, and write a longer one down; where an answer stands, that begins another lap."""
    seconds, asked = seconds_of(budget), seconds_asked(run)
    if seconds < asked:
        what = f"the run was given {show_seconds(asked)}, this command gives {show_seconds(seconds)}"
        do = f"--time {asked:g}s or longer, or another --out"
        raise FireforgeError("OTHER_RUN", what, where=str(run.path), do=do)
    enough = run.answered() is None or seconds - run.seconds_used() >= LEAST_MORE_S
    if seconds > asked and enough:
        run.journal.append("longer", {"seconds": seconds, "command": command_line()})


def _deciding(start: Start) -> tuple[Json, ...]:
    """What must stay the same for a run to go on."""
    budget = start.budget and start.budget.replace(seconds=None)
    wish = None if start.settings else (start.wish or Wish(seed=start.seed)).replace(device="auto")
    settings = start.settings
    if settings is not None:
        settings = settings.replace(device="auto")
        if settings.workers is not None:
            settings = settings.replace(workers=0)  # however many: no number that is trained depends on it
    return (start.data.replace(source=""), start.seed, budget, settings, wish)
