# SPDX-License-Identifier: Apache-2.0
"""A first convolution that makes the numbers of its patches independent and equally large."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from torch import nn

from fireforge.base.errors import FireforgeError
from fireforge.train.feed import Batching, Source, batches
from fireforge.train.world import World

PICTURES = 5000  # from which the patches are taken
EPSILON = 5e-4  # added to each variance, so that directions without content are not blown up
BLOCK = 500  # pictures at a time


def whiten(module: nn.Module, pictures: Source, batching: Batching) -> None:
    """Set the first convolution to the whitening of its patches, and take its weights out of the training.

    The filters are the directions in which the patches of the training pictures vary, by falling variance, each
    divided by the standard deviation along it; the second half of them are the same with the other sign, so that a
    rectifier behind them loses nothing. A bias stays as it is and is trained.

    Args:
      module: changed in place; its first convolution reads the pictures.
      pictures: of the training part; PICTURES of them, evenly taken, are used.
      batching: its normalization is used.

    Raises:
      FireforgeError: BAD_SPEC, if the first convolution has an odd number of filters, or more than twice as many as
        a patch has numbers.

    Source:
      Jordan 2024, section 3.2, after Page 2019 ("How to train your ResNet 8").
    """
    first = first_convolution(module)
    numbers = first.weight[0].numel() if first is not None else 0
    if first is None or first.groups != 1 or first.out_channels % 2 or first.out_channels > 2 * numbers:
        begun = "no convolution" if first is None else f"{first.out_channels} filters over {numbers} numbers"
        what = f"a network that begins with {begun} cannot whiten"
        allowed = f"an even number of filters, at most {2 * numbers}"
        raise FireforgeError("BAD_SPEC", what, allowed=allowed, do="such as airbench-small, or a recipe without whiten")
    side = (int(first.kernel_size[0]), int(first.kernel_size[1]))
    filters = directions(patch_products(pictures, batching, side))[: first.out_channels // 2]
    both = np.concatenate([filters, -filters]).reshape(first.weight.shape)
    with torch.no_grad():
        first.weight.copy_(torch.from_numpy(both.astype(np.float32)))
    first.weight.requires_grad_(False)


def first_convolution(module: nn.Module) -> nn.Conv2d | None:
    """The convolution that reads the pictures; None where there is none."""
    return next((layer for layer in module.modules() if isinstance(layer, nn.Conv2d)), None)


def patch_products(pictures: Source, batching: Batching, side: tuple[int, int]) -> np.ndarray:
    """Mean of the products of the numbers of a patch, each with each.

    Args:
      pictures: PICTURES of them, evenly taken, are used.
      batching: its normalization is used.
      side: height and width of a patch; all places of a picture are used.

    Returns:
      float64 (n, n), n numbers a patch: channel, row, column.
    """
    numbers = batching.steps.channels * side[0] * side[1]
    total, seen = torch.zeros(numbers, numbers, dtype=torch.float64), 0
    spread = np.unique(np.linspace(0, len(pictures) - 1, min(PICTURES, len(pictures)), dtype=np.int64))
    plain = dataclasses.replace(batching, batch=BLOCK, augment=None)
    for inputs, _ in batches(pictures.take(spread), plain, epoch=0, world=World(device=torch.device("cpu"))):
        columns = torch.nn.functional.unfold(inputs, side).transpose(0, 1).reshape(numbers, -1)
        total += (columns @ columns.T).double()
        seen += columns.shape[1]
    return (total / seen).numpy()


def directions(products: np.ndarray) -> np.ndarray:
    """The rows of a whitening matrix, by falling variance.

    Args:
      products: float64 (n, n), symmetric: means of products.

    Returns:
      float64 (n, n): row i times a patch has a mean square of 1, but for EPSILON, and is independent of the others.
      The greatest number of a row is positive.
    """
    variances, vectors = np.linalg.eigh(products)
    rows = (vectors / np.sqrt(np.maximum(variances, 0) + EPSILON)).T[::-1]
    greatest = np.take_along_axis(rows, np.abs(rows).argmax(axis=1)[:, None], axis=1)
    turned: np.ndarray = rows * np.sign(greatest)
    return turned
