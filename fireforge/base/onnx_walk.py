# SPDX-License-Identifier: Apache-2.0
"""A walk over an ONNX file's bytes before any reader opens it: lengths, nesting, amount, and data in other files."""

from __future__ import annotations

from pathlib import Path

from fireforge.base.errors import FireforgeError
from fireforge.base.files import read_bytes
from fireforge.base.wire import LENGTH, VARINT, Part, parts

MOST_BYTES = 2**31 - 1  # protobuf's own limit
MOST_FIELDS = 2_000_000  # of all messages; an empty message of two bytes costs a hundred in memory
MOST_DEPTH = 60  # messages in messages; a graph within a graph takes three
TENSOR, EXTERNAL_DATA, DATA_LOCATION = "TensorProto", 13, 14

# message: number of a field to the message that it holds; what is not named holds no message that could hold a graph,
# a tensor or many small things
MESSAGES: dict[str, dict[int, str]] = {
    "ModelProto": {7: "GraphProto", 20: "TrainingInfoProto", 25: "FunctionProto"},
    "TrainingInfoProto": {1: "GraphProto", 2: "GraphProto"},
    "FunctionProto": {7: "NodeProto", 11: "AttributeProto", 12: "ValueInfoProto"},
    "GraphProto": {
        1: "NodeProto",
        5: TENSOR,
        11: "ValueInfoProto",
        12: "ValueInfoProto",
        13: "ValueInfoProto",
        14: "TensorAnnotation",
        15: "SparseTensorProto",
    },
    "NodeProto": {5: "AttributeProto", 10: "NodeDeviceConfigurationProto"},
    "AttributeProto": {
        5: TENSOR,
        6: "GraphProto",
        10: TENSOR,
        11: "GraphProto",
        14: "TypeProto",
        15: "TypeProto",
        22: "SparseTensorProto",
        23: "SparseTensorProto",
    },
    "SparseTensorProto": {1: TENSOR, 2: TENSOR},
    TENSOR: {},
    "ValueInfoProto": {2: "TypeProto"},
    "TypeProto": {1: "TensorTypeProto", 4: "OfType", 5: "MapTypeProto", 8: "TensorTypeProto", 9: "OfType"},
    "OfType": {1: "TypeProto"},
    "MapTypeProto": {2: "TypeProto"},
    "TensorTypeProto": {2: "TensorShapeProto"},
    "TensorShapeProto": {1: "Dimension"},
    "Dimension": {},
    "TensorAnnotation": {},
    "NodeDeviceConfigurationProto": {2: "ShardingSpecProto"},
    "ShardingSpecProto": {3: "IntIntListEntryProto", 4: "ShardedDimProto"},
    "IntIntListEntryProto": {},
    "ShardedDimProto": {},
}


def read_onnx(path: str | Path) -> bytes:
    """The bytes of an ONNX file that is safe to parse.

    Args:
      path: of the file.

    Returns:
      Its bytes.

    Raises:
      FireforgeError: NO_FILE; BAD_MODEL_FILE, if it is larger than protobuf reads, before it is read; what `walk_onnx`
        raises.
    """
    try:
        size = Path(path).stat().st_size
    except (OSError, ValueError):
        size = 0  # reading it says what is wrong
    if size > MOST_BYTES:
        raise FireforgeError("BAD_MODEL_FILE", f"{size} bytes", where=str(path), allowed=f"at most {MOST_BYTES}")
    data = read_bytes(path)
    walk_onnx(data, where=str(path))
    return data


def walk_onnx(data: bytes, *, where: str) -> None:
    """Look at the structure of an ONNX file; no length is believed before it is held against the bytes that are left.

    Args:
      data: the whole file.
      where: it, for errors.

    Raises:
      FireforgeError: BAD_MODEL_FILE, if a length lies, a message is cut off, or there are too many or too deep ones;
        EXTERNAL_DATA, if a tensor's numbers lie in another file, wherever in the model the tensor stands.
    """
    if len(data) > MOST_BYTES:
        raise _bad(f"{len(data)} bytes", where)
    waiting = [(0, len(data), "ModelProto", 1)]
    fields = 0
    while waiting:
        place, end, message, depth = waiting.pop()
        inner = MESSAGES[message]
        try:
            for part in parts(data, place, end):
                fields += 1
                if fields > MOST_FIELDS:
                    raise _bad(f"more than {MOST_FIELDS} parts", where)
                if message == TENSOR and _is_outside(part):
                    raise _outside(where)
                if part.wire == LENGTH and part.number in inner:
                    if depth >= MOST_DEPTH:
                        raise _bad(f"more than {MOST_DEPTH} parts within each other", where)
                    waiting.append((part.start, part.stop, inner[part.number], depth + 1))
        except ValueError as error:
            raise _bad(str(error), where) from error


def _is_outside(part: Part) -> bool:
    """Whether a field of a tensor says that its numbers lie in another file."""
    if part.wire == VARINT:
        return part.number == DATA_LOCATION and part.value & 0xFFFFFFFF == 1
    return part.wire == LENGTH and part.number == EXTERNAL_DATA


def _bad(what: str, where: str) -> FireforgeError:
    text = f"not a whole ONNX model: its bytes cannot be decoded: {what}"
    return FireforgeError("BAD_MODEL_FILE", text, where=where, allowed="a whole ONNX file")


def _outside(where: str) -> FireforgeError:
    return FireforgeError(
        "EXTERNAL_DATA",
        "numbers of a tensor lie in another file",
        where=where,
        allowed="all numbers in the one file",
        do="save the model again with its data inside",
    )
