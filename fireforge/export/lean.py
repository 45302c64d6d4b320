# SPDX-License-Identifier: Apache-2.0
"""The shortest JSON of a value: fields at their default are left out, because reading puts them back."""

from __future__ import annotations

import dataclasses
from typing import Any

from fireforge.base.value import Json, Value


def lean_json(value: Value) -> dict[str, Json]:
    """The JSON of a value without the fields that from_json restores.

    Args:
      value: any core value.

    Returns:
      JSON of which `type(value).from_json` makes an equal value; where leaving out would not, the whole JSON.
    """
    short: dict[str, Json] = _lean(value)
    return short if type(value).from_json(short) == value else value.to_json()


def _lean(item: Any) -> Json:
    if isinstance(item, Value):
        fields = dataclasses.fields(item)  # type: ignore[arg-type]
        return {
            field.name: _lean(getattr(item, field.name))
            for field in fields
            if not _is_default(field, getattr(item, field.name))
        }
    if isinstance(item, (tuple, list)):
        return [_lean(part) for part in item]
    if isinstance(item, dict):
        return {key: _lean(part) for key, part in item.items()}
    return int(item) if isinstance(item, float) and item.is_integer() else item


def _is_default(field: dataclasses.Field[Any], value: Any) -> bool:
    if field.default is not dataclasses.MISSING:
        return bool(value == field.default)
    return field.default_factory is not dataclasses.MISSING and value == field.default_factory()
