# SPDX-License-Identifier: Apache-2.0
"""The numbers of a quantization: scales, zero points, axes, and the nodes that stay in float."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from fireforge.base.errors import FireforgeError
from fireforge.base.value import Value

RANGES = {"int8": (-128, 127), "uint8": (0, 255), "int32": (-(2**31), 2**31 - 1)}


@dataclass(frozen=True, kw_only=True)
class Quantization(Value):
    """How one tensor is held in integers: real = scale * (q - zero_point).

    Args:
      scale: one positive number, or one for each index along the axis.
      zero_point: as many whole numbers, inside the dtype's range, so that real 0 is exact.
      axis: None for one scale in all, otherwise the axis of the scales.
      dtype: "int8", "uint8" or "int32".

    Source:
      Jacob et al. 2018, section 2.1; gemmlowp's quantization notes.
    """

    scale: tuple[float, ...]
    zero_point: tuple[int, ...]
    axis: int | None = None
    dtype: str = "int8"


@dataclass(frozen=True, kw_only=True)
class QuantPlan(Value):
    """What a quantization decided; export writes it, runtime runs it, neither changes a number.

    Args:
      activations: tensor name to Quantization, one scale a tensor.
      weights: weight name to Quantization, usually one scale an output channel, symmetric.
      float_nodes: names of nodes that stay in float.
      method: how the ranges were found, such as "min-max of 256 pictures".
    """

    activations: dict[str, Quantization]
    weights: dict[str, Quantization]
    float_nodes: tuple[str, ...] = ()
    method: str = field(default="")


def quantize(real: np.ndarray, quantization: Quantization) -> np.ndarray:
    """Integers of real numbers: round half to even, then saturate.

    Args:
      real: float array.
      quantization: the scale's axis must fit the array.

    Returns:
      Array of the quantization's dtype and the same shape.

    Raises:
      FireforgeError: BAD_RANGE, if a number is NaN; infinities saturate.
    """
    if np.isnan(real).any():
        raise FireforgeError("BAD_RANGE", "NaN has no integer")
    scale, zero = _spread(quantization, real.ndim)
    low, high = RANGES[quantization.dtype]
    return np.asarray(np.clip(np.rint(real / scale) + zero, low, high).astype(quantization.dtype))


def dequantize(q: np.ndarray, quantization: Quantization) -> np.ndarray:
    """Real numbers of integers.

    Args:
      q: integer array.
      quantization: what it was made with.

    Returns:
      float32 array of the same shape.
    """
    scale, zero = _spread(quantization, q.ndim)
    return np.asarray((q.astype(np.int64) - zero).astype(np.float32) * scale)


def affine_of_range(low: float, high: float) -> Quantization:
    """The uint8 quantization of a range; the range is widened to hold 0.

    Args:
      low: least real value.
      high: greatest real value.

    Returns:
      One scale (high - low) / 255 and the zero point nearest to -low / scale.

    Raises:
      FireforgeError: BAD_RANGE, if a bound is not finite.

    Example:
      >>> affine_of_range(-1.0, 2.0).zero_point
      (85,)
    """
    if not (np.isfinite(low) and np.isfinite(high)):
        raise FireforgeError("BAD_RANGE", f"the range {low} .. {high} is not finite")
    low, high = min(low, 0.0), max(high, 0.0)
    scale = float(np.float32((high - low) / 255)) or 1.0
    return Quantization(scale=(scale,), zero_point=(int(np.clip(np.rint(-low / scale), 0, 255)),), dtype="uint8")


def symmetric_of_weight(weight: np.ndarray, axis: int) -> Quantization:
    """The symmetric int8 quantization of a weight, in [-127, 127], one scale for each index along the axis.

    Args:
      weight: float array, such as (K, C, R, S).
      axis: the output channels' axis.

    Returns:
      Scales max |w| / 127 (1 where a channel is all zero), zero points 0.

    Raises:
      FireforgeError: BAD_RANGE, if the weight holds NaN or infinity.
    """
    if not np.isfinite(weight).all():
        raise FireforgeError("BAD_RANGE", "the weight holds NaN or infinity")
    others = tuple(i for i in range(weight.ndim) if i != axis)
    peak = np.abs(weight).max(axis=others) if weight.size else np.zeros(weight.shape[axis])
    scale = (peak.astype(np.float64) / 127).astype(np.float32)
    scale = np.where(scale > 0, scale, np.float32(1))  # also where the peak is so small that the division gives 0
    return Quantization(scale=tuple(float(s) for s in scale), zero_point=(0,) * len(scale), axis=axis, dtype="int8")


def _spread(quantization: Quantization, rank: int) -> tuple[np.ndarray, np.ndarray]:
    scale = np.asarray(quantization.scale, np.float32)
    zero = np.asarray(quantization.zero_point, np.int64)
    if quantization.axis is None:
        return scale.reshape(()), zero.reshape(())
    shape = [1] * rank
    shape[quantization.axis] = -1
    return scale.reshape(shape), zero.reshape(shape)
