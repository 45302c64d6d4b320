# SPDX-License-Identifier: Apache-2.0
"""The gate that every file passes before it has its name."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from fireforge.base.errors import FireforgeError
from fireforge.base.exported import Exported
from fireforge.base.files import cannot_write, prove_writable
from fireforge.base.model import Model
from fireforge.base.parity import ParityReport
from fireforge.export.targets import TARGETS
from fireforge.jobs.verify import Source, refusal, verify_file
from fireforge.runtime.runtimes import SUFFIXES


def place(path: str | Path) -> Path:
    """Where a model's file shall stand, proved before work is spent on it.

    Args:
      path: of the file; its folder is made.

    Returns:
      The path.

    Raises:
      FireforgeError: BAD_USAGE, if no runtime reads files whose names end so; CANNOT_WRITE.
    """
    path = Path(path)
    if path.suffix.lower() not in SUFFIXES:
        allowed = f"a name that ends in {', '.join(SUFFIXES)}"
        raise FireforgeError("BAD_USAGE", "no runtime reads files of this name", where=str(path), allowed=allowed)
    return prove_writable(path)


def write_gated(
    model: Model,
    path: Path,
    *,
    pictures: Sequence[bytes],
    trained: Model,
    target: str = "onnx",
    note: Callable[[ParityReport], None] | None = None,
) -> tuple[Exported, ParityReport]:
    """Write a model and let the file stand under its name only after it passed the parity gate.

    Args:
      model: what is written; its card is what the file must say of itself.
      path: the file, as `place` takes it. Until it passed, and for ever where it is refused, it is called
        <name>.refused.<suffix>.
      pictures: image files' bytes that go the whole way, at least one.
      trained: the network before any stage; a float file is held to it.
      target: a name of TARGETS.
      note: is given the report, also of a file that is refused.

    Returns:
      What was written, and the report.

    Raises:
      FireforgeError: PARITY with exit code 5; CANNOT_WRITE; BAD_USAGE, if no runtime reads files of this name.
    """
    path = place(path)
    waiting = path.with_name(f"{path.stem}.refused{path.suffix}")
    exported = TARGETS[target](model, waiting)
    source = Source(trained=trained, model=model)
    report = verify_file(waiting, pictures, source=source, sha256=(exported.sha256,))
    if note is not None:
        note(report)
    if not report.passed:
        raise refusal(report)
    try:
        os.replace(waiting, path)
    except OSError as error:
        raise cannot_write(path, error) from error
    return exported.replace(path=str(path)), report.replace(model=str(path))
