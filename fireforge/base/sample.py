# SPDX-License-Identifier: Apache-2.0
"""One labelled picture, one that could not be used, and a remark about one that is used."""

from __future__ import annotations

from dataclasses import dataclass

from fireforge.base.value import Value


@dataclass(frozen=True, kw_only=True)
class Sample(Value):
    """A picture that can be read through its dataset.

    Args:
      id: from 0, in the dataset's order; what randomness and splits go by.
      label: index into the dataset's labels.
      name: file, archive member or row, for messages.
      part: "train", "val" or "test" where the data itself says so, otherwise "".
    """

    id: int
    label: int
    name: str
    part: str = ""


@dataclass(frozen=True, kw_only=True)
class Skipped(Value):
    """A file that was found and not used.

    Args:
      name: file, archive member or row.
      code: why, as an error's code.
      reason: why, in words.
    """

    name: str
    code: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Noted(Value):
    """A remark about a picture that is used all the same.

    Args:
      name: file, archive member or row.
      code: one of `fireforge.base.picture.notes`.
    """

    name: str
    code: str
