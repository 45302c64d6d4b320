# SPDX-License-Identifier: Apache-2.0
"""The numbers of a .bin file of ncnn, read one after the other; no length is believed before it is checked."""

from __future__ import annotations

import math

import numpy as np

from fireforge.base.errors import FireforgeError
from fireforge.base.tensorform import Dense
from fireforge.importers.drawing import finite

HALF = 0x01306B47
INT8 = 0x000D4B38
FLOAT = 0x0002C056


class Numbers:
    """A place in the file that goes forward.

    Args:
      data: of the .bin file.
      where: its name.
    """

    def __init__(self, data: bytes, *, where: str) -> None:
        self.where = where
        self._data = memoryview(data)
        self._at = 0
        self._half = 0

    def tagged(self, shape: tuple[int, ...], *, layer: str) -> Dense:
        """Numbers behind a tag of four bytes that says how they are held.

        Args:
          shape: of the weight.
          layer: whose they are.

        Returns:
          Dense float32.

        Raises:
          FireforgeError: BAD_MODEL_FILE, if the file ends before; UNKNOWN_OPERATOR, naming another way to hold them.
        """
        tag = int.from_bytes(self._take(4, layer), "little")
        count = math.prod(shape)
        if tag == HALF:
            self._half += 1
            values = np.frombuffer(self._padded(2 * count, layer), "<f2").astype(np.float32)
            return Dense(values=finite(values, layer).reshape(shape))
        if tag in (0, FLOAT):
            return Dense(values=self._floats(count, layer).reshape(shape))
        kind = "int8" if tag == INT8 else f"tag {tag:#010x}"
        raise FireforgeError("UNKNOWN_OPERATOR", f"weights held as {kind}", where=layer, allowed="fp32, fp16")

    def plain(self, count: int, *, layer: str) -> Dense:
        """float32 numbers without a tag: biases and statistics.

        Args:
          count: how many.
          layer: whose they are.

        Returns:
          Dense float32 of shape (count,).

        Raises:
          FireforgeError: BAD_MODEL_FILE, if the file ends before.
        """
        return Dense(values=self._floats(count, layer))

    def end(self) -> None:
        """Refuse bytes that no layer reads."""
        left = len(self._data) - self._at
        if left:
            raise FireforgeError(
                "BAD_MODEL_FILE", f"{left} bytes that no layer reads", where=self.where, do="the .bin of this .param"
            )

    def notes(self) -> tuple[str, ...]:
        """How the weights were held, where it is not as float32."""
        if not self._half:
            return ()
        return (f"{self._half} weights are held in 16 bits; they are read as float32 of the same value",)

    def _floats(self, count: int, layer: str) -> np.ndarray:
        return finite(np.frombuffer(self._take(4 * count, layer), "<f4").astype(np.float32), layer)

    def _padded(self, size: int, layer: str) -> memoryview:
        """Bytes behind which zeros fill up to a multiple of four."""
        return self._take(size + -size % 4, layer)[:size]

    def _take(self, size: int, layer: str) -> memoryview:
        left = len(self._data) - self._at
        if size > left:
            what = f"layer {layer[:80]!r} needs {size} bytes, {left} are left"
            raise FireforgeError("BAD_MODEL_FILE", what, where=self.where, do="the whole .bin of this .param")
        self._at += size
        return self._data[self._at - size : self._at]
