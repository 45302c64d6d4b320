# SPDX-License-Identifier: Apache-2.0
"""build: labelled images and a budget in; the smallest network that meets it out, with the evidence."""

from __future__ import annotations

import math
import shutil
from dataclasses import dataclass
from pathlib import Path

from fireforge.base.answer import Answer
from fireforge.base.budget import Budget
from fireforge.base.deadline import Deadline
from fireforge.base.files import write_text
from fireforge.base.progress import Progress, Update, silent
from fireforge.base.record import RunRecord
from fireforge.base.settings import Wish
from fireforge.jobs import alone
from fireforge.jobs.baselines import run_baselines
from fireforge.jobs.begin import begin, command_line
from fireforge.jobs.border import check, past_of
from fireforge.jobs.deliver import Terms, deliver
from fireforge.jobs.explore import explore
from fireforge.jobs.folder import RunFolder, default_folder
from fireforge.jobs.interrupt import ends_early
from fireforge.jobs.keep import drop_aside, keep_winner, put_back, set_aside
from fireforge.jobs.past import as_replayed, same_data, take_over
from fireforge.jobs.prospect import hopeless
from fireforge.jobs.scene import Scene, look, seen
from fireforge.jobs.search import Search
from fireforge.jobs.settle import (
    betters,
    choose,
    promises,
    ready_to_judge,
    refuse_if_infeasible,
    settle,
    write_result,
)
from fireforge.jobs.timetable import BASELINES_SHARE, DEFAULT_SECONDS, finish_seconds, seconds_of
from fireforge.jobs.watch import Watch
from fireforge.report.card import write_card
from fireforge.report.page import write_report
from fireforge.report.show import LIMIT_WORDS
from fireforge.train.trial import CHECKPOINT
from fireforge.train.world import make_world

CACHE = "cache"  # folder of pictures made ready
HOPELESS_S = 8.0  # of training where no network can keep a limit: the nearest comes with the answer all the same


@dataclass(frozen=True, kw_only=True)
class _Work:
    """What the steps of a build share."""

    scene: Scene
    run: RunFolder
    budget: Budget
    wish: Wish
    clock: Deadline
    progress: Progress


def build(
    data: str | Path,
    *,
    budget: Budget | None = None,
    wish: Wish | None = None,
    out: str | Path | None = None,
    progress: Progress = silent,
    used_s: float = 0.0,
) -> Answer:
    """The best model that the limits allow, from a folder of pictures or a dataset's name.

    The same call on the same folder resumes; finished trials are not trained again. A longer time for a run that has
    ended goes on with it, and replaces the answer where a better one is found. Reports and the model card are written
    beside the model.

    Args:
      data: what `fireforge.data.open.open_dataset` takes.
      budget: limits and time; None for no limits and ten minutes.
      wish: seed, device, image size, an earlier run to start from, a run to replay; None for the defaults.
      out: folder of the run; None for runs/<name of the data>.
      progress: receives updates.
      used_s: seconds that have gone by for this build before the call; they count.

    Returns:
      The answer, which is the content of result.json; a notebook shows it as a table.

    Raises:
      FireforgeError: INFEASIBLE with exit code 4, where the limits cannot be met; the nearest model is kept.
    """
    budget, wish = budget or Budget(), wish or Wish()
    folder = Path(out or default_folder(str(data)))
    check(data, budget=budget, wish=wish, folder=folder)
    make_world(wish.device)  # refuses a device that is not there before anything is read
    replay = past_of(wish.replay, folder)
    if replay is not None:
        budget, wish = as_replayed(replay, budget, wish)
    seconds = seconds_of(budget) if replay is None else math.inf
    taken = RunFolder(folder).entry("earlier") is not None
    earlier = past_of("" if taken else wish.earlier, folder)
    start = Deadline(seconds, used=used_s)
    scene = look(str(data), seed=wish.seed, image_size=wish.image_size, cache=folder / CACHE, progress=progress)
    if replay is not None:
        same_data(replay, scene)
    with RunFolder(folder, replay=replay) as run:
        loaded_s = start.used() - used_s
        begin(run, scene, seed=wish.seed, budget=budget, wish=wish)
        clock = Deadline(seconds, used=run.seconds_used() + start.used())
        if earlier is not None:
            take_over(earlier, run, scene)
        flattering = seen(scene)
        if flattering:
            note = f"WARNING: {flattering:,} test pictures equal training or validation pictures: the test flatters"
            progress(Update(stage="data", note=note))
        answer = run.answered()
        if answer is not None:
            note = "this run was finished before; a longer --time goes on, another --out starts a new one"
            progress(Update(stage="done", note=note))
        else:
            watch = Watch(progress, run, clock)
            work = _Work(scene=scene, run=run, budget=budget, wish=wish, clock=clock, progress=watch)
            with ends_early(clock):
                winner = _search(work, finish_seconds(clock.left(), look_s=loaded_s, share=_judged(scene)))
                answer = _answer(work, winner)
            answer = answer.replace(seconds=round(clock.used(), 1), command=command_line())
            run.tick(clock.used(), now=True)
            write_result(run, answer)
            drop_aside(run)
            for folder_name in (CACHE, CHECKPOINT):  # they can be made again, and are large
                shutil.rmtree(run.path / folder_name, ignore_errors=True)
        write_text(run.path / "predict.py", Path(alone.__file__).read_text(encoding="utf-8"))
        write_report(run.path)
        write_card(run.path)
    refuse_if_infeasible(answer, run.path)
    return answer


def _judged(scene: Scene) -> float:
    """The share of the pictures that the finish looks at."""
    return 1 - len(scene.part("train")) / len(scene.truth)


def _search(work: _Work, finish_s: float) -> RunRecord:
    """The baselines and the best network that could be trained, with so many seconds left when it is found."""
    scene, run, wish, clock = work.scene, work.run, work.wish, work.clock
    seconds = BASELINES_SHARE * clock.seconds if math.isfinite(clock.seconds) else DEFAULT_SECONDS
    run_baselines(run, scene, seconds=seconds, seed=wish.seed, device=wish.device, progress=work.progress)
    end = clock.ending_before(finish_s)
    limit = "" if wish.net else hopeless(scene, work.budget, seed=wish.seed)
    if limit:
        note = f"no network can keep the limit of {LIMIT_WORDS[limit].lower()}: the nearest is trained for a moment"
        work.progress(Update(stage="explore", note=note))
        end = clock.ending_before(max(finish_s, clock.left() - HOPELESS_S))
    search = Search(
        scene=scene,
        run=run,
        seed=wish.seed,
        device=wish.device,
        clock=end,
        progress=work.progress,
        net=wish.net,
    )
    winner = explore(search, work.budget)
    if end.stopped():
        clock.stop()  # who asked for the best so far does not want to wait for more
    return winner


def _answer(work: _Work, winner: RunRecord) -> Answer:
    """The winner as a file that is proved and measured; the answer of the lap before where that one is no worse."""
    run, budget = work.run, work.budget
    before = run.answered_before()
    if before is not None and not promises(winner, before):
        return before
    if before is None:
        keep_winner(run, winner)
    else:
        set_aside(run, before)
    scene = work.scene.seen_by(winner.trial.preprocess)
    work.progress(Update(stage="finish", note="compress, export, verify"))
    terms = Terms(tolerance=budget.tolerance, device=work.wish.device)
    made = deliver(scene, run, winner, clock=work.clock, progress=work.progress, terms=terms)
    deliveries = ready_to_judge(made)
    if before is not None and not betters(choose(deliveries, budget), budget, before):
        put_back(run)
        return before
    if before is not None:
        keep_winner(run, winner)
    work.progress(Update(stage="finish", note="measure in a fresh process"))
    return settle(scene, run, winner, deliveries, budget)
