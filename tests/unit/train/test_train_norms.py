# SPDX-License-Identifier: Apache-2.0
"""Statistics of batch norms against numpy's mean and variance of what reaches them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from fireforge.base.preprocess import ImageSteps
from fireforge.base.trial import Augment, Trial
from fireforge.nets.families import build_graph
from fireforge.nets.module import BatchNorm, GraphModule, initialise
from fireforge.train.feed import Batching, Pictures
from fireforge.train.norms import refresh_norms
from fireforge.train.trial import batching_of, make_ready
from fireforge.train.world import make_world

CPU = make_world("cpu")
STEPS = ImageSteps(channels=3, resize=None, crop=(4, 4), order="RGB", mean=(90.0, 30.0, 60.0), std=(50.0, 20.0, 70.0))
BATCHING = Batching(batch=8, classes=2, steps=STEPS, augment=Augment(shift_px=2.0), seed=3)


def pictures(count: int) -> Pictures:
    """Class by class, the second much brighter."""
    labels = np.arange(count) * 2 // count
    noise = np.random.default_rng(2).integers(0, 100, (count, 3, 4, 4))
    pixels = (noise + 150 * labels[:, None, None, None]).astype(np.uint8)
    return Pictures(pixels=pixels, labels=labels, ids=np.arange(count))


def normalized(found: Pictures) -> np.ndarray:
    mean, std = (np.array(numbers)[:, None, None] for numbers in (STEPS.mean, STEPS.std))
    return np.asarray((found.pixels - mean) / std)


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.BatchNorm2d(3), nn.Dropout(0.5), nn.Conv2d(3, 3, 3), BatchNorm(3, eps=1e-5, momentum=0.1))


def test_one_batch_gives_numpys_mean_and_unbiased_variance_at_every_depth() -> None:
    """1e-4: float32 sums over some thousand numbers; dropout must be off, or the second norm sees other numbers."""
    module, data = net(), pictures(200)
    refresh_norms(module, data, BATCHING, world=CPU)
    x = normalized(data)
    first, second = module[0], module[3]
    np.testing.assert_allclose(first.running_mean, x.mean(axis=(0, 2, 3)), rtol=1e-4)
    np.testing.assert_allclose(first.running_var, x.var(axis=(0, 2, 3), ddof=1), rtol=1e-4)
    centred = (x - x.mean(axis=(0, 2, 3), keepdims=True)) / np.sqrt(x.var(axis=(0, 2, 3), keepdims=True) + 1e-5)
    with torch.no_grad():
        y = module[2](torch.from_numpy(centred).float()).numpy()
    np.testing.assert_allclose(second.running_mean, y.mean(axis=(0, 2, 3)), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(second.running_var, y.var(axis=(0, 2, 3), ddof=1), rtol=1e-4)


def test_several_batches_weigh_by_their_pictures() -> None:
    """600 pictures are batches of 256, 256 and 88. The mean is that of all, 1e-4; the mean of the batches' variances is
    that of all but for how much their means differ: 2 %."""
    module, data = net(), pictures(600)
    refresh_norms(module, data, BATCHING, world=CPU)
    x = normalized(data)
    np.testing.assert_allclose(module[0].running_mean, x.mean(axis=(0, 2, 3)), rtol=1e-4)
    np.testing.assert_allclose(module[0].running_var, x.var(axis=(0, 2, 3)), rtol=0.02)


def test_what_stood_there_is_forgotten_and_modes_and_momenta_are_left() -> None:
    fresh, used, data = net(), net(), pictures(300)
    used.load_state_dict(fresh.state_dict())
    used[0].running_mean += 7
    used[3].running_var *= 9
    used.train()
    used[2].eval()
    refresh_norms(fresh, data, BATCHING, world=CPU)
    refresh_norms(used, data, BATCHING, world=CPU)
    for one, two in ((fresh[0], used[0]), (fresh[3], used[3])):
        assert torch.equal(one.running_mean, two.running_mean)
        assert torch.equal(one.running_var, two.running_var)
    assert [layer.training for layer in used] == [True, True, False, True]
    assert [used[0].momentum, used[3].momentum] == [0.1, 0.1]


def test_many_pictures_are_drawn_by_the_seed_and_not_from_the_front() -> None:
    """512 of 1,024 pictures that lie class by class, the classes 3 apart: half a class too many would move the mean by
    0.75, four standard errors of a fair draw are 0.2."""
    data = pictures(1024)
    found = []
    for seed in (1, 1, 2):
        module = net()
        refresh_norms(module, data, dataclasses.replace(BATCHING, seed=seed), world=CPU, most=512)
        found.append(module[0].running_mean.clone())
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])
    np.testing.assert_allclose(found[0][0], normalized(data)[:, 0].mean(), atol=0.2)


def test_a_module_without_norms_and_one_without_pictures_are_left_alone() -> None:
    def forbidden(*_: object) -> None:
        raise AssertionError("no pass is needed")

    plain = nn.Sequential(nn.Conv2d(3, 3, 3), nn.LayerNorm(2), nn.BatchNorm2d(3, track_running_stats=False))
    plain.register_forward_pre_hook(forbidden)
    refresh_norms(plain, pictures(20), BATCHING, world=CPU)
    module = net()
    module.register_forward_pre_hook(forbidden)
    refresh_norms(module, pictures(0), BATCHING, world=CPU)


def test_every_norm_of_a_real_network_is_refreshed(make_trial: Callable[..., Trial]) -> None:
    trial = make_trial()
    module = GraphModule(build_graph(trial.spec))
    initialise(module, 0)
    before = {name: buffer.clone() for name, buffer in module.named_buffers()}
    refresh_norms(module, make_ready(trial).train, batching_of(trial), world=CPU)
    assert len(before) >= 2
    for name, buffer in module.named_buffers():
        assert not torch.equal(buffer, before[name]), name
