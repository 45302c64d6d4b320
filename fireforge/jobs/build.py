# SPDX-License-Identifier: Apache-2.0
"""build: labelled images and a budget in; the smallest network that meets it out, with the evidence."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fireforge.base.answer import Answer
from fireforge.base.budget import Budget
from fireforge.base.deadline import Deadline
from fireforge.base.errors import FireforgeError
from fireforge.base.progress import Progress, Update, silent
from fireforge.base.record import RunRecord
from fireforge.baseline.baselines import BASELINES
from fireforge.jobs.begin import begin, command_line
from fireforge.jobs.deliver import deliver
from fireforge.jobs.explore import Search, explore
from fireforge.jobs.folder import RunFolder, default_folder
from fireforge.jobs.keep import keep_winner
from fireforge.jobs.scene import Scene, look
from fireforge.jobs.settle import refuse_if_infeasible, settle, write_result
from fireforge.report.card import write_card
from fireforge.report.page import write_report

DEFAULT_SECONDS = 600.0
FINISH_SHARE = 0.1  # of the time, for compression, export, verification and measuring ...
FINISH_LEAST = 6.0  # ... and at least so many seconds
LEAST_SECONDS = 30.0


def build(
    data: str | Path,
    *,
    budget: Budget | None = None,
    seed: int = 0,
    out: str | Path | None = None,
    device: str = "auto",
    progress: Progress = silent,
) -> Answer:
    """The best model that the limits allow, from a folder of pictures or a dataset's name.

    The same call on the same folder resumes; finished trials are not trained again. Reports and the model card are
    written beside the model.

    Args:
      data: what `fireforge.data.open.open_dataset` takes.
      budget: limits and time; None for no limits and ten minutes.
      seed: of everything that is drawn.
      out: folder of the run; None for runs/<name of the data>.
      device: "auto", "cpu", "cuda" or "cuda:N".
      progress: receives updates.

    Returns:
      The answer, which is the content of result.json; a notebook shows it as a table.

    Raises:
      FireforgeError: INFEASIBLE with exit code 4, where the limits cannot be met; the nearest model is kept.
    """
    budget = budget or Budget()
    seconds = budget.seconds if budget.seconds is not None else DEFAULT_SECONDS
    if seconds < LEAST_SECONDS:
        raise FireforgeError("TOO_LITTLE_TIME", f"{seconds:g} s", allowed=f"at least {LEAST_SECONDS:g}s")
    start = Deadline(seconds)
    scene = look(str(data), seed=seed)
    with RunFolder(out or default_folder(str(data))) as run:
        clock = Deadline(seconds, used=run.seconds_used() + start.used())
        begin(run, scene, seed=seed, budget=budget)
        written = run.entry("answer")
        if written is not None:
            answer = Answer.from_json(written)
            progress(Update(stage="done", note="this run was finished before; another --out starts a new one"))
        else:
            _baselines(run, scene, progress)
            winner = _explore(run, scene, budget, seed=seed, device=device, clock=clock, progress=progress)
            keep_winner(run, winner)
            progress(Update(stage="finish", note="compress, export, verify"))
            deliveries = deliver(scene, run, winner, clock=clock, progress=progress)
            progress(Update(stage="finish", note="measure in a fresh process"))
            answer = settle(scene, run, winner, deliveries, budget)
            answer = answer.replace(seconds=round(clock.used(), 1), command=command_line())
            write_result(run, answer)
        write_report(run.path)
        write_card(run.path)
    refuse_if_infeasible(answer, run.path)
    return answer


def _baselines(run: RunFolder, scene: Scene, progress: Progress) -> None:
    """What the network must beat, judged on validation."""
    done = {entry.value["name"] for entry in run.entries() if entry.type == "baseline"}
    train, val = scene.part("train"), scene.part("val")
    for place, (name, baseline) in enumerate(BASELINES.items()):
        if name in done:
            continue
        result = baseline(
            scene.pixels["train"],
            scene.truth[train],
            scene.pixels["val"],
            scene.truth[val],
            len(scene.dataset.labels),
        )
        run.journal.append("baseline", result.to_json())
        note = f"{name}: {result.accuracy:.1%} on validation"
        progress(Update(stage="baselines", done=place + 1, total=len(BASELINES), unit="baselines", note=note))


def _explore(
    run: RunFolder, scene: Scene, budget: Budget, *, seed: int, device: str, clock: Deadline, progress: Progress
) -> RunRecord:
    finish = max(FINISH_LEAST, FINISH_SHARE * clock.left()) if np.isfinite(clock.left()) else 0.0
    time_for_search = Deadline(clock.seconds - finish, used=clock.used())
    search = Search(scene=scene, run=run, seed=seed, device=device, clock=time_for_search, progress=progress)
    return explore(search, budget)
