# SPDX-License-Identifier: Apache-2.0
"""The command line: one short function a verb, no logic."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from time import monotonic
from typing import Annotated, Any

import typer

from fireforge.base.errors import Exit, FireforgeError

UsageError: Any = typer.BadParameter.__mro__[1]  # which typer itself does not name
app = typer.Typer(
    help="Labelled images and a budget in; the smallest, fastest network that meets it out, with the evidence.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Data = Annotated[str, typer.Argument(help="Class folders, an .npz, or a known name such as digits.")]
ModelPath = Annotated[Path, typer.Argument(metavar="MODEL", help="An exported file, or a run's folder.")]
RunPath = Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder, such as runs/digits.")]
Out = Annotated[Path | None, typer.Option("--out", "-o", help="Where to write.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
Seed = Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Of the split, the weights and the order.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")]


def main() -> None:
    """Run the command line; an error of ours, or in what was typed, becomes one line and an exit code."""
    try:
        code = app(standalone_mode=False)
    except FireforgeError as error:
        print(error.line(), file=sys.stderr)
        code = int(error.exit_code)
    except UsageError as error:
        print(_misused(error).line(), file=sys.stderr)
        code = int(Exit.BAD_INPUT)
    except typer.Abort:
        code = int(Exit.INTERRUPTED)
    except BrokenPipeError:
        sys.stderr.close()
        code = int(Exit.DONE)
    if code == int(Exit.INTERRUPTED):
        print("interrupted; the same command goes on from here", file=sys.stderr)
    sys.exit(code or int(Exit.DONE))


def _misused(error: Any) -> FireforgeError:
    """An unknown verb or option, a value that is none, or what is missing."""
    verb = error.ctx.command_path if error.ctx else "fireforge"
    return FireforgeError("BAD_USAGE", " ".join(error.format_message().split()).rstrip("."), do=f"{verb} --help")


@app.callback(invoke_without_command=True)
def overview(context: typer.Context) -> None:
    """Without a verb: what is installed and three things to try."""
    if context.invoked_subcommand is None:
        doctor()
        print("\nall verbs: fireforge --help")


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Tell what is installed, the device, threads, instruction set, missing extras, and three things to try."""
    from fireforge.jobs import tell
    from fireforge.jobs.doctor import doctor as job

    found = job()
    _say(as_json, found.to_json(), tell.checkup(found))


@app.command()
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
    _say(as_json, found.to_json(), tell.inspection(found))


@app.command()
def pack(
    data: Data,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE.npz", help="Where to write.")],
    seed: Seed = 0,
) -> None:
    """Write a dataset as one npz file, split as a build with the same seed splits it."""
    from fireforge.jobs.pack import pack as job
    from fireforge.jobs.view import View

    with View() as view:
        lines = job(data, out, seed=seed, progress=view)
    _say(False, None, lines)


@app.command()
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
        return _say(as_json, ahead.to_json(), tell.plan(ahead))
    from fireforge.jobs.build import build as job
    from fireforge.jobs.view import View

    with View(quiet=as_json, budget=budget) as view:
        answer = job(data, budget=budget, wish=wish, out=folder, progress=view, used_s=monotonic() - begun)
    return _say(as_json, answer.to_json(), tell.answer(answer, folder))


@app.command()
def train(
    data: Data,
    net: Annotated[str, typer.Option(help="A network of: fireforge cost --list.")] = "firenet-small",
    epochs: Annotated[int, typer.Option(min=1)] = 40,
    batch: Annotated[int | None, typer.Option(min=1, help="Samples an update.")] = None,
    lr: Annotated[float | None, typer.Option(min=0.0, help="Greatest learning rate.")] = None,
    image_size: Annotated[int | None, typer.Option(min=4, help="Side of the input in pixels.")] = None,
    seed: Seed = 0,
    device: Device = "auto",
    out: Out = None,
    as_json: AsJson = False,
) -> None:
    """Train one named network; the same command resumes."""
    from fireforge.base.settings import Settings
    from fireforge.jobs import tell
    from fireforge.jobs.train import train as job
    from fireforge.jobs.view import View

    settings = Settings(net=net, epochs=epochs, batch=batch, lr=lr, seed=seed, device=device, image_size=image_size)
    with View(quiet=as_json) as view:
        record, folder = job(data, settings, out=out, progress=view)
    _say(as_json, record.to_json(), tell.trained(record, folder))


@app.command()
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
        _no_use("--compare", {"--layers": by_layer, "--list": list_all, **whole, **held})
        from fireforge.jobs.compare import Terms, compare_page
        from fireforge.jobs.tell_compare import comparison
        from fireforge.jobs.view import View

        terms = Terms(classes=classes, image=shape, minutes=minutes or 5.0)
        with View(quiet=as_json) as view:
            found, path = compare_page(nets or [], out=out, terms=terms, progress=view)
        return _say(as_json, found.to_json(), comparison(found, path))
    asked = Asked(batch=batch, dtype=dtype, changes=tuple(change or ()), workers=workers, profile=profile)
    if by_layer and nets:
        _no_use("--layers", {"--list": list_all, **whole, **page})
        rows = {net: layers(net, classes=classes, image=shape, asked=asked) for net in nets}
        return _say(
            as_json, {net: [row.to_json() for row in own] for net, own in rows.items()}, tell_cost.ledgers(rows)
        )
    if nets:
        _no_use("cost without --compare", page)
    else:
        _no_use("a list of all networks", {"--layers": by_layer, **whole, **held, **page})
    told = cost_all(nets or [], list_all=list_all, classes=classes, image=shape, asked=asked)
    return _say(as_json, {row.name: row.fields() for row in told}, tell_cost.costs(told))


@app.command("import")
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
    _say(as_json, found.to_json(), tell.brought(found))


@app.command()
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
    _say(as_json, found.to_json(), tell.compressed(found))


@app.command()
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
    _say(as_json, written.to_json(), [f"{written.path}: {written.bytes:,} bytes ({written.form})"])


@app.command()
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
    _say(as_json, found.to_json(), tell.parity(found))
    if not found.passed:
        raise refusal(found)


@app.command()
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
    _say(as_json, found.to_json(), tell.evaluation(found))


@app.command()
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
        _say(as_json, {"path": str(path), **found.to_json()}, tell.profile(found, path))
        return
    from fireforge.jobs.bench import bench as job

    if not models:
        raise FireforgeError("BAD_USAGE", "no file to time", allowed="MODEL..., or --profile for the machine itself")
    table = job(models, seconds=seconds, threads=threads, batch=batch)
    _say(as_json, table.to_json(), tell.bench(table))


@app.command()
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


@app.command()
def report(run: RunPath) -> None:
    """Write a run's page and model card again."""
    from fireforge.jobs.report import report as job

    print(job(run))


def _no_use(mode: str, given: Mapping[str, object]) -> None:
    """Refuse options that would be ignored."""
    if unused := [name for name, value in given.items() if value]:
        raise FireforgeError("BAD_USAGE", f"{mode} has no use for {', '.join(unused)}", do="fireforge cost --help")


def _say(as_json: bool, data: Any, lines: list[str]) -> None:
    print(json.dumps(data, indent=2, ensure_ascii=False) if as_json else "\n".join(lines))
