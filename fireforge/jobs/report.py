# SPDX-License-Identifier: Apache-2.0
"""report: write the page and the model card of a run again, from its record."""

from __future__ import annotations

from pathlib import Path

from fireforge.base.errors import FireforgeError
from fireforge.report.card import write_card
from fireforge.report.page import write_report


def report(folder: str | Path) -> Path:
    """Write report.html, and README.md where there is an answer.

    Args:
      folder: of a run, finished or interrupted.

    Returns:
      Path of the page.

    Raises:
      FireforgeError: NO_RUN, if the folder holds no record.
    """
    if not (Path(folder) / "record.jsonl").exists():
        raise FireforgeError("NO_RUN", "no record.jsonl", where=str(folder), do="the folder of a build or train")
    write_card(Path(folder))
    return write_report(Path(folder))
