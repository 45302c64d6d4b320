# SPDX-License-Identifier: Apache-2.0
"""The gate that every file passes before it has its name."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from fireforge.base.exported import Exported
from fireforge.base.files import cannot_write
from fireforge.base.model import Model
from fireforge.base.parity import ParityReport
from fireforge.export.targets import TARGETS
from fireforge.jobs.verify import Source, refusal, verify_file


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
      path: the file; its folder must exist. Until it passed, and for ever where it is refused, it is called
        <name>.refused.<suffix>.
      pictures: image files' bytes that go the whole way, at least one.
      trained: the network before any stage; a float file is held to it.
      target: a name of TARGETS.
      note: is given the report, also of a file that is refused.

    Returns:
      What was written, and the report.

    Raises:
      FireforgeError: PARITY with exit code 5; CANNOT_WRITE.
    """
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
