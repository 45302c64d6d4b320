# SPDX-License-Identifier: Apache-2.0
"""A file opened in a child process, by a library that may crash, hang or take all memory with a hostile file."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from fireforge.base.errors import FireforgeError
from fireforge.base.fresh import fresh

LIMIT_S = 60.0  # and a second for each MiB of the file
ROOM = 8 * 2**30  # bytes of address space beyond eight times the file


def in_child(module: str, path: Path, out: Path) -> dict[str, Any]:
    """Run python -m MODULE PATH OUT, whose end is `fireforge.base.fresh.answer`.

    Args:
      module: of this package.
      path: the file to open.
      out: the file that the child writes.

    Returns:
      What it answered.

    Raises:
      FireforgeError: what the child refused; BAD_MODEL_FILE, if it died, took too long or answered nothing.
    """
    limit_s = LIMIT_S + path.stat().st_size / 2**20
    arguments = (str(path.absolute()), str(out))
    env = {"OMP_NUM_THREADS": "1"}
    try:
        return dict(fresh(module, arguments, where=str(path), order="", env=env, limit_s=limit_s))
    except FireforgeError as error:
        if error.code != "MEASURE_FAILED":
            raise
        what = f"the process that read it failed: {error.what[:200]}"
        raise FireforgeError("BAD_MODEL_FILE", what, where=str(path)) from error


def limit_memory(size: int) -> None:
    """Keep this process from taking much more memory than a file of so many bytes needs, where the system can.

    Args:
      size: of the file.
    """
    try:
        resource: Any = importlib.import_module("resource")
    except ImportError:  # Windows has none
        return
    most, hard = ROOM + 8 * size, resource.getrlimit(resource.RLIMIT_AS)[1]
    if hard == resource.RLIM_INFINITY or most < hard:
        resource.setrlimit(resource.RLIMIT_AS, (most, hard))


def check_total(total: int, size: int, where: str) -> None:
    """Refuse tensors that are far larger than the file that is said to hold them.

    Args:
      total: bytes of all tensors.
      size: of the file.
      where: its name.

    Raises:
      FireforgeError: BAD_MODEL_FILE.
    """
    if total > 4 * size + 2**20:
        what = f"tensors of {total} bytes in a file of {size}"
        raise FireforgeError("BAD_MODEL_FILE", what, where=where, allowed="tensors that the file holds")
