# SPDX-License-Identifier: Apache-2.0
"""How the first numbers of a network's layers are drawn, where its authors say so."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from fireforge.base.errors import lookup
from fireforge.base.value import Value


@dataclass(frozen=True, kw_only=True)
class Filler(Value):
    """The law of some layers' first numbers.

    Args:
      layers: pattern of layer names, as "conv?" or "*.squeeze"; the first filler that fits a layer counts.
      law: a name of LAWS.
      amount: what the law takes: a standard deviation, a bound, a value; 0 for laws that follow from the fan.
      bias: value of the layer's biases.

    Raises:
      FireforgeError: UNKNOWN_NAME, if there is no such law.
    """

    layers: str
    law: str
    amount: float = 0.0
    bias: float = 0.0

    def __post_init__(self) -> None:
        """Refuse a law that is not known."""
        lookup(LAWS, self.law, "law of first weights")


@dataclass(frozen=True, kw_only=True)
class Spread(Value):
    """A distribution around 0, or one value.

    Args:
      std: of a normal distribution; None for none.
      bound: of a uniform distribution between -bound and bound; None for none.
      value: where both are None.
      handing_on: whether the first filters of a convolution, one an input channel where there are as many, hand on one
        channel each, untouched: a 1 in the middle among noughts.
    """

    std: float | None = None
    bound: float | None = None
    value: float = 0.0
    handing_on: bool = False


# (fan-in, fan-out, amount) to a distribution
LAWS: Mapping[str, Callable[[int, int, float], Spread]] = {
    "he": lambda fan_in, fan_out, amount: Spread(std=math.sqrt(2 / fan_in)),  # He et al. 2015, equation 10
    "he-out": lambda fan_in, fan_out, amount: Spread(std=math.sqrt(2 / fan_out)),  # the same, backward
    "glorot": lambda fan_in, fan_out, amount: Spread(std=math.sqrt(2 / (fan_in + fan_out))),  # Glorot and Bengio 2010
    "xavier": lambda fan_in, fan_out, amount: Spread(bound=math.sqrt(3 / fan_in)),  # Caffe's filler of that name
    "fan-in": lambda fan_in, fan_out, amount: Spread(bound=1 / math.sqrt(fan_in)),  # torch's own
    "dirac": lambda fan_in, fan_out, amount: Spread(bound=1 / math.sqrt(fan_in), handing_on=True),  # Jordan 2024
    "lecun": lambda fan_in, fan_out, amount: Spread(bound=2.4 / fan_in),  # LeCun et al. 1998
    "gaussian": lambda fan_in, fan_out, amount: Spread(std=amount),
    "uniform": lambda fan_in, fan_out, amount: Spread(bound=amount),
    "constant": lambda fan_in, fan_out, amount: Spread(value=amount),
}


def filler_of(layer: str, fillers: Sequence[Filler]) -> Filler | None:
    """The first filler that fits a layer.

    Args:
      layer: its name.
      fillers: in order of precedence.

    Returns:
      The filler; None where none fits.

    Example:
      >>> filler_of("conv10", (Filler(layers="conv10", law="gaussian", amount=0.01),)).amount
      0.01
    """
    return next((filler for filler in fillers if fnmatchcase(layer, filler.layers)), None)
