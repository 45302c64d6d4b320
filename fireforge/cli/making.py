# SPDX-License-Identifier: Apache-2.0
"""Verbs that write a model's file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fireforge.cli.options import AsJson, Data, ModelPath, Out, RunPath, say


def import_model(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="All files of one model, in any order.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="MODEL.onnx", help="Where to write.")],
    kind: Annotated[str, typer.Option(help="caffe, ncnn, torch, ...; told by the names' endings.")] = "",
    net: Annotated[str, typer.Option(help="The network, for files that hold numbers alone.")] = "",
    classes: Annotated[int | None, typer.Option(min=1, help="Outputs of that network.")] = None,
    preprocess: Annotated[str, typer.Option(metavar="NAME", help="How pictures are fed: caffe, torchvision, ...")] = "",
    labels: Annotated[str, typer.Option(metavar="FILE", help="Class names, one a line.")] = "",
    licence: Annotated[str, typer.Option(help="Of the weights.")] = "",
    as_json: AsJson = False,
) -> None:
    """Read other people's model files, and write one file that says how it is fed, verified against numpy."""
    from fireforge.jobs import tell
    from fireforge.jobs.bring import Told, bring

    told = Told(kind=kind, net=net, classes=classes, preprocess=preprocess, labels=labels, licence=licence)
    found = bring(files, out=out, told=told)
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


def export(
    run: RunPath,
    form: Annotated[str, typer.Option(help="float32 or int8.")] = "float32",
    to: Annotated[str, typer.Option(help="The file's kind.")] = "onnx",
    out: Out = None,
    as_json: AsJson = False,
) -> None:
    """Write a run's network in another form, verified against numpy before it counts."""
    from fireforge.jobs.export import export as job
    from fireforge.jobs.view import View

    with View(quiet=as_json) as view:
        written = job(run, form=form, target=to, out=out, progress=view)
    say(as_json, written.to_json(), [f"{written.path}: {written.bytes:,} bytes ({written.form})"])
