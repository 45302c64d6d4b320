# SPDX-License-Identifier: Apache-2.0
"""Arrays written by numpy are read back as the same pictures, whatever their layout."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fireforge.base.errors import FireforgeError
from fireforge.data.dataset import Dataset
from fireforge.data.open import open_dataset

DRAW = np.random.default_rng(5)
GRAY = DRAW.integers(0, 256, (6, 5, 7), np.uint8)
COLOUR = DRAW.integers(0, 256, (6, 5, 7, 3), np.uint8)
Y = np.array([0, 1, 2, 0, 1, 2])


def save(folder: Path, **arrays: object) -> str:
    np.savez(folder / "d.npz", **arrays)  # type: ignore[arg-type]
    return str(folder / "d.npz")


def opened(folder: Path, **arrays: object) -> Dataset:
    return open_dataset(save(folder, **arrays))


def stack(dataset: Dataset) -> np.ndarray:
    return np.stack([np.asarray(dataset.read(sample.id)) for sample in dataset.samples])


@pytest.mark.parametrize(
    ("array", "want"),
    [
        (GRAY, GRAY),
        (GRAY[..., None], GRAY),
        (GRAY[:, None], GRAY),
        (COLOUR, COLOUR),
        (COLOUR.transpose(0, 3, 1, 2), COLOUR),
        (GRAY.astype(np.int64), GRAY),
        (GRAY.astype(np.float32), GRAY),
        (GRAY.astype(np.float64) / 255, GRAY),
        (GRAY > 99, (GRAY > 99).astype(np.uint8) * 255),
    ],
)
def test_layouts_and_types_give_the_same_pictures(tmp_path: Path, array: np.ndarray, want: np.ndarray) -> None:
    got = stack(opened(tmp_path, x=array, y=Y))
    assert got.dtype == np.uint8
    np.testing.assert_array_equal(got, want)


def test_parts_come_in_the_order_train_val_test_by_hand(tmp_path: Path) -> None:
    dataset = opened(
        tmp_path, x_test=GRAY[5:], y_test=Y[5:], X_train=GRAY[:4], y_train=Y[:4], x_val=GRAY[4:5], y_val=Y[4:5]
    )
    assert [s.part for s in dataset.samples] == ["train"] * 4 + ["val", "test"]
    assert [s.name for s in dataset.samples][3:] == ["x_train[3]", "x_val[0]", "x_test[0]"]
    assert dataset.targets.tolist() == Y.tolist()
    np.testing.assert_array_equal(stack(dataset), GRAY)


def test_one_scale_for_the_whole_file(tmp_path: Path) -> None:
    """A test part that happens to be dark is not stretched: the rule looks at all arrays."""
    dark = np.zeros((1, 5, 7), np.float32)
    dark[0, 0, 0] = 1.0
    dataset = opened(tmp_path, x_train=GRAY.astype(np.float32), y_train=Y, x_test=dark, y_test=Y[:1])
    assert np.asarray(dataset.read(6)).max() == 1


@pytest.mark.parametrize(
    ("arrays", "labels"),
    [
        ({"x": GRAY, "y": Y + 1}, ("1", "2", "3")),
        ({"x": GRAY, "y": Y[:, None]}, ("0", "1", "2")),
        ({"x": GRAY, "y": Y.astype(np.float64)}, ("0", "1", "2")),
        ({"x": GRAY, "y": Y, "classes": np.array(["a", "b", "c"])}, ("a", "b", "c")),
        ({"x": GRAY, "y": Y, "labels": np.array(["a", "b", "c", "d"])}, ("a", "b", "c", "d")),
        ({"images": GRAY, "labels": np.array(["u", "v", "w"])[Y]}, ("u", "v", "w")),
        (
            {"images": GRAY, "labels": np.array(["u", "v", "w"])[Y], "classes": np.array(["u", "v", "w"])},
            ("u", "v", "w"),
        ),
        ({"train_images": GRAY, "train_labels": Y}, ("0", "1", "2")),
    ],
)
def test_labels_by_number_or_name(tmp_path: Path, arrays: dict[str, np.ndarray], labels: tuple[str, ...]) -> None:
    dataset = opened(tmp_path, **arrays)
    assert dataset.labels == labels
    assert dataset.targets.tolist() == (Y if len(labels) > 2 else Y % 2).tolist()


def test_jpeg_bytes_decode_as_pillow_decodes_the_files(tmp_path: Path) -> None:
    files = []
    for i in range(6):
        stream = io.BytesIO()
        Image.fromarray(COLOUR[i]).save(stream, "JPEG")
        files.append(stream.getvalue())
    offsets = np.cumsum([0] + [len(file) for file in files])
    joined = np.frombuffer(b"".join(files), np.uint8)
    dataset = opened(tmp_path, jpeg_train=joined, offsets_train=offsets, y_train=Y, classes=np.array(["a", "b", "c"]))
    assert [dataset.read(i) for i in range(6)] == files
    with pytest.raises(FireforgeError, match=r"BAD_ARRAY: .*offsets"):
        opened(tmp_path, jpeg_train=joined, offsets_train=offsets + 1, y_train=Y)
    with pytest.raises(FireforgeError, match="no offsets_train"):
        opened(tmp_path, jpeg_train=joined, y_train=Y)


@pytest.mark.parametrize(
    ("arrays", "code"),
    [
        ({"a": GRAY}, "BAD_LAYOUT"),
        ({"x": GRAY}, "BAD_LAYOUT"),
        ({"x": GRAY, "y": Y, "x_train": GRAY, "y_train": Y}, "BAD_LAYOUT"),
        ({"x": GRAY, "y": Y[:5]}, "BAD_LABELS"),
        ({"x": GRAY, "y": np.eye(6)}, "BAD_LABELS"),
        ({"x": GRAY, "y": Y + 0.5}, "BAD_LABELS"),
        ({"x": GRAY, "y": Y, "classes": np.array(["a", "b"])}, "BAD_LABELS"),
        ({"x": GRAY, "y": np.array(["a", "z"])[Y % 2], "classes": np.array(["a", "b"])}, "BAD_LABELS"),
        ({"x": GRAY, "y": Y * 0}, "ONE_CLASS"),
        ({"x": GRAY.reshape(6, 35), "y": Y}, "BAD_ARRAY"),
        ({"x": GRAY / 2.0, "y": Y}, "BAD_ARRAY"),
        ({"x": GRAY.astype(np.int16) - 1, "y": Y}, "BAD_ARRAY"),
        ({"x": GRAY * np.float32(np.nan), "y": Y}, "BAD_ARRAY"),
        ({"x": GRAY.astype(np.uint16) * 257, "y": Y}, "BAD_ARRAY"),
        ({"x": GRAY[:0], "y": Y[:0]}, "NO_DATA"),
        ({"x": GRAY.astype(object), "y": Y}, "BAD_NPZ"),
    ],
)
def test_what_is_refused_and_by_which_code(tmp_path: Path, arrays: dict[str, np.ndarray], code: str) -> None:
    with pytest.raises(FireforgeError) as caught:
        opened(tmp_path, **arrays)
    assert caught.value.code == code
    assert str(tmp_path) in caught.value.where


def test_digest_sees_labels_parts_and_class_names(tmp_path: Path) -> None:
    """The same pixels under other labels, parts or class names are other data; another compression is not."""
    names = np.array(["a", "b", "c"])
    whole = opened(tmp_path, x_train=GRAY, y_train=Y, classes=names).sha256
    assert opened(tmp_path, x_train=GRAY, y_train=Y[::-1], classes=names).sha256 != whole
    assert opened(tmp_path, x_test=GRAY, y_test=Y, classes=names).sha256 != whole
    assert opened(tmp_path, x_train=GRAY, y_train=Y, classes=names[::-1]).sha256 != whole
    assert opened(tmp_path, x_train=GRAY[:, :, ::-1], y_train=Y, classes=names).sha256 != whole
    np.savez_compressed(tmp_path / "e.npz", classes=names, y_train=Y, x_train=GRAY[..., None])
    assert open_dataset(tmp_path / "e.npz").sha256 == whole


def test_a_cut_file_is_one_clear_error(tmp_path: Path) -> None:
    path = Path(save(tmp_path, x=GRAY, y=Y))
    whole = path.read_bytes()
    for length in (0, 3, 100, len(whole) // 2, len(whole) - 10):
        path.write_bytes(whole[:length])
        with pytest.raises(FireforgeError, match="BAD_NPZ"):
            open_dataset(path)


def test_a_single_array_under_the_name_of_an_npz(tmp_path: Path) -> None:
    with open(tmp_path / "d.npz", "wb") as stream:
        np.save(stream, GRAY)
    with pytest.raises(FireforgeError, match=r"BAD_NPZ: .*single array"):
        open_dataset(tmp_path / "d.npz")
