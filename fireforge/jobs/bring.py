# SPDX-License-Identifier: Apache-2.0
"""import: other people's model files as one file of ours, which says how it is fed and what its outputs mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fireforge.base.errors import FireforgeError, lookup
from fireforge.base.exported import Exported
from fireforge.base.files import read_bytes, read_json
from fireforge.base.graph import Graph
from fireforge.base.infer import infer
from fireforge.base.model import Card, Model
from fireforge.base.parity import ParityReport
from fireforge.base.postprocess import Postprocess
from fireforge.base.preprocess import ImageSteps, Preprocess
from fireforge.base.recipes import RECIPES, steps_of
from fireforge.base.value import Value
from fireforge.importers.formats import IMPORTERS, import_files, kind_of
from fireforge.importers.imported import Imported
from fireforge.importers.libraries import KINDS, import_library, of_library
from fireforge.jobs.gate import place, write_gated
from fireforge.jobs.verify import shown_pictures
from fireforge.nets.families import NETWORKS, build_graph


@dataclass(frozen=True, kw_only=True)
class Told(Value):
    """What a user says of files that do not say it themselves.

    Args:
      kind: a name of IMPORTERS; "" to tell it by the endings.
      net: for files that hold numbers alone, a name of NETWORKS, or "timm/NAME" or "torchvision/NAME" of a library that
        is installed.
      classes: outputs of that network; None for its own.
      preprocess: a name of RECIPES, or a .json file of ImageSteps; "" for what the files say.
      labels: a text file, a class a line; "" for what the files say, or numbers.
      licence: of the weights.
    """

    kind: str = ""
    net: str = ""
    classes: int | None = None
    preprocess: str = ""
    labels: str = ""
    licence: str = ""


@dataclass(frozen=True, kw_only=True)
class Brought(Value):
    """What became of the files.

    Args:
      exported: the file that was written.
      parity: that it answers as the numbers that were read.
      notes: what was left out or read otherwise than it stands.
    """

    exported: Exported
    parity: ParityReport
    notes: tuple[str, ...]


def bring(
    files: Sequence[str | Path], *, out: str | Path, told: Told | None = None, data: str | None = None
) -> Brought:
    """Import a model.

    Args:
      files: of one model, in any order.
      out: the .onnx file to write.
      told: what the files do not say.
      data: pictures that go through the parity gate, 200 at most; None for generated ones.

    Returns:
      What was written; it passed the parity gate against the numpy reference.

    Raises:
      FireforgeError: NO_STEPS, if nobody says how pictures are made ready; BAD_USAGE, if a network or its outputs are
        told of files that hold their own; BAD_LABELS; CANNOT_WRITE; PARITY; what `import_files` and `import_library`
        raise.
    """
    told = told or Told()
    path = place(out)
    model, notes = model_of(_read(files, told), told)
    shown, skipped = shown_pictures(data, model.card.preprocess.steps())
    exported, report = write_gated(model, path, pictures=shown, trained=model)
    return Brought(exported=exported, parity=report.replace(skipped=skipped), notes=notes)


def model_of(found: Imported, told: Told) -> tuple[Model, tuple[str, ...]]:
    """The model of what was read, with a card.

    Args:
      found: by an importer.
      told: what a user says of it.

    Returns:
      The model, and the notes of the importer and of what is assumed here.

    Raises:
      FireforgeError: NO_STEPS; BAD_LABELS, if there are not as many as outputs.
    """
    notes = list(found.notes)
    shape, outputs = _ends(found.graph)
    labels = _labels(told.labels) if told.labels else found.labels
    if not labels:
        labels = tuple(str(i) for i in range(outputs))
        notes.append(f"no labels: the {outputs} classes are called by their numbers; --labels FILE names them")
    if len(labels) != outputs:
        raise FireforgeError("BAD_LABELS", f"{len(labels)} labels for {outputs} outputs", where=told.labels)
    steps = _steps(told.preprocess, shape) if told.preprocess else found.steps
    if steps is None:
        raise FireforgeError(
            "NO_STEPS",
            "the files do not say how pictures are made ready",
            allowed=", ".join(RECIPES),
            do="--preprocess NAME, or FILE.json with the steps",
        )
    card = Card(
        preprocess=Preprocess(input=found.graph.inputs[0].name, image=steps),
        postprocess=Postprocess(outputs=(found.graph.outputs[0],)),
        labels=labels,
        licence=told.licence,
        source=found.source,
    )
    return Model(graph=found.graph, weights=found.weights, card=card), tuple(notes)


def _read(files: Sequence[str | Path], told: Told) -> Imported:
    """What the files hold, in the network that they name or the user does."""
    if told.classes is not None and not told.net:
        do = "leave --classes out, or name the network by --net"
        raise FireforgeError("BAD_USAGE", "--classes are those of a network that is named", where=str(files[0]), do=do)
    if of_library(told.net):
        return import_library(files, told.net, kind=told.kind, classes=told.classes)
    kind = told.kind or (kind_of([Path(file) for file in files]) if told.net else "")
    if told.net and kind in IMPORTERS and kind not in KINDS:
        what = f"files of the kind {kind} hold their own network, not {told.net}"
        raise FireforgeError("BAD_USAGE", what, where=str(files[0]), allowed=", ".join(KINDS), do="leave --net out")
    return import_files(files, kind=told.kind, known=_known(told))


def _known(told: Told) -> Graph | None:
    """The network that the user names."""
    if not told.net:
        return None
    preset = lookup(NETWORKS, told.net, "network")
    return build_graph(preset() if told.classes is None else preset(classes=told.classes))


def _ends(graph: Graph) -> tuple[tuple[int, int, int], int]:
    """(C, H, W) of the input, and how many outputs a picture has."""
    given, made = graph.inputs[0].shape, infer(graph)[graph.outputs[0]].shape
    sizes = [size for size in given[1:] if isinstance(size, int)]
    if len(sizes) != 3 or len(made) != 2 or not isinstance(made[1], int):
        what = f"takes {given} and makes {made}"
        raise FireforgeError("BAD_GRAPH", what, allowed="(N, C, H, W) to (N, classes)")
    return (sizes[0], sizes[1], sizes[2]), made[1]


def _labels(path: str) -> tuple[str, ...]:
    """Class names, one a line."""
    try:
        lines = read_bytes(path).decode().splitlines()
    except UnicodeDecodeError as error:
        raise FireforgeError("BAD_LABELS", "not text in UTF-8", where=path) from error
    return tuple(line.strip() for line in lines if line.strip())


def _steps(preprocess: str, shape: tuple[int, int, int]) -> ImageSteps:
    """A recipe for the input, or the steps of a file."""
    if preprocess.endswith(".json"):
        return ImageSteps.from_json(read_json(preprocess))
    return steps_of(preprocess, shape)
