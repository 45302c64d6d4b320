# SPDX-License-Identifier: Apache-2.0
"""Whitened patches against numpy, patch by patch; and a first convolution that training leaves alone."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from fireforge.base.errors import FireforgeError
from fireforge.base.preprocess import ImageSteps, Preprocess
from fireforge.base.trial import DataRef, Trial
from fireforge.nets.families import NETWORKS, build_graph
from fireforge.nets.module import GraphModule
from fireforge.train import whitening
from fireforge.train.feed import Batching, Pictures, Ready
from fireforge.train.optimizer import make_optimizer
from fireforge.train.recipe import airbench
from fireforge.train.trial import run_trial, weights_path
from fireforge.train.weights import read_weights

STEPS = ImageSteps(channels=3, resize=None, crop=(8, 8), mean=(120.0, 110.0, 100.0), std=(50.0, 60.0, 70.0))
BATCHING = Batching(batch=16, classes=4, steps=STEPS)


def pictures(count: int = 60) -> Pictures:
    """Smooth, coloured noise: neighbours and channels are alike."""
    rng = np.random.default_rng(0)
    rough = rng.normal(size=(count, 3, 9, 9)) + rng.normal(size=(count, 1, 9, 9))
    smooth = rough[:, :, 1:, 1:] + rough[:, :, :-1, :-1] + rough[:, :, 1:, :-1]
    pixels = np.clip(110 + 25 * smooth, 0, 255).astype(np.uint8)
    return Pictures(pixels=pixels, labels=np.arange(count) % 4, ids=np.arange(count))


def patches(held: Pictures) -> np.ndarray:
    """All 2x2 patches, one a row: float64 (n, 12)."""
    mean, std = (np.array(part).reshape(1, 3, 1, 1) for part in (STEPS.mean, STEPS.std))
    x = (held.pixels - mean) / std
    return np.array([p[:, i : i + 2, j : j + 2].reshape(-1) for p in x for i in range(7) for j in range(7)])


def network(**params) -> GraphModule:
    own = {"widths": "8,8", **params}
    return GraphModule(build_graph(NETWORKS["airbench94"](4, input_shape=(3, 8, 8), params=own)))


def test_filters_are_numpys_eigenvectors_over_standard_deviations():
    """float32 sums of products against float64 ones: 1e-4 of the greatest number."""
    module, held = network(), pictures()
    whitening.whiten(module, held, BATCHING)
    rows = patches(held)
    variances, vectors = np.linalg.eigh(rows.T @ rows / len(rows))
    got = module.stem.weight.detach().numpy().reshape(24, 12)
    assert np.array_equal(got[12:], -got[:12])
    for row, variance, vector in zip(got, variances[::-1], vectors.T[::-1]):
        want = vector / np.sqrt(variance + 5e-4)
        assert np.abs(row * np.sign(row @ want) - want).max() < 1e-4 * np.abs(got).max()


def test_what_comes_out_is_white():
    """Mean squares of 1 and no products, but for what is added to the variances: 5e-4 of 0.02 or more."""
    held = pictures()
    filters = whitening.directions(whitening.patch_products(held, BATCHING, (2, 2)))
    out = patches(held) @ filters.T
    assert np.abs(out.T @ out / len(out) - np.eye(12)).max() < 0.03


def test_some_of_many_pictures_are_used_evenly(monkeypatch):
    monkeypatch.setattr(whitening, "PICTURES", 3)
    held = pictures()
    some = Pictures(pixels=held.pixels[[0, 29, 59]], labels=held.labels[:3], ids=held.ids[:3])
    rows = patches(some)
    np.testing.assert_allclose(whitening.patch_products(held, BATCHING, (2, 2)), rows.T @ rows / len(rows), rtol=1e-4)


def test_fewer_filters_than_directions_are_the_strongest():
    module = network(stem=6)
    whitening.whiten(module, pictures(), BATCHING)
    whole = network()
    whitening.whiten(whole, pictures(), BATCHING)
    assert torch.equal(module.stem.weight[:3], whole.stem.weight[:3])


def test_no_optimizer_moves_the_filters():
    module = network()
    whitening.whiten(module, pictures(), BATCHING)
    groups = make_optimizer(module, airbench(epochs=1)).param_groups
    held = {id(p) for group in groups for p in group["params"]}
    assert id(module.stem.weight) not in held
    assert id(module.stem.bias) in held


@pytest.mark.parametrize("stem", [5, 26])
def test_filters_that_are_no_pairs_of_directions_are_refused(stem):
    with pytest.raises(FireforgeError, match=f"{stem} filters over 12 numbers") as caught:
        whitening.whiten(network(stem=stem), pictures(), BATCHING)
    assert caught.value.code == "BAD_SPEC"


def test_a_network_without_convolutions_is_refused():
    with pytest.raises(FireforgeError, match="no convolution"):
        whitening.whiten(torch.nn.Linear(3, 2), pictures(), BATCHING)


def test_a_trial_whitens_and_learns(tmp_path):
    """The weights that are written hold the whitening filters, bit by bit; all other layers moved."""
    spec = NETWORKS["airbench-small"](4, input_shape=(3, 8, 8), params={"widths": "8,8"})
    recipe = airbench(epochs=2, batch=16).replace(precision="float32")
    trial = Trial(spec=spec, recipe=recipe, data=DataRef(source="none"), preprocess=Preprocess(image=STEPS))
    held = pictures()
    nothing = dataclasses.replace(held, pixels=held.pixels[:0], labels=held.labels[:0], ids=held.ids[:0])
    record = run_trial(trial, folder=tmp_path, ready=Ready(train=held, val=nothing), device="cpu", keep=False)
    assert record.accuracy is None
    weights = read_weights(weights_path(tmp_path, trial.digest()))
    module = GraphModule(build_graph(spec))
    whitening.whiten(module, held, BATCHING)
    assert np.array_equal(weights["stem.weight"], module.stem.weight.detach().numpy())
    assert not np.array_equal(weights["stage1.conv1_norm.weight"], np.ones(8, np.float32))
