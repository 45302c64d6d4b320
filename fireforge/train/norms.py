# SPDX-License-Identifier: Apache-2.0
"""Statistics of batch norms, estimated anew for the weights that will be used."""

from __future__ import annotations

import dataclasses

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from fireforge.base.rng import permutation
from fireforge.base.trial import Augment
from fireforge.train.feed import Batching, Source, batches
from fireforge.train.world import World

BATCH = 256  # pictures at a time; the more, the nearer is a batch to the whole


@torch.no_grad()
def refresh_norms(module: nn.Module, pictures: Source, batching: Batching, *, world: World, most: int = 4096) -> None:
    """Replace the running mean and variance of every batch norm by those of the training pictures under these weights.

    Averaged weights come with the statistics of the last ones, and after a few updates a running mean is mostly where
    it started. One forward pass gives each batch norm the mean over pictures of its batches' means and variances; all
    else, dropout too, is as in use. A module without batch norms is left alone.

    Args:
      module: on the world's device; its mode is left as it was.
      pictures: of the training part.
      batching: normalization and seed are used, variation is not.
      world: where it runs.
      most: pictures that are used, drawn by the seed where there are more.

    Source:
      Wu and Johnson 2021 (Rethinking "Batch" in BatchNorm), section 3: PreciseBN.
    """
    norms = [layer for layer in module.modules() if isinstance(layer, _BatchNorm) and layer.running_mean is not None]
    if not norms or not len(pictures):
        return
    modes = [(layer, layer.training) for layer in module.modules()]
    momenta = [layer.momentum for layer in norms]
    plain = dataclasses.replace(batching, batch=BATCH, augment=Augment())
    module.eval()
    for layer in norms:
        layer.train()
    seen = 0
    for inputs, _ in batches(_some(pictures, batching.seed, most), plain, epoch=0, world=world):
        seen += len(inputs)
        for layer in norms:
            layer.momentum = len(inputs) / seen
        module(inputs)
    for layer, momentum in zip(norms, momenta):
        layer.momentum = momentum
    for part, mode in modes:
        part.training = mode


def _some(pictures: Source, seed: int, most: int) -> Source:
    """So many pictures at most, drawn from the seed: files often lie class by class."""
    if len(pictures) <= most:
        return pictures
    rows = permutation(seed, 0, len(pictures))[:most]
    return pictures.take(rows)
