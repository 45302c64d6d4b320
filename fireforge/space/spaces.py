# SPDX-License-Identifier: Apache-2.0
"""Design spaces: functions that draw a NetSpec for given pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from fireforge.base.spec import NetSpec, Param
from fireforge.nets.firenet import pools_for, small_firenet
from fireforge.nets.mobilenet import small_mobilenet
from fireforge.nets.resnet import small_resnet

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
    shorter = min(input_shape[1:])
    stride = 1 if shorter < 64 else 2
    fires = int(generator.integers(2, 7 if shorter < 48 else 9))
    params: dict[str, Param] = {
        "fires": fires,
        "base_e": _pick(generator, [16, 24, 32, 48, 64, 96]),
        "incr_e": _pick(generator, [0, 8, 16, 32, 48]),
        "freq": _pick(generator, [1, 2, 3]),
        "pct3x3": _pick(generator, [0.25, 0.5, 0.75]),
        "sr": _pick(generator, [0.125, 0.25, 0.375, 0.5, 0.75]),
        "stem": _pick(generator, [8, 16, 24, 32, 48]),
        "stem_stride": stride,
        "pools": pools_for(-(-shorter // stride), fires=fires, least_px=int(_pick(generator, [2, 3, 4]))),
        "bypass": _pick(generator, ["none", "simple"]),
    }
    return small_firenet(classes, input_shape=input_shape, params=params)


LAST_PX = (4, 7)  # side of the maps of a ResNet's last stage


def resnet_space(classes: int, input_shape: tuple[int, int, int], generator: np.random.Generator) -> NetSpec:
    """A ResNet of basic blocks: stem, width, its growth, blocks a stage, stages.

    Filters from 16 on are multiples of 16, which processors multiply at once: others train up to half as fast.

    Args:
      classes: outputs.
      input_shape: (C, H, W).
      generator: what is drawn from.

    Returns:
      A specification of family "resnet".

    Source:
      He et al. 2015, section 4.2, with the widths left free; the stem and pool of section 4.1 for larger pictures.
    """
    shorter = min(input_shape[1:])
    stem_stride = 1 if shorter < 64 else 2
    pool = shorter >= 128 and bool(generator.integers(2))
    first_stride = int(_pick(generator, [1, 2])) if shorter >= 24 and not pool else 1
    side = shorter // stem_stride // first_stride // (2 if pool else 1)
    last = range(LAST_PX[0], LAST_PX[1] + 1)
    stages = int(_pick(generator, [count for count in (2, 3, 4, 5, 6) if side >> (count - 1) in last] or [1]))
    growth = float(_pick(generator, [1.5, 1.75, 2.0, 2.3]))
    stem = int(_pick(generator, [8, 12, 16, 16, 32, 48]))
    first = stem * first_stride * float(_pick(generator, [1.0, 1.5, 2.0]))
    widths = [_sixteenth(first * growth**stage) for stage in range(stages)]
    params: dict[str, Param] = {
        "blocks": _pick(generator, [1, 1, 2]),
        "widths": ",".join(map(str, widths)),
        "stem": stem,
        "stem_stride": stem_stride,
        "first_stride": first_stride,
        "stem_pool": pool,
    }
    return small_resnet(classes, input_shape=input_shape, params=params)


def mobilenet_space(classes: int, input_shape: tuple[int, int, int], generator: np.random.Generator) -> NetSpec:
    """A MobileNet V2: width, its growth, expansion, repeats, stages, head.

    Args:
      classes: outputs.
      input_shape: (C, H, W).
      generator: what is drawn from.

    Returns:
      A specification of family "mobilenet".

    Source:
      Sandler et al. 2018, table 2: rows of (expansion, filters, repeats, stride), as many as the picture bears.
    """
    shorter = min(input_shape[1:])
    stride = 1 if shorter < 48 else 2
    halvings = [count for count in (1, 2, 3, 4) if shorter // stride >> count >= 2] or [0]
    halving = int(_pick(generator, halvings))
    expansion, repeats = int(_pick(generator, [2, 3, 4, 6])), int(_pick(generator, [1, 2, 3]))
    first, growth = int(_pick(generator, [8, 12, 16, 24])), float(_pick(generator, [1.4, 1.7, 2.0]))
    widths = [_eighth(first * growth**stage) for stage in range(halving + 1)]
    rows = [(1, widths[0], 1, 1)] + [(expansion, width, repeats, 2) for width in widths[1:]]
    params: dict[str, Param] = {
        "blocks": "; ".join(",".join(map(str, row)) for row in rows),
        "stem": _eighth(first),
        "stem_stride": stride,
        "head": _eighth(widths[-1] * float(_pick(generator, [1.5, 3.0]))),
    }
    return small_mobilenet(classes, input_shape=input_shape, params=params)


def _pick(generator: np.random.Generator, options: Sequence[Param]) -> Param:
    return options[int(generator.integers(len(options)))]


def _eighth(filters: float) -> int:
    """The nearest multiple of 4 below 32 filters, of 8 above; processors like such numbers."""
    step = 4 if filters < 32 else 8
    return max(step, int(filters / step + 0.5) * step)


def _sixteenth(filters: float) -> int:
    """The nearest multiple of 16, of 4 below that."""
    step = 4 if filters < 14 else 16
    return max(step, int(filters / step + 0.5) * step)


SPACES: dict[str, SpaceFn] = {"firenet": firenet_space, "resnet": resnet_space, "mobilenet": mobilenet_space}
