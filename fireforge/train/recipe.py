# SPDX-License-Identifier: Apache-2.0
"""Recipes: functions that return one."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from fireforge.base.trial import Augment, Recipe

FEW = 5_000  # training pictures below which samples are blended
MIXED_EPOCHS = 20  # epochs from which strong variation pays
ADAM_LR = 5e-5  # of a trained network without batch norms
ROOM = 1.3  # side of the kept training pictures over that of the input, where crops are taken from them


@dataclass(frozen=True, kw_only=True)
class Traits:
    """What a recipe is fitted to.

    Args:
      samples: of the training part.
      channels: of the input.
      size_px: shorter side of the input.
      kept_px: shorter side of most pictures, as they are stored; equal to size_px where they are not reduced.
      mirror: whether a mirrored picture keeps its class; digits and text do not.
      normed: whether the network has batch norms.
    """

    samples: int
    channels: int
    size_px: int
    kept_px: int
    mirror: bool = False
    normed: bool = True


def fitted(traits: Traits, *, epochs: int) -> Recipe:
    """The recipe for given data: `photographs` where larger colour pictures are reduced, otherwise `small_images`.

    Args:
      traits: of the data.
      epochs: passes over it.

    Returns:
      The recipe.
    """
    if traits.channels == 3 and traits.kept_px > 64:
        return photographs(traits, epochs=epochs)
    recipe = small(traits, epochs=epochs)
    return natural(recipe, traits) if traits.channels == 3 and traits.mirror else recipe


def gentle(traits: Traits, *, epochs: int) -> Recipe:
    """The recipe for a network that is trained already: a tenth of the rate of `fitted`, nothing blended.

    Without batch norms the size of the gradients is that of the inputs, which some feed as pixel values of 0 to 255:
    such a network is trained by AdamW, whose steps do not depend on it.

    Args:
      traits: of the data.
      epochs: passes over it.

    Returns:
      The recipe.

    Source:
      Girshick et al. 2014, section 2.3, fine-tune at a tenth of the rate of the first training; Loshchilov and Hutter
      2019 (AdamW).
    """
    recipe = fitted(traits, epochs=epochs)
    recipe = recipe.replace(lr=recipe.lr / 10, augment=recipe.augment.replace(mixup=0.0, cutout_px=0))
    return recipe if traits.normed else recipe.replace(optimizer="adamw", lr=ADAM_LR)


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


def airbench(*, epochs: int, batch: int = 512) -> Recipe:
    """The recipe of a race on small colour pictures: few epochs, a high rate, a whitened first convolution.

    Args:
      epochs: passes over the data, some ten.
      batch: samples an update; the rate grows with it.

    Returns:
      The recipe; bfloat16, with channels last.

    Source:
      Jordan 2024, "94% on CIFAR-10 in 3.29 seconds": momentum 0.85, rate, decay, smoothing, the rate's peak at 23 % of
      the way, biases 64 times as fast, shifts of 2 px. What is not taken over: the average that leads the weights back
      (Lookahead), scales of norms that are held at 1, and the decay of biases. His loss is a sum over the batch; here
      it is a mean, so that the rate is his times the batch.
    """
    return Recipe(
        epochs=epochs,
        batch=batch,
        lr=1.5 * batch / 1024,
        momentum=0.85,
        weight_decay=1.33e-3,
        warmup_epochs=0.23 * epochs,
        schedule="linear",
        label_smoothing=0.2,
        augment=Augment(shift_px=2.0, flip=True),
        precision="bfloat16",
        layout="channels_last",
        whiten=True,
        bias_times=64.0,
    )


def muon(*, epochs: int, batch: int = 512) -> Recipe:
    """`airbench`, but convolutions are turned, the rate falls from the first step on, and weights are averaged.

    Args:
      epochs: passes over the data, some ten.
      batch: samples an update; the rate grows with it, the angle with its root.

    Returns:
      The recipe; bfloat16, with channels last.

    Source:
      Jordan et al. 2024, "Muon", and the author's training of CIFAR-10 by it: the shape of the rate, and its size for
      all that is no convolution. The angle, the average and one momentum for all were chosen here, on validation.
    """
    plain = airbench(epochs=epochs, batch=batch)
    turn = 0.06 * math.sqrt(batch / 512)
    return plain.replace(optimizer="muon", lr=0.84 * batch / 1024, turn=turn, warmup_epochs=0.0, ema=0.99)


def small(traits: Traits, *, epochs: int) -> Recipe:
    """`small_images` for any data.

    Args:
      traits: of the data.
      epochs: passes over it.

    Returns:
      The recipe.
    """
    return small_images(samples=traits.samples, size_px=traits.size_px, epochs=epochs, mirror=traits.mirror)


def natural(recipe: Recipe, traits: Traits) -> Recipe:
    """Shifts, mirrors and holes instead of turns (DeVries and Taylor 2017), and half as high a rate again.

    A ResNet of 24 million MACs on CIFAR-10, 8 epochs: 81.9, 83.8 and 84.2 % on validation at 0.12, 0.2 and 0.4.
    """
    side = traits.size_px
    holes = side // 4 if recipe.epochs >= MIXED_EPOCHS else 0
    augment = Augment(shift_px=side / 10, flip=True, cutout_px=holes)
    return recipe.replace(augment=augment, label_smoothing=0.1, lr=1.5 * recipe.lr)


def photographs(traits: Traits, *, epochs: int) -> Recipe:
    """Random crops, mirrors, colours and, where pictures are few, blends of two.

    Args:
      traits: of the data.
      epochs: passes over it.

    Returns:
      The recipe.

    Source:
      Szegedy et al. 2014 (crops), Howard 2013 (colours), Zhang et al. 2018 (blends).
    """
    batch = 128 if traits.samples >= 10_000 else 64 if traits.samples >= 1_000 else 32
    long = epochs >= MIXED_EPOCHS
    augment = Augment(
        crop_area=0.35 if long else 0.6,
        flip=traits.mirror,
        rotate_deg=0.0 if traits.mirror else 10.0,
        colour=0.3,
        mixup=0.2 if long and traits.samples < FEW else 0.0,
        source_px=min(traits.kept_px, round(traits.size_px * ROOM / 8) * 8),
    )
    return Recipe(
        epochs=epochs,
        batch=batch,
        lr=0.1 * batch / 64,
        weight_decay=5e-4,
        warmup_epochs=min(3.0, epochs / 5),
        label_smoothing=0.1,
        ema=0.99,
        augment=augment,
    )


def race(law: Callable[..., Recipe], batch: int, traits: Traits, *, epochs: int) -> Recipe:
    """`airbench` or `muon` for any data: shifts by a sixteenth of the side, mirrors where they keep the class.

    Args:
      law: one of the two.
      batch: samples an update where there are 10,000 or more.
      traits: of the data.
      epochs: passes over it.

    Returns:
      The recipe.
    """
    recipe = law(epochs=epochs, batch=batch if traits.samples >= 10_000 else 64 if traits.samples >= 1_000 else 32)
    shift = max(1.0, round(traits.size_px / 16))
    return recipe.replace(augment=recipe.augment.replace(shift_px=shift, flip=traits.mirror))


RECIPES: dict[str, Callable[..., Recipe]] = {
    "airbench": partial(race, airbench, 256),
    "muon": partial(race, muon, 512),
    "fitted": fitted,
    "photographs": photographs,
    "small_images": small,
    "gentle": gentle,
}
