# SPDX-License-Identifier: Apache-2.0
"""Search a design space under the budget: count, reject, train by halving; every trial is kept."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fireforge.base.budget import Budget
from fireforge.base.deadline import Deadline
from fireforge.base.errors import Exit, FireforgeError
from fireforge.base.progress import Progress, Update
from fireforge.base.record import RunRecord
from fireforge.base.trial import Trial
from fireforge.base.units import show_bytes
from fireforge.jobs.crew import Crew
from fireforge.jobs.folder import RunFolder
from fireforge.jobs.scene import Scene
from fireforge.space.halving import Rung, halve, winner_of, worth
from fireforge.space.spaces import SPACES
from fireforge.space.survey import Candidate, Survey, spread, survey
from fireforge.train.feed import Pictures, Ready
from fireforge.train.recipe import small_images

DRAWS = 600
STARTERS = 12
LEAST_EPOCHS = 2
PROBE = 512  # pictures of the first timing


@dataclass(frozen=True, kw_only=True)
class Search:
    """What the search works with.

    Args:
      scene: the data.
      run: where records go.
      seed: of draws, weights and order.
      device: see `fireforge.train.world.make_world`.
      clock: the time of the whole search.
      progress: receives updates.
    """

    scene: Scene
    run: RunFolder
    seed: int
    device: str
    clock: Deadline
    progress: Progress


def explore(search: Search, budget: Budget) -> RunRecord:
    """The best network that the space holds within the limits and the time.

    Args:
      search: what it works with.
      budget: limits that are held against counted cost.

    Returns:
      The winner's record.

    Raises:
      FireforgeError: INFEASIBLE, if nothing in the space keeps the limits.
    """
    with Crew(search.device) as crew:
        found = _survey(search, budget)
        ready = ready_of(search.scene)
        records = halve(spread(found.kept, STARTERS), lambda rung: _train_rung(search, rung, ready, crew))
    return winner_of(records)


def _survey(search: Search, budget: Budget) -> Survey:
    """Count what the space holds; what is over a limit is rejected before any training."""
    scene = search.scene
    found = survey(
        SPACES["firenet"],
        classes=len(scene.dataset.labels),
        input_shape=scene.input_shape,
        budget=budget,
        draws=DRAWS,
        seed=search.seed,
    )
    search.run.once(
        "candidates", lambda: {"counted": found.counted, "rejected": found.rejected, "kept": len(found.kept)}
    )
    if not found.kept:
        raise _infeasible(budget, found.nearest)
    return found


def ready_of(scene: Scene) -> Ready:
    """The scene's pictures as the training takes them."""
    parts = {
        name: Pictures(pixels=scene.pixels[name], labels=scene.truth[scene.part(name)], ids=scene.part(name))
        for name in ("train", "val")
    }
    return Ready(train=parts["train"], val=parts["val"])


def trial_of(search: Search, candidate: Candidate, *, rung: int, epochs: int) -> Trial:
    """The trial of a candidate on a rung."""
    scene = search.scene
    recipe = small_images(samples=len(scene.part("train")), size_px=min(scene.input_shape[1:]), epochs=epochs)
    return Trial(
        spec=candidate.spec,
        recipe=recipe,
        data=scene.ref,
        preprocess=scene.preprocess,
        seed=search.seed,
        rung=rung,
        cost=candidate.cost,
    )


def _train_rung(search: Search, rung: Rung, ready: Ready, crew: Crew) -> list[RunRecord]:
    """Train a rung's candidates, several at a time; what an earlier run of this folder trained is read."""
    epochs = search.run.choice(
        f"rung {rung.index} epochs",
        lambda: _affordable(search, rung, ready, crew),
        why=f"{rung.share:.0%} of the time left for {len(rung.candidates)} candidates, {crew.size} at a time",
    )
    trials = [trial_of(search, candidate, rung=rung.index, epochs=epochs) for candidate in rung.candidates]
    done = search.run.trials()
    missing = [trial for trial in trials if trial.digest() not in done]
    for record in crew.run(missing, folder=search.run.path, ready=ready, deadline=search.clock):
        search.run.journal.append("trial", record.to_json())
        done[record.trial_digest] = record
        _show(search, rung, epochs, [done[t.digest()] for t in trials if t.digest() in done])
    return [done[trial.digest()] for trial in trials]


def _show(search: Search, rung: Rung, epochs: int, records: list[RunRecord]) -> None:
    best = max(records, key=worth)
    note = f"{epochs} epochs each, best {worth(best):.1%} on validation"
    update = Update(
        stage=f"rung {rung.index + 1}", done=len(records), total=len(rung.candidates), unit="networks", note=note
    )
    search.progress(update)


def _affordable(search: Search, rung: Rung, ready: Ready, crew: Crew) -> int:
    """Epochs that the rung's share of the time pays for, measured on this machine."""
    if not np.isfinite(search.clock.seconds):
        return rung.most_epochs
    seconds = [_seconds_an_epoch(search, candidate, ready, crew) for candidate in rung.candidates]
    an_epoch = max(sum(seconds) / crew.size, max(seconds))
    return int(np.clip(search.clock.left() * rung.share / max(an_epoch, 1e-6), LEAST_EPOCHS, rung.most_epochs))


def _seconds_an_epoch(search: Search, candidate: Candidate, ready: Ready, crew: Crew) -> float:
    """From the trials that ran, scaled by MACs where this candidate has not run; from a short trial at first."""
    timed = [
        (record.trial.cost.macs, record.seconds["train"] / max(1, len(record.metrics["train/loss"])), record)
        for record in search.run.trials().values()
        if record.trial.cost is not None
    ]
    for _, seconds, record in reversed(timed):
        if record.trial.spec == candidate.spec:
            return seconds
    if not timed:
        return _probe(search, candidate, ready, crew)
    macs, seconds, _ = min(timed, key=lambda row: abs(row[0] - candidate.cost.macs))
    return seconds * max(0.5, candidate.cost.macs / macs)


def _probe(search: Search, candidate: Candidate, ready: Ready, crew: Crew) -> float:
    """Seconds of an epoch, from two epochs on some pictures, as many at a time as later; the first round warms up."""
    some = Pictures(pixels=ready.train.pixels[:PROBE], labels=ready.train.labels[:PROBE], ids=ready.train.ids[:PROBE])
    few = Ready(train=some, val=ready.val)
    trial = trial_of(search, candidate, rung=-1, epochs=2)
    seconds = 0.0
    for turn in range(2):
        trials = [trial.replace(seed=turn * crew.size + place) for place in range(crew.size)]
        records = list(crew.run(trials, folder=search.run.path, ready=few, deadline=search.clock))
        seconds = max(record.seconds["train"] for record in records) / 2
        for record in records:
            (search.run.path / record.weights).unlink()
    return seconds * len(ready.train) / len(some)


def _infeasible(budget: Budget, nearest: Candidate | None) -> FireforgeError:
    least = show_bytes(nearest.bytes) if nearest else "unknown"
    return FireforgeError(
        "INFEASIBLE",
        f"max_bytes binds: no network of the space fits in {show_bytes(budget.max_bytes or 0)}",
        allowed=f"the nearest is about {least}",
        do=f"--max-size {-(-(nearest.bytes if nearest else 0) // 1000) + 1}KB",
        exit_code=Exit.INFEASIBLE,
    )
