# SPDX-License-Identifier: Apache-2.0
"""What became of the networks that a design space offered, before any was trained."""

from __future__ import annotations

from dataclasses import dataclass

from fireforge.base.value import Value


@dataclass(frozen=True, kw_only=True)
class Candidates(Value):
    """A ledger: counted = rejected + kept.

    Args:
      counted: networks whose cost was counted.
      rejected: a limit's name, or another reason, to number.
      kept: within all limits.
    """

    counted: int
    rejected: dict[str, int]
    kept: int
