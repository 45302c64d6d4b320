# SPDX-License-Identifier: Apache-2.0
"""What a search works with, and how it describes its trials."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from fireforge.base.deadline import Deadline
from fireforge.base.progress import Progress
from fireforge.base.record import RunRecord
from fireforge.base.trial import Recipe, Trial
from fireforge.base.value import Json
from fireforge.jobs.crew import Orders
from fireforge.jobs.folder import RunFolder
from fireforge.jobs.scene import Scene
from fireforge.space.survey import Candidate
from fireforge.train.recipe import Traits, fitted


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
      net: a name of `fireforge.nets.families.NETWORKS`, to train it alone; "" to search.
    """

    scene: Scene
    run: RunFolder
    seed: int
    device: str
    clock: Deadline
    progress: Progress
    net: str = ""


@dataclass(frozen=True, kw_only=True)
class Course:
    """How long and on how much a candidate is trained.

    Args:
      epochs: passes over the pictures.
      pictures: of the training part, evenly taken; 0 for all.
      judged: pictures of the validation part, likewise.
      threads: of one training.
      compile: whether its kernels are compiled.
    """

    epochs: int
    pictures: int = 0
    judged: int = 0
    threads: int = 1
    compile: bool = False


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How candidates become trials.

    Args:
      search: data, seed, record.
      mirror: whether pictures may be mirrored.
      manners: family to the fields of Recipe that make it fast on this machine.
    """

    search: Search
    mirror: bool
    manners: Mapping[str, Json] = field(default_factory=dict)

    def with_manners(self, manners: Mapping[str, Json]) -> Plan:
        """The same plan with these manners."""
        return dataclasses.replace(self, manners=manners)

    def trial(self, candidate: Candidate, course: Course, *, rung: int = 0, start: str = "") -> Trial:
        """One training of a candidate.

        Args:
          candidate: what.
          course: how long.
          rung: of the search.
          start: digest of the trial whose weights it starts from; "" for fresh ones.

        Returns:
          The trial; its preprocessing resizes to the candidate's input.
        """
        search = self.search
        scene = search.scene.at(candidate.spec.input_shape[1:])
        return Trial(
            spec=candidate.spec,
            recipe=self._recipe(candidate, scene, course),
            data=scene.ref,
            preprocess=scene.preprocess,
            seed=search.seed,
            rung=rung,
            cost=candidate.cost,
            start=start,
            threads=course.threads,
            pictures=course.pictures,
            val_pictures=course.judged,
        )

    def orders(self, trials: Sequence[Trial], *, at_least_one: bool = False) -> Orders:
        """Trials for the crew; where a run is replayed, those that it began, each until it stopped it."""
        search = self.search
        ends = {_place(record.trial): _epochs_of(record) for record in search.run.replayed().values()}
        begun = [trial for trial in trials if not ends or _place(trial) in ends]
        return Orders(
            trials=begun,
            folder=search.run.path,
            cache=search.scene.cache,
            deadline=search.clock,
            at_least_one=at_least_one,
            until={trial.digest(): ends[_place(trial)] for trial in begun if ends},
        )

    def _recipe(self, candidate: Candidate, scene: Scene, course: Course) -> Recipe:
        samples = course.pictures or len(scene.part("train"))
        channels, *size = candidate.spec.input_shape
        traits = Traits(
            samples=samples,
            channels=channels,
            size_px=min(size),
            kept_px=max(scene.shorter_px(), min(size)),
            mirror=self.mirror,
        )
        recipe = fitted(traits, epochs=course.epochs).replace(compile=course.compile)
        manner = self.manners.get(candidate.spec.family)
        return Recipe.from_json({**recipe.to_json(), **manner}) if manner else recipe


def _place(trial: Trial) -> tuple[str, int]:
    """What tells the trials of one search apart, wherever its data stand."""
    return trial.spec.digest(), trial.rung


def _epochs_of(record: RunRecord) -> float:
    """Infinity where the training diverged: it does so again, at the same step."""
    epochs = record.metrics.get("train/epoch", ())
    return epochs[-1] if epochs else math.inf
