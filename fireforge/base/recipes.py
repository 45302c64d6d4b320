# SPDX-License-Identifier: Apache-2.0
"""How pictures are made ready for well-known networks, by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from fireforge.base.errors import FireforgeError, lookup
from fireforge.base.preprocess import ImageSteps

LARGE_PX = 192  # crops of at least so many pixels are cut from pictures whose shorter side is first resized to ...
SHORT_PX = 256  # ... this; smaller inputs see the whole picture, stretched

Order = Literal["L", "RGB", "BGR"]
# order of the channels, mean and deviation of each, in pixel values 0 to 255
RECIPES: Mapping[str, tuple[Order, tuple[float, ...], tuple[float, ...]]] = {
    "caffe": ("BGR", (104.0, 117.0, 123.0), (1.0, 1.0, 1.0)),  # of Caffe's model zoo
    "torchvision": ("RGB", (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),  # and of most of timm
    "unit": ("RGB", (0.0, 0.0, 0.0), (255.0, 255.0, 255.0)),  # 0 to 1
    "symmetric": ("RGB", (127.5, 127.5, 127.5), (127.5, 127.5, 127.5)),  # -1 to 1: Keras' MobileNets, TFLite's files
    "pixels": ("RGB", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),  # as they are
    "gray": ("L", (0.0,), (255.0,)),  # 0 to 1
}


def steps_of(name: str, shape: tuple[int, int, int]) -> ImageSteps:
    """The steps of a recipe for one input.

    Args:
      name: of RECIPES.
      shape: (C, H, W) of the input.

    Returns:
      The steps.

    Raises:
      FireforgeError: UNKNOWN_NAME; BAD_PREPROCESS, if the recipe has another number of channels.
    """
    order, mean, std = lookup(RECIPES, name, "preprocessing")
    channels, *crop = shape
    if channels != len(order):
        raise FireforgeError("BAD_PREPROCESS", f"{name!r} makes {len(order)} channels, the network takes {channels}")
    resize = SHORT_PX if LARGE_PX <= min(crop) <= SHORT_PX else (crop[0], crop[1])
    return ImageSteps(channels=channels, resize=resize, crop=(crop[0], crop[1]), order=order, mean=mean, std=std)
