# SPDX-License-Identifier: Apache-2.0
"""How far a file is from its reference, from image bytes to label."""

from __future__ import annotations

from dataclasses import dataclass

from fireforge.base.value import Value


@dataclass(frozen=True, kw_only=True)
class Tap(Value):
    """One place where both ways are compared.

    Args:
      tap: its name.
      difference: the greatest over all pictures.
      bound: that it may have.
      passed: whether it keeps the bound.
    """

    tap: str
    difference: float
    bound: float
    passed: bool


@dataclass(frozen=True, kw_only=True)
class ParityReport(Value):
    """How far a file is from its reference.

    Args:
      passed: every tap keeps its bound and the answers agree.
      pictures: how many were compared.
      taps: in the order of the way; the first that fails is where to look.
      agreement: share of pictures with the same best label; a tie in the reference counts for each of its labels.
      least_agreement: that is asked for.
      form: "float32" or "int8".
      blame: the first tap that failed, "label" where only answers differ; "" where nothing did.
      model: the file, where the caller names it.
      picture: base64 of a PNG of the first tap that failed: wanted, given, difference; "" where nothing can be seen.
      error: why the file's reader could not answer; "".
      skipped: pictures that were to be compared and cannot be read.
    """

    passed: bool
    pictures: int
    taps: tuple[Tap, ...]
    agreement: float
    least_agreement: float
    form: str
    blame: str = ""
    model: str = ""
    picture: str = ""
    error: str = ""
    skipped: int = 0
