# SPDX-License-Identifier: Apache-2.0
"""Verbs that run a model's file: verified, evaluated, timed, asked."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from fireforge.base.errors import Exit, FireforgeError
from fireforge.cli.options import AsJson, ModelPath, Out, say


def verify(
    model: ModelPath,
    data: Annotated[str | None, typer.Option(help="Pictures to verify on; none: golden inputs alone.")] = None,
    pictures: Annotated[int, typer.Option(min=1, help="At most so many.")] = 200,
    as_json: AsJson = False,
) -> None:
    """Hold a file against plain numpy, from image bytes to label; exit code 5 where a stage differs."""
    from fireforge.jobs import tell
    from fireforge.jobs.verify import refusal
    from fireforge.jobs.verify import verify as job

    found = job(model, data, pictures=pictures)
    say(as_json, found.to_json(), tell.parity(found))
    if not found.passed:
        raise refusal(found)


def evaluate(
    model: ModelPath,
    data: Annotated[str | None, typer.Argument(help="A dataset; none: the test part of the run's own.")] = None,
    wrong: Annotated[Path | None, typer.Option(metavar="FILE.csv", help="Write the wrong answers.")] = None,
    as_json: AsJson = False,
) -> None:
    """Accuracy, confusion, per-class table; on the data of its own run, only the test part is used."""
    from fireforge.jobs import tell
    from fireforge.jobs.evaluate import evaluate as job
    from fireforge.jobs.view import View

    with View(quiet=as_json) as view:
        found = job(model, data, wrong=wrong, progress=view)
    say(as_json, found.to_json(), tell.evaluation(found))


def bench(
    models: Annotated[
        list[Path] | None, typer.Argument(metavar="MODEL...", help="Files or run folders, side by side.")
    ] = None,
    seconds: Annotated[float, typer.Option(min=0.1, help="For each file.")] = 3.0,
    threads: Annotated[int, typer.Option(min=1)] = 1,
    batch: Annotated[int, typer.Option(min=1)] = 1,
    measure: Annotated[bool, typer.Option("--profile", help="Measure this machine, for latencies to come.")] = False,
    out: Out = None,
    as_json: AsJson = False,
) -> None:
    """Time files side by side in interleaved rounds; or measure the machine itself, once, in under a minute."""
    from fireforge.jobs import tell

    if measure:
        from fireforge.jobs.profile import profile
        from fireforge.jobs.profiles import place, write_profile
        from fireforge.jobs.view import View

        target = place(out, threads=threads)  # before the machine is measured for a minute
        with View(quiet=as_json) as view:
            found = profile(threads=threads, progress=view)
        path = write_profile(found, target)
        say(as_json, {"path": str(path), **found.to_json()}, tell.profile(found, path))
        return
    from fireforge.jobs.bench import bench as job

    if not models:
        raise FireforgeError("BAD_USAGE", "no file to time", allowed="MODEL..., or --profile for the machine itself")
    table = job(models, seconds=seconds, threads=threads, batch=batch)
    say(as_json, table.to_json(), tell.bench(table))


def predict(
    model: ModelPath,
    pictures: Annotated[list[str], typer.Argument(help="Files, folders, or - for stdin.")],
    top: Annotated[int, typer.Option(min=1, help="Answers a picture.")] = 1,
    csv: Annotated[bool, typer.Option("--csv", help="Print file,label,score,accepted rows.")] = False,
    as_json: AsJson = False,
) -> None:
    """Tell what pictures show."""
    from fireforge.jobs import tell
    from fireforge.jobs.predict import predict as job
    from fireforge.jobs.view import View

    stdin = sys.stdin.buffer.read() if "-" in pictures else None
    watched = sys.stderr.isatty() and not sys.stdout.isatty()  # a bar among the answers would be in their way
    with View(quiet=not watched) as view:
        answers = job(model, pictures, top=top, stdin=stdin, progress=view)
        failed = tell.predictions(answers, form="json" if as_json else "csv" if csv else "")
    if failed:
        raise typer.Exit(int(Exit.BAD_INPUT))
