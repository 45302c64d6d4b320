# SPDX-License-Identifier: Apache-2.0
"""Parameters of a family: defaults, checks of name, type and range, and lists written as text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fireforge.base.errors import FireforgeError
from fireforge.base.spec import NetSpec, Param


def read_params(spec: NetSpec, defaults: Mapping[str, Param]) -> dict[str, Any]:
    """The family's parameters, absent ones at their default.

    Args:
      spec: its params may hold some of the names of `defaults`.
      defaults: every parameter of the family; the type of a default is the type of the parameter.

    Returns:
      A value for each name; a whole number given where a float is due comes out as a float, and the other way round.

    Raises:
      FireforgeError: UNKNOWN_NAME, if the family has no such parameter; BAD_SPEC, if a value has another type, or
        classes or a size of the input is below 1.
    """
    if spec.classes < 1 or len(spec.input_shape) != 3 or min(spec.input_shape) < 1:
        got = f"{spec.classes} classes, input {spec.input_shape}"
        raise FireforgeError("BAD_SPEC", got, where=spec.family, allowed="classes >= 1, input (C, H, W) >= 1")
    values: dict[str, Any] = dict(defaults)
    for name, value in spec.params.items():
        if name not in defaults:
            what = f"no parameter called {name!r}"
            raise FireforgeError("UNKNOWN_NAME", what, where=spec.family, allowed=", ".join(sorted(defaults)))
        values[name] = _typed(value, type(defaults[name]), f"{spec.family}.{name}")
    return values


def _typed(value: Param, kind: type, where: str) -> Param:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if kind is float and number:
        return float(value)
    if kind is int and number and float(value).is_integer():
        return int(value)
    if kind in (bool, str) and isinstance(value, kind):
        return value
    raise FireforgeError("BAD_SPEC", f"got {value!r}", where=where, allowed=kind.__name__)


def need(good: bool, what: str, *, where: str, allowed: str) -> None:
    """Refuse a specification that names no network.

    Args:
      good: whether the condition holds.
      what: the value that was got.
      where: family and parameter.
      allowed: the condition in words.

    Raises:
      FireforgeError: BAD_SPEC, if the condition does not hold.
    """
    if not good:
        raise FireforgeError("BAD_SPEC", what, where=where, allowed=allowed)


def int_list(text: str, *, where: str) -> tuple[int, ...]:
    """Whole numbers written as "1,4,8"; the empty text is the empty list.

    Args:
      text: numbers with commas between them.
      where: family and parameter, for the message.

    Returns:
      The numbers.

    Raises:
      FireforgeError: BAD_SPEC, if a part is not a whole number.
    """
    parts = [part.strip() for part in text.split(",")] if text.strip() else []
    need(all(part.isascii() and part.isdigit() for part in parts), f"got {text!r}", where=where, allowed="like 1,4,8")
    return tuple(int(part) for part in parts)
