# SPDX-License-Identifier: Apache-2.0
"""A small writer of TFLite files for tests: tables as dicts of places to values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import flatbuffers
import numpy as np

CODES = {"ADD": 0, "AVERAGE_POOL": 1, "CONCAT": 2, "CONV": 3, "DEPTHWISE": 4, "DEQUANTIZE": 6, "LINEAR": 9}
CODES |= {"MAX_POOL": 17, "MUL": 18, "RESHAPE": 22, "SOFTMAX": 25, "PAD": 34, "MEAN": 40, "QUANTIZE": 114}
# numbers of the tables of options in the schema's union
OPTIONS = {"ADD": 11, "AVERAGE_POOL": 5, "CONCAT": 10, "CONV": 1, "DEPTHWISE": 2, "DEQUANTIZE": 46, "LINEAR": 8}
OPTIONS |= {"MAX_POOL": 5, "MUL": 21, "RESHAPE": 17, "SOFTMAX": 9, "PAD": 22, "MEAN": 27, "QUANTIZE": 89}
TYPES = {"float32": 0, "float16": 1, "int32": 2, "uint8": 3, "int64": 4, "int8": 9}
SLOTS = {"b": "Int8", "B": "Uint8", "i": "Int32", "I": "Uint32", "f": "Float32", "Q": "Uint64"}


def table(b: flatbuffers.Builder, fields: dict[int, Any]) -> int:
    """Write a table: (form, number), dict (a table), list of dicts, str or array."""
    held = {slot: value if isinstance(value, tuple) else child(b, value) for slot, value in fields.items()}
    b.StartObject(max(fields, default=0) + 1)
    for slot, value in held.items():
        if isinstance(value, tuple):
            getattr(b, f"Prepend{SLOTS[value[0]]}Slot")(slot, value[1], None)
        else:
            b.PrependUOffsetTRelativeSlot(slot, value, 0)
    return b.EndObject()


def child(b: flatbuffers.Builder, value: Any) -> int:
    if isinstance(value, dict):
        return table(b, value)
    if isinstance(value, str):
        return b.CreateString(value)
    if isinstance(value, np.ndarray):
        return b.CreateNumpyVector(value)
    places = [table(b, item) for item in value]
    b.StartVector(4, len(places), 4)
    for place in reversed(places):
        b.PrependUOffsetTRelative(place)
    return b.EndVector()


class Writer:
    """Tensors and operators of one file as they are added."""

    def __init__(self) -> None:
        self.tensors: list[dict[int, Any]] = []
        self.operators: list[dict[int, Any]] = []
        self.codes: list[dict[int, Any]] = []
        self.buffers: list[dict[int, Any]] = [{}]
        self.inputs: list[int] = []

    def tensor(
        self, shape: Sequence[int], dtype: str = "float32", *, held: np.ndarray | None = None, **quantization: Any
    ) -> int:
        """A tensor; held: its constant numbers; scale, zero, axis: its quantization."""
        fields: dict[int, Any] = {0: np.asarray(shape, np.int32), 1: ("b", TYPES[dtype]), 2: ("I", 0)}
        if held is not None:
            data = np.frombuffer(np.ascontiguousarray(held).tobytes(), np.uint8)
            self.buffers.append({0: data})
            fields[2] = ("I", len(self.buffers) - 1)
        fields[3] = f"t{len(self.tensors)};tail"
        if quantization:
            scale = np.atleast_1d(np.asarray(quantization["scale"], np.float32))
            zero = np.broadcast_to(np.asarray(quantization.get("zero", 0), np.int64), scale.shape).copy()
            fields[4] = {2: scale, 3: zero, 6: ("i", quantization.get("axis", 0))}
        self.tensors.append(fields)
        return len(self.tensors) - 1

    def constant(self, array: np.ndarray, **quantization: Any) -> int:
        """A tensor of constant numbers."""
        return self.tensor(array.shape, str(array.dtype), held=array, **quantization)

    def add(self, name: str, inputs: Sequence[int], output: int, options: dict[int, Any] | None = None) -> int:
        """An operator; its output comes back."""
        code = CODES.get(name, name)
        new = {3: ("i", int(code))} if code != CODES["CONV"] else {}  # files of before 2020 have the first field alone
        self.codes.append({0: ("b", min(int(code), 127)), 2: ("i", 1), **new})
        fields = {0: ("I", len(self.codes) - 1), 1: np.asarray(inputs, np.int32), 2: np.asarray([output], np.int32)}
        if name in OPTIONS:
            fields |= {3: ("B", OPTIONS[name]), 4: options or {}}
        self.operators.append(fields)
        return output

    def data(self, source: int, output: int, **more: Any) -> bytes:
        """The file's bytes."""
        b = flatbuffers.Builder(1024)
        ends = {1: np.asarray([source], np.int32), 2: np.asarray([output], np.int32)}
        graph = {0: self.tensors, **ends, 3: self.operators, 4: "main"}
        root = table(b, {0: ("I", 3), 1: self.codes, 2: [graph], 3: "test", 4: self.buffers})
        b.Finish(root, file_identifier=b"TFL3")
        return bytes(b.Output())
