# SPDX-License-Identifier: Apache-2.0
"""A file opened in a child process, by a library that may crash, hang or take all memory with a hostile file."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fireforge.base.errors import Exit, FireforgeError

LIMIT_S = 60.0  # and a second for each MiB of the file
ROOM = 8 * 2**30  # bytes of address space beyond eight times the file


def in_child(module: str, path: Path, out: Path) -> dict[str, Any]:
    """Run python -m MODULE PATH OUT, whose end is `answer`.

    Args:
      module: of this package.
      path: the file to open.
      out: the file that the child writes.

    Returns:
      What it answered.

    Raises:
      FireforgeError: what the child refused; BAD_MODEL_FILE, if it died, took too long or answered nothing.
    """
    home = str(Path(__file__).parents[2])
    paths = [home, *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", module, str(path.absolute()), str(out)]
    limit_s = LIMIT_S + path.stat().st_size / 2**20
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, env=env, check=False, timeout=limit_s
        )
    except subprocess.TimeoutExpired as error:
        what = f"it could not be read within {limit_s:.0f} s"
        raise FireforgeError("BAD_MODEL_FILE", what, where=str(path)) from error
    told = _last_line(done.stdout)
    if done.returncode == Exit.DONE and told:
        return told
    if done.returncode == Exit.BAD_INPUT and "code" in told:
        code = str(told["code"])
        exit_code = Exit.ENVIRONMENT if code == "NO_PACKAGE" else Exit.BAD_INPUT
        raise FireforgeError(code, told["what"], where=told["where"], allowed=told["allowed"], exit_code=exit_code)
    what = f"the process that read it ended with {done.returncode}"
    raise FireforgeError("BAD_MODEL_FILE", what, where=str(path))


def answer(make: Callable[[], dict[str, Any]]) -> int:
    """What such a module does in its process: print one line of JSON, a result or the error that stopped it.

    Args:
      make: gives the result, as JSON holds it.

    Returns:
      The exit code.
    """
    try:
        found = make()
    except FireforgeError as error:
        print(json.dumps({name: getattr(error, name) for name in ("code", "what", "where", "allowed")}))
        return int(Exit.BAD_INPUT)
    print(json.dumps(found))
    return int(Exit.DONE)


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


def _last_line(text: str) -> dict[str, Any]:
    try:
        told = json.loads((text.strip().splitlines() or ["null"])[-1])
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}
