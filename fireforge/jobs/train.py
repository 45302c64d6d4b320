# SPDX-License-Identifier: Apache-2.0
"""train: one named network with one recipe on one dataset."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from fireforge.base.deadline import Deadline
from fireforge.base.errors import lookup
from fireforge.base.graph import Graph
from fireforge.base.progress import Progress, silent
from fireforge.base.record import RunRecord
from fireforge.base.settings import Settings
from fireforge.base.trial import Recipe, Trial
from fireforge.cost.count import count
from fireforge.data.cache import PictureCache
from fireforge.jobs.begin import begin, command_line
from fireforge.jobs.feeding import is_streamed, workers_of
from fireforge.jobs.folder import RunFolder, default_folder
from fireforge.jobs.given import with_recipe
from fireforge.jobs.interrupt import halts
from fireforge.jobs.keep import keep_winner, prove_place
from fireforge.jobs.manner import in_manner
from fireforge.jobs.mirror import mirrors
from fireforge.jobs.scene import Scene, look
from fireforge.nets.families import NETWORKS, build_graph
from fireforge.report.page import write_report
from fireforge.report.tensorboard import Events
from fireforge.train.recipe import RECIPES, Traits, fitted
from fireforge.train.trial import give_up_state, ready_from, run_trial

EPOCHS = 40  # where nothing else is said


def train(
    data: str,
    settings: Settings,
    *,
    out: str | Path | None = None,
    progress: Progress = silent,
    tensorboard: bool = False,
) -> tuple[RunRecord, Path]:
    """Train a network; the same call on the same folder goes on from the last state, at most half a minute back.

    Args:
      data: what `fireforge.data.open.open_dataset` takes.
      settings: network and recipe.
      out: folder of the run; None for runs/<name of the data>-<net>.
      progress: receives one update an epoch.
      tensorboard: whether event files are written to the folder of that name in the run's.

    Returns:
      The record, and the run's folder with weights/best.safetensors, metrics.csv and report.html.

    Raises:
      FireforgeError: NO_PACKAGE, if tensorboard is asked for and not installed.
    """
    preset = lookup(NETWORKS, settings.net, "network")
    settings = with_recipe(settings)
    folder = Path(out) if out else Path(f"{default_folder(data)}-{settings.net}")
    events = Events(folder, progress) if tensorboard else None
    scene = look(data, seed=settings.seed, image_size=settings.image_size, progress=progress)
    with RunFolder(folder) as run:
        begin(run, scene, seed=settings.seed, settings=settings)
        if events is not None:
            events.prove()
        spec = preset(len(scene.dataset.labels), input_shape=scene.input_shape)
        graph = build_graph(spec)
        trial = Trial(
            spec=spec,
            recipe=recipe_of(settings, scene, law=fitted, graph=graph),
            data=scene.ref,
            preprocess=scene.preprocess,
            seed=settings.seed,
            cost=count(graph),
        )
        pictures, device = len(scene.part("train")), settings.device
        trial = in_manner(run, trial, settings.manner, pictures=pictures, graph=graph, device=device)
        record = train_one(run, trial, scene, settings, progress=events or progress)
        if events is not None:
            events.end(record)
    return record, folder


def train_one(run: RunFolder, trial: Trial, scene: Scene, settings: Settings, *, progress: Progress) -> RunRecord:
    """Train the one trial of a run, unless it is trained, and write the run's files.

    Args:
      run: entered and begun.
      trial: what to train, its pictures in memory; they are streamed where the settings or the memory ask for it.
      scene: the data.
      settings: device and workers are used.
      progress: receives one update an epoch.

    Returns:
      The record.
    """
    trial = trial.replace(streamed=is_streamed(run, trial, scene, settings))
    record = run.trials().get(trial.digest())
    prove_place(run)
    if record is None:
        workers = workers_of(run, trial, scene, settings) if trial.streamed else 0
        ready = ready_from(PictureCache(None, scene.ref, scene.dataset), trial, workers=workers)
        clock, device = Deadline(), settings.device
        with halts(clock):
            record = run_trial(trial, folder=run.path, ready=ready, device=device, progress=progress, deadline=clock)
        record = record.replace(command=command_line())
        run.journal.append("trial", record.to_json())
    give_up_state(run.path, record)
    keep_winner(run, record)
    write_report(run.path)
    return record


def recipe_of(settings: Settings, scene: Scene, *, law: Callable[..., Recipe], graph: Graph) -> Recipe:
    """The recipe that was given, or that a law gives for the data, with what the settings say otherwise.

    Args:
      settings: recipe, epochs, batch and lr are used.
      scene: the data.
      law: of `fireforge.train.recipe`, from Traits and epochs; a name in the settings goes before it.
      graph: of the network.

    Returns:
      The recipe.
    """
    size_px = min(scene.input_shape[1:])
    traits = Traits(
        samples=len(scene.part("train")),
        channels=scene.input_shape[0],
        size_px=size_px,
        kept_px=max(size_px, scene.shorter_px()),
        mirror=mirrors(scene),
        normed=any(node.op == "BatchNormalization" for node in graph.nodes),
    )
    law = RECIPES[settings.recipe] if settings.recipe else law
    recipe = settings.given or law(traits, epochs=settings.epochs or EPOCHS)
    if settings.epochs is not None:
        recipe = recipe.replace(epochs=settings.epochs)
    if settings.batch is not None:
        recipe = recipe.replace(batch=settings.batch)
    return recipe if settings.lr is None else recipe.replace(lr=settings.lr)
