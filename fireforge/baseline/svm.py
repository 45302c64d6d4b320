# SPDX-License-Identifier: Apache-2.0
"""The baseline of a linear support vector machine on histograms of oriented gradients."""

from __future__ import annotations

import numpy as np

from fireforge.baseline.hog import hog
from fireforge.baseline.lesson import Fitted, Lesson
from fireforge.baseline.planes import in_chunks
from fireforge.baseline.scikit import fit_svm
from fireforge.baseline.shrink import shrink, shrink_words

MOST_SIDE = 64
CELLS = ((48, 8), (16, 4), (0, 2))  # shorter side from which a cell has so many pixels on a side
PENALTY = 0.03


def hog_svm(lesson: Lesson) -> Fitted:
    """HOG and a linear SVM, one class against the rest.

    Cells are of 8 px, of 4 px in pictures below 48 px and of 2 px in those below 16 px. Pictures with a side over 64 px
    are averaged down in blocks; a note says so.

    Args:
      lesson: what it is fitted to.

    Returns:
      The baseline; its bytes are those of the planes as float32.

    Source:
      Dalal and Triggs 2005, with the squared hinge loss of liblinear.
    """
    pictures = shrink(lesson.pixels, MOST_SIDE)
    cell_px = cell_of(min(pictures.shape[2:]))

    def features(asked: np.ndarray) -> np.ndarray:
        return hog(shrink(asked, MOST_SIDE), cell_px=cell_px)

    known = features(lesson.pixels)
    planes, told = fit_svm(known, lesson.labels, penalty=PENALTY, seed=lesson.seed)
    return Fitted(
        answer=in_chunks(features, planes),
        bytes=planes.bytes,
        held=planes.arrays,
        notes=(
            f"{known.shape[1]:,} features, cells of {cell_px} x {cell_px} px",
            *told,
            *shrink_words(lesson.pixels, pictures),
        ),
    )


def cell_of(side_px: int) -> int:
    """Side of a cell in px for pictures of a shorter side."""
    return min(side_px, next(cell for least, cell in CELLS if side_px >= least))
