# SPDX-License-Identifier: Apache-2.0
"""Files in the idx format, written here byte by byte as its public description says."""

from __future__ import annotations

import gzip
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest

from fireforge.base.errors import FireforgeError
from fireforge.base.trial import DataRef
from fireforge.data.formats.idx import parse_idx
from fireforge.data.open import open_dataset
from fireforge.data.split import split

DRAW = np.random.default_rng(11)
PIXELS = DRAW.integers(0, 256, (12, 5, 7), np.uint8)
NUMBERS = np.array([3, 9] * 6, np.uint8)


def idx(array: np.ndarray) -> bytes:
    """00 00 08, the number of axes, each size as four bytes with the greatest first, the elements."""
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def mnist(root: Path, *, packed: bool = False, sep: str = "-") -> Path:
    root.mkdir(parents=True, exist_ok=True)
    for stem, rows in (("train", slice(0, 8)), ("t10k", slice(8, 12))):
        for kind, axes, array in (("images", 3, PIXELS), ("labels", 1, NUMBERS)):
            data = idx(array[rows])
            path = root / f"{stem}-{kind}{sep}idx{axes}-ubyte{'.gz' if packed else ''}"
            path.write_bytes(gzip.compress(data) if packed else data)
    return root


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("sep", ["-", "."])
@pytest.mark.parametrize("inner", ["", "raw"])
def test_the_four_files_of_mnist_give_the_arrays_back(tmp_path: Path, packed: bool, sep: str, inner: str) -> None:
    mnist(tmp_path / inner, packed=packed, sep=sep)
    dataset = pickle.loads(pickle.dumps(open_dataset(tmp_path)))
    assert (dataset.format, dataset.labels) == ("idx", ("3", "9"))
    assert dataset.counts() == {"3": {"train": 4, "test": 2}, "9": {"train": 4, "test": 2}}
    assert dataset.targets.tolist() == [0, 1] * 6
    np.testing.assert_array_equal(np.stack([dataset.read(i) for i in range(12)]), PIXELS)
    assert split(dataset, DataRef(source="")).counts()["test"] == 4


def test_the_same_content_however_it_is_stored(tmp_path: Path) -> None:
    plain, both = mnist(tmp_path / "a"), mnist(tmp_path / "b")
    mnist(both, packed=True)
    assert open_dataset(plain).sha256 == open_dataset(both).sha256


def test_one_file_finds_its_other_half(tmp_path: Path) -> None:
    root = mnist(tmp_path)
    for name in ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"):
        dataset = open_dataset(root / name)
        assert dataset.counts() == {"3": {"test": 2}, "9": {"test": 2}}


def test_gzip_of_several_members_and_junk_behind(tmp_path: Path) -> None:
    data = idx(PIXELS)
    parts = gzip.compress(data[:50]) + gzip.compress(data[50:])
    np.testing.assert_array_equal(parse_idx(parts, 3, where="x"), PIXELS)
    np.testing.assert_array_equal(parse_idx(gzip.compress(data) + b"junk", 3, where="x"), PIXELS)


def code_of(data: bytes, axes: int = 3) -> str:
    with pytest.raises(FireforgeError) as caught:
        parse_idx(data, axes, where="some/file")
    assert caught.value.where == "some/file"
    return caught.value.code


def test_every_cut_and_every_changed_head_byte_is_refused() -> None:
    data = idx(PIXELS)
    assert {code_of(data[:length]) for length in range(len(data))} == {"BAD_IDX"}
    assert {code_of(gzip.compress(data)[:length]) for length in range(1, 200, 7)} == {"BAD_IDX"}
    assert {code_of(gzip.compress(data)[:-length]) for length in range(1, 9)} == {"BAD_IDX"}  # its CRC and size
    for at in range(16):
        changed = bytearray(data)
        changed[at] ^= 1
        assert code_of(bytes(changed)) in ("BAD_IDX", "NO_DATA")
    assert code_of(data + b"x") == "BAD_IDX"
    assert code_of(gzip.compress(data + b"x")) == "BAD_IDX"
    assert code_of(idx(PIXELS[:0])) == "NO_DATA"
    assert code_of(data, 1) == "BAD_IDX"


def test_a_head_that_claims_too_much_is_refused_before_it_is_unpacked() -> None:
    """4 GiB of zeros would be claimed; 200:1 is the limit."""
    head = bytes([0, 0, 8, 3]) + struct.pack(">3I", 1 << 20, 64, 64)
    assert code_of(head + b"\0" * 100) == "BAD_IDX"
    assert code_of(gzip.compress(head + b"\0" * 1_000_000)) == "BAD_IDX"
    with pytest.raises(FireforgeError, match="200:1"):
        parse_idx(gzip.compress(head + b"\0" * 1_000_000), 3, where="x")


def test_a_damaged_gzip_is_named() -> None:
    packed = bytearray(gzip.compress(idx(PIXELS)))
    packed[len(packed) // 2] ^= 0xFF
    assert code_of(bytes(packed)) == "BAD_IDX"


def test_files_that_do_not_belong_together(tmp_path: Path) -> None:
    root = mnist(tmp_path)
    (root / "train-labels-idx1-ubyte").write_bytes(idx(NUMBERS[:7]))
    with pytest.raises(FireforgeError, match=r"BAD_LABELS: .*train-labels-idx1-ubyte: 7 labels for 8 pictures"):
        open_dataset(root)
    (root / "train-labels-idx1-ubyte").unlink()
    with pytest.raises(FireforgeError, match=r"BAD_LAYOUT: .*no file of its labels"):
        open_dataset(root)
    mnist(root)
    (root / "mnist-train-images-idx3-ubyte").write_bytes(idx(PIXELS))
    (root / "mnist-train-labels-idx1-ubyte").write_bytes(idx(NUMBERS))
    with pytest.raises(FireforgeError, match=r"BAD_LAYOUT: .*several files for one part"):
        open_dataset(root)
