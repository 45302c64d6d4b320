# SPDX-License-Identifier: Apache-2.0
"""The baseline that always answers with the most frequent class: what knowing nothing gives."""

from __future__ import annotations

import numpy as np

from fireforge.baseline.lesson import Fitted, Lesson
from fireforge.baseline.result import label_bytes


def majority(lesson: Lesson) -> Fitted:
    """Answer every picture with the class that the lesson has most of, the first of equally frequent ones.

    Args:
      lesson: its pictures are not looked at.

    Returns:
      The baseline; one class number is stored.
    """
    most = int(np.bincount(lesson.labels, minlength=lesson.classes).argmax())
    return Fitted(
        answer=lambda pictures: np.full(len(pictures), most, np.int64),
        bytes=label_bytes(lesson.classes),
        notes=(f"always class {most}",),
    )
