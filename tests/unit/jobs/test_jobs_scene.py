# SPDX-License-Identifier: Apache-2.0
"""The sizes at which a search looks at pictures, by hand, and what of a scene changes with the size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fireforge.base.errors import FireforgeError
from fireforge.base.preprocess import ImageSteps
from fireforge.data.pixels import load_pixels
from fireforge.jobs.scene import describe, look, resized, sizes_of


def steps(height: int, width: int) -> ImageSteps:
    return ImageSteps(channels=3, resize=height, crop=(height, width), mean=(1.0,) * 3, std=(2.0,) * 3)


def folder(root: Path, height: int, width: int, *, count: int = 8, gray: bool = False) -> str:
    draw = np.random.default_rng(0)
    for name in ("a", "b"):
        (root / name).mkdir(parents=True)
        for index in range(count):
            shape = (height, width) if gray else (height, width, 3)
            Image.fromarray(draw.integers(0, 256, shape).astype(np.uint8)).save(root / name / f"{index}.png")
    return str(root)


@pytest.mark.parametrize(
    ("crop", "wanted"),
    [
        ((8, 8), [8]),
        ((64, 64), [64]),
        ((40, 20), [(40, 20)]),  # not square: as it is
        ((72, 72), [32, 48, 64, 72]),
        ((96, 96), [32, 48, 64, 96]),
        ((104, 104), [32, 48, 64, 104]),  # 96 is more than nine tenths of 104
        ((112, 112), [32, 48, 64, 96, 112]),
        ((224, 224), [32, 48, 64, 96, 128, 160, 224]),
    ],
)
def test_the_sizes_that_are_tried_by_hand(crop: tuple[int, int], wanted: list[object]) -> None:
    sides = [item if isinstance(item, tuple) else (item, item) for item in wanted]
    assert list(sizes_of(steps(*crop))) == sides


def test_another_size_resizes_the_shorter_side_or_both_and_keeps_the_rest() -> None:
    square = steps(96, 96)
    assert resized(square, (48, 48)) == square.replace(resize=48, crop=(48, 48))
    whole = square.replace(resize=(96, 96))
    assert resized(whole, (48, 48)) == whole.replace(resize=(48, 48), crop=(48, 48))


@pytest.mark.parametrize("gray", [True, False])
def test_large_pictures_are_first_looked_at_small_and_may_be_seen_in_every_size(tmp_path: Path, gray: bool) -> None:
    scene = look(folder(tmp_path / "data", 100, 130, gray=gray), seed=0)
    assert scene.sizes == ((32, 32), (48, 48), (64, 64), (96, 96))
    assert scene.input_shape == (1 if gray else 3, 64, 64)
    assert scene.shorter_px() == 96
    for size in scene.sizes:
        other = scene.at(size)
        assert other.input_shape[1:] == size
        assert (other.steps.mean, other.steps.std) == (scene.steps.mean, scene.steps.std)
        assert other.pixels["val"].shape == (len(scene.part("val")), scene.input_shape[0], *size)
        wanted = load_pixels(scene.dataset, scene.part("val"), other.steps)
        np.testing.assert_array_equal(other.pixels["val"], wanted)
    assert scene.at((64, 64)) is scene
    assert scene.seen_by(scene.preprocess) is scene
    assert scene.seen_by(scene.at((32, 32)).preprocess).input_shape[1:] == (32, 32)


def test_small_pictures_that_are_not_square_keep_their_shape(tmp_path: Path) -> None:
    scene = look(folder(tmp_path / "data", 40, 20), seed=0)
    assert (scene.sizes, scene.input_shape) == (((40, 20),), (3, 40, 20))


@pytest.mark.parametrize(("side", "image_size"), [(100, 48), (100, 7), (30, 300)])
def test_a_size_that_is_asked_for_is_the_only_one_and_the_pictures_keep_theirs(
    tmp_path: Path, side: int, image_size: int
) -> None:
    """How pictures are varied depends on how large they are, not on the size that is asked for."""
    scene = look(folder(tmp_path / "data", side, side + 20), seed=0, image_size=image_size)
    assert scene.sizes == ((image_size, image_size),)
    assert scene.input_shape == (3, image_size, image_size)
    assert scene.shorter_px() == side


def test_pixels_are_of_train_and_val_alone(tmp_path: Path) -> None:
    scene = look(folder(tmp_path / "data", 12, 12), seed=0, cache=tmp_path / "cache")
    assert (sorted(scene.pixels), len(scene.pixels)) == (["train", "val"], 2)
    assert scene.pixels["train"] is scene.pixels["train"]
    with pytest.raises(KeyError):
        scene.pixels["test"]
    assert len(list((tmp_path / "cache").glob("*.pixels.npy"))) == 1


def test_validation_takes_a_share_of_little_data_and_so_many_of_much(tmp_path: Path) -> None:
    """15 % of 200 less the test part of 20 %: 24. Of 60,000 it would be 5,000 at most; the share says so."""
    np.savez(tmp_path / "a.npz", x=np.zeros((200, 4, 4), np.uint8), y=np.arange(200) % 2)
    scene = look(str(tmp_path / "a.npz"), seed=0)
    assert (scene.ref.val_share, len(scene.part("val"))) == (0.15, 24)
    pixels = np.random.default_rng(0).integers(0, 256, (60_000, 2, 2)).astype(np.uint8)
    np.savez(tmp_path / "b.npz", x=pixels, y=np.arange(60_000) % 2)
    assert look(str(tmp_path / "b.npz"), seed=0).ref.val_share == pytest.approx(5_000 / 60_000, abs=1e-6)


def test_a_picture_that_is_left_out_is_told_once_and_a_file_that_is_none_is_not(tmp_path: Path) -> None:
    data, told = Path(folder(tmp_path / "data", 40, 40, count=20)), []
    (data / "README.txt").write_text("forty pictures of two kinds")
    look(str(data), seed=0, progress=told.append)
    assert not [update for update in told if update.lasting]
    broken = sorted(data.rglob("*.png"))[0]
    broken.write_bytes(broken.read_bytes()[:60])
    look(str(data), seed=0, progress=told.append)
    (note,) = [update.note for update in told if update.lasting]
    assert note.startswith("1 of 40 pictures cannot be used: 1 IMG_CORRUPT; the first is ")
    assert broken.name in note
    assert note.endswith("; fireforge inspect lists them all")


def test_ten_pictures_in_all_make_a_scene_and_too_few_are_told(tmp_path: Path) -> None:
    scene = look(folder(tmp_path / "ten", 30, 30, count=5), seed=0)
    assert {name: len(scene.part(name)) for name in ("train", "val", "test")} == {"train": 6, "val": 2, "test": 2}
    assert describe(scene).counts == {"train": (3, 3), "val": (1, 1), "test": (1, 1)}
    with pytest.raises(FireforgeError, match="TOO_FEW"):
        look(folder(tmp_path / "four", 30, 30, count=2), seed=0)
