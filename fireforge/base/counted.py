# SPDX-License-Identifier: Apache-2.0
"""The networks that a search counted and could have trained, as points of a plot."""

from __future__ import annotations

from dataclasses import dataclass

from fireforge.base.errors import FireforgeError
from fireforge.base.value import Value


@dataclass(frozen=True, kw_only=True)
class Counted(Value):
    """Costs of networks within all limits, one place a network.

    Args:
      macs: multiply-adds an image.
      params: parameters.

    Raises:
      FireforgeError: BAD_RECORD, if there are not as many of one as of the other.
    """

    macs: tuple[int, ...]
    params: tuple[int, ...]

    def __post_init__(self) -> None:
        """Refuse lists of different lengths."""
        if len(self.macs) != len(self.params):
            what = f"{len(self.macs)} MACs and {len(self.params)} parameters"
            raise FireforgeError("BAD_RECORD", what, where="Counted")
