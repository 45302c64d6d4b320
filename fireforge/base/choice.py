# SPDX-License-Identifier: Apache-2.0
"""A choice that a clock or a measurement made."""

from __future__ import annotations

from dataclasses import dataclass

from fireforge.base.value import Json, Value


@dataclass(frozen=True, kw_only=True)
class Choice(Value):
    """What was chosen; it is written before it is used and read again on resume.

    Args:
      name: what was to be chosen.
      value: any JSON.
      why: in words.
    """

    name: str
    value: Json
    why: str
