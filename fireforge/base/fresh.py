# SPDX-License-Identifier: Apache-2.0
"""A module of this package run in a fresh process, and what it answers in its last line of JSON."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from fireforge.base.errors import Exit, FireforgeError
from fireforge.base.value import canonical_json


def fresh(
    module: str,
    arguments: Sequence[str] = (),
    *,
    where: str,
    order: str | None = None,
    env: Mapping[str, str] | None = None,
    limit_s: float | None = None,
) -> Any:
    """Run a module whose end is `answer`.

    Args:
      module: such as "fireforge.runtime.gauge"; the process finds it where this very package lies. What it prints
        itself is not read but for its last line.
      arguments: of its command line.
      where: what is told of as the place of an error.
      order: that it reads from stdin; None to leave it the caller's.
      env: variables besides those of this process.
      limit_s: the process is ended after so many seconds; None for no limit.

    Returns:
      What it answered, from JSON.

    Raises:
      FireforgeError: what the process refused; MEASURE_FAILED, if it died, took too long or answered nothing.
    """
    home = str(Path(__file__).parents[2])
    paths = [home, *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    variables = {**os.environ, **(env or {}), "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    command = [sys.executable, "-m", module, *arguments]
    try:
        done = subprocess.run(
            command, input=order, capture_output=True, text=True, env=variables, check=False, timeout=limit_s
        )
    except subprocess.TimeoutExpired as error:
        raise _failed(f"took more than {limit_s:.0f} s", where) from error
    told = _last_line(done.stdout)
    if done.returncode == Exit.DONE and told is not None:
        return told
    if done.returncode == Exit.BAD_INPUT and isinstance(told, dict) and "code" in told:
        raise FireforgeError(**{**told, "exit_code": Exit(told["exit_code"])})
    raise _failed((done.stderr.strip().splitlines() or [f"the process ended with {done.returncode}"])[-1], where)


def answer(make: Callable[[], Any]) -> int:
    """What such a module does in its process: print one line of JSON, a result or the error that stopped it.

    Args:
      make: gives the result, as JSON holds it.

    Returns:
      The exit code.
    """
    try:
        found = make()
    except FireforgeError as error:
        told = {name: getattr(error, name) for name in ("code", "what", "where", "allowed", "do")}
        print(canonical_json({**told, "exit_code": int(error.exit_code)}))
        return int(Exit.BAD_INPUT)
    print(canonical_json(found))
    return int(Exit.DONE)


def _failed(what: str, where: str) -> FireforgeError:
    return FireforgeError("MEASURE_FAILED", what, where=where, exit_code=Exit.BUG)


def _last_line(text: str) -> Any:
    """What the last line holds as JSON; None where it is none."""
    try:
        return json.loads((text.strip().splitlines() or ["null"])[-1])
    except ValueError:
        return None
