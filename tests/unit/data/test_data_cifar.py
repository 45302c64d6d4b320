# SPDX-License-Identifier: Apache-2.0
"""CIFAR's binary files, written here record by record as their public description says; its pickles stay shut."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from fireforge.base.errors import FireforgeError
from fireforge.data.open import open_dataset

DRAW = np.random.default_rng(12)
NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def records(pixels: np.ndarray, *labels: list[int]) -> bytes:
    """Label bytes, then 1,024 red, 1,024 green and 1,024 blue bytes, row by row; pixels are (N, 32, 32, 3)."""
    heads = np.array(labels, np.uint8).T
    planes = np.stack([pixels[:, :, :, channel].reshape(len(pixels), 1024) for channel in range(3)], axis=1)
    return np.concatenate([heads, planes.reshape(len(pixels), 3072)], axis=1).tobytes()


def cifar10(root: Path) -> np.ndarray:
    root.mkdir(parents=True, exist_ok=True)
    pixels = DRAW.integers(0, 256, (60, 32, 32, 3), np.uint8)
    for i in range(5):
        (root / f"data_batch_{i + 1}.bin").write_bytes(records(pixels[10 * i : 10 * i + 10], list(range(10))))
    (root / "test_batch.bin").write_bytes(records(pixels[50:], list(range(10))[::-1]))
    (root / "batches.meta.txt").write_text("\n".join(NAMES) + "\n\n")
    return pixels


@pytest.mark.parametrize("inner", ["", "cifar-10-batches-bin"])
def test_cifar_10_gives_its_pictures_back(tmp_path: Path, inner: str) -> None:
    pixels = cifar10(tmp_path / inner)
    dataset = pickle.loads(pickle.dumps(open_dataset(tmp_path)))
    assert (dataset.format, dataset.labels) == ("cifar", NAMES)
    assert dataset.counts() == {name: {"train": 5, "test": 1} for name in NAMES}
    assert dataset.targets.tolist() == [*range(10)] * 5 + [*range(10)][::-1]
    np.testing.assert_array_equal(np.stack([np.asarray(dataset.read(i)) for i in range(60)]), pixels)


def test_cifar_100_takes_the_fine_classes(tmp_path: Path) -> None:
    pixels = DRAW.integers(0, 256, (200, 32, 32, 3), np.uint8)
    fine = [i % 100 for i in range(200)]
    coarse = [i % 20 for i in range(200)]
    (tmp_path / "train.bin").write_bytes(records(pixels, coarse, fine))
    (tmp_path / "test.bin").write_bytes(records(pixels[:100], coarse[:100], fine[:100]))
    (tmp_path / "fine_label_names.txt").write_text("".join(f"thing{i}\n" for i in range(100)))
    dataset = open_dataset(tmp_path)
    assert (dataset.format, len(dataset.labels), len(dataset.samples)) == ("cifar", 100, 300)
    assert dataset.targets.tolist() == fine + fine[:100]
    assert dataset.labels[7] == "thing7"
    np.testing.assert_array_equal(np.asarray(dataset.read(250)), pixels[50])


def test_without_names_the_classes_are_numbers(tmp_path: Path) -> None:
    cifar10(tmp_path)
    (tmp_path / "batches.meta.txt").unlink()
    assert open_dataset(tmp_path).labels == tuple("0123456789")


def code_of(root: Path) -> tuple[str, str]:
    with pytest.raises(FireforgeError) as caught:
        open_dataset(root)
    return caught.value.code, caught.value.line()


def test_damaged_files_are_named(tmp_path: Path) -> None:
    cifar10(tmp_path)
    path = tmp_path / "data_batch_3.bin"
    whole = path.read_bytes()
    for data in (whole[:-1], whole + b"x", b"", whole[:3072]):
        path.write_bytes(data)
        code, line = code_of(tmp_path)
        assert code == "BAD_CIFAR"
        assert "data_batch_3.bin" in line
    path.write_bytes(whole[: 2 * 3073] + b"\x0a" + whole[2 * 3073 + 1 :])
    code, line = code_of(tmp_path)
    assert code == "BAD_LABELS"
    assert "class 10 of picture 2" in line
    path.write_bytes(whole)
    (tmp_path / "batches.meta.txt").write_text("cat\ndog\n")
    assert code_of(tmp_path)[0] == "BAD_CIFAR"


class Canary:
    """Unpickling one of these makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> tuple[object, ...]:
        return open, (self.path, "w")


@pytest.mark.parametrize("names", [("data_batch_1", "test_batch", "batches.meta"), ("train", "test", "meta")])
@pytest.mark.parametrize("inner", ["", "cifar-10-batches-py"])
def test_the_python_version_is_refused_and_never_opened(tmp_path: Path, names: tuple[str, ...], inner: str) -> None:
    canary, root = tmp_path / "canary", tmp_path / "data" / inner
    root.mkdir(parents=True)
    for name in names:
        (root / name).write_bytes(pickle.dumps({b"data": Canary(canary)}, protocol=2))
    code, line = code_of(tmp_path / "data")
    assert code == "PICKLE"
    assert "cifar-10-binary.tar.gz" in line
    assert not canary.exists()
