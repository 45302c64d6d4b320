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
from fireforge.jobs.crew import Crew, Orders
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
PROBE = 512  # pictures of the first timing ...
PROBE_SEEDS = (2**31, 2**31 + 1)  # ... and seeds that no trial has, so that nothing is taken up from it


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
        records = halve(spread(found.kept, STARTERS), lambda rung: _train_rung(search, rung, crew))
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


def _train_rung(search: Search, rung: Rung, crew: Crew) -> list[RunRecord]:
    """Train a rung's candidates, several at a time; what an earlier run of this folder trained is read."""
    epochs = search.run.choice(
        f"rung {rung.index} epochs",
        lambda: _affordable(search, rung, crew),
        why=f"{rung.share:.0%} of the time left for {len(rung.candidates)} candidates, {crew.size} at a time",
    )
    trials = [trial_of(search, candidate, rung=rung.index, epochs=epochs) for candidate in rung.candidates]
    done = search.run.trials()
    missing = [trial for trial in trials if trial.digest() not in done]
    records = [done[trial.digest()] for trial in trials if trial.digest() in done]
    for found in crew.run(Orders(trials=missing, folder=search.run.path, deadline=search.clock)):
        if isinstance(found, RunRecord):
            search.run.journal.append("trial", found.to_json())
            records.append(found)
        _show(search, rung, epochs, records, share=found if isinstance(found, float) else None)
    by_digest = {record.trial_digest: record for record in records}
    return [by_digest[trial.digest()] for trial in trials]


def _show(search: Search, rung: Rung, epochs: int, records: list[RunRecord], *, share: float | None) -> None:
    """Networks done, as a whole number when one ends and by their epochs between."""
    note = f"{epochs} epochs each"
    if records:
        note += f", best {max(map(worth, records)):.1%} on validation"
    total = len(rung.candidates)
    done = len(records) if share is None else round(share * total, 1)
    search.progress(Update(stage=f"rung {rung.index + 1}", done=done, total=total, unit="networks", note=note))


def _affordable(search: Search, rung: Rung, crew: Crew) -> int:
    """Epochs that the rung's share of the time pays for, measured on this machine."""
    if not np.isfinite(search.clock.seconds):
        return rung.most_epochs
    timed = list(search.run.trials().values()) or _probe(search, rung.candidates, crew)
    seconds = [_seconds_an_epoch(candidate, timed) for candidate in rung.candidates]
    seconds = [each * len(search.scene.part("train")) for each in seconds]
    an_epoch = max(sum(seconds) / crew.size, max(seconds))
    return int(np.clip(search.clock.left() * rung.share / max(an_epoch, 1e-6), LEAST_EPOCHS, rung.most_epochs))


def _seconds_an_epoch(candidate: Candidate, timed: list[RunRecord]) -> float:
    """Seconds for one picture in one epoch: of the same network where it ran, otherwise of the nearest by MACs."""
    macs = {record.trial_digest: record.trial.cost.macs for record in timed if record.trial.cost is not None}

    def distance(record: RunRecord) -> tuple[bool, float, int]:
        far = abs(macs.get(record.trial_digest, 0) - candidate.cost.macs)
        return record.trial.spec != candidate.spec, far, -record.trial.rung

    record = min(timed, key=distance)
    pictures = record.samples["train"] * max(1, len(record.metrics["train/loss"]))
    scale = candidate.cost.macs / max(1, macs.get(record.trial_digest, candidate.cost.macs))
    return record.seconds["train"] / pictures * max(0.5, scale)


def _probe(search: Search, candidates: tuple[Candidate, ...], crew: Crew) -> list[RunRecord]:
    """Short trainings of as many candidates as run side by side; the first round warms up and does not count."""
    places = np.linspace(0, len(candidates) - 1, crew.size + 2).astype(int)[1:-1]
    trials = [trial_of(search, candidates[place], rung=-1, epochs=2) for place in places]
    records: list[RunRecord] = []
    for seed in PROBE_SEEDS:
        orders = Orders(
            trials=[trial.replace(seed=seed) for trial in trials], folder=search.run.path, most_pictures=PROBE
        )
        records = [found for found in crew.run(orders) if isinstance(found, RunRecord)]
        for record in records:
            (search.run.path / record.weights).unlink(missing_ok=True)
    return records


def _infeasible(budget: Budget, nearest: Candidate | None) -> FireforgeError:
    least = show_bytes(nearest.bytes) if nearest else "unknown"
    return FireforgeError(
        "INFEASIBLE",
        f"max_bytes binds: no network of the space fits in {show_bytes(budget.max_bytes or 0)}",
        allowed=f"the nearest is about {least}",
        do=f"--max-size {-(-(nearest.bytes if nearest else 0) // 1000) + 1}KB",
        exit_code=Exit.INFEASIBLE,
    )
