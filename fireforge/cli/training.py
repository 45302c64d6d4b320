# SPDX-License-Identifier: Apache-2.0
"""Verbs that train."""

from __future__ import annotations

from time import monotonic
from typing import Annotated

import typer

from fireforge.cli.options import AsJson, Batch, Data, Device, ModelPath, Out, Rate, Seed, Workers, say


def build(
    data: Data,
    max_size: Annotated[str | None, typer.Option(metavar="40KB", help="Bytes of the whole file.")] = None,
    max_latency: Annotated[str | None, typer.Option(metavar="3ms", help="p50, batch 1, one thread.")] = None,
    max_memory: Annotated[str | None, typer.Option(metavar="50MB", help="Peak memory while predicting.")] = None,
    max_energy: Annotated[str | None, typer.Option(metavar="2mJ", help="Of one prediction.")] = None,
    min_accuracy: Annotated[str | None, typer.Option(metavar="98%", help="On the test part.")] = None,
    tolerance: Annotated[str, typer.Option(metavar="0.5%", help="Accuracy that compression may cost.")] = "0.5%",
    time: Annotated[str, typer.Option(metavar="2m", help="Wall-clock time for everything.")] = "10m",
    image_size: Annotated[int | None, typer.Option(min=4, help="Side of the input in pixels.")] = None,
    net: Annotated[str, typer.Option(help="Train this network alone: a name of fireforge cost --list.")] = "",
    seed: Seed = 0,
    device: Device = "auto",
    out: Out = None,
    plan: Annotated[bool, typer.Option("--plan", help="Tell what would be done; nothing is trained.")] = False,
    earlier: Annotated[str, typer.Option("--from", metavar="RUN", help="Start from its winner and trials.")] = "",
    replay: Annotated[str, typer.Option(metavar="RUN", help="Take its choices; measure nothing.")] = "",
    as_json: AsJson = False,
) -> None:
    """Find, train, compress, export, verify and measure the best network within the limits."""
    from fireforge.base.settings import Wish
    from fireforge.jobs import tell
    from fireforge.jobs.limits import budget_of

    begun = monotonic()  # loading torch counts in --time
    limits = {"max_size": max_size, "max_latency": max_latency, "max_memory": max_memory, "max_energy": max_energy}
    budget = budget_of({**limits, "min_accuracy": min_accuracy, "tolerance": tolerance, "time": time})
    wish = Wish(seed=seed, device=device, image_size=image_size, net=net, earlier=earlier, replay=replay)
    from fireforge.jobs.border import check
    from fireforge.jobs.folder import default_folder

    folder = out or default_folder(data)
    check(data, budget=budget, wish=wish, folder=folder, writes=not plan)  # before torch is loaded
    if plan:
        from fireforge.jobs.plan import plan as look_ahead

        ahead = look_ahead(data, budget=budget, wish=wish)
        return say(as_json, ahead.to_json(), tell.plan(ahead))
    from fireforge.jobs.build import build as job
    from fireforge.jobs.view import View

    with View(quiet=as_json, budget=budget) as view:
        answer = job(data, budget=budget, wish=wish, out=folder, progress=view, used_s=monotonic() - begun)
    return say(as_json, answer.to_json(), tell.answer(answer, folder))


def train(
    data: Data,
    net: Annotated[str, typer.Option(help="A network of: fireforge cost --list.")] = "firenet-small",
    recipe: Annotated[str, typer.Option(metavar="NAME", help="A name, or a run's recipe.json; the data's own.")] = "",
    epochs: Annotated[int | None, typer.Option(min=1, help="40, or as the recipe's file says.")] = None,
    batch: Batch = None,
    lr: Rate = None,
    image_size: Annotated[int | None, typer.Option(min=4, help="Side of the input in pixels.")] = None,
    seed: Seed = 0,
    device: Device = "auto",
    workers: Workers = None,
    out: Out = None,
    precision: Annotated[str | None, typer.Option(help="float32, bfloat16 or float16.")] = None,
    layout: Annotated[str | None, typer.Option(help="contiguous or channels_last.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Of a CPU.")] = None,
    compile: Annotated[bool | None, typer.Option(help="Make kernels for the network.")] = None,
    tune: Annotated[bool, typer.Option("--tune", help="Choose what is left of these four by a short trial.")] = False,
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="Write event files for TensorBoard.")] = False,
    as_json: AsJson = False,
) -> None:
    """Train one named network; the same command resumes."""
    from fireforge.base.settings import Settings
    from fireforge.jobs import tell
    from fireforge.jobs.manner import manner_of
    from fireforge.jobs.train import train as job
    from fireforge.jobs.view import View
    from fireforge.train.memory import keep_freed

    keep_freed()
    settings = Settings(
        net=net,
        recipe=recipe,
        epochs=epochs,
        batch=batch,
        lr=lr,
        seed=seed,
        device=device,
        image_size=image_size,
        workers=workers,
    ).replace(manner=manner_of(precision, layout, threads=threads, compile=compile, tune=tune))
    with View(quiet=as_json) as view:
        record, folder = job(data, settings, out=out, progress=view, tensorboard=tensorboard)
    say(as_json, record.to_json(), tell.trained(record, folder))


def finetune(
    model: ModelPath,
    data: Data,
    epochs: Annotated[int, typer.Option(min=1)] = 10,
    batch: Batch = None,
    lr: Rate = None,
    seed: Seed = 0,
    device: Device = "auto",
    workers: Workers = None,
    out: Out = None,
    as_json: AsJson = False,
) -> None:
    """Train a built or imported file on, for the classes of other pictures; the same command resumes."""
    from fireforge.base.settings import Settings
    from fireforge.jobs import tell
    from fireforge.jobs.finetune import finetune as job
    from fireforge.jobs.view import View
    from fireforge.train.memory import keep_freed

    keep_freed()
    settings = Settings(net="", epochs=epochs, batch=batch, lr=lr, seed=seed, device=device, workers=workers)
    with View(quiet=as_json) as view:
        found, folder = job(model, data, settings, out=out, progress=view)
    say(as_json, found.to_json(), tell.finetuned(found.record, folder, rows=found.begun.rows, seen=found.seen))
