# SPDX-License-Identifier: Apache-2.0
"""A model file that was written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from fireforge.base.value import Value


@dataclass(frozen=True, kw_only=True)
class Exported(Value):
    """A file that was written.

    Args:
      path: where it stands; in a run's record and result.json, within the run's folder.
      form: what it computes in.
      bytes: of the whole file.
      sha256: of the file; "" in records that did not keep it.
    """

    path: str
    form: Literal["float32", "int8"]
    bytes: int
    sha256: str = ""
