# SPDX-License-Identifier: Apache-2.0
"""Batches: each sample once, in an order that (seed, epoch) fixes, normalized by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fireforge.base.preprocess import ImageSteps
from fireforge.base.trial import Augment
from fireforge.train.feed import Batching, Pictures, batches, steps_per_epoch
from fireforge.train.world import make_world

STEPS = ImageSteps(channels=1, resize=None, crop=(2, 2), order="L", mean=(3.0,), std=(2.0,))
CPU = make_world("cpu")


def numbered(count: int) -> Pictures:
    """Picture i is filled with i; its id is 100 + i."""
    pixels = np.arange(count, dtype=np.uint8)[:, None, None, None].repeat(2, 2).repeat(2, 3)
    return Pictures(pixels=pixels, labels=np.arange(count) % 3, ids=np.arange(count) + 100)


def batching(batch: int, *, train: bool = True, seed: int = 0) -> Batching:
    return Batching(batch=batch, classes=3, steps=STEPS, augment=Augment() if train else None, seed=seed)


def flat(batches_seen: list[list[int]]) -> list[int]:
    return [number for batch in batches_seen for number in batch]


def seen(count: int, how: Batching, epoch: int) -> list[list[int]]:
    return [
        np.rint(inputs[:, 0, 0, 0].numpy() * 2 + 3).astype(int).tolist()
        for inputs, _ in batches(numbered(count), how, epoch=epoch, world=CPU)
    ]


@pytest.mark.parametrize(("count", "batch"), [(10, 4), (8, 4), (3, 8), (9, 4), (1, 4), (5, 1)])
def test_each_sample_comes_once_an_epoch_and_the_last_part_is_kept(count: int, batch: int) -> None:
    found = seen(count, batching(batch), 0)
    assert sorted(flat(found)) == list(range(count))
    assert len(found) == steps_per_epoch(count, batching(batch))


def test_sizes_of_batches_by_hand_with_no_single_sample_left_over_in_training() -> None:
    assert [len(b) for b in seen(10, batching(4), 0)] == [4, 4, 2]
    assert [len(b) for b in seen(9, batching(4), 0)] == [4, 5]
    assert [len(b) for b in seen(9, batching(4, train=False), 0)] == [4, 4, 1]
    assert [len(b) for b in seen(3, batching(1), 0)] == [1, 1, 1]


def test_the_order_is_a_function_of_seed_and_epoch() -> None:
    orders = {
        (seed, epoch): tuple(flat(seen(40, batching(8, seed=seed), epoch))) for seed in (0, 1) for epoch in (0, 1, 2)
    }
    assert len(set(orders.values())) == 6
    assert tuple(range(40)) not in orders.values()
    assert orders[1, 2] == tuple(flat(seen(40, batching(8, seed=1), 2)))
    assert orders[1, 2] == tuple(flat(seen(40, batching(16, seed=1), 2)))  # whatever the batch


def test_without_variation_the_order_is_the_given_one_in_every_epoch() -> None:
    for epoch in (0, 5):
        assert flat(seen(10, batching(4, train=False), epoch)) == list(range(10))


def test_inputs_are_pixel_less_mean_by_std_and_targets_one_hot_by_hand() -> None:
    (inputs, targets), *_ = batches(numbered(4), batching(4, train=False), epoch=0, world=CPU)
    assert inputs.dtype == targets.dtype == torch.float32
    assert inputs[:, 0, 1, 1].tolist() == [-1.5, -1.0, -0.5, 0.0]
    assert targets.tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 0, 0]]


def test_channels_are_normalized_each_by_its_own_numbers() -> None:
    steps = ImageSteps(channels=3, resize=None, crop=(1, 1), mean=(1.0, 2.0, 3.0), std=(1.0, 2.0, 4.0))
    one = Pictures(pixels=np.full((1, 3, 1, 1), 11, np.uint8), labels=np.zeros(1, np.int64), ids=np.zeros(1, np.int64))
    (inputs, _), *_ = batches(one, Batching(batch=1, classes=1, steps=steps), epoch=0, world=CPU)
    assert inputs.flatten().tolist() == [10.0, 4.5, 2.0]


def drawn(count: int, side: int) -> Pictures:
    pixels = np.random.default_rng(3).integers(0, 256, (count, 1, side, side)).astype(np.uint8)
    return Pictures(pixels=pixels, labels=np.arange(count) % 3, ids=np.arange(count) * 7 + 100)


LARGER = ImageSteps(channels=1, resize=None, crop=(8, 8), order="L", mean=(0.0,), std=(1.0,))


@pytest.mark.parametrize("augment", [None, Augment()])
def test_larger_pictures_without_variation_are_reduced_as_pillow_reduces_them(augment: Augment | None) -> None:
    """Pillow's bilinear filter widens with the reduction, like torch's with antialias; to 1 of 255, which Pillow
    rounds."""
    pictures = drawn(4, 16)
    how = Batching(batch=4, classes=3, steps=LARGER, augment=augment)
    (inputs, targets), *_ = batches(pictures, how, epoch=0, world=CPU)
    for row, found in enumerate(inputs[:, 0]):
        fits = [
            np.abs(np.asarray(Image.fromarray(picture[0]).resize((8, 8), Image.Resampling.BILINEAR)) - found.numpy())
            for picture in pictures.pixels
        ]
        place = int(np.argmin([fit.max() for fit in fits]))
        assert fits[place].max() <= 1
        assert int(targets[row].argmax()) == pictures.labels[place]


def test_crops_come_out_in_the_size_of_the_input() -> None:
    how = Batching(batch=3, classes=3, steps=LARGER, augment=Augment(crop_area=0.5, source_px=16))
    assert [tuple(x.shape) for x, _ in batches(drawn(7, 16), how, epoch=0, world=CPU)] == [(3, 1, 8, 8), (4, 1, 8, 8)]


def by_target(pictures: Pictures, how: Batching) -> dict[int, np.ndarray]:
    """Sample id to input of one epoch; labels are unique here."""
    ids = dict(zip(pictures.labels.tolist(), pictures.ids.tolist()))
    return {
        ids[int(target.argmax())]: found.numpy()
        for inputs, targets in batches(pictures, how, epoch=2, world=CPU)
        for found, target in zip(inputs, targets)
    }


def test_a_picture_is_varied_alike_among_all_and_among_some_and_from_a_mapped_file(tmp_path: Path) -> None:
    """To 1e-3 of 255, since a batch's size may choose another kernel; the mapped file itself is bit for bit the same,
    and is not written to."""
    plain = drawn(12, 16)
    all_of_them = Pictures(plain.pixels, np.arange(12), plain.ids)
    rows = np.array([1, 4, 5, 9])
    few = Pictures(plain.pixels[rows], rows, plain.ids[rows])
    path = tmp_path / "pixels.npy"
    np.save(path, plain.pixels)
    before = path.read_bytes()
    mapped = Pictures(np.load(path, mmap_mode="c"), np.arange(12), plain.ids)
    augment = Augment(crop_area=0.4, flip=True, colour=0.3, cutout_px=2)
    how = Batching(batch=5, classes=12, steps=LARGER, augment=augment, seed=3)
    whole, part, from_file = by_target(all_of_them, how), by_target(few, how), by_target(mapped, how)
    assert sorted(part) == sorted(plain.ids[rows].tolist())
    for sample, found in part.items():
        np.testing.assert_allclose(found, whole[sample], rtol=0, atol=1e-3)
    assert all(np.array_equal(from_file[sample], found) for sample, found in whole.items())
    assert path.read_bytes() == before


def test_an_epoch_that_begins_within_is_the_end_of_the_whole_one_bit_for_bit() -> None:
    how = Batching(batch=3, classes=3, steps=STEPS, augment=Augment(shift_px=1, flip=True, mixup=0.2), seed=5)
    whole = list(batches(numbered(11), how, epoch=1, world=CPU))
    for first in range(len(whole) + 1):
        rest = list(batches(numbered(11), how, epoch=1, world=CPU, first=first))
        assert len(rest) == len(whole) - first
        for (inputs, targets), (again, same) in zip(whole[first:], rest):
            assert torch.equal(inputs, again)
            assert torch.equal(targets, same)


def test_pictures_whose_channels_lie_last_give_the_same_batches() -> None:
    """As those of a packed dataset lie in their file; a network would round another way on another order of memory."""
    pixels = np.random.default_rng(0).integers(0, 256, (9, 2, 2, 3), dtype=np.uint8).transpose(0, 3, 1, 2)
    steps = ImageSteps(channels=3, resize=None, crop=(2, 2), mean=(3.0,) * 3, std=(2.0,) * 3)
    for augment in (None, Augment(flip=True)):
        how = Batching(batch=4, classes=3, steps=steps, augment=augment)
        found = [
            [inputs for inputs, _ in batches(Pictures(held, np.arange(9) % 3, np.arange(9)), how, epoch=1, world=CPU)]
            for held in (pixels, np.ascontiguousarray(pixels))
        ]
        for one, two in zip(*found):
            assert one.is_contiguous()
            assert torch.equal(one, two)
