# SPDX-License-Identifier: Apache-2.0
"""What may be asked of a training and of a build, beside the data and the limits."""

from __future__ import annotations

from dataclasses import dataclass, field

from fireforge.base.trial import Layout, Precision, Recipe
from fireforge.base.value import Value


@dataclass(frozen=True, kw_only=True)
class Manner(Value):
    """How the numbers of a training are computed; None for what the recipe says.

    Args:
      precision: of Recipe.
      layout: of Recipe.
      compile: of Recipe.
      threads: of a CPU.
      tune: whether a short trial chooses what is None.
    """

    precision: Precision | None = None
    layout: Layout | None = None
    compile: bool | None = None
    threads: int | None = None
    tune: bool = False


@dataclass(frozen=True, kw_only=True)
class Settings(Value):
    """What may differ from the recipe.

    Args:
      net: a name of `fireforge.nets.families.NETWORKS`; "" where a model is trained on.
      epochs: passes over the training part; None for the recipe's.
      recipe: a name of `fireforge.train.recipe.RECIPES`, or a file such as a run's recipe.json; "" for the usual one.
      given: the recipe of that file.
      batch: samples an update; None for the recipe's.
      lr: greatest learning rate; None for the recipe's.
      seed: of split, weights, order and variation.
      device: "auto", "cpu", "cuda" or "cuda:N".
      image_size: side of the input in px; None to choose by the pictures.
      model: digest of the model that is trained on; "" for a network from nothing.
      workers: processes that decode pictures anew in each epoch, 0 for the training's own; None to keep them in memory
        where it allows.
      manner: precision, layout, kernels and threads.
    """

    net: str = "firenet-small"
    epochs: int | None = None
    recipe: str = ""
    given: Recipe | None = None
    batch: int | None = None
    lr: float | None = None
    seed: int = 0
    device: str = "auto"
    image_size: int | None = None
    model: str = ""
    workers: int | None = None
    manner: Manner = field(default_factory=Manner)


@dataclass(frozen=True, kw_only=True)
class Wish(Value):
    """How a build goes about it.

    Args:
      seed: of split, draws, weights and order.
      device: "auto", "cpu", "cuda" or "cuda:N".
      image_size: side of the input in px; None to choose by the pictures.
      net: a name of `fireforge.nets.families.NETWORKS`, to train it alone; "" to search.
      earlier: folder of a run whose winner and trials this build starts from; "" for none.
      replay: folder of a run whose choices are taken instead of measured ones; "" for none.
    """

    seed: int = 0
    device: str = "auto"
    image_size: int | None = None
    net: str = ""
    earlier: str = ""
    replay: str = ""
