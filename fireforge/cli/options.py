# SPDX-License-Identifier: Apache-2.0
"""What verbs share: arguments that mean the same everywhere, and how a result is said."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from fireforge.base.errors import FireforgeError

Data = Annotated[str, typer.Argument(help="Class folders, an .npz, a URL, or a known name such as digits.")]
ModelPath = Annotated[Path, typer.Argument(metavar="MODEL", help="An exported file, or a run's folder.")]
RunOrFile = Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder, or a float file.")]
RunPath = Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder, such as runs/digits.")]
Out = Annotated[Path | None, typer.Option("--out", "-o", help="Where to write.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
Seed = Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Of the split, the weights and the order.")]
Batch = Annotated[int | None, typer.Option(min=1, help="Samples an update.")]
Rate = Annotated[float | None, typer.Option(min=0.0, help="Greatest learning rate.")]
Workers = Annotated[
    int | None, typer.Option(min=0, max=256, help="Decode anew in each epoch, by so many processes; 0: by none beside.")
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")]


def no_use(mode: str, given: Mapping[str, object]) -> None:
    """Refuse options that would be ignored.

    Args:
      mode: how the verb was called.
      given: options by name; those that were given are true.

    Raises:
      FireforgeError: BAD_USAGE, naming them.
    """
    if unused := [name for name, value in given.items() if value]:
        raise FireforgeError("BAD_USAGE", f"{mode} has no use for {', '.join(unused)}", do="fireforge cost --help")


def say(as_json: bool, data: Any, lines: list[str]) -> None:
    """Print a result.

    Args:
      as_json: as JSON instead of text.
      data: for JSON.
      lines: of text.
    """
    print(json.dumps(data, indent=2, ensure_ascii=False) if as_json else "\n".join(lines))
