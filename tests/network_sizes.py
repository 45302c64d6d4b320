# SPDX-License-Identifier: Apache-2.0
"""The smallest pictures that published networks take, and which of them are too heavy for the quick tests."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

LEAST_PX = {  # by network and by family; all others take 32 px
    **dict.fromkeys(("alexnet", "alexnet-owt", "alexnet-paper", "alexnet-ungrouped", "caffenet", "nin"), 55),
    **dict.fromkeys(("googlenet", "googlenet-naive", "squeezenet-1.0", "squeezenet-1.1"), 48),
    **dict.fromkeys(("squeezenet-1.0-complex-bypass", "squeezenet-1.0-simple-bypass"), 48),
    "googlenet-aux": 79,
}
HEAVY = {  # more than 20 million parameters or 100 million MACs on that picture, or the like of one that is not here
    *("alexnet-owt", "alexnet-paper", "alexnet-ungrouped", "caffenet", "googlenet-aux", "googlenet-naive", "nin-small"),
    *("vgg-a-lrn", "vgg-b", "vgg-c", "vgg-d", "vgg-e"),
    *("cifar-plain-56", "cifar-resnet-56", "cifar-resnet-110", "plain-34", "resnet-34", "resnet-101", "resnet-152"),
    *("resnext-50-32x4d", "resnext-101-32x4d", "resnext-101-64x4d", "regnetx-3.2gf", "regnety-3.2gf"),
    *("cifar-plain-32", "cifar-plain-44", "cifar-resnet-32", "cifar-resnet-44", "plain-18"),
    *(f"regnet{kind}-{size}" for kind in "xy" for size in ("400mf", "600mf", "800mf", "1.6gf")),
    *("mobilenet-v1", "mobilenet-v3-large", "shufflenet-v2-1.0", "shufflenet-v2-1.5", "shufflenet-v2-2.0"),
    "squeezenet-1.0-simple-bypass",
}


def shape_of(name: str, shape: tuple[int, int, int]) -> tuple[int, int, int]:
    """The shape, or a greater one where the network needs it."""
    least = LEAST_PX.get(name, 32)
    return shape[0], max(shape[1], least), max(shape[2], least)


def marked(names: Iterable[str]) -> list[object]:
    """The names as parameters of a test that runs them; the heavy ones run at night."""
    return [pytest.param(name, marks=pytest.mark.slow) if name in HEAVY else name for name in sorted(names)]
