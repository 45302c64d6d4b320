# SPDX-License-Identifier: Apache-2.0
"""report.html: a run's evidence as one file that needs nothing else."""

from __future__ import annotations

from pathlib import Path

from fireforge.base.files import write_text
from fireforge.report.document import document
from fireforge.report.markup import tag
from fireforge.report.run import Run, read_run
from fireforge.report.sections.clock import clock
from fireforge.report.sections.data import baselines, data_card
from fireforge.report.sections.evaluation import evaluation
from fireforge.report.sections.gradients import gradients
from fireforge.report.sections.headline import headline, limits
from fireforge.report.sections.latency import latency
from fireforge.report.sections.model import compression, ledger, parity
from fireforge.report.sections.scores import scores
from fireforge.report.sections.space import design_space
from fireforge.report.sections.training import curves
from fireforge.report.sections.usage import how_to_use, provenance

# anchor -> (words in the list of contents, what writes the section), in the page's order
SECTIONS = {
    "limits": ("Limits", limits),
    "data": ("Data", data_card),
    "baselines": ("Baselines", baselines),
    "space": ("Design space", design_space),
    "latency": ("Latency", latency),
    "training": ("Training", curves),
    "gradients": ("Gradients", gradients),
    "compression": ("Compression", compression),
    "parity": ("Parity", parity),
    "test": ("Test", evaluation),
    "scores": ("Scores", scores),
    "ledger": ("Ledger", ledger),
    "time": ("Time", clock),
    "use": ("Use", how_to_use),
    "provenance": ("Provenance", provenance),
}


def write_report(run_folder: str | Path) -> Path:
    """Write report.html beside a run's record, finished or not.

    Args:
      run_folder: holds record.jsonl.

    Returns:
      The page's path.

    Raises:
      FireforgeError: NO_RUN or BAD_RECORD, if there is no whole record; CANNOT_WRITE.
    """
    run = read_run(run_folder)
    return write_text(run.folder / "report.html", page(run))


def page(run: Run) -> str:
    """The page of a run as HTML text."""
    links = [tag("a", words, href=f"#{name}") for name, (words, _) in SECTIONS.items()]
    contents = tag("nav", links, aria_label="Contents")
    sections = [write(run) for _, write in SECTIONS.values()]
    return document(f"fireforge: {run.folder.name}", headline(run), contents, sections)
