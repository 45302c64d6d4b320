# SPDX-License-Identifier: Apache-2.0
"""Design spaces: functions that draw a NetSpec for given pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from fireforge.base.spec import NetSpec, Param
from fireforge.nets.firenet import pools_for, small_firenet

# (classes, (C, H, W), generator) -> one specification; not every one can be built
SpaceFn = Callable[[int, tuple[int, int, int], np.random.Generator], NetSpec]


def firenet_space(classes: int, input_shape: tuple[int, int, int], generator: np.random.Generator) -> NetSpec:
    """A FireNet for small pictures: the five metaparameters, depth, stem and pools.

    Args:
      classes: outputs.
      input_shape: (C, H, W).
      generator: what is drawn from.

    Returns:
      A specification of family "firenet" with batch norm.

    Source:
      Iandola et al. 2016, section 5.1: base_e, incr_e, freq, pct3x3, SR; the ranges are scaled down with the picture.
    """

    def pick(options: Sequence[Param]) -> Param:
        return options[int(generator.integers(len(options)))]

    shorter = min(input_shape[1:])
    stride = 1 if shorter < 64 else 2
    fires = int(generator.integers(2, 7 if shorter < 48 else 9))
    params: dict[str, Param] = {
        "fires": fires,
        "base_e": pick([16, 24, 32, 48, 64, 96]),
        "incr_e": pick([0, 8, 16, 32, 48]),
        "freq": pick([1, 2, 3]),
        "pct3x3": pick([0.25, 0.5, 0.75]),
        "sr": pick([0.125, 0.25, 0.375, 0.5, 0.75]),
        "stem": pick([8, 16, 24, 32, 48]),
        "stem_stride": stride,
        "pools": pools_for(-(-shorter // stride), fires=fires, least_px=int(pick([2, 3, 4]))),
        "bypass": pick(["none", "simple"]),
    }
    return small_firenet(classes, input_shape=input_shape, params=params)


SPACES: dict[str, SpaceFn] = {"firenet": firenet_space}
