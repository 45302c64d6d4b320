# SPDX-License-Identifier: Apache-2.0
"""The baseline that groups the training pictures and answers with the commonest class of the nearest group."""

from __future__ import annotations

import numpy as np

from fireforge.baseline.lesson import Fitted, Lesson
from fireforge.baseline.neighbours import MOST_SIDE, Index
from fireforge.baseline.planes import raw_pixels
from fireforge.baseline.result import label_bytes
from fireforge.baseline.scikit import fit_centres
from fireforge.baseline.shrink import shrink, shrink_words

A_CLASS = 10  # clusters for each class ...
MOST = 512  # ... but no more than these in all ...
MEMBERS = 4  # ... and so few that each has this many pictures on average


def clusters(lesson: Lesson) -> Fitted:
    """K-means on pixels; each cluster has the class that most of its training pictures have.

    The centres are rounded to whole pixels, as they would be stored. Pictures with a side over 32 px are averaged down
    in blocks; a note says so.

    Args:
      lesson: what is grouped.

    Returns:
      The baseline; its bytes are those of the centres and their classes.
    """
    pictures = shrink(lesson.pixels, MOST_SIDE)
    count = max(1, min(A_CLASS * lesson.classes, MOST, len(lesson) // MEMBERS))
    centres, told = fit_centres(raw_pixels(pictures), count=count, seed=lesson.seed)
    rounded: np.ndarray = np.clip(np.rint(centres), 0, 255).astype(np.uint8)
    owners = Index(rounded).ask(pictures, k=1)[:, 0]
    votes = np.zeros((count, lesson.classes), np.int64)
    np.add.at(votes, (owners, lesson.labels), 1)
    peopled = votes.any(axis=1)
    index, named = Index(rounded[peopled]), votes[peopled].argmax(axis=1)
    return Fitted(
        answer=lambda asked: named[index.ask(shrink(asked, MOST_SIDE), k=1)[:, 0]],
        bytes=int(peopled.sum()) * (rounded.shape[1] + label_bytes(lesson.classes)),
        held=(index.base, index.norms, named),
        notes=(f"{int(peopled.sum())} clusters", *told, *shrink_words(lesson.pixels, pictures)),
    )
