# SPDX-License-Identifier: Apache-2.0
"""Search a design space under the budget: count, reject, train by halving; every trial is kept."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from fireforge.base.budget import Budget
from fireforge.base.deadline import Deadline
from fireforge.base.errors import Exit, FireforgeError
from fireforge.base.progress import Progress, Update
from fireforge.base.record import RunRecord
from fireforge.base.trial import Trial
from fireforge.base.units import show_bytes
from fireforge.jobs.folder import RunFolder
from fireforge.jobs.scene import Scene
from fireforge.space.halving import Rung, halve, winner_of, worth
from fireforge.space.spaces import SPACES
from fireforge.space.survey import Candidate, spread, survey
from fireforge.train.feed import Pictures, Ready
from fireforge.train.recipe import small_images
from fireforge.train.trial import run_trial

DRAWS = 600
STARTERS = 12
LEAST_EPOCHS = 2


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
    ready = ready_of(scene)
    records = halve(spread(found.kept, STARTERS), lambda rung: _train_rung(search, rung, ready))
    return winner_of(records)


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


def _train_rung(search: Search, rung: Rung, ready: Ready) -> list[RunRecord]:
    epochs = search.run.choice(
        f"rung {rung.index} epochs",
        lambda: _affordable(search, rung, ready),
        why=f"{rung.share:.0%} of the search's time for {len(rung.candidates)} candidates",
    )
    done = search.run.trials()
    records = []
    for place, candidate in enumerate(rung.candidates):
        trial = trial_of(search, candidate, rung=rung.index, epochs=epochs)
        record = done.get(trial.digest())
        if record is None:
            record = run_trial(trial, folder=search.run.path, ready=ready, device=search.device, deadline=search.clock)
            search.run.journal.append("trial", record.to_json())
        records.append(record)
        best = max(records, key=worth)
        note = f"rung {rung.index + 1}: {epochs} epochs each, best {worth(best):.1%} on validation"
        search.progress(Update(stage="explore", done=place + 1, total=len(rung.candidates), unit="networks", note=note))
    return records


def _affordable(search: Search, rung: Rung, ready: Ready) -> int:
    """Epochs that the rung's share of the time pays for, measured on this machine."""
    seconds = sum(_seconds_an_epoch(search, candidate, ready) for candidate in rung.candidates)
    share = search.clock.seconds * rung.share if np.isfinite(search.clock.seconds) else np.inf
    time_left = min(share, search.clock.left())
    affordable = rung.most_epochs if not np.isfinite(time_left) else int(time_left / max(seconds, 1e-6))
    return int(np.clip(affordable, LEAST_EPOCHS, rung.most_epochs))


def _seconds_an_epoch(search: Search, candidate: Candidate, ready: Ready) -> float:
    """From the trials that ran, scaled by MACs where this candidate has not run; from one short trial at first."""
    timed = [
        (record.trial.cost.macs, record.seconds["train"] / max(1, len(record.metrics["train/loss"])), record)
        for record in search.run.trials().values()
        if record.trial.cost is not None
    ]
    for _, seconds, record in timed:
        if record.trial.spec == candidate.spec:
            return seconds
    if not timed:
        return _probe(search, candidate, ready)
    macs, seconds, _ = min(timed, key=lambda row: abs(row[0] - candidate.cost.macs))
    return seconds * max(0.5, candidate.cost.macs / macs)


def _probe(search: Search, candidate: Candidate, ready: Ready) -> float:
    few = Pictures(pixels=ready.train.pixels[:512], labels=ready.train.labels[:512], ids=ready.train.ids[:512])
    trial = trial_of(search, candidate, rung=-1, epochs=1)
    start = time.monotonic()
    run_trial(trial, folder=search.run.path, ready=Ready(train=few, val=ready.val), device=search.device)
    return (time.monotonic() - start) * len(ready.train) / len(few)


def _infeasible(budget: Budget, nearest: Candidate | None) -> FireforgeError:
    least = show_bytes(nearest.bytes) if nearest else "unknown"
    return FireforgeError(
        "INFEASIBLE",
        f"max_bytes binds: no network of the space fits in {show_bytes(budget.max_bytes or 0)}",
        allowed=f"the nearest is about {least}",
        do=f"--max-size {-(-(nearest.bytes if nearest else 0) // 1000) + 1}KB",
        exit_code=Exit.INFEASIBLE,
    )
