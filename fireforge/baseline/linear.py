# SPDX-License-Identifier: Apache-2.0
"""The baseline of one linear layer on pixels."""

from __future__ import annotations

from fireforge.baseline.lesson import Fitted, Lesson
from fireforge.baseline.planes import centred_pixels, in_chunks, raw_pixels
from fireforge.baseline.scikit import Terms, fit_logistic
from fireforge.baseline.shrink import shrink, shrink_words

MOST_SIDE = 32
ROUNDS = 100
PENALTY = 0.1


def linear(lesson: Lesson) -> Fitted:
    """Multinomial logistic regression on pixels.

    It is fitted to (pixel - mean) / 255; mean and scale are then multiplied into the layer, so that raw pixels go in.
    Pictures with a side over 32 px are averaged down in blocks; a note says so.

    Args:
      lesson: what it is fitted to.

    Returns:
      The baseline; its bytes are those of the layer as float32.
    """
    pictures = shrink(lesson.pixels, MOST_SIDE)
    features, mean = centred_pixels(pictures, 255)
    planes, told = fit_logistic(features, lesson.labels, Terms(penalty=PENALTY, rounds=ROUNDS))
    planes = planes.centred(mean, 1 / 255)
    return Fitted(
        answer=in_chunks(lambda asked: raw_pixels(shrink(asked, MOST_SIDE)), planes),
        bytes=planes.bytes,
        held=planes.arrays,
        notes=(*told, *shrink_words(lesson.pixels, pictures)),
    )
