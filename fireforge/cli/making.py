# SPDX-License-Identifier: Apache-2.0
"""Verbs that write a model's file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fireforge.base.errors import FireforgeError
from fireforge.cli.options import AsJson, Data, ModelPath, Out, RunOrFile, say


def import_model(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="All files of one model, in any order.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="MODEL.onnx", help="Where to write.")],
    kind: Annotated[str, typer.Option(help="caffe, ncnn, torch, ...; told by the names' endings.")] = "",
    net: Annotated[str, typer.Option(help="The network, for files that hold numbers alone.")] = "",
    classes: Annotated[int | None, typer.Option(min=1, help="Outputs of that network.")] = None,
    preprocess: Annotated[str, typer.Option(metavar="NAME", help="How pictures are fed: caffe, torchvision, ...")] = "",
    labels: Annotated[str, typer.Option(metavar="FILE", help="Class names, one a line.")] = "",
    licence: Annotated[str, typer.Option(help="Of the weights.")] = "",
    data: Annotated[str | None, typer.Option(help="Pictures to verify on; none: generated ones.")] = None,
    as_json: AsJson = False,
) -> None:
    """Read other people's model files, and write one file that says how it is fed, verified against numpy."""
    from fireforge.jobs import tell
    from fireforge.jobs.bring import Told, bring

    told = Told(kind=kind, net=net, classes=classes, preprocess=preprocess, labels=labels, licence=licence)
    found = bring(files, out=out, told=told, data=data)
    say(as_json, found.to_json(), tell.brought(found))


def compress(
    model: ModelPath,
    data: Data,
    out: Out = None,
    as_json: AsJson = False,
) -> None:
    """Write a float file in int8, with ranges from pictures; tell what that cost on others."""
    from fireforge.jobs import tell
    from fireforge.jobs.compress import compress as job
    from fireforge.jobs.view import View

    with View(quiet=as_json) as view:
        found = job(model, data, out=out, progress=view)
    say(as_json, found.to_json(), tell.compressed(found))


def hedge(
    model: ModelPath,
    data: Data,
    tree: Annotated[str, typer.Option(metavar="TREE", help="imagenet, or a .json file of groups; none: its own.")] = "",
    accuracy: Annotated[str | None, typer.Option(help="Share of right answers to keep; none: 95%.")] = None,
    bonus: Annotated[float | None, typer.Option(min=0, help="In bits, instead of fitting it to an accuracy.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="All of DATA; none of it was trained on.")] = False,
    out: Out = None,
    as_json: AsJson = False,
) -> None:
    """Let a file answer with a group of classes where its scores do not tell one: "dogs" rather than a wrong breed.

    How willing it is, the bonus, is fitted on half of the pictures; what that gives is told of the other half.
    """
    from fireforge.base.units import parse_share
    from fireforge.jobs.hedge import Wish
    from fireforge.jobs.hedge import hedge as job
    from fireforge.jobs.tell_hedge import hedging
    from fireforge.jobs.view import View

    if accuracy is not None and bonus is not None:
        raise FireforgeError("BAD_USAGE", "--accuracy and --bonus", allowed="one of them")
    wish = Wish(tree=tree, accuracy=parse_share(accuracy or "95%"), bonus=bonus, everything=everything)
    with View(quiet=as_json) as view:
        found, page = job(model, data, wish, out=out, progress=view)
    say(as_json, {**found.to_json(), "page": str(page)}, hedging(found, page))


def export(
    run: RunOrFile,
    form: Annotated[str, typer.Option(help="float32 or int8.")] = "float32",
    to: Annotated[str, typer.Option(help="The file's kind.")] = "onnx",
    data: Annotated[
        str | None, typer.Option(help="Pictures for a file, which has none of its own as a run has.")
    ] = None,
    out: Out = None,
    as_json: AsJson = False,
) -> None:
    """Write a run's network, or a float file, in another form, verified against numpy before it counts."""
    from fireforge.jobs.export import export as job
    from fireforge.jobs.view import View

    with View(quiet=as_json) as view:
        written = job(run, form=form, target=to, data=data, out=out, progress=view)
    say(as_json, written.to_json(), [f"{written.path}: {written.bytes:,} bytes ({written.form})"])
