# SPDX-License-Identifier: Apache-2.0
"""Each form of a weight against numbers written by hand."""

from __future__ import annotations

import numpy as np

from fireforge.base.quant import Quantization
from fireforge.base.tensorform import Affine, Codebook, Dense, Factored, Masked


def test_dense_keeps_its_dtype() -> None:
    values = np.array([1, 2], np.int64)
    assert Dense(values=values).array() is values


def test_masked_by_hand() -> None:
    got = Masked(values=np.array([1.5, -2.0, np.inf], np.float32), mask=np.array([True, False, False])).array()
    assert got.tolist() == [1.5, 0, 0]
    assert got.dtype == np.float32


def test_codebook_by_hand() -> None:
    got = Codebook(table=np.array([0, 0.5, -1], np.float32), indices=np.array([[2, 0], [1, 1]], np.uint8)).array()
    assert got.tolist() == [[-1, 0], [0.5, 0.5]]


def test_affine_by_hand() -> None:
    quantization = Quantization(scale=(0.5, 2.0), zero_point=(1, 0), axis=1, dtype="int8")
    got = Affine(q=np.array([[-128, 3], [1, -1]], np.int8), quantization=quantization).array()
    assert got.tolist() == [[-64.5, 6], [0, -2]]
    assert got.dtype == np.float32


def test_factored_by_hand() -> None:
    u, v = np.array([[1.0], [2.0]]), np.array([[3.0, 4.0]])
    got = Factored(u=u, v=v, shape=(4, 1)).array()
    assert got.tolist() == [[3], [4], [6], [8]]
    assert got.dtype == np.float32
