# SPDX-License-Identifier: Apache-2.0
"""Ways to damage a model file: its bytes, its words, its JSON, its protobuf messages, its flatbuffer tables."""

from __future__ import annotations

import copy
import json
import random
import re
from typing import Any

import numpy as np
from fuzz.importer_seeds import Files
from unit.importers.tflite_writer import Writer

WHOLE = (0, 1, 2, 3, 7, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 10**9, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**64 - 1)
LIES: tuple[Any, ...] = (
    *WHOLE, *(-number for number in WHOLE), 10**400, 0.5, -0.5, 1e-45, 1e38, 1e308, float("nan"), float("inf"),
    "", "\0", "../x", "é" * 3, "a" * 600, "/etc/passwd", None, True, False, [], {}, [[]], [1, 1], [0, 0], {"a": 1},
    [1] * 100,
)  # fmt: skip
MARKS = (b"", b'"', b"'")
RUNS = (b'\\"', b"\\'", b"\\", b'"', b"'", b"{", b"}", b"<", b"[", b"#", b"-", b" ", b"\n", b"9")
WORDS = re.compile(rb"[\w.+-]+|\s+|.", re.DOTALL)


def bytewise(rng: random.Random, data: bytes, others: list[bytes]) -> bytes:
    """One to eight edits of bits, bytes, numbers, cuts, copies, and pieces of another file."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        at, length = rng.randrange(len(out) + 1), rng.choice((1, 2, 4, 8, 30, 512, rng.randrange(1, 2000)))
        at = min(at, rng.choice((at, 64, 512)))  # heads of files say the most
        kind = rng.randrange(7)
        if kind == 0 and at < len(out):
            out[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            out[at : at + length] = rng.randbytes(min(length, 64))
        elif kind == 2:
            width = rng.choice((1, 2, 4, 8))
            number = rng.choice((*WHOLE, rng.randrange(len(out) + 1))) % 2 ** (8 * width)
            out[at : at + width] = number.to_bytes(width, "little")
        elif kind == 3:
            del out[at : at + length]
        elif kind == 4:
            out[at:at] = out[at : at + length]
        elif kind == 5 and rng.random() < 0.5:
            del out[at:]
        else:
            other = rng.choice(others)
            start = rng.randrange(len(other))
            out[at:at] = other[start : start + length]
    return bytes(out)


def wordwise(rng: random.Random, data: bytes, others: list[bytes]) -> bytes:
    """Words and lines of a text that are replaced, doubled, left out, swapped, taken from another, or a mark's run."""
    for _ in range(rng.choice((1, 1, 2, 3, 6))):
        lines = rng.random() < 0.3
        parts = data.splitlines(keepends=True) if lines else WORDS.findall(data)
        at, to = rng.randrange(len(parts) or 1), rng.randrange(len(parts) or 1)
        if not parts:
            return data
        kind = 6 if rng.random() < 0.03 else rng.randrange(6)
        if kind == 0:
            del parts[at]
        elif kind == 1:
            parts.insert(to, parts[at])
        elif kind == 2:
            parts[at], parts[to] = parts[to], parts[at]
        elif kind == 3 and not lines:
            numbers = [i for i, part in enumerate(parts) if part[-1:].isdigit()]
            parts[rng.choice(numbers or [at])] = str(rng.choice(LIES)).encode(errors="replace")
        elif kind == 4:
            other = rng.choice(others)
            pieces = other.splitlines(keepends=True) if lines else WORDS.findall(other)
            parts[at] = rng.choice(pieces or [b""])
        elif kind == 6:
            parts[at] = rng.choice(MARKS) + rng.choice(RUNS) * rng.choice((10, 20_000))
        else:
            parts[at] = parts[to]
        data = b"".join(parts)
    return data


def headwise(rng: random.Random, data: bytes, others: list[bytes]) -> bytes:
    """A .safetensors file whose header says something else."""
    size = int.from_bytes(data[:8], "little")
    header = treewise(rng, json.loads(data[8 : 8 + size]))
    if rng.random() < 0.3:
        entries = [item for item in header.values() if isinstance(item, dict)] if isinstance(header, dict) else []
        for entry in rng.sample(entries, min(2, len(entries))):
            entry[rng.choice(("dtype", "shape", "data_offsets"))] = rng.choice((*LIES, "BF16", "F16", "BOOL", [1, 4]))
    text = json.dumps(header).encode()
    if rng.random() < 0.2:
        text = wordwise(rng, text, [text, data[8 : 8 + size]])
    length = rng.choice((*WHOLE, len(text) + 1, len(text) - 1)) % 2**64 if rng.random() < 0.1 else len(text)
    return length.to_bytes(8, "little") + text + data[8 + size :]


def treewise(rng: random.Random, tree: Any) -> Any:
    """JSON with places changed, left out, doubled, swapped, and nested in themselves."""
    tree = copy.deepcopy(tree)
    for _ in range(rng.choice((1, 1, 2, 3, 6))):
        places = _places(tree)
        if not places:
            return tree
        (holder, key), (other, place) = rng.choice(places), rng.choice(places)
        kind = rng.randrange(6)
        if kind == 0:
            del holder[key]
        elif kind <= 2:
            holder[key] = copy.deepcopy(rng.choice(LIES))
        elif kind == 3:
            holder[key] = copy.deepcopy(other[place])
        elif kind == 4 and isinstance(holder, list):
            holder.insert(key, copy.deepcopy(holder[key]))
        elif isinstance(holder[key], (int, str)):
            same = [h[k] for h, k in places if type(h[k]) is type(holder[key])]
            holder[key] = rng.choice(same)
    return tree


def _places(tree: Any) -> list[tuple[Any, Any]]:
    found: list[tuple[Any, Any]] = []
    stack = [tree]
    while stack:
        item = stack.pop()
        pairs = item.items() if isinstance(item, dict) else enumerate(item) if isinstance(item, list) else ()
        for key, value in pairs:
            found.append((item, key))
            if isinstance(value, (dict, list)):
                stack.append(value)
    return found


def messagewise(rng: random.Random, data: bytes, kind: Any) -> bytes:
    """A protobuf message of a class, with fields of the messages within it changed."""
    message = kind.FromString(data)
    for _ in range(rng.choice((1, 1, 2, 3, 6))):
        held = _messages(message)
        one = rng.choice(held)
        fields = one.DESCRIPTOR.fields
        field = rng.choice([item for item, _ in one.ListFields()] or fields)
        field = rng.choice(fields) if rng.random() < 0.2 else field
        try:
            _change(rng, one, field, [other for other in held if other.DESCRIPTOR is one.DESCRIPTOR])
        except (TypeError, ValueError, OverflowError):
            continue  # a value that the field cannot hold
    return bytes(message.SerializeToString())


def _messages(message: Any) -> list[Any]:
    found, stack = [], [message]
    while stack:
        one = stack.pop()
        found.append(one)
        for field, value in one.ListFields():
            if field.message_type is not None:
                stack.extend(value if field.is_repeated else [value])
    return found


def _change(rng: random.Random, one: Any, field: Any, alike: list[Any]) -> None:
    other = rng.choice(alike)
    value = getattr(one, field.name)
    if rng.random() < 0.15:
        one.ClearField(field.name)
    elif field.is_repeated and rng.random() < 0.3 and len(value):
        del value[rng.randrange(len(value))]
    elif rng.random() < 0.3:
        (one.MergeFrom if rng.random() < 0.3 else one.CopyFrom)(copy.deepcopy(other))
    elif field.message_type is not None:
        inner = value.add() if field.is_repeated else value
        source = [item for item in alike if item.ListFields()]
        given = getattr(rng.choice(source or alike), field.name)
        chosen = (rng.choice(given) if len(given) else None) if field.is_repeated else given
        if chosen is not None:
            inner.MergeFrom(copy.deepcopy(chosen))
    else:
        text = getattr(rng.choice(alike), field.name) if rng.random() < 0.5 else None
        lie = rng.choice(LIES) if text is None or field.is_repeated else text
        lie = lie.encode() if field.type == field.TYPE_BYTES and isinstance(lie, str) else lie
        if not field.is_repeated:
            setattr(one, field.name, lie)
        elif len(value) and rng.random() < 0.7:
            value[rng.randrange(len(value))] = lie
        else:
            value.append(lie)


def tablewise(rng: random.Random, made: tuple[Writer, int, int]) -> Files:
    """A TFLite file whose tables hold other numbers, lists and references."""
    writer, source, output = copy.deepcopy(made)
    ends = {0: source, 1: output}
    for _ in range(rng.choice((1, 1, 2, 3, 6))):
        held: list[dict[int, Any]] = [*writer.tensors, *writer.operators, *writer.codes, *writer.buffers]
        held += [value for table in held for value in table.values() if isinstance(value, dict)]
        table = rng.choice([item for item in held if item])
        slot = rng.choice(list(table))
        value, kind = table[slot], rng.randrange(6)
        if kind == 0:
            del table[slot]
        elif kind == 1:
            ends[rng.randrange(2)] = rng.randrange(-2, len(writer.tensors) + 1)
        elif kind == 2:
            rng.shuffle(writer.operators)
        elif isinstance(value, tuple):
            table[slot] = (value[0], _held(rng, value[0]))
        elif isinstance(value, np.ndarray) and value.size:
            array = value.copy()
            lie = rng.choice(WHOLE) if kind == 3 else rng.randrange(-3, len(writer.tensors) + 2)
            low, high = (
                (-1e38, 1e38) if array.dtype.kind == "f" else (np.iinfo(array.dtype).min, np.iinfo(array.dtype).max)
            )
            array.flat[rng.randrange(array.size)] = min(max(lie, low), high)
            table[slot] = array if rng.random() < 0.7 else array[: rng.randrange(array.size + 1)]
    return {"m.tflite": writer.data(ends[0], ends[1])}


def _held(rng: random.Random, form: str) -> Any:
    """A number that a field of this form can hold."""
    if form == "f":
        return rng.choice((0.0, -1.0, float("nan"), float("inf"), 1e38))
    bits = {"b": 8, "B": 8, "i": 32, "I": 32, "Q": 64}[form]
    number = rng.choice((*WHOLE, rng.randrange(150), rng.randrange(10))) % 2**bits
    return number - 2**bits if form.islower() and number >= 2 ** (bits - 1) else number
