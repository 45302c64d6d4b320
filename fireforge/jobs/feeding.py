# SPDX-License-Identifier: Apache-2.0
"""How a training gets its pictures: kept in memory, or decoded anew in each epoch, and by how many processes."""

from __future__ import annotations

import math

import numpy as np

from fireforge.base.feeding import Load, Place, best_workers, seconds_with
from fireforge.base.machine import this_machine, usable_cores
from fireforge.base.settings import Settings
from fireforge.base.trial import Trial
from fireforge.base.value import Json
from fireforge.jobs.folder import RunFolder
from fireforge.jobs.scene import Scene
from fireforge.nets.families import build_graph
from fireforge.runtime.memory import free_bytes
from fireforge.train.feed import steps_per_epoch
from fireforge.train.rehearsal import step_seconds
from fireforge.train.render import Renderer, Spent, Take
from fireforge.train.trial import batching_of, kept_steps
from fireforge.train.world import make_world

SURE = 1 / 16  # of the machine's memory: pictures that take no more are kept, without a look at what is free
FREE = 0.5  # of the free memory that others may take
PROBED = 64  # pictures that are decoded for a measurement


def is_streamed(run: RunFolder, trial: Trial, scene: Scene, settings: Settings) -> bool:
    """Whether a trial's pictures are decoded anew in each epoch.

    Args:
      run: where the choice is kept, if it hangs on the memory that is free now.
      trial: what is trained.
      scene: the data.
      settings: a number of workers asks for it.

    Returns:
      True where it was asked for, or where the pictures would not fit.
    """
    if settings.workers is not None:
        return True
    need = kept_bytes(trial, scene)
    if need <= this_machine().memory_bytes * SURE:
        return False
    why = f"the pictures would take {need / 1e9:.1f} GB of the memory"
    return bool(run.choice("streamed", lambda: need > (free_bytes() or need) * FREE, why=why))


def kept_bytes(trial: Trial, scene: Scene) -> int:
    """What a trial's pictures take in memory, training and validation part together."""
    steps = trial.preprocess.steps()
    larger = kept_steps(steps, trial.recipe.augment.source_px)
    counts = (sum(len(scene.part(name)) for name in trial.parts), len(scene.part("val")))
    return sum(n * math.prod((one.channels, *one.crop)) for n, one in zip(counts, (larger, steps)))


def workers_of(run: RunFolder, trial: Trial, scene: Scene, settings: Settings) -> int:
    """How many processes decode: as many as were asked for, or as a short measurement predicts to be best.

    Args:
      run: where the choice is kept.
      trial: what is trained.
      scene: the data.
      settings: workers and device are used.

    Returns:
      The number.
    """
    if settings.workers is not None:
        return settings.workers
    why = "predicted by the seconds of a step and of decoding its pictures"
    found = run.choice("workers", lambda: _measured(trial, scene, settings), why=why)
    return int(found["workers"])


def _measured(trial: Trial, scene: Scene, settings: Settings) -> Json:
    """The best number of workers, with what it was predicted from; seconds of an epoch."""
    place = Place(cores=usable_cores(), threads=trial.threads)
    ids = scene.part("train")
    some = ids[np.linspace(0, len(ids) - 1, min(PROBED, len(ids))).astype(int)]
    steps = trial.preprocess.steps()
    renderer = Renderer(scene.dataset.reader, steps)
    out = np.empty((len(some), steps.channels, *steps.crop), np.uint8)
    take = Take(seed=trial.seed, epoch=0, augment=trial.recipe.augment)
    renderer.fill(out, some, take, lambda stage: None)  # the first look at a file is not like the others
    spent = Spent()
    renderer.fill(out, some, take, spent.lap)
    found, share = spent.end(), len(ids) / len(some)
    step_s = 0.0  # where another device trains, this one does nothing but to feed it
    if make_world(settings.device).device.type == "cpu":
        one_s = step_seconds(build_graph(trial.spec), trial.recipe, threads=trial.threads)
        step_s = one_s * steps_per_epoch(len(ids), batching_of(trial))
    load = Load(step_s=step_s, feed_s=(found["wall"] - found["queue"]) * share, core_s=found["core"] * share)
    workers = best_workers(load, place)
    seconds = {str(n): round(seconds_with(load, n, place), 3) for n in range(place.cores + 1)}
    return {"workers": workers, "epoch_s": seconds}
