# SPDX-License-Identifier: Apache-2.0
"""The kinds of other people's model files: name to importer, and which kind some files are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fireforge.base.errors import FireforgeError, lookup
from fireforge.base.graph import Graph
from fireforge.importers.caffe_model import import_caffe
from fireforge.importers.deep_compression import import_deep_compression
from fireforge.importers.imported import Imported, Importer
from fireforge.importers.keras_h5 import import_keras
from fireforge.importers.ncnn import import_ncnn
from fireforge.importers.onnx_model import import_onnx_model
from fireforge.importers.safetensors_file import import_safetensors
from fireforge.importers.state_dict import import_state_dict
from fireforge.importers.tflite import import_tflite

IMPORTERS: dict[str, Importer] = {
    "caffe": import_caffe,
    "deep-compression": import_deep_compression,
    "keras": import_keras,
    "ncnn": import_ncnn,
    "onnx": import_onnx_model,
    "safetensors": import_safetensors,
    "tflite": import_tflite,
    "torch": import_state_dict,
}
# endings of names, all of which a kind's files have; the first kind that fits counts
ENDINGS: dict[str, tuple[frozenset[str], ...]] = {
    "deep-compression": (frozenset((".prototxt", ".net")),),
    "caffe": (frozenset((".prototxt", ".caffemodel")), frozenset((".caffemodel",)), frozenset((".prototxt",))),
    "ncnn": (frozenset((".param", ".bin")),),
    "safetensors": (frozenset((".safetensors",)),),
    "torch": tuple(frozenset((ending,)) for ending in (".pt", ".pth", ".th", ".pt2", ".ckpt", ".bin")),
    "tflite": (frozenset((".tflite",)),),
    "keras": tuple(frozenset((ending,)) for ending in (".h5", ".hdf5", ".keras")),
    "onnx": (frozenset((".onnx",)),),
}


def import_files(files: Sequence[str | Path], *, kind: str = "", known: Graph | None = None) -> Imported:
    """A model from other people's files.

    Args:
      files: all files of one model, in any order.
      kind: a name of IMPORTERS; "" to tell it by the names' endings.
      known: the network, for files that hold numbers alone.

    Returns:
      The model.

    Raises:
      FireforgeError: NO_FILE; UNKNOWN_NAME, if there is no such kind; BAD_MODEL_FILE, if no kind has files with these
        endings; what the importer raises.
    """
    paths = [Path(file) for file in files]
    missing = next((path for path in paths if not path.is_file()), None)
    if missing is not None:
        raise FireforgeError("NO_FILE", "there is no such file", where=str(missing))
    return lookup(IMPORTERS, kind or kind_of(paths), "kind of model file")(paths, known)


def kind_of(files: Sequence[Path]) -> str:
    """The kind of some files, by the endings of their names.

    Args:
      files: of one model.

    Returns:
      A name of IMPORTERS.

    Raises:
      FireforgeError: BAD_MODEL_FILE, naming the endings that are known.
    """
    endings = frozenset(path.suffix.lower() for path in files)
    found = next((kind for kind, sets in ENDINGS.items() if endings in sets and kind in IMPORTERS), None)
    if found is None:
        known = "; ".join(
            f"{kind}: {' + '.join(sorted(sets[0]))}" for kind, sets in ENDINGS.items() if kind in IMPORTERS
        )
        what = f"no kind of model has files that end in {' + '.join(sorted(endings)) or 'nothing'}"
        raise FireforgeError("BAD_MODEL_FILE", what, where=str(files[0]), allowed=known, do="name the kind by --kind")
    return found
