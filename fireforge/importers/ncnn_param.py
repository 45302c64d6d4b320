# SPDX-License-Identifier: Apache-2.0
"""The text of a .param file of ncnn as layers; it says which layer reads and makes what, with parameters by number."""

from __future__ import annotations

import math
from dataclasses import dataclass

from fireforge.base.errors import FireforgeError
from fireforge.base.validate import MOST_LETTERS
from fireforge.importers.drawing import MOST_LAYERS

MAGIC = "7767517"
MOST_BYTES = 16_000_000
ARRAY = -23300  # a list under key k is written as ARRAY - k = count, numbers
IGNORED = (30, 31)  # shapes as hints, and which optimizations a layer may use
Number = int | float


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One line.

    Args:
      kind: ncnn's name of the layer type.
      name: of the layer.
      inputs: blobs that it reads.
      outputs: blobs that it makes.
      values: key to number.
      lists: key to numbers.
    """

    kind: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    values: dict[int, Number]
    lists: dict[int, tuple[Number, ...]]

    def whole(self, key: int, default: int) -> int:
        """The whole number of a key."""
        value = self.values.get(key, default)
        if not isinstance(value, int):
            raise FireforgeError("BAD_MODEL_FILE", f"{key}={value}", where=self.name, allowed="a whole number")
        return value

    def real(self, key: int, default: float) -> float:
        """The number of a key."""
        return float(self.values.get(key, default))

    def only(self, *keys: int) -> None:
        """Refuse parameters that are not read, unless they stand for nothing."""
        odd = sorted(key for key in (*self.values, *self.lists) if key not in (*keys, *IGNORED))
        bad = [key for key in odd if key in self.lists or self.values[key] != 0]
        if bad:
            what = f"{self.kind} with parameter {bad[0]}"
            raise FireforgeError("UNKNOWN_OPERATOR", what, where=self.name, allowed=", ".join(map(str, sorted(keys))))


def read_param(data: bytes, *, where: str) -> tuple[Layer, ...]:
    """The layers of a .param file.

    Args:
      data: of the file.
      where: its name.

    Returns:
      The layers in their order.

    Raises:
      FireforgeError: BAD_MODEL_FILE, naming the line.
    """
    if len(data) > MOST_BYTES:
        raise _bad(f"{len(data)} bytes", where, allowed=f"at most {MOST_BYTES}")
    try:
        lines = [line.split() for line in data.decode().splitlines() if line.strip()]
    except UnicodeDecodeError as error:
        raise _bad("not text; a .param.bin is not read", where, allowed="the .param in text") from error
    if not lines or lines[0] != [MAGIC]:
        raise _bad(f"begins with {' '.join(lines[0])[:40] if lines else 'nothing'!r}", where, allowed=MAGIC)
    counts = [_whole(text) for text in lines[1]] if len(lines) > 1 else []
    if len(counts) != 2 or counts[0] != len(lines) - 2 or not 1 <= len(lines) - 2 <= MOST_LAYERS:
        told = f"says {lines[1][0][:20] if counts else 'no number of'} layers, has {len(lines) - 2}"
        raise _bad(told, where, allowed=f"as many as it says, at most {MOST_LAYERS}")
    return tuple(_layer(words, f"{where} line {number}") for number, words in enumerate(lines[2:], 3))


def _layer(words: list[str], where: str) -> Layer:
    counts = [_whole(word) for word in words[2:4]]
    if len(counts) != 2 or min(counts) < 0 or len(words) < 4 + sum(counts):
        raise _bad(f"{' '.join(words)[:80]!r}", where, allowed="type, name, inputs, outputs, their names, parameters")
    longest = max(words[: 4 + sum(counts)], key=len)
    if len(longest) > MOST_LETTERS:
        raise _bad(f"a name too long: {longest[:80]!r}", where, allowed=f"at most {MOST_LETTERS} letters")
    inputs = tuple(words[4 : 4 + counts[0]])
    outputs = tuple(words[4 + counts[0] : 4 + sum(counts)])
    values: dict[int, Number] = {}
    lists: dict[int, tuple[Number, ...]] = {}
    for word in words[4 + sum(counts) :]:
        head, equals, tail = word.partition("=")
        key, numbers = _whole(head), [_number(text) for text in tail.split(",")]
        if not equals or key == MISSING or None in numbers:
            raise _bad(f"parameter {word[:80]!r}", where, allowed="key=number")
        given = tuple(number for number in numbers if number is not None)
        if key <= ARRAY:
            if given[0] != len(given) - 1:
                raise _bad(f"parameter {word[:80]!r}", where, allowed="as many numbers as it says")
            lists[ARRAY - key] = given[1:]
        elif len(given) == 1:
            values[key] = given[0]
        else:
            raise _bad(f"parameter {word[:80]!r}", where, allowed="one number")
    return Layer(kind=words[0], name=words[1], inputs=inputs, outputs=outputs, values=values, lists=lists)


MISSING = -(2**40)  # what stands for a whole number that is none


def _whole(text: str) -> int:
    number = _number(text)
    return number if isinstance(number, int) else MISSING


def _number(text: str) -> Number | None:
    """A whole number of 32 bits, or a finite one with a point or exponent; None if it is neither."""
    if len(text) > 40:
        return None
    try:
        if any(letter in text for letter in ".eE"):
            real = float(text)
            return real if math.isfinite(real) else None
        whole = int(text)
    except ValueError:
        return None
    return whole if -(2**31) <= whole < 2**31 else None


def _bad(what: str, where: str, *, allowed: str) -> FireforgeError:
    return FireforgeError("BAD_MODEL_FILE", what, where=where, allowed=allowed)
