# SPDX-License-Identifier: Apache-2.0
"""What a TFLite file holds: its tensors with their numbers and quantization, and its operators, in their order."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from fireforge.base.errors import FireforgeError
from fireforge.base.ops.activation import HIGHEST
from fireforge.base.quant import RANGES, Quantization
from fireforge.base.tensorform import Affine, Dense, TensorForm
from fireforge.importers.flat_tables import Flat, Table

MARK = b"TFL3"
MOST_LETTERS = 200
MOST_AXES = 5
CUSTOM = 32
# number of a type in the schema to numpy's name; others are refused where they are used
TYPES = {0: "float32", 1: "float16", 2: "int32", 3: "uint8", 4: "int64", 6: "bool", 7: "int16", 9: "int8"}


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One operator.

    Args:
      code: its number in the schema.
      custom: name of an operator that is not TFLite's own; "".
      inputs: numbers of tensors, -1 where absent.
      outputs: likewise.
      options: its table; None where it has none.
    """

    code: int
    custom: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Table | None


class Tensor:
    """One tensor of the file.

    Args:
      table: of it.
      buffers: of the file.
      number: of the tensor, for a name where it has none.
    """

    def __init__(self, table: Table, buffers: Sequence[Table], number: int) -> None:
        self._table, self._buffers = table, buffers
        self.name = table.text(3, MOST_LETTERS).split(";")[0] or f"tensor{number}"
        shape = table.array(0, "<i4")
        if len(shape) > MOST_AXES or (shape < 0).any():
            table.flat.fail(f"tensor {self.name!r} of shape {tuple(shape[:8])}")
        self.shape = tuple(int(size) for size in shape)
        kind = table.number(1, "b")
        self.dtype = TYPES.get(kind, f"type {kind}")

    @cached_property
    def raw(self) -> np.ndarray:
        """Its bytes in the file; none where it is computed."""
        place = self._table.number(2, "I")
        if place >= len(self._buffers):
            self._table.flat.fail(f"tensor {self.name!r} in buffer {place} of {len(self._buffers)}")
        buffer = self._buffers[place]
        if buffer.number(1, "Q") > 1 or self._table.has(6):
            raise FireforgeError("UNKNOWN_OPERATOR", "numbers behind the file's end, or sparse", where=self.name)
        return buffer.raw(0)

    @property
    def values(self) -> np.ndarray:
        """Its constant numbers, in the file's dtype and shape."""
        if self.dtype not in TYPES.values():
            raise FireforgeError("UNKNOWN_OPERATOR", f"constants of {self.dtype}", where=self.name)
        wanted = math.prod(self.shape) * np.dtype(self.dtype).itemsize
        if wanted != len(self.raw):
            what = f"{len(self.raw)} bytes for {self.dtype} of shape {self.shape}"
            raise FireforgeError("BAD_WEIGHTS", what, where=self.name)
        return np.frombuffer(self.raw, np.dtype(self.dtype).newbyteorder("<")).reshape(self.shape)

    @cached_property
    def quantization(self) -> Quantization | None:
        """How its integers are meant; None of a tensor of floats."""
        table = self._table.table(4)
        if table is None or not len(scale := table.array(2, "<f4")) or self.dtype not in RANGES:
            return None
        zero = table.array(3, "<i8") if table.has(3) else np.zeros(len(scale), np.int64)
        axis = table.number(6)
        low, high = RANGES[self.dtype]
        sizes = {1, self.shape[axis] if 0 <= axis < len(self.shape) else 1}
        good = len(scale) in sizes and len(zero) == len(scale) and np.isfinite(scale).all() and (scale > 0).all()
        good = good and float(scale.max()) * (high - low) <= HIGHEST  # what the integers mean is finite too
        if not good or (zero < low).any() or (zero > high).any() or table.number(4, "B"):
            raise FireforgeError("BAD_WEIGHTS", "a quantization that its numbers cannot have", where=self.name)
        return Quantization(
            scale=tuple(float(number) for number in scale),
            zero_point=tuple(int(number) for number in zero),
            axis=axis if len(scale) > 1 else None,
            dtype=self.dtype,
        )

    def form(self, order: Sequence[int] = (), shape: Sequence[int] = ()) -> TensorForm:
        """Its numbers as the weight of a layer.

        Args:
          order: of its axes; () as they are.
          shape: after that, of numbers that have one scale; () as it is.

        Returns:
          The integers with their quantization, or float32.
        """
        given = self.values
        self._table.flat.count(given.size)
        turned = given.transpose(order) if order else given
        reshaped = turned.reshape(shape) if shape else turned
        held = self.quantization
        if held is None:
            if given.dtype.kind != "f":
                raise FireforgeError("UNKNOWN_OPERATOR", f"a weight of {self.dtype} without scale", where=self.name)
            if not np.isfinite(given).all():
                raise FireforgeError("BAD_WEIGHTS", "numbers that are NaN or infinite", where=self.name)
            return Dense(values=np.ascontiguousarray(reshaped, np.float32))
        if held.axis is not None:
            held = held.replace(axis=list(order).index(held.axis) if order else held.axis)
        return Affine(q=np.ascontiguousarray(reshaped), quantization=held, bits=32 if self.dtype == "int32" else 8)


class TfliteFile:
    """The first subgraph of a file.

    Args:
      data: the whole file.
      where: it, for errors.

    Raises:
      FireforgeError: BAD_MODEL_FILE.
    """

    def __init__(self, data: bytes, *, where: str) -> None:
        if data[4:8] != MARK:
            allowed = "'TFL3' as its bytes 4 to 7"
            raise FireforgeError("BAD_MODEL_FILE", "not a TFLite file", where=where, allowed=allowed)
        root = Flat(data, where=where).root()
        codes = root.tables(1)
        graphs = root.tables(2)
        if len(graphs) != 1:
            allowed = "one, without loops and branches"
            raise FireforgeError("UNKNOWN_OPERATOR", f"{len(graphs)} subgraphs", where=where, allowed=allowed)
        graph, buffers = graphs[0], root.tables(4)
        self.description = root.text(3, MOST_LETTERS)
        self.tensors = [Tensor(table, buffers, i) for i, table in enumerate(graph.tables(0))]
        self.inputs, self.outputs = (self._numbers(graph.array(slot, "<i4"), root.flat) for slot in (1, 2))
        self.operations = [self._operation(table, codes) for table in graph.tables(3)]

    def _operation(self, table: Table, codes: Sequence[Table]) -> Operation:
        place = table.number(0, "I")
        if place >= len(codes):
            table.flat.fail(f"operator {place} of {len(codes)}")
        code = codes[place]
        number = max(code.number(0, "b"), code.number(3))  # old files have the first alone
        return Operation(
            code=number,
            custom=code.text(1, MOST_LETTERS) if number == CUSTOM else "",
            inputs=self._numbers(table.array(1, "<i4"), table.flat),
            outputs=self._numbers(table.array(2, "<i4"), table.flat),
            options=table.table(4),
        )

    def _numbers(self, found: np.ndarray, flat: Flat) -> tuple[int, ...]:
        if len(found) and (found.min() < -1 or found.max() >= len(self.tensors)):
            flat.fail(f"a tensor that is none of {len(self.tensors)}")
        return tuple(int(number) for number in found)
