# SPDX-License-Identifier: Apache-2.0
"""A .safetensors file: named arrays and nothing else, which become the weights of a network that the user names."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fireforge.base.errors import FireforgeError
from fireforge.base.files import read_bytes
from fireforge.base.graph import Graph
from fireforge.importers.imported import Imported
from fireforge.importers.matching import match, need_known

HEAD = 8  # bytes that hold the length of the header
MOST_HEADER = 100_000_000
MOST_AXES = 8
# safetensors' name to numpy's; BF16 is the upper half of a float32
DTYPES: Mapping[str, str] = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "BF16": "<u2",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "i1",
    "U8": "u1",
    "BOOL": "u1",
}
NAMES = {"<f8": "F64", "<f4": "F32", "<f2": "F16", "<i8": "I64"}


def import_safetensors(files: Sequence[Path], known: Graph | None) -> Imported:
    """A network that the user names, with the numbers of a .safetensors file.

    Args:
      files: one file.
      known: the network.

    Returns:
      The network; see `fireforge.importers.matching.match` for which numbers become which weight.

    Raises:
      FireforgeError: NO_FILE; BAD_MODEL_FILE, if the file is damaged or there are several; BAD_WEIGHTS, if no network
        is named or the numbers do not fit it.
    """
    if len(files) != 1:
        raise FireforgeError("BAD_MODEL_FILE", f"{len(files)} files", where=str(files[0]), allowed="one .safetensors")
    where = str(files[0])
    graph = need_known(known, where)
    weights, notes = match(graph, read_safetensors(read_bytes(files[0]), where=where), where=where)
    return Imported(graph=graph, weights=weights, source=files[0].name, notes=notes)


def read_safetensors(data: bytes, *, where: str) -> dict[str, np.ndarray]:
    """The arrays of a file.

    Args:
      data: of the file.
      where: its name.

    Returns:
      Name to array, in the order of the header; bfloat16 as float32.

    Raises:
      FireforgeError: BAD_MODEL_FILE, if anything in it lies: lengths, shapes, places.
    """
    size = int.from_bytes(data[:HEAD], "little")
    if len(data) < HEAD or size > min(len(data) - HEAD, MOST_HEADER):
        raise _bad(f"a header of {size} bytes in a file of {len(data)}", where)
    body = memoryview(data)[HEAD + size :]
    entries = _header(data[HEAD : HEAD + size], where)
    arrays: dict[str, np.ndarray] = {}
    places: list[tuple[int, int]] = []
    for name, entry in entries.items():
        arrays[name], place = _array(name, entry, body, where)
        places.append(place)
    end = 0
    for begin, stop in sorted(places):
        if begin != end:
            raise _bad(f"numbers at {begin} where those before end at {end}", where)
        end = stop
    if end != len(body):
        raise _bad(f"{len(body) - end} bytes that belong to no tensor", where)
    return arrays


def write_safetensors(arrays: Mapping[str, np.ndarray]) -> bytes:
    """The bytes of a file that holds the arrays in their order.

    Args:
      arrays: float64, float32, float16 or int64.

    Returns:
      The file.
    """
    header: dict[str, Any] = {}
    parts: list[bytes] = []
    at = 0
    for name, array in arrays.items():
        little = np.asarray(array, array.dtype.newbyteorder("<"), order="C")
        code = NAMES[little.dtype.newbyteorder("<").str]
        header[name] = {"dtype": code, "shape": list(array.shape), "data_offsets": [at, at + little.nbytes]}
        parts.append(little.tobytes())
        at += little.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return b"".join((len(text).to_bytes(HEAD, "little"), text, *parts))


def _header(text: bytes, where: str) -> dict[str, Any]:
    try:
        header = json.loads(text, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise _bad(f"its header cannot be read: {str(error)[:80]}", where) from error
    if not isinstance(header, dict):
        raise _bad("its header is no table of names", where)
    header.pop("__metadata__", None)
    return header


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        raise ValueError("a name comes twice")
    return table


def _array(name: str, entry: Any, body: memoryview, where: str) -> tuple[np.ndarray, tuple[int, int]]:
    """One tensor and where its bytes lie."""
    fields: dict[str, Any] = entry if isinstance(entry, dict) else {}
    code: Any = fields.get("dtype")
    shape: Any = fields.get("shape")
    offsets: Any = fields.get("data_offsets")
    if not isinstance(code, str) or code not in DTYPES:
        raise _bad(f"tensor {name[:80]!r} of dtype {str(code)[:20]!r}", where, allowed=", ".join(DTYPES))
    if not _sizes(shape) or len(shape) > MOST_AXES or not _sizes(offsets) or len(offsets) != 2:
        raise _bad(f"tensor {name[:80]!r} of shape {str(shape)[:80]} at {str(offsets)[:80]}", where)
    begin, stop = offsets
    dtype = np.dtype(DTYPES[code])
    if not begin <= stop <= len(body) or stop - begin != math.prod(shape) * dtype.itemsize:
        what = f"tensor {name[:80]!r} of shape {str(shape)[:80]} at {begin} to {stop} of {len(body)} bytes"
        raise _bad(what, where)
    values = np.frombuffer(body[begin:stop], dtype)
    if code == "BF16":
        values = (values.astype(np.uint32) << 16).view(np.float32)
    return values.reshape(shape), (begin, stop)


def _sizes(value: Any) -> bool:
    """Whether it is a list of whole numbers that a file can have."""
    return isinstance(value, list) and all(type(size) is int and 0 <= size < 2**48 for size in value)


def _bad(what: str, where: str, *, allowed: str = "a whole safetensors file") -> FireforgeError:
    return FireforgeError("BAD_MODEL_FILE", what, where=where, allowed=allowed)
