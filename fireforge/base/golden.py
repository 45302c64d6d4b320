# SPDX-License-Identifier: Apache-2.0
"""A self-test that travels in an artefact: the greatest outputs for generated inputs, and a digest of its numbers."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from fireforge.base.errors import FireforgeError
from fireforge.base.pixels import normalize
from fireforge.base.preprocess import ImageSteps
from fireforge.base.rng import golden_bytes
from fireforge.base.value import Value

INPUTS = 3  # inputs 0, 1, 2 of `golden_bytes`
GREATEST = 8  # outputs stored for each
ROW = np.dtype([("index", "<u2"), ("value", "<f4")])


@dataclass(frozen=True, kw_only=True)
class Golden(Value):
    """Expected outputs for inputs that are generated, never stored.

    Args:
      top: base64 of INPUTS x GREATEST records (uint16 index, float32 value), little-endian, greatest first;
        fewer records where the network has fewer outputs.
      sha256: of the output bytes, for paths in integers whose bits are the same everywhere; "" otherwise.
    """

    top: str
    sha256: str = ""


def golden_inputs(steps: ImageSteps) -> np.ndarray:
    """The generated inputs, normalized.

    Args:
      steps: size, channels and normalization of the input.

    Returns:
      float32 array (3, C, H, W).
    """
    shape = (steps.channels, *steps.crop)
    return normalize(np.stack([golden_bytes(i, shape) for i in range(INPUTS)]), steps)


def make_golden(outputs: np.ndarray) -> Golden:
    """The Golden of a network's outputs for `golden_inputs`.

    Args:
      outputs: float32 (3, ...); each row is flattened; at most 65,536 numbers a row.

    Returns:
      At most 300 bytes as JSON.

    Raises:
      FireforgeError: BAD_GOLDEN, if an output is not finite, or there are other than 3 rows of 1 to 65,536 numbers.
    """
    if len(outputs) != INPUTS or not 0 < outputs[0].size <= 65_536 or not np.isfinite(outputs).all():
        raise FireforgeError("BAD_GOLDEN", f"outputs of shape {outputs.shape}, or not all of them finite")
    flat = outputs.reshape(INPUTS, -1)
    order = np.argsort(-flat, axis=1, kind="stable")[:, :GREATEST]
    rows = np.empty(order.shape, ROW)
    rows["index"], rows["value"] = order, np.take_along_axis(flat, order, axis=1)
    return Golden(top=base64.b64encode(rows.tobytes()).decode())


def golden_difference(golden: Golden, outputs: np.ndarray) -> float:
    """How far outputs are from a Golden.

    Args:
      golden: what was stored.
      outputs: float32 (3, ...) for `golden_inputs`.

    Returns:
      Greatest difference at the stored places, or by which another place rises above the least stored one, relative
      to the greatest stored magnitude; infinite where an output is not finite.

    Raises:
      FireforgeError: BAD_GOLDEN, if the stored text does not fit the outputs.
    """
    flat = outputs.reshape(INPUTS, -1)
    try:
        rows = np.frombuffer(base64.b64decode(golden.top, validate=True), ROW).reshape(INPUTS, -1)
    except ValueError as error:
        raise FireforgeError("BAD_GOLDEN", f"the stored golden outputs cannot be read: {error}") from error
    if rows.size == 0 or rows["index"].max() >= flat.shape[1]:
        raise FireforgeError("BAD_GOLDEN", f"golden outputs for another network than one of {flat.shape[1]} outputs")
    stored = rows["value"].astype(np.float64)
    if not np.isfinite(flat).all():
        return float("inf")
    places = rows["index"].astype(np.int64)
    rest = flat.astype(np.float64)
    gap = float(np.abs(np.take_along_axis(rest, places, axis=1) - stored).max())
    np.put_along_axis(rest, places, -np.inf, axis=1)
    above = float((rest.max(axis=1) - stored.min(axis=1)).max())
    return max(gap, above) / max(float(np.abs(stored).max()), 1e-12)


def array_digest(array: np.ndarray) -> str:
    """Sha256 of one array: of the text "dtype HxW...", a line feed, and its numbers, little-endian, last axis fastest.

    Args:
      array: any numeric dtype; its shape is part of the text, which ends at the blank for a single number.

    Returns:
      64 hex digits.
    """
    head = f"{array.dtype.name} {'x'.join(map(str, array.shape))}\n"
    little = array.astype(array.dtype.newbyteorder("<"), copy=False)
    return hashlib.sha256(head.encode() + little.tobytes()).hexdigest()


def weights_digest(arrays: Iterable[np.ndarray]) -> str:
    """One digest of all numbers of a network, whatever its arrays are called: sha256 of their sorted digests' hex text.

    Args:
      arrays: every weight of a graph.

    Returns:
      64 hex digits.
    """
    return hashlib.sha256("".join(sorted(map(array_digest, arrays))).encode()).hexdigest()
