# SPDX-License-Identifier: Apache-2.0
"""Recipes: functions that return one."""

from __future__ import annotations

from fireforge.base.trial import Augment, Recipe


def small_images(*, samples: int, size_px: int, epochs: int, mirror: bool = False) -> Recipe:
    """SGD with one warm-up and a cosine, light geometric variation, averaged weights.

    For some hundred to some ten thousand pictures of 8 to 64 px, trained from nothing. The batch shrinks with the data,
    so that an epoch of 640 pictures or more has at least 20 updates.

    Args:
      samples: of the training part.
      size_px: shorter side of the input.
      epochs: passes over the data.
      mirror: whether a mirrored picture keeps its class; digits and text do not.

    Returns:
      The recipe.
    """
    batch = 128 if samples >= 10_000 else 64 if samples >= 2_000 else 32
    augment = Augment(shift_px=max(1.0, size_px / 10), rotate_deg=12.0, scale=0.12, flip=mirror)
    return Recipe(
        epochs=epochs,
        batch=batch,
        lr=0.1 * batch / 64,
        weight_decay=5e-4,
        warmup_epochs=min(2.0, epochs / 5),
        label_smoothing=0.05,
        ema=0.995,
        augment=augment,
    )
