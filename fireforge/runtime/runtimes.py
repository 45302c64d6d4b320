# SPDX-License-Identifier: Apache-2.0
"""The runtimes: name to the function that opens a file with it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from fireforge.base.errors import FireforgeError
from fireforge.base.session import Session
from fireforge.runtime.onnx_runtime import open_onnx


class FileSession(Session, Protocol):
    """A session of a file that may carry a text about itself."""

    metadata: str | None


RUNTIMES: dict[str, Callable[..., FileSession]] = {"onnx": open_onnx}
SUFFIXES = {".onnx": "onnx"}


def open_session(path: str | Path, *, threads: int = 1) -> FileSession:
    """Open a model file with the runtime that its suffix names.

    Args:
      path: the file.
      threads: that one operator may use.

    Returns:
      A session.

    Raises:
      FireforgeError: UNKNOWN_NAME, if no runtime reads such files; NO_FILE, BAD_MODEL_FILE.
    """
    suffix = Path(path).suffix.lower()
    if not suffix and not Path(path).exists():
        raise FireforgeError("NO_FILE", "neither a model file nor a run's folder", where=str(path))
    if suffix not in SUFFIXES:
        allowed = ", ".join(sorted(SUFFIXES))
        raise FireforgeError("UNKNOWN_NAME", f"no runtime reads {suffix!r} files", where=str(path), allowed=allowed)
    return RUNTIMES[SUFFIXES[suffix]](path, threads=threads)
