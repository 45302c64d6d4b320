# SPDX-License-Identifier: Apache-2.0
"""Search a design space under the budget: count, reject, train by halving; every trial is kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fireforge.base.budget import Budget
from fireforge.base.candidates import Candidates
from fireforge.base.deadline import Deadline
from fireforge.base.errors import Exit, FireforgeError
from fireforge.base.progress import Progress, Update
from fireforge.base.record import RunRecord
from fireforge.base.trial import Trial
from fireforge.base.value import canonical_json
from fireforge.export.lean import lean_json
from fireforge.jobs.begin import command_line
from fireforge.jobs.crew import Crew, Orders
from fireforge.jobs.deliver import card_of
from fireforge.jobs.folder import RunFolder
from fireforge.jobs.interrupt import ends_early
from fireforge.jobs.pace import Pace
from fireforge.jobs.scene import Scene
from fireforge.space.halving import LADDERS, Rung, fitting_ladder, halve, winner_of, worth
from fireforge.space.spaces import SPACES
from fireforge.space.survey import Candidate, spread, survey
from fireforge.train.feed import Pictures, Ready
from fireforge.train.recipe import small_images

DRAWS = 600
LADDER_WHY = "the widest search whose shortest form fits the time"


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
      FireforgeError: INFEASIBLE, if the space holds no network for pictures of this size.
    """
    data_bytes = sum(pixels.nbytes for pixels in search.scene.pixels.values())
    with Crew(search.device, data_bytes=data_bytes) as crew, ends_early(search.clock, crew):
        kept = _survey(search, budget)
        short = trials_of(search, kept, rung=-1, epochs=1)
        pace = Pace(short, search.run, search.clock, crew=crew, pictures=len(search.scene.part("train")))
        ladder = search.run.choice("ladder", lambda: fitting_ladder(pace.epochs_in_all()), why=LADDER_WHY)
        most_macs = search.run.choice("most macs", pace.most_macs, why="networks that the time can train at all")
        light = tuple(candidate for candidate in kept if candidate.cost.macs <= most_macs)
        starters = spread(light, LADDERS[ladder][0].number)
        records = halve(starters, lambda rung: _train_rung(search, rung, crew, pace), ladder=ladder)
    return winner_of(records)


def _survey(search: Search, budget: Budget) -> tuple[Candidate, ...]:
    """Count what the space holds; what is over a limit is rejected before any training.

    Where nothing is left, the nearest is trained all the same, so that the answer "infeasible" comes with a model.
    """
    scene = search.scene
    found = survey(
        SPACES["firenet"],
        classes=len(scene.dataset.labels),
        input_shape=scene.input_shape,
        budget=budget,
        draws=DRAWS,
        seed=search.seed,
        card_bytes=len(canonical_json(lean_json(card_of(scene))).encode()),
    )
    ledger = Candidates(counted=found.counted, rejected=found.rejected, kept=len(found.kept))
    search.run.once("candidates", ledger.to_json)
    if found.nearest is None:
        shape = " x ".join(map(str, scene.input_shape))
        raise FireforgeError("INFEASIBLE", f"the space holds no network for {shape}", exit_code=Exit.INFEASIBLE)
    return found.kept or (found.nearest,)


def ready_of(scene: Scene) -> Ready:
    """The scene's pictures as the training takes them."""
    parts = {
        name: Pictures(pixels=scene.pixels[name], labels=scene.truth[scene.part(name)], ids=scene.part(name))
        for name in ("train", "val")
    }
    return Ready(train=parts["train"], val=parts["val"])


def trials_of(search: Search, candidates: Sequence[Candidate], *, rung: int, epochs: int) -> list[Trial]:
    """The trials of candidates on a rung."""
    scene = search.scene
    recipe = small_images(samples=len(scene.part("train")), size_px=min(scene.input_shape[1:]), epochs=epochs)
    return [
        Trial(
            spec=candidate.spec,
            recipe=recipe,
            data=scene.ref,
            preprocess=scene.preprocess,
            seed=search.seed,
            rung=rung,
            cost=candidate.cost,
        )
        for candidate in candidates
    ]


def _train_rung(search: Search, rung: Rung, crew: Crew, pace: Pace) -> list[RunRecord]:
    """Train a rung's candidates, several at a time; what an earlier run of this folder trained is read."""
    epochs = search.run.choice(
        f"rung {rung.index} epochs",
        lambda: pace.epochs(rung),
        why=f"{rung.share:.0%} of the time left for {len(rung.candidates)} candidates, {crew.size} at a time",
    )
    trials = trials_of(search, rung.candidates, rung=rung.index, epochs=epochs)
    done = search.run.trials()
    missing = [trial for trial in trials if trial.digest() not in done]
    records = [done[trial.digest()] for trial in trials if trial.digest() in done]
    orders = Orders(trials=missing, folder=search.run.path, deadline=search.clock, at_least_one=not done)
    for found in crew.run(orders):
        if isinstance(found, RunRecord):
            record = found.replace(command=command_line())
            search.run.journal.append("trial", record.to_json())
            records.append(record)
        search.run.tick(search.clock.used())
        _show(search, rung, epochs, records, share=found if isinstance(found, float) else None)
    by_digest = {record.trial_digest: record for record in records}
    return [by_digest[trial.digest()] for trial in trials if trial.digest() in by_digest]


def _show(search: Search, rung: Rung, epochs: int, records: list[RunRecord], *, share: float | None) -> None:
    """Networks done, as a whole number when one ends and by their epochs between."""
    note = f"{epochs} epochs each"
    if records:
        note += f", best {max(map(worth, records)):.1%} on validation"
    total = len(rung.candidates)
    done = len(records) if share is None else min(round(share * total, 1), total - 0.1)
    search.progress(Update(stage=f"rung {rung.index + 1}", done=done, total=total, unit="networks", note=note))
