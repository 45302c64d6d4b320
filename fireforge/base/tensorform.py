# SPDX-License-Identifier: Apache-2.0
"""How the numbers of one weight are held: dense, masked, codebook, affine or factored."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fireforge.base.quant import Quantization, dequantize


@dataclass(frozen=True, kw_only=True)
class Dense:
    """Every number as it is.

    Args:
      values: array of any numeric dtype.
    """

    values: np.ndarray

    def array(self) -> np.ndarray:
        """The numbers, in their own dtype."""
        return self.values


@dataclass(frozen=True, kw_only=True)
class Masked:
    """Numbers of which some are held at zero (magnitude pruning).

    Args:
      values: float array.
      mask: bool array of the same shape; False is zero.
    """

    values: np.ndarray
    mask: np.ndarray

    def array(self) -> np.ndarray:
        """The numbers with zeros where the mask is False."""
        return np.where(self.mask, self.values, np.zeros((), self.values.dtype))


@dataclass(frozen=True, kw_only=True)
class Codebook:
    """Indices into a short table of shared values (Deep Compression's trained quantization).

    Args:
      table: float32 (B,), the shared values; by custom table[0] = 0 where weights were pruned.
      indices: unsigned integers, the shape of the weight.
    """

    table: np.ndarray
    indices: np.ndarray

    def array(self) -> np.ndarray:
        """float32 array: table[indices]."""
        return np.asarray(self.table[self.indices])


@dataclass(frozen=True, kw_only=True)
class Affine:
    """Integers with scale and zero point.

    Args:
      q: integers of the quantization's dtype, or fewer bits held in it.
      quantization: real = scale * (q - zero_point).
      bits: bits of each integer, 2 to 8 (32 for a bias).
    """

    q: np.ndarray
    quantization: Quantization
    bits: int = 8

    def array(self) -> np.ndarray:
        """float32 real numbers."""
        return dequantize(self.q, self.quantization)


@dataclass(frozen=True, kw_only=True)
class Factored:
    """A matrix as the product of two thin ones (truncated SVD).

    Args:
      u: (m, t) float array, singular values multiplied in.
      v: (t, n) float array.
      shape: shape of the weight, m * n numbers.
    """

    u: np.ndarray
    v: np.ndarray
    shape: tuple[int, ...]

    def array(self) -> np.ndarray:
        """float32 array: u v in the weight's shape."""
        return np.asarray((self.u @ self.v).reshape(self.shape).astype(np.float32))


TensorForm = Dense | Masked | Codebook | Affine | Factored
