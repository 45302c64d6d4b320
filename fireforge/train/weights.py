# SPDX-License-Identifier: Apache-2.0
"""Weights on disk: safetensors, written whole, read with a checksum where one is known."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from fireforge.base.errors import FireforgeError
from fireforge.base.files import read_bytes, sha256_of_file, write_bytes


def write_weights(path: Path, arrays: dict[str, np.ndarray]) -> str:
    """Write named arrays.

    Args:
      path: a .safetensors file.
      arrays: name to array.

    Returns:
      Sha256 of the file, 64 hex digits.
    """
    contiguous = {name: np.asarray(array, order="C") for name, array in arrays.items()}  # scalars stay scalars
    write_bytes(path, save(contiguous, metadata={"format": "pt"}))
    return sha256_of_file(path)


def read_weights(path: Path, *, sha256: str = "") -> dict[str, np.ndarray]:
    """Read named arrays.

    Args:
      path: a .safetensors file.
      sha256: what the file must have; "" to skip the check.

    Returns:
      Name to array.

    Raises:
      FireforgeError: NO_FILE, or BAD_WEIGHTS if the file is damaged or another than the record says.
    """
    data = read_bytes(path)
    if sha256 and hashlib.sha256(data).hexdigest() != sha256:
        raise FireforgeError("BAD_WEIGHTS", "the checksum differs from the record's", where=str(path))
    try:
        return load(data)
    except (SafetensorError, ValueError, KeyError) as error:
        raise FireforgeError("BAD_WEIGHTS", f"not a whole safetensors file: {error}", where=str(path)) from error
