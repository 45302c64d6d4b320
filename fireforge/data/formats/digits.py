# SPDX-License-Identifier: Apache-2.0
"""The 1,797 handwritten digits of 8 x 8 px that come with scikit-learn."""

from __future__ import annotations

import functools
import importlib
from typing import Any

import numpy as np

from fireforge.base.errors import Exit, FireforgeError
from fireforge.base.sample import Sample
from fireforge.data.dataset import Dataset
from fireforge.data.formats.format import Format


def open_digits(source: str = "digits") -> Dataset:
    """The digits, gray (8, 8), each value 0 to 16 of the original stored as round(value * 255 / 16).

    Args:
      source: kept in the dataset.

    Returns:
      The dataset, without parts of its own.

    Raises:
      FireforgeError: NO_PACKAGE, if scikit-learn is not installed.

    Source:
      Alpaydin and Kaynak 1998, UCI Machine Learning Repository (test part), as sklearn.datasets.load_digits gives it.
    """
    raw = _load()
    images = np.rint(raw.images * 255.0 / 16.0).astype(np.uint8)
    samples = tuple(Sample(id=i, label=int(label), name=f"digits[{i}]") for i, label in enumerate(raw.target))
    return Dataset(
        format="digits",
        source=source,
        labels=tuple(str(name) for name in raw.target_names),
        samples=samples,
        reader=functools.partial(_read, images),
    )


def _load() -> Any:
    try:
        datasets = importlib.import_module("sklearn.datasets")
    except ImportError as error:
        raise FireforgeError(
            "NO_PACKAGE",
            "the digits come with scikit-learn, which is not installed",
            do='pip install "fireforge[train]"',
            exit_code=Exit.ENVIRONMENT,
        ) from error
    return datasets.load_digits()


def _read(images: np.ndarray, sample_id: int) -> np.ndarray:
    return np.asarray(images[sample_id])


def _recognise(source: str) -> bool:
    return source == "digits"


DIGITS = Format(name="digits", accepts='the name "digits"', recognise=_recognise, open=open_digits)
