# SPDX-License-Identifier: Apache-2.0
"""Loaded pixels against Pillow and numpy, and the rules for the steps by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fireforge.base.errors import FireforgeError
from fireforge.base.pixels import to_pixels
from fireforge.base.preprocess import ImageSteps
from fireforge.base.progress import Update
from fireforge.base.sample import Sample
from fireforge.data.dataset import Dataset
from fireforge.data.open import open_dataset
from fireforge.data.pixels import choose_steps, load_pixels

DRAW = np.random.default_rng(9)
GRAY = DRAW.integers(0, 256, (8, 12, 10), np.uint8)
COLOUR = DRAW.integers(0, 256, (8, 12, 10, 3), np.uint8)


def of_arrays(arrays: list[np.ndarray]) -> Dataset:
    samples = tuple(Sample(id=i, label=i % 2, name=f"a[{i}]") for i in range(len(arrays)))
    return Dataset(format="t", source="s", labels=("a", "b"), samples=samples, reader=arrays.__getitem__)


def files(root: Path, sizes: list[tuple[int, int]], *, gray: bool = False, suffix: str = "png") -> Dataset:
    for i, size in enumerate(sizes):
        path = root / "ab"[i % 2] / f"{i}.{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        shape = size if gray else (*size, 3)
        Image.fromarray(DRAW.integers(0, 256, shape, np.uint8)).save(path)
    return open_dataset(root)


@pytest.mark.parametrize("order", ["L", "RGB", "BGR"])
@pytest.mark.parametrize("arrays", [GRAY, COLOUR])
@pytest.mark.parametrize("crop", [(12, 10), (7, 8)])
@pytest.mark.parametrize("resize", [None, 9, (12, 10)])
def test_arrays_equal_the_reference_execution(
    order: str, arrays: np.ndarray, crop: tuple[int, int], resize: object
) -> None:
    """The way past Pillow gives exactly what to_pixels gives."""
    count = len(order)
    steps = ImageSteps(channels=count, resize=resize, crop=crop, order=order, mean=(0.0,) * count, std=(1.0,) * count)  # type: ignore[arg-type]
    if resize == 9 and crop == (12, 10):
        crop = (9, 9)
        steps = steps.replace(crop=crop)
    got = load_pixels(of_arrays(list(arrays)), np.array([5, 0, 3]), steps)
    assert got.shape == (3, count, *crop)
    assert got.dtype == np.uint8
    for row, sample in enumerate([5, 0, 3]):
        np.testing.assert_array_equal(got[row], to_pixels(arrays[sample], steps))


def test_files_equal_pillow(tmp_path: Path) -> None:
    dataset = files(tmp_path, [(40, 60), (50, 50), (60, 30)])
    steps = ImageSteps(channels=3, resize=(20, 24), crop=(20, 24))
    got = load_pixels(dataset, np.arange(3), steps)
    for i, sample in enumerate(dataset.samples):
        want = Image.open(tmp_path / sample.name).resize((24, 20), Image.Resampling.BILINEAR)
        np.testing.assert_array_equal(got[i].transpose(1, 2, 0), np.asarray(want))


def test_mean_and_std_equal_numpy_on_the_training_part_alone() -> None:
    """To the 2 decimals that are kept."""
    train = np.array([0, 2, 3])
    steps = choose_steps(of_arrays(list(COLOUR)), train)
    pixels = COLOUR[train].reshape(-1, 3).astype(np.float64)
    np.testing.assert_allclose(steps.mean, pixels.mean(axis=0), atol=0.00501)
    np.testing.assert_allclose(steps.std, pixels.std(axis=0), atol=0.00501)
    changed = COLOUR.copy()
    changed[[1, 4, 5, 6, 7]] = 0
    assert choose_steps(of_arrays(list(changed)), train) == steps


def test_the_same_pictures_give_the_same_steps_in_any_order() -> None:
    ids = np.arange(8)
    dataset = of_arrays(list(COLOUR))
    assert choose_steps(dataset, ids) == choose_steps(dataset, ids[::-1].copy())


@pytest.mark.parametrize(
    ("sizes", "image_size", "resize", "crop"),
    [
        ([(8, 8)] * 4, None, (8, 8), (8, 8)),
        ([(64, 40)] * 4, None, (64, 40), (64, 40)),
        ([(100, 100)] * 4, None, 96, (96, 96)),
        ([(65, 65)] * 4, None, 64, (64, 64)),
        ([(50, 90), (61, 40), (71, 99)], None, 48, (48, 48)),
        ([(10, 12), (11, 14)], None, 24, (24, 24)),
        ([(400, 500)] * 2, None, 224, (224, 224)),
        ([(32, 32)] * 2, 32, (32, 32), (32, 32)),
        ([(32, 32)] * 2, 16, 16, (16, 16)),
        ([(32, 40)] * 2, 32, 32, (32, 32)),
    ],
)
def test_resize_and_crop_by_hand(
    tmp_path: Path,
    sizes: list[tuple[int, int]],
    image_size: int | None,
    resize: tuple[int, int] | int,
    crop: tuple[int, int],
) -> None:
    dataset = files(tmp_path, sizes)
    steps = choose_steps(dataset, np.arange(len(sizes)), image_size=image_size)
    assert (steps.resize, steps.crop, steps.order) == (resize, crop, "RGB")
    assert load_pixels(dataset, np.arange(len(sizes)), steps).shape == (len(sizes), 3, *crop)


def test_sides_are_measured_upright(tmp_path: Path) -> None:
    """EXIF orientation 6 turns a stored 40 x 20 picture (H x W) into 20 x 40."""
    dataset = files(tmp_path, [(40, 20)] * 4, suffix="jpg")
    for sample in dataset.samples:
        image = Image.open(tmp_path / sample.name)
        exif = image.getexif()
        exif[0x0112] = 6
        image.save(tmp_path / sample.name, exif=exif)
    dataset = open_dataset(tmp_path)  # the files are others now, and the folder's own would say so
    assert choose_steps(dataset, np.arange(4)).crop == (20, 40)


def test_gray_only_if_all_training_pictures_are_gray(tmp_path: Path) -> None:
    dataset = files(tmp_path / "g", [(16, 16)] * 6, gray=True)
    steps = choose_steps(dataset, np.arange(6))
    assert (steps.channels, steps.order, len(steps.mean)) == (1, "L", 1)
    flat = [np.repeat(picture[..., None], 3, axis=2) for picture in GRAY]
    assert choose_steps(of_arrays(flat), np.arange(8)).order == "L"
    mixed = of_arrays([*flat[:5], COLOUR[0]])
    assert choose_steps(mixed, np.arange(6)).order == "RGB"
    assert choose_steps(mixed, np.arange(5)).order == "L"


def test_flat_pictures_have_a_std_of_one() -> None:
    steps = choose_steps(of_arrays([np.full((4, 4), 7, np.uint8)] * 2), np.arange(2))
    assert (steps.mean, steps.std) == ((7.0,), (1.0,))


def test_errors_name_the_picture_or_the_value(tmp_path: Path) -> None:
    dataset = files(tmp_path, [(40, 40), (40, 40), (20, 20)])
    steps = choose_steps(dataset, np.arange(2), image_size=40)
    with pytest.raises(FireforgeError, match=r"IMG_SHAPE: .*a/2\.png: 20 x 20 px"):
        load_pixels(dataset, np.arange(3), steps.replace(resize=None))
    with pytest.raises(FireforgeError, match="BAD_SIZE"):
        choose_steps(dataset, np.arange(2), image_size=0)
    with pytest.raises(FireforgeError, match="NO_DATA"):
        choose_steps(dataset, np.arange(0))
    huge = ImageSteps(channels=3, resize=(10**6, 10**6), crop=(10**6, 10**6))
    with pytest.raises(FireforgeError, match=r"TOO_LARGE: .*GB"):
        load_pixels(dataset, np.arange(3), huge)


def test_progress_ends_with_all_done() -> None:
    seen: list[Update] = []
    steps = choose_steps(of_arrays(list(GRAY)), np.arange(8))
    load_pixels(of_arrays(list(GRAY)), np.arange(8), steps, progress=seen.append)
    assert (seen[0].done, seen[-1].done, seen[-1].total, seen[-1].unit) == (0, 8, 8, "image")
