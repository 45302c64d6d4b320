# SPDX-License-Identifier: Apache-2.0
"""Batches: each sample once, in an order that (seed, epoch) fixes, normalized by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

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
