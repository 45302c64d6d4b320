# SPDX-License-Identifier: Apache-2.0
"""Weights on disk: what goes in comes out, and damage is named."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from fireforge.base.errors import FireforgeError
from fireforge.train.weights import read_weights, write_weights

ARRAYS = {
    "scalar": np.array(2.5, np.float32),
    "kernel": np.arange(24, dtype=np.float32).reshape(2, 3, 4).transpose(2, 0, 1),
    "empty": np.zeros((0, 3), np.float32),
    "codes": np.array([-128, 127], np.int8),
}


def test_shapes_types_and_bits_come_back_and_safetensors_reads_the_same(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    sha256 = write_weights(path, ARRAYS)
    assert sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    for found in (read_weights(path, sha256=sha256), load_file(path)):
        assert found.keys() == ARRAYS.keys()
        for name, wanted in ARRAYS.items():
            assert (found[name].shape, found[name].dtype) == (wanted.shape, wanted.dtype), name
            np.testing.assert_array_equal(found[name], wanted)


def test_equal_arrays_give_equal_files(tmp_path: Path) -> None:
    one, two = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    assert write_weights(one, ARRAYS) == write_weights(two, dict(reversed(ARRAYS.items())))


@pytest.mark.parametrize("place", ["header", "middle", "end"])
def test_one_flipped_bit_is_refused_by_the_checksum(tmp_path: Path, place: str) -> None:
    path = tmp_path / "w.safetensors"
    sha256 = write_weights(path, ARRAYS)
    data = bytearray(path.read_bytes())
    data[{"header": 10, "middle": len(data) // 2, "end": len(data) - 1}[place]] ^= 4
    path.write_bytes(data)
    with pytest.raises(FireforgeError) as raised:
        read_weights(path, sha256=sha256)
    assert (raised.value.code, raised.value.where) == ("BAD_WEIGHTS", str(path))


@pytest.mark.parametrize("keep", [0, 4, 60, -1])
def test_a_cut_file_is_refused_even_without_a_checksum(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "w.safetensors"
    write_weights(path, ARRAYS)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(FireforgeError) as raised:
        read_weights(path)
    assert raised.value.code == "BAD_WEIGHTS"


def test_an_absent_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FireforgeError, match="NO_FILE"):
        read_weights(tmp_path / "gone.safetensors")
