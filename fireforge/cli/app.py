# SPDX-License-Identifier: Apache-2.0
"""The command line: one short function a verb, no logic."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import typer

from fireforge.base.errors import Exit, FireforgeError
from fireforge.cli import looks, making, training, using

UsageError: Any = typer.BadParameter.__mro__[1]  # which typer itself does not name
VERBS: dict[str, Callable[..., None]] = {
    "doctor": looks.doctor,
    "inspect": looks.inspect,
    "pack": looks.pack,
    "build": training.build,
    "train": training.train,
    "finetune": training.finetune,
    "cost": looks.cost,
    "import": making.import_model,
    "compress": making.compress,
    "hedge": making.hedge,
    "export": making.export,
    "verify": using.verify,
    "evaluate": using.evaluate,
    "bench": using.bench,
    "predict": using.predict,
    "report": looks.report,
}
GO_ON = ("build", "train", "finetune")  # the same command goes on where it was interrupted
TRAINS = ("torch", "sklearn", "safetensors", "threadpoolctl")  # what the train extra brings
app = typer.Typer(
    help="Labelled images and a budget in; the smallest, fastest network that meets it out, with the evidence.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for _name, _verb in VERBS.items():
    app.command(_name)(_verb)


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
    except ModuleNotFoundError as error:
        print(_missing(error).line(), file=sys.stderr)
        code = int(Exit.ENVIRONMENT)
    except typer.Abort:
        code = int(Exit.INTERRUPTED)
    except BrokenPipeError:
        sys.stderr.close()
        code = int(Exit.DONE)
    if code == int(Exit.INTERRUPTED):
        goes_on = "; the same command goes on from here" if sys.argv[1:2] and sys.argv[1] in GO_ON else ""
        print(f"interrupted{goes_on}", file=sys.stderr)
    sys.exit(code or int(Exit.DONE))


def _misused(error: Any) -> FireforgeError:
    """An unknown verb or option, a value that is none, or what is missing."""
    verb = error.ctx.command_path if error.ctx else "fireforge"
    return FireforgeError("BAD_USAGE", " ".join(error.format_message().split()).rstrip("."), do=f"{verb} --help")


def _missing(error: ModuleNotFoundError) -> FireforgeError:
    """A package of the train extra; what else is missing is our bug."""
    name = (error.name or "").partition(".")[0]
    if name not in TRAINS:
        raise error
    do = 'pip install "fireforge[train]"'
    return FireforgeError("NO_PACKAGE", f"{name} is not installed", do=do, exit_code=Exit.ENVIRONMENT)


@app.callback(invoke_without_command=True)
def overview(context: typer.Context) -> None:
    """Without a verb: what is installed and three things to try."""
    if context.invoked_subcommand is None:
        looks.doctor()
        print("\nall verbs: fireforge --help")
