# SPDX-License-Identifier: Apache-2.0
"""One training run before it happens: network, recipe, data, seed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from fireforge.base.cost import Cost
from fireforge.base.preprocess import Preprocess
from fireforge.base.spec import NetSpec
from fireforge.base.value import LATER, Value

Precision = Literal["float32", "bfloat16", "float16"]
Layout = Literal["contiguous", "channels_last"]


@dataclass(frozen=True, kw_only=True)
class Augment(Value):
    """How training pictures are varied; each amount is drawn from (seed, epoch, sample id).

    Args:
      shift_px: greatest shift, uniform, in pixels of the input, by up, down, left and right.
      rotate_deg: greatest rotation to either side.
      scale: greatest change of size, as a share.
      flip: mirror left to right with probability 1/2.
      cutout_px: side of a square that is set to the mean.
      mixup: alpha of mixup's Beta distribution (Zhang et al. 2018); 0 is off.
      crop_area: least share of the picture that a random crop takes, its sides in 3 to 4 to 4 to 3, resized to the
        input (Szegedy et al. 2014); 1 is off.
      colour: greatest change of brightness, contrast and saturation, as a share.
      source_px: side of the square at which a training picture is kept, from which the crop is taken; 0 for the size
        of the input.
    """

    shift_px: float = 0.0
    rotate_deg: float = 0.0
    scale: float = 0.0
    flip: bool = False
    cutout_px: int = 0
    mixup: float = 0.0
    crop_area: float = 1.0
    colour: float = 0.0
    source_px: int = 0


@dataclass(frozen=True, kw_only=True)
class Recipe(Value):
    """How a network is trained; a recipe is a function that returns one of these.

    Args:
      epochs: passes over the training part.
      batch: samples an update.
      lr: greatest learning rate.
      momentum: of SGD, or beta 1 of AdamW.
      weight_decay: not on biases and norms.
      warmup_epochs: linear ramp from 0, every step.
      optimizer: "sgd" (Nesterov), "adamw", or "muon", SGD that turns convolutions (`fireforge.train.muon.Muon`).
      schedule: after the warm-up.
      label_smoothing: share spread over all classes (Szegedy et al. 2016).
      ema: decay of the averaged weights at each step; 0 is off.
      augment: variation of the pictures.
      precision: "float32", or autocast to "bfloat16" or "float16"; in the latter the loss is scaled.
      layout: of pictures and weights in memory; the numbers differ by rounding, and by what a dropout drops; where
        the device's kernels are not sound in it, the other one is taken.
      compile: whether torch.compile makes the training's kernels.
      whiten: whether the first convolution starts as the whitening of its patches and is not trained
        (`fireforge.train.whitening.whiten`).
      bias_times: rate of biases, the shifts of norms too, over that of the others.
      turn: angle in radians by which "muon" turns a convolution's kernel at the greatest rate; `lr` is for all others.
    """

    epochs: int
    batch: int = 64
    lr: float = 0.05
    momentum: float = 0.9
    weight_decay: float = 5e-4
    warmup_epochs: float = 1.0
    optimizer: Literal["sgd", "adamw", "muon"] = "sgd"
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    label_smoothing: float = 0.0
    ema: float = 0.0
    augment: Augment = Augment()
    precision: Precision = "float32"
    layout: Layout = "contiguous"
    compile: bool = False
    whiten: bool = field(default=False, metadata=LATER)
    bias_times: float = field(default=1.0, metadata=LATER)
    turn: float = field(default=0.06, metadata=LATER)


@dataclass(frozen=True, kw_only=True)
class DataRef(Value):
    """Which pictures: enough to find them again and to know that they are the same.

    Args:
      source: a path, or the name of a dataset that comes with a dependency ("digits").
      sha256: over the samples' names, labels and contents; "" to skip the check.
      seed: of the split.
      val_share: share of what is not the test part.
      test_share: share of all; used only where the data has no test part of its own.
    """

    source: str
    sha256: str = ""
    seed: int = 0
    val_share: float = 0.15
    test_share: float = 0.2


@dataclass(frozen=True, kw_only=True)
class Trial(Value):
    """What `fireforge.train.trial.run_trial` trains.

    Args:
      spec: the network.
      recipe: how.
      data: on what.
      preprocess: how a picture becomes its input.
      seed: of weights, order and augmentation.
      rung: of the search; more epochs on a higher one.
      parts: which parts are trained on; ("train", "val") for a last training without selection.
      cost: counted before training, carried into the record.
      start: digest of the trial of the same network, or of the model, whose weights this one starts from; "" for fresh
        weights.
      threads: of one training on a CPU; rounding depends on it.
      pictures: of the training part that are used, evenly taken; 0 for all.
      val_pictures: of the validation part that are judged, likewise.
      streamed: whether pictures are decoded anew in each epoch, so that random crops come from the pictures as they are
        stored.
    """

    spec: NetSpec
    recipe: Recipe
    data: DataRef
    preprocess: Preprocess
    seed: int = 0
    rung: int = 0
    parts: tuple[str, ...] = ("train",)
    cost: Cost | None = None
    start: str = ""
    threads: int = 1
    pictures: int = 0
    val_pictures: int = 0
    streamed: bool = field(default=False, metadata=LATER)
