# SPDX-License-Identifier: Apache-2.0
"""What a dataset format is: a way to recognise a source and a way to open it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fireforge.data.dataset import Dataset


@dataclass(frozen=True, kw_only=True)
class Format:
    """A way in which labelled pictures are stored.

    Args:
      name: short name.
      accepts: what it takes, in words, for messages.
      recognise: whether a source (a path or a name) is of this format; looks, and reads no picture.
      open: the dataset of a source that was recognised.
    """

    name: str
    accepts: str
    recognise: Callable[[str], bool]
    open: Callable[[str], Dataset]
