# SPDX-License-Identifier: Apache-2.0
"""The pictures of the last data in memory, for trials that follow one another."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fireforge.base.trial import Trial
from fireforge.train.feed import Ready, Source
from fireforge.train.trial import make_ready


class Shelf:
    """Reads pictures once for all trials on the same parts of the same data, and holds one such set at a time.

    Args:
      cache: folder of pictures made ready, shared by all processes of a run; None for none.
    """

    def __init__(self, cache: Path | None = None) -> None:
        self._cache = cache
        self._held: tuple[object, Ready] | None = None

    def ready(self, trial: Trial) -> Ready:
        """A trial's pictures, read where the last trial had others.

        Args:
          trial: data, preprocess, parts and the numbers of pictures are used.

        Returns:
          The pictures; all of a part are not copied.
        """
        key = (trial.data, trial.preprocess, trial.parts, trial.recipe.augment.source_px)
        if self._held is None or self._held[0] != key:
            self._held = None  # two sets never lie in memory at once
            self._held = (key, make_ready(trial, cache=self._cache))
        held = self._held[1]
        return Ready(train=some(held.train, trial.pictures), val=some(held.val, trial.val_pictures), where=held.where)


def some(pictures: Source, most: int) -> Source:
    """At most so many of the pictures, evenly taken, since data often lie class by class; 0 for all."""
    count = len(pictures)
    if not most or most >= count:
        return pictures
    rows = np.arange(most) * count // most
    return pictures.take(rows)
