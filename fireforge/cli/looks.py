# SPDX-License-Identifier: Apache-2.0
"""Verbs that look and change nothing of a network: what is installed, the data, the costs, a run's page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fireforge.cli.options import AsJson, Data, RunPath, Seed, no_use, say


def doctor(as_json: AsJson = False) -> None:
    """Tell what is installed, the device, threads, instruction set, missing extras, and three things to try."""
    from fireforge.jobs import tell
    from fireforge.jobs.doctor import doctor as job

    found = job()
    say(as_json, found.to_json(), tell.checkup(found))


def inspect(
    data: Data,
    quick: Annotated[bool, typer.Option(help="Read headers only; broken pictures stay unseen.")] = False,
    as_json: AsJson = False,
) -> None:
    """Tell what a dataset holds: classes, counts, sizes, duplicates, files that cannot be used."""
    from fireforge.jobs import tell
    from fireforge.jobs.inspect import inspect as job
    from fireforge.jobs.view import View

    with View(quiet=as_json) as view:
        found = job(data, check=not quick, progress=view)
    say(as_json, found.to_json(), tell.inspection(found))


def pack(
    data: Data,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="NAME", help="A name.npz, or a folder name.shards.")],
    size: Annotated[int | None, typer.Option(min=1, max=16384, help="Of .shards: side in pixels.")] = None,
    jpeg: Annotated[bool, typer.Option("--jpeg", help="Of .shards: image files as they are, not pixels.")] = False,
    seed: Seed = 0,
) -> None:
    """Write a dataset as one npz file or as shards, split as a build with the same seed splits it."""
    from fireforge.data.shards.writer import Packing
    from fireforge.jobs.pack import pack as job
    from fireforge.jobs.view import View

    with View() as view:
        lines = job(data, out, seed=seed, packing=Packing(size=size, encoded=jpeg), progress=view)
    say(False, None, lines)


def cost(
    nets: Annotated[list[str] | None, typer.Argument(help="Names, .onnx files, spec.json files, run folders.")] = None,
    by_layer: Annotated[bool, typer.Option("--layers", help="One line a layer.")] = False,
    list_all: Annotated[bool, typer.Option("--list", help="All named networks.")] = False,
    classes: Annotated[int | None, typer.Option(min=1)] = None,
    image: Annotated[str | None, typer.Option(metavar="3x32x32", help="Channels x height x width.")] = None,
    image_size: Annotated[int | None, typer.Option(min=1, max=16384, help="Side of the input in pixels.")] = None,
    batch: Annotated[int, typer.Option(min=1, max=2**20, help="Pictures at once.")] = 1,
    dtype: Annotated[str, typer.Option(help="float32, float16, bfloat16, fixed16 or int8.")] = "float32",
    change: Annotated[list[str] | None, typer.Option(metavar="conv1.filters=384", help="What if; repeatable.")] = None,
    workers: Annotated[int, typer.Option(min=0, max=2**20, help="Share a training step among so many.")] = 0,
    compare: Annotated[bool, typer.Option("--compare", help="Draw a page; time and memory are measured.")] = False,
    minutes: Annotated[float | None, typer.Option(min=0.01, help="Of all of --compare's measurements; 5.")] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", metavar="FILE.html", help="Of --compare.")] = None,
    profile: Annotated[str, typer.Option(metavar="FILE", help="Of another machine, by bench --profile there.")] = "",
    as_json: AsJson = False,
) -> None:
    """Count params, MACs, activations, memory, energy and bytes on the wire; only --compare runs anything."""
    from fireforge.jobs import tell_cost
    from fireforge.jobs.cost import Asked, cost_all, image_of, layers

    shape = image_of(image, image_size)
    whole = {"--change": change, "--workers": workers, "--profile": profile}
    held = {"--batch": batch != 1, "--dtype": dtype != "float32"}
    page = {"--minutes": minutes, "--out": out}
    if compare:
        no_use("--compare", {"--layers": by_layer, "--list": list_all, **whole, **held})
        from fireforge.jobs.compare import Terms, compare_page
        from fireforge.jobs.tell_compare import comparison
        from fireforge.jobs.view import View

        terms = Terms(classes=classes, image=shape, minutes=minutes or 5.0)
        with View(quiet=as_json) as view:
            found, path = compare_page(nets or [], out=out, terms=terms, progress=view)
        return say(as_json, found.to_json(), comparison(found, path))
    asked = Asked(batch=batch, dtype=dtype, changes=tuple(change or ()), workers=workers, profile=profile)
    if by_layer and nets:
        no_use("--layers", {"--list": list_all, **whole, **page})
        rows = {net: layers(net, classes=classes, image=shape, asked=asked) for net in nets}
        return say(as_json, {net: [row.to_json() for row in own] for net, own in rows.items()}, tell_cost.ledgers(rows))
    if nets:
        no_use("cost without --compare", page)
    else:
        no_use("a list of all networks", {"--layers": by_layer, **whole, **held, **page})
    told = cost_all(nets or [], list_all=list_all, classes=classes, image=shape, asked=asked)
    return say(as_json, {row.name: row.fields() for row in told}, tell_cost.costs(told))


def report(run: RunPath) -> None:
    """Write a run's page and model card again."""
    from fireforge.jobs.report import report as job

    print(job(run))
