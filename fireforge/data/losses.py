# SPDX-License-Identifier: Apache-2.0
"""Records that cannot be used: a few are skipped, many are refused."""

from __future__ import annotations

from collections.abc import Sequence

from fireforge.base.errors import FireforgeError
from fireforge.base.sample import Skipped

MOST_LOST = 0.05  # share of the records that is still an accident


def refuse_losses(lost: Sequence[Skipped], found: int, *, where: str, unit: str) -> None:
    """Refuse a source of which too much cannot be used.

    Args:
      lost: records without a picture or a class.
      found: all records.
      where: the source.
      unit: what a record is called, in the plural.

    Raises:
      FireforgeError: TOO_MANY_BAD, naming the first.
    """
    if len(lost) > MOST_LOST * found:
        first = lost[0]
        raise FireforgeError(
            "TOO_MANY_BAD",
            f"{len(lost):,} of {found:,} {unit} cannot be used; the first: {first.reason}",
            where=f"{where}: {first.name[:200]}",
            allowed=f"up to {MOST_LOST:.0%}",
        )
