# SPDX-License-Identifier: Apache-2.0
"""Randomness as a function of counters: of (seed, epoch, sample), never of workers, ranks or what ran before.

The mixing function is splitmix64 (Steele, Lea, Flood 2014): with z = counter + 0x9E3779B97F4A7C15,
z = (z ^ z>>30) * 0xBF58476D1CE4E5B9, z = (z ^ z>>27) * 0x94D049BB133111EB, result z ^ z>>31, all modulo 2^64.
"""

from __future__ import annotations

import numpy as np

GAMMA = np.uint64(0x9E3779B97F4A7C15)
FIRST = np.uint64(0xBF58476D1CE4E5B9)
WORD = 2**64
SECOND = np.uint64(0x94D049BB133111EB)


def mix(counter: np.ndarray) -> np.ndarray:
    """Splitmix64 of each counter.

    Args:
      counter: uint64 array of any shape.

    Returns:
      uint64 array of the same shape, uniform bits.
    """
    with np.errstate(over="ignore"):
        z = counter.astype(np.uint64) + GAMMA
        z = (z ^ (z >> np.uint64(30))) * FIRST
        z = (z ^ (z >> np.uint64(27))) * SECOND
    return z ^ (z >> np.uint64(31))


def key_of(*parts: int) -> int:
    """One 64-bit key from several whole numbers; order matters."""
    key = 0
    for part in parts:
        key = _mix(key ^ _mix(part % WORD))
    return key


def _mix(counter: int) -> int:
    """`mix` of one counter: a few of them are faster without arrays."""
    z = (counter + int(GAMMA)) % WORD
    z = (z ^ (z >> 30)) * int(FIRST) % WORD
    z = (z ^ (z >> 27)) * int(SECOND) % WORD
    return z ^ (z >> 31)


def uniform(seed: int, epoch: int, ids: np.ndarray, draw: int) -> np.ndarray:
    """One uniform number for each sample.

    Args:
      seed: of the run.
      epoch: from 0.
      ids: sample ids, integer array of any shape.
      draw: which number of the sample's this is, from 0; another draw is independent.

    Returns:
      float64 array like ids, in [0, 1).
    """
    key = np.uint64(key_of(seed, epoch, draw))
    bits = mix(mix(np.asarray(ids).astype(np.uint64)) ^ key)
    return (bits >> np.uint64(11)).astype(np.float64) / float(2**53)


def rng(seed: int, epoch: int = 0, sample: int = 0) -> np.random.Generator:
    """A numpy generator (Philox) that depends on these three numbers only."""
    return np.random.Generator(np.random.Philox(key=key_of(seed, epoch, sample)))


def permutation(seed: int, epoch: int, count: int) -> np.ndarray:
    """The order of samples in an epoch.

    Args:
      seed: of the run.
      epoch: from 0.
      count: number of samples.

    Returns:
      int64 array (count,), a permutation of 0 .. count-1.
    """
    return np.argsort(
        mix(mix(np.arange(count, dtype=np.uint64)) ^ np.uint64(key_of(seed, epoch, 0x5EED))), kind="stable"
    )


def golden_bytes(index: int, shape: tuple[int, ...]) -> np.ndarray:
    """Input number `index` of a Golden: byte k is the top byte of splitmix64(index * 2^32 + k).

    Args:
      index: from 0.
      shape: (C, H, W).

    Returns:
      uint8 array of that shape.
    """
    count = int(np.prod(shape))
    counter = np.arange(count, dtype=np.uint64) + np.uint64(index) * np.uint64(2**32)
    return (mix(counter) >> np.uint64(56)).astype(np.uint8).reshape(shape)
