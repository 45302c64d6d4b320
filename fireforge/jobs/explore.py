# SPDX-License-Identifier: Apache-2.0
"""Search design spaces under the budget: count, reject, train by halving; every trial is kept."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np

from fireforge.base.budget import Budget
from fireforge.base.candidates import Candidates
from fireforge.base.counted import Counted
from fireforge.base.errors import Exit, FireforgeError
from fireforge.base.progress import Update
from fireforge.base.record import RunRecord
from fireforge.base.value import Json
from fireforge.jobs.begin import command_line
from fireforge.jobs.courses import courses_of
from fireforge.jobs.crew import Crew
from fireforge.jobs.deliver import card_bytes
from fireforge.jobs.foresight import Foresight, held, profile_for, quick
from fireforge.jobs.interrupt import ends_early
from fireforge.jobs.mirror import mirrors
from fireforge.jobs.pace import Pace
from fireforge.jobs.prospect import DRAWS, named_network
from fireforge.jobs.scene import sizes_in_time
from fireforge.jobs.search import Course, Plan, Search
from fireforge.jobs.timetable import EXPLORE_SHARE
from fireforge.jobs.untrained import quick_enough, within
from fireforge.space.halving import ALONE, LADDERS, Rung, fitting_ladder, halve, winner_of
from fireforge.space.promise import worth
from fireforge.space.spaces import SPACES
from fireforge.space.survey import Candidate, Draws, counted, survey
from fireforge.train.trial import give_up_state

LAST_SHARE = 1 - EXPLORE_SHARE  # of the search's time is the last training's, in which a network is worth starting ...
LAST_PICTURES = 600_000  # ... if it can see so many pictures ...
LAST_EPOCHS = (14, 80)  # ... which are at least and at most so many epochs ...
WASTE = 4  # ... and not over so many times as many, which a heavier network would use better ...
FEWEST = 60  # ... unless fewer than these are: then the nearest
HOLD_SHARE = 0.1  # of the time may go into holding predictions against untrained files
EARLIER = 3  # networks of an earlier run that start beside the new ones
MIRROR_WHY = "nearest neighbours know mirrored pictures as well as the pictures themselves, or do not"
LADDER_WHY = "the broadest search whose shortest form fits the time"
AFFORDABLE_WHY = "networks that the last training's time suits, by spec digest"
SIZES_WHY = "sizes of the input whose pictures the time can decode"
WORKERS_WHY = "trainings at a time, by which a rung's time is reckoned when its networks are ranked"
QUICK_WHY = "networks whose foretold latency, less its margin, keeps the limit; of either number format the quicker"
STARTERS_WHY = "spread over families and costs; measured untrained where a limit can only be measured"


def explore(search: Search, budget: Budget) -> RunRecord:
    """The best network that the spaces hold within the limits and the time.

    Args:
      search: what it works with.
      budget: limits that are held against counted cost or, where they can only be measured, against untrained files.

    Returns:
      The winner's record.

    Raises:
      FireforgeError: INFEASIBLE, if the spaces hold no network for pictures of this size.
    """
    run = search.run
    foresee = functools.cache(lambda: Foresight(search.scene, profile_for(search)))
    mirror = bool(run.choice("mirror", lambda: mirrors(search.scene), why=MIRROR_WHY))
    with Crew(search.device, data_bytes=_data_bytes(search)) as crew, ends_early(search.clock, crew):
        kept = (_named(search),) if search.net else _survey(search, budget, foresee)
        plan = Plan(search=search, mirror=mirror)
        pace = Pace(run, search.clock, crew, plan.orders(()))
        plan = plan.with_manners(
            pace.manners([plan.trial(one, Course(epochs=1)) for one in _middling(kept, search.scene.steps.crop)])
        )
        light = _affordable(search, kept, pace, crew)
        ladder = run.choice("ladder", lambda: _ladder(search, light, pace, crew), why=LADDER_WHY)
        starters = _starters(search, light, kept, budget, number=LADDERS[ladder][0].number)
        if budget.max_latency_ms is not None:
            _hold(search, starters, foresee)
        samples = len(search.scene.part("train"))
        workers = int(run.choice("workers", lambda: crew.size, why=WORKERS_WHY))
        train = functools.partial(_train_rung, plan, crew=crew, pace=pace)
        records = halve(starters, train, ladder=ladder, samples=samples, workers=workers)
    return winner_of(records)


def _survey(search: Search, budget: Budget, foresee: Callable[[], Foresight]) -> tuple[Candidate, ...]:
    """Count what the spaces hold; what is over a limit is rejected before any training.

    Where nothing is left, the nearest is trained all the same, so that the answer "infeasible" comes with a model.
    """
    scene = search.scene
    inputs = [(scene.steps.channels, *size) for size in _sizes(search)]
    draws = Draws(number=DRAWS, seed=search.seed, card_bytes=card_bytes(scene))
    found = survey(SPACES, inputs, classes=len(scene.dataset.labels), budget=budget, draws=draws)
    kept = _quick(search, found.kept, budget, foresee)
    slow = len(found.kept) - len(kept)
    rejected = {**found.rejected, **({"max_latency_ms": slow} if slow else {})}
    ledger = Candidates(counted=found.counted, rejected=rejected, kept=len(kept))
    search.run.once("candidates", ledger.to_json)
    costs = [candidate.cost for candidate in kept]
    told = Counted(macs=tuple(cost.macs for cost in costs), params=tuple(cost.params for cost in costs))
    search.run.once("counted", told.to_json)
    if found.nearest is None:
        shape = " x ".join(map(str, scene.input_shape))
        raise FireforgeError("INFEASIBLE", f"the spaces hold no network for {shape}", exit_code=Exit.INFEASIBLE)
    return kept or (found.nearest,)


def _quick(
    search: Search, kept: tuple[Candidate, ...], budget: Budget, foresee: Callable[[], Foresight]
) -> tuple[Candidate, ...]:
    """Without the networks that are too slow for the limit of latency even if their prediction is off by its margin."""
    limit = budget.max_latency_ms
    if limit is None or not kept:
        return kept
    chosen = set(search.run.choice("quick", lambda: quick(foresee(), kept, limit), why=QUICK_WHY))
    return tuple(candidate for candidate in kept if candidate.spec.digest() in chosen)


def _hold(search: Search, starters: Sequence[Candidate], foresee: Callable[[], Foresight]) -> None:
    """Write down, once, what was foretold of the networks that are trained and what their untrained files take."""
    told = {entry.value["spec"] for entry in search.run.entries() if entry.type == "foretold"}
    rest = [candidate for candidate in starters if candidate.spec.digest() not in told]
    if search.run.replayed() or not rest:
        return
    for row in held(foresee(), rest, clock=search.clock.part(HOLD_SHARE)):
        search.run.journal.append("foretold", row.to_json())


def _sizes(search: Search) -> list[tuple[int, int]]:
    """Sizes of the input that are tried: the scene's own, and as many others near it as the time can decode."""
    scene = search.scene

    def choose() -> Json:
        seconds = search.clock.left() if math.isfinite(search.clock.seconds) else math.inf
        near = sizes_in_time(scene.sizes, scene.steps.crop, pictures=len(scene.truth), seconds=seconds)
        return [list(size) for size in near]

    return [(height, width) for height, width in search.run.choice("sizes", choose, why=SIZES_WHY)]


def _named(search: Search) -> Candidate:
    scene = search.scene
    classes, channels = len(scene.dataset.labels), scene.steps.channels
    return named_network(search.net, classes=classes, channels=channels, sizes=scene.sizes)


def _middling(kept: Sequence[Candidate], size: tuple[int, int]) -> list[Candidate]:
    """Of each family a network with a third of the others below it by MACs, at the size that is decoded already."""
    families: dict[str, list[Candidate]] = {}
    for candidate in sorted(kept, key=lambda c: c.cost.macs):
        families.setdefault(candidate.spec.family, []).append(candidate)
    seen = [[c for c in family if c.spec.input_shape[1:] == size] or family for _, family in sorted(families.items())]
    return [family[len(family) // 3] for family in seen]


def _affordable(search: Search, kept: Sequence[Candidate], pace: Pace, crew: Crew) -> tuple[Candidate, ...]:
    """Networks that the last training's time suits; where they are few, the nearest to that.

    They are neither so heavy that it sees too few epochs, nor so light that it is done long before.
    """
    samples = len(search.scene.part("train"))
    least = min(max(LAST_PICTURES / samples, LAST_EPOCHS[0]), LAST_EPOCHS[1])

    def misfit(candidate: Candidate) -> float:
        left_s = max(search.clock.left(), 1e-3)  # none after Ctrl-C: then the lightest fit best
        epochs = left_s * LAST_SHARE * crew.size / (samples * pace.seconds(candidate))
        return max(math.log(least / epochs), math.log(epochs / (WASTE * least)), 0.0)

    def choose() -> Json:
        if not math.isfinite(search.clock.seconds):
            return [candidate.spec.digest() for candidate in kept]
        ranked = sorted((misfit(candidate), candidate.spec.digest()) for candidate in kept)
        return [digest for place, (miss, digest) in enumerate(ranked) if miss == 0 or place < FEWEST]

    chosen = set(search.run.choice("affordable", choose, why=AFFORDABLE_WHY))
    return tuple(candidate for candidate in kept if candidate.spec.digest() in chosen)


def _ladder(search: Search, light: Sequence[Candidate], pace: Pace, crew: Crew) -> str:
    """The broadest ladder that the time pays for."""
    samples = len(search.scene.part("train"))
    if search.net:
        return ALONE
    if not math.isfinite(search.clock.seconds):
        return next(iter(LADDERS))
    middling = float(np.median([pace.seconds(candidate) for candidate in light]))
    return fitting_ladder(search.clock.left() * crew.size / middling, samples=samples)


def _starters(
    search: Search, light: Sequence[Candidate], kept: Sequence[Candidate], budget: Budget, *, number: int
) -> tuple[Candidate, ...]:
    """Who starts: a spread of those that the time pays for, and the best networks of an earlier run."""
    known = _earlier(search)
    by_digest = {candidate.spec.digest(): candidate for candidate in (*kept, *known)}

    def choose() -> Json:
        if search.net:
            return [candidate.spec.digest() for candidate in light]
        quick = quick_enough(search.scene, light, budget, number=number, clock=search.clock.part(0.1), spare=kept)
        own = {record.trial.spec.digest() for record in search.run.trials().values()}  # kept the same limits before
        good = (c for c in known if c.spec.digest() in own or within(search.scene, c, budget))
        earlier = [c.spec.digest() for c in itertools.islice(good, EARLIER)]
        fresh = [c.spec.digest() for c in quick if c.spec.digest() not in earlier]
        return [*earlier, *fresh[: max(1, number - len(earlier))]]

    chosen = search.run.choice("starters", choose, why=STARTERS_WHY)
    if not by_digest.keys() >= set(chosen):
        what = "the run started networks that this version, or these pictures, do not give"
        raise FireforgeError("OTHER_RUN", what, where=str(search.run.path), do="another --out")
    return tuple(by_digest[digest] for digest in chosen)


def _earlier(search: Search) -> list[Candidate]:
    """The networks of an earlier run or lap, its winner first, then by accuracy, each once."""
    found: dict[str, Candidate] = {}
    for record in search.run.earlier():
        candidate = counted(record.trial.spec)
        if candidate is not None and record.trial.spec.input_shape[1:] in search.scene.sizes:
            found.setdefault(record.trial.spec.digest(), candidate)
    return list(found.values())


def _train_rung(plan: Plan, rung: Rung, *, crew: Crew, pace: Pace) -> list[RunRecord]:
    """Train a rung's candidates, several at a time; what an earlier run of this folder trained is read."""
    search, done = plan.search, plan.search.run.trials()
    courses = courses_of(plan, rung, crew, pace)
    trials = [
        plan.trial(candidate, course, rung=rung.index, start=_start(plan, candidate, rung.index))
        for candidate, course in zip(rung.candidates, courses)
    ]
    missing = [trial for trial in trials if trial.digest() not in done]
    records = [done[trial.digest()] for trial in trials if trial.digest() in done]
    for found in crew.run(plan.orders(missing, at_least_one=rung.index == 0 and not records)):
        if isinstance(found, RunRecord):
            record = found.replace(command=command_line())
            search.run.journal.append("trial", record.to_json())
            give_up_state(search.run.path, record)
            records.append(record)
        search.run.tick(search.clock.used())
        _show(search, rung, records, number=len(trials), share=found if isinstance(found, float) else None)
    by_digest = {record.trial_digest: record for record in records}
    return [by_digest[trial.digest()] for trial in trials if trial.digest() in by_digest]


def _start(plan: Plan, candidate: Candidate, rung: int) -> str:
    """The digest of the candidate's longest training before this rung, whose weights it goes on from; "" for none."""
    run, digest = plan.search.run, candidate.spec.digest()
    own = [r for r in run.trials().values() if r.trial.spec.digest() == digest and r.trial.rung < rung and not r.error]
    if own:
        return max(reversed(own), key=lambda r: r.trial.rung).trial_digest
    earlier = [r for r in run.earlier() if r.trial.spec.digest() == digest and r.weights]
    return max(earlier, key=worth).trial_digest if earlier else ""


def _data_bytes(search: Search) -> int:
    """Of the pictures at the greatest size that is tried."""
    scene = search.scene
    largest = max(height * width for height, width in scene.sizes)
    return len(scene.truth) * scene.steps.channels * largest


def _show(search: Search, rung: Rung, records: Sequence[RunRecord], *, number: int, share: float | None) -> None:
    """Networks done, as a whole number when one ends and by their epochs between."""
    note = f"best {max(map(worth, records)):.1%} on validation" if records else ""
    done = len(records) if share is None else min(round(share * number, 1), number - 0.1)
    search.progress(Update(stage=f"rung {rung.index + 1}", done=done, total=number, unit="networks", note=note))
