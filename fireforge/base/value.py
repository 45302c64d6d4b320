# SPDX-License-Identifier: Apache-2.0
"""Frozen values that go to JSON and back: the form of everything that passes between rooms."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import math
import sys
import types
import typing
from typing import Any, Self, Union

from fireforge.base.errors import FireforgeError

Json = Any  # None, bool, int, float, str, list or dict of these


LATER = {"later": True}  # metadata of a field that came to a value when there were files and digests of it already


class Value:
    """Base of the core values; subclasses are ``@dataclass(frozen=True, kw_only=True)``.

    Fields may be None, bool, int, float, str, tuples, dicts with str keys, other values, and unions of these.
    A field with the metadata LATER is left out while it has its default, so that digests of before stay as they are.
    """

    def to_json(self) -> dict[str, Json]:
        """The value as plain JSON; tuples become lists, defaults are written out but for those of LATER fields."""
        unsaid = {field.name: field.default for field in _later(typing.cast(Any, type(self)))}
        held = {name: getattr(self, name) for name in _hints(typing.cast(Any, type(self)))}
        return {name: _to_plain(item) for name, item in held.items() if name not in unsaid or item != unsaid[name]}

    @classmethod
    def from_json(cls, data: Json) -> Self:
        """The value that `to_json` wrote.

        Args:
          data: a dict with this value's fields; absent fields take their defaults.

        Returns:
          The value, checked field by field.

        Raises:
          FireforgeError: BAD_JSON, if a field is unknown, absent without default, or of another type.
        """
        return typing.cast(Self, _from_plain(cls, data, cls.__name__))

    def digest(self) -> str:
        """Sha256 of the canonical JSON, 64 hex digits."""
        return sha256_of(self.to_json())

    def replace(self, **changes: Any) -> Self:
        """A copy with some fields changed."""
        return dataclasses.replace(self, **changes)  # type: ignore[type-var]


def canonical_json(data: Json) -> str:
    """JSON text with sorted keys and no spaces; NaN and infinities are refused with ValueError."""
    return json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False)


def sha256_of(data: Json) -> str:
    """Sha256 of the canonical JSON, 64 hex digits; 1 and 1.0 count as the same number."""
    return hashlib.sha256(json_bytes(canonical_json(_whole(data)))).hexdigest()


def json_bytes(text: str) -> bytes:
    """UTF-8 of JSON text; a lone surrogate, as in a file name that is not UTF-8, becomes JSON's escape for it."""
    return text.encode("utf-8", "backslashreplace")


def _whole(data: Json) -> Json:
    if isinstance(data, float) and data.is_integer():
        return int(data)
    if isinstance(data, dict):
        return {key: _whole(item) for key, item in data.items()}
    return [_whole(item) for item in data] if isinstance(data, list) else data


@functools.cache
def _hints(cls: Any) -> dict[str, Any]:
    hints = typing.get_type_hints(cls)
    return {field.name: hints[field.name] for field in dataclasses.fields(cls)}  # type: ignore[arg-type]


@functools.cache
def _later(cls: Any) -> tuple[dataclasses.Field[Any], ...]:
    return tuple(field for field in dataclasses.fields(cls) if field.metadata == LATER)


def _to_plain(item: Any) -> Json:
    if item is None or isinstance(item, (bool, int, str)):
        return item
    if isinstance(item, float):
        if not math.isfinite(item):
            raise FireforgeError("BAD_JSON", f"a value holds {item}, which JSON cannot carry")
        return item
    if isinstance(item, Value):
        return item.to_json()
    if isinstance(item, (tuple, list)):
        return [_to_plain(part) for part in item]
    if isinstance(item, dict):
        return {str(key): _to_plain(part) for key, part in item.items()}
    raise FireforgeError("BAD_JSON", f"{type(item).__name__} cannot be written as JSON")


def _from_plain(hint: Any, data: Json, where: str) -> Any:
    origin = typing.get_origin(hint)
    if hint is Any:
        return data
    if origin in (Union, types.UnionType):
        return _from_union(hint, data, where)
    if origin is typing.Literal:
        return _expect(data in typing.get_args(hint), data, ", ".join(map(str, typing.get_args(hint))), where)
    if origin is tuple:
        return _from_tuple(hint, data, where)
    if origin is dict:
        _expect(isinstance(data, dict), data, hint, where)
        part = typing.get_args(hint)[1]
        return {key: _from_plain(part, item, f"{where}.{key}") for key, item in data.items()}
    if isinstance(hint, type) and issubclass(hint, Value):
        return _from_record(hint, data, where)
    if hint is float:
        good = isinstance(data, (int, float)) and not isinstance(data, bool) and abs(data) <= sys.float_info.max
        return float(_expect(good, data, "a finite number", where))
    if hint is int:
        return _expect(isinstance(data, int) and not isinstance(data, bool), data, hint, where)
    if hint is type(None):
        return _expect(data is None, data, hint, where)
    return _expect(isinstance(data, hint), data, hint, where)


def _from_record(cls: type[Value], data: Json, where: str) -> Value:
    _expect(isinstance(data, dict), data, cls, where)
    hints = _hints(typing.cast(Any, cls))
    unknown = sorted(set(data) - set(hints))
    if unknown:
        raise FireforgeError("BAD_JSON", f"unknown field {unknown[0]!r}", where=where, allowed=", ".join(hints))
    fields = {name: _from_plain(hints[name], item, f"{where}.{name}") for name, item in data.items()}
    try:
        return cls(**fields)
    except TypeError as error:
        raise FireforgeError("BAD_JSON", str(error), where=where) from error


def _from_tuple(hint: Any, data: Json, where: str) -> tuple[Any, ...]:
    _expect(isinstance(data, (list, tuple)), data, hint, where)
    parts = typing.get_args(hint)
    if len(parts) == 2 and parts[1] is Ellipsis:
        return tuple(_from_plain(parts[0], item, f"{where}[{i}]") for i, item in enumerate(data))
    _expect(len(parts) == len(data), data, hint, where)
    return tuple(_from_plain(part, item, f"{where}[{i}]") for i, (part, item) in enumerate(zip(parts, data)))


def _from_union(hint: Any, data: Json, where: str) -> Any:
    real = [option for option in typing.get_args(hint) if option is not type(None)]
    if len(real) == 1 and len(typing.get_args(hint)) == 2 and data is not None:
        return _from_plain(real[0], data, where)  # its own error says more than the union's
    for option in typing.get_args(hint):
        if option is float and isinstance(data, int):
            continue  # an int stays an int where both are allowed
        try:
            return _from_plain(option, data, where)
        except FireforgeError:
            continue
    if float in typing.get_args(hint) and isinstance(data, int) and not isinstance(data, bool):
        return float(data)
    return _expect(False, data, hint, where)


def _expect(good: bool, data: Json, hint: Any, where: str) -> Any:
    if not good:
        raise FireforgeError(
            "BAD_JSON", f"got {str(data)[:80]!r}", where=where, allowed=getattr(hint, "__name__", str(hint))
        )
    return data
