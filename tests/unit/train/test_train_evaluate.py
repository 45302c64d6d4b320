# SPDX-License-Identifier: Apache-2.0
"""Outputs in order, and loss and accuracy by numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from fireforge.base.preprocess import ImageSteps
from fireforge.base.trial import Augment
from fireforge.train.evaluate import judge, logits_of
from fireforge.train.feed import Batching, Pictures
from fireforge.train.world import make_world

STEPS = ImageSteps(channels=1, resize=None, crop=(1, 1), order="L", mean=(0.0,), std=(1.0,))
HOW = Batching(batch=16, classes=2, steps=STEPS, augment=Augment(shift_px=1.0, flip=True), seed=1)


def shades(count: int) -> Pictures:
    numbers = np.arange(count)
    pixels = (numbers % 256).astype(np.uint8).reshape(-1, 1, 1, 1)
    return Pictures(pixels=pixels, labels=numbers % 2, ids=numbers)


def test_judge_by_hand() -> None:
    logits = np.array([[0.0, 0.0], [np.log(3), 0.0], [0.0, np.log(3)]], np.float32)
    found = judge(logits, np.array([0, 0, 0]))
    # -log of 1/2, 3/4, 1/4; of the equal pair the first class is the answer; 1e-6 for float32
    assert found["loss"] == pytest.approx((np.log(2) + np.log(4 / 3) + np.log(4)) / 3, rel=1e-6)
    assert found["accuracy"] == pytest.approx(2 / 3)


@pytest.mark.parametrize("count", [1, 255, 256, 257, 600])
def test_every_picture_comes_once_in_order_unvaried_and_the_module_keeps_its_mode(count: int) -> None:
    module = nn.Sequential(nn.Flatten(), nn.Dropout(0.9), nn.Linear(1, 2))
    for mode in (True, False):
        module.train(mode)
        found = logits_of(module, shades(count), HOW, world=make_world("cpu"))
        assert module.training is mode
        layer = module[2]
        wanted = (np.arange(count) % 256)[:, None] * layer.weight.detach().numpy()[:, 0] + layer.bias.detach().numpy()
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-4)  # float32 of numbers up to 255
        assert not found.flags.writeable or found.dtype == np.float32


def test_other_weights_are_used_without_a_change_to_the_module() -> None:
    module = nn.Sequential(nn.Flatten(), nn.Linear(1, 2))
    before = {name: value.clone() for name, value in module.state_dict().items()}
    state = {"1.weight": torch.tensor([[1.0], [2.0]]), "1.bias": torch.tensor([10.0, 20.0])}
    found = logits_of(module, shades(3), HOW, world=make_world("cpu"), state=state)
    assert found.tolist() == [[10, 20], [11, 22], [12, 24]]
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())


def test_no_pictures_give_an_empty_table() -> None:
    found = logits_of(nn.Flatten(), shades(0), HOW, world=make_world("cpu"))
    assert found.shape == (0, 2)
