# SPDX-License-Identifier: Apache-2.0
"""The baseline of a perceptron with one hidden layer on pixels."""

from __future__ import annotations

from fireforge.baseline.lesson import Fitted, Lesson
from fireforge.baseline.planes import centred_pixels, in_chunks, raw_pixels
from fireforge.baseline.scikit import fit_perceptron
from fireforge.baseline.shrink import shrink, shrink_words

MOST_SIDE = 32
HIDDEN = 128
PASSES = 20  # over the pictures


def mlp(lesson: Lesson) -> Fitted:
    """A perceptron of 128 hidden ReLUs on pixels.

    It is fitted to (pixel - mean) / 64; mean and scale are then multiplied into the first layer, so that raw pixels go
    in. Pictures with a side over 32 px are averaged down in blocks; a note says so.

    Args:
      lesson: what it is trained on.

    Returns:
      The baseline; its bytes are those of the layers as float32.
    """
    pictures = shrink(lesson.pixels, MOST_SIDE)
    features, mean = centred_pixels(pictures, 64)
    planes, told = fit_perceptron(features, lesson.labels, hidden=HIDDEN, passes=PASSES, seed=lesson.seed)
    planes = planes.centred(mean, 1 / 64)
    return Fitted(
        answer=in_chunks(lambda asked: raw_pixels(shrink(asked, MOST_SIDE)), planes),
        bytes=planes.bytes,
        held=planes.arrays,
        notes=(f"{HIDDEN} hidden units, {PASSES} passes", *told, *shrink_words(lesson.pixels, pictures)),
    )
