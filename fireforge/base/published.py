# SPDX-License-Identifier: Apache-2.0
"""What was printed of a network, to be laid beside what is counted here."""

from __future__ import annotations

from dataclasses import dataclass

from fireforge.base.value import Value


@dataclass(frozen=True, kw_only=True)
class Published(Value):
    """Figures of a network as its authors, or the source that is named, give them; None or "" where they do not.

    Args:
      source: paper or file, in words.
      year: of the paper.
      params: trained numbers.
      gmacs: billions of multiply-adds of one image, with the digits that were printed ("1.814").
      size: of the weights as printed ("4.8MB").
      top1: share of right answers on ImageNet's validation pictures, one crop, in percent.
      top5: the same of the first five answers.
      note: what the figures hold for, where it is not plain.
    """

    source: str
    year: int
    params: int | None = None
    gmacs: str = ""
    size: str = ""
    top1: float | None = None
    top5: float | None = None
    note: str = ""
