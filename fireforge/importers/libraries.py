# SPDX-License-Identifier: Apache-2.0
"""Networks of timm and torchvision, where they are installed, with the numbers of the user's own file."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from fireforge.base.errors import Exit, FireforgeError
from fireforge.base.files import read_bytes
from fireforge.base.fresh import fresh
from fireforge.base.graph import Graph
from fireforge.base.model import dense
from fireforge.base.preprocess import ImageSteps
from fireforge.importers.formats import kind_of
from fireforge.importers.imported import Imported
from fireforge.importers.safetensors_file import read_safetensors

LIBRARIES = ("timm", "torchvision")
KINDS = ("safetensors", "torch")  # of files that hold numbers alone
CHILD = "fireforge.importers.library_open"
LIMIT_S = 1800.0  # torch.export of the largest networks takes minutes on a busy machine
OFFLINE = {"HF_HUB_OFFLINE": "1"}  # nothing is asked for; should a version ask all the same, it gets nothing


def of_library(net: str) -> bool:
    """Whether a name is one of a library's networks, such as "timm/resnet18".

    Args:
      net: as the user wrote it.

    Returns:
      Whether it begins with a name of LIBRARIES and a slash.
    """
    return net.partition("/")[0] in LIBRARIES and "/" in net


def import_library(files: Sequence[str | Path], net: str, *, kind: str = "", classes: int | None = None) -> Imported:
    """A network of a library, with the numbers of a file; a process of its own loads the library.

    Args:
      files: one .safetensors file or torch state dict.
      net: "timm/NAME" or "torchvision/NAME"; with timm's tags, as in "timm/resnet50.a1_in1k".
      kind: "safetensors" or "torch"; "" to tell it by the name's ending.
      classes: outputs; None for the library's own.

    Returns:
      The network; every number of the file has its place in it by name, counters of batch norm aside.

    Raises:
      FireforgeError: NO_PACKAGE, if the library or torch is not installed or does not load; UNKNOWN_NAME, if the
        library has no such network; BAD_WEIGHTS, naming what is missing, left over or of another shape; BAD_MODULE, if
        the library cannot build it or torch.export refuses it; UNKNOWN_OPERATOR, naming what the closed list lacks;
        PARITY, if the Graph answers otherwise than the library's module; NO_FILE, BAD_MODEL_FILE, UNSAFE_FILE, as for
        files of these kinds.
    """
    path = Path(files[0])
    if not path.is_file():
        raise FireforgeError("NO_FILE", "there is no such file", where=str(path))
    kind = kind or kind_of([Path(file) for file in files])
    if len(files) != 1 or kind not in KINDS:
        what = f"{len(files)} files of kind {kind}"
        raise FireforgeError("BAD_MODEL_FILE", what, where=str(path), allowed=f"one file of kind {' or '.join(KINDS)}")
    _need(net.partition("/")[0])
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "weights.safetensors"
        arguments = (str(path.absolute()), str(out), kind, net, str(classes or ""))
        try:
            told = fresh(CHILD, arguments, where=str(path), order="", env=OFFLINE, limit_s=LIMIT_S)
        except FireforgeError as error:
            if error.code != "MEASURE_FAILED":
                raise
            what = f"the process that built {net} failed: {error.what[:200]}"
            raise FireforgeError("BAD_MODULE", what, where=str(path)) from error
        arrays = read_safetensors(read_bytes(out), where=str(path))
    graph = Graph.from_json(told["graph"])
    return Imported(
        graph=graph,
        weights=dense({weight.name: arrays[weight.name].astype(weight.dtype) for weight in graph.weights}),
        steps=None if told["steps"] is None else ImageSteps.from_json(told["steps"]),
        labels=tuple(told["labels"]),
        source=told["source"],
        notes=tuple(told["notes"]),
    )


def _need(library: str) -> None:
    """Refuse what is not installed, before a process is started."""
    if find_spec(library) is None:
        what = f"{library} is not installed"
        raise FireforgeError("NO_PACKAGE", what, do=f"pip install {library}", exit_code=Exit.ENVIRONMENT)
    if find_spec("torch") is None:
        do = 'pip install "fireforge[train]"'
        raise FireforgeError("NO_PACKAGE", "torch is not installed", do=do, exit_code=Exit.ENVIRONMENT)
