# SPDX-License-Identifier: Apache-2.0
"""The pictures of the last data in memory, for trials that follow one another."""

from __future__ import annotations

from fireforge.base.trial import Trial
from fireforge.train.feed import Pictures, Ready
from fireforge.train.trial import make_ready


class Shelf:
    """Reads pictures once for all trials on the same parts of the same data, and holds one such set at a time."""

    def __init__(self) -> None:
        self._held: tuple[object, Ready] | None = None

    def ready(self, trial: Trial, *, most: int = 0) -> Ready:
        """A trial's pictures, read where the last trial had others.

        Args:
          trial: data, preprocess and parts are used.
          most: pictures of the training part that are given, and as large a share of the validation part; 0 for all.

        Returns:
          The pictures, not copied.
        """
        key = (trial.data, trial.preprocess, trial.parts)
        if self._held is None or self._held[0] != key:
            self._held = None  # two sets never lie in memory at once
            self._held = (key, make_ready(trial))
        return first_pictures(self._held[1], most)


def first_pictures(ready: Ready, most: int) -> Ready:
    """The same pictures with at most so many of the training part and as large a share of the other; 0 for all."""
    if not most or most >= len(ready.train):
        return ready
    judged = -(-most * len(ready.val) // len(ready.train))
    return Ready(train=_first(ready.train, most), val=_first(ready.val, judged))


def _first(pictures: Pictures, most: int) -> Pictures:
    return Pictures(pixels=pictures.pixels[:most], labels=pictures.labels[:most], ids=pictures.ids[:most])
