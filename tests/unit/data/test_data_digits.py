# SPDX-License-Identifier: Apache-2.0
"""The digits against scikit-learn's own arrays."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from fireforge.base.errors import Exit, FireforgeError
from fireforge.data.open import open_dataset


def test_digits_equal_scikit_learn() -> None:
    raw = load_digits()
    dataset = open_dataset("digits")
    assert (dataset.format, len(dataset.samples), dataset.labels) == ("digits", 1797, tuple("0123456789"))
    np.testing.assert_array_equal(dataset.targets, raw.target)
    pixels = np.stack([np.asarray(dataset.read(i)) for i in range(1797)])
    assert pixels.dtype == np.uint8
    assert pixels.shape == (1797, 8, 8)
    # exact: 0..16 maps to 17 different bytes and back
    np.testing.assert_array_equal(np.rint(pixels / 255 * 16), raw.images)
    assert set(np.unique(pixels)) == {int(v * 255 / 16 + 0.5) if v != 8 else 128 for v in range(17)}


def test_without_scikit_learn_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(FireforgeError) as caught:
        open_dataset("digits")
    assert (caught.value.code, caught.value.exit_code) == ("NO_PACKAGE", Exit.ENVIRONMENT)
    assert 'pip install "fireforge[train]"' in caught.value.line()


def test_a_folder_called_digits_is_reached_by_its_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "digits").mkdir()
    monkeypatch.chdir(tmp_path)
    assert open_dataset("digits").format == "digits"
    for source in ("./digits", Path("digits")):
        with pytest.raises(FireforgeError, match="NO_DATA: no images"):
            open_dataset(source)
