# SPDX-License-Identifier: Apache-2.0
"""The child that builds a library's network: python -m fireforge.importers.library_open FILE OUT KIND NET CLASSES.

It writes the weights to OUT and prints one line of JSON: graph, steps, labels, source and notes, or the error.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

from fireforge.base.files import read_bytes
from fireforge.base.fresh import answer
from fireforge.base.model import dense
from fireforge.importers.imported import Imported
from fireforge.importers.library_nets import BUILDERS, Built
from fireforge.importers.safetensors_file import read_safetensors, write_safetensors
from fireforge.importers.state_dict import read_state_dict
from fireforge.importers.torch_module import check_answer, import_torch, load_numbers


def main(path: str, out: str, kind: str, net: str, classes: str) -> int:
    """Read FILE and write OUT.

    Args:
      path: of a file of numbers.
      out: the .safetensors file to write.
      kind: "safetensors" or "torch".
      net: "timm/NAME" or "torchvision/NAME".
      classes: outputs, a number; "" for the library's own.

    Returns:
      The exit code.
    """
    return answer(lambda: _written(open_library(Path(path), net, kind=kind, classes=int(classes or 0) or None), out))


def open_library(path: Path, net: str, *, kind: str, classes: int | None) -> Imported:
    """A library's network with the numbers of a file, in this process.

    Args:
      path: of the file.
      net: "timm/NAME" or "torchvision/NAME".
      kind: "safetensors" or "torch".
      classes: outputs; None for the library's own.

    Returns:
      The network.

    Raises:
      FireforgeError: as `fireforge.importers.libraries.import_library`.
    """
    arrays, notes = read_numbers(path, kind)
    library, _, name = net.partition("/")
    built = BUILDERS[library](name, file=path.name, classes=classes)
    found = with_numbers(built, arrays, where=str(path))
    return Imported(
        graph=found.graph,
        weights=found.weights,
        steps=found.steps,
        labels=found.labels,
        source=f"{path.name}, as {net} of {library} {built.version}",
        notes=(*notes, *found.notes),
    )


def read_numbers(path: Path, kind: str) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """Named arrays of a file, and notes on what lay beside them.

    Args:
      path: of the file.
      kind: "safetensors", or "torch" for a state dict.

    Returns:
      Name to array, and the notes.

    Raises:
      FireforgeError: as `import_safetensors` and `import_state_dict`.
    """
    if kind == "torch":
        return read_state_dict(path)
    return read_safetensors(read_bytes(path), where=str(path)), ()


def with_numbers(built: Built, arrays: dict[str, np.ndarray], *, where: str) -> Imported:
    """A module of torch with other numbers, as a Graph.

    Args:
      built: the module, which then holds the numbers, and what its library says of it.
      arrays: name to array, the names of its state dict; counters of batch norm may be missing.
      where: the file.

    Returns:
      The network; its source is not told.

    Raises:
      FireforgeError: BAD_WEIGHTS; PARITY, if the Graph answers otherwise than the module; what
        `fireforge.importers.torch_module.import_torch` raises.
    """
    notes = load_numbers(built.module, arrays, where=where)
    graph, numbers = import_torch(built.module, built.shape)
    check_answer(built.module, graph, numbers, where=where)
    return Imported(
        graph=graph,
        weights=dense(numbers),
        steps=built.steps,
        labels=built.labels,
        notes=(*built.notes, *notes),
    )


def _written(found: Imported, out: str) -> dict[str, Any]:
    """The weights into a file, all else as JSON; whole numbers travel as int64."""
    arrays = {name: form.array() for name, form in found.weights.items()}
    plain = {name: array if array.dtype.kind == "f" else array.astype(np.int64) for name, array in arrays.items()}
    Path(out).write_bytes(write_safetensors(plain))
    return {
        "graph": found.graph.to_json(),
        "steps": None if found.steps is None else found.steps.to_json(),
        "labels": list(found.labels),
        "source": found.source,
        "notes": list(found.notes),
    }


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:6]))
