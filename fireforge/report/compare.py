# SPDX-License-Identifier: Apache-2.0
"""The page of networks side by side: the pictures of Canziani et al. 2016, for the networks and the machine at hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import fireforge.report.show as show
from fireforge.base.comparison import Comparison
from fireforge.base.files import write_text
from fireforge.report.document import document
from fireforge.report.markup import Markup, tag
from fireforge.report.sections.compare_accuracy import accuracy, macs, published, speed
from fireforge.report.sections.compare_memory import by_batch, by_params
from fireforge.report.sections.compare_numbers import machine, numbers

# anchor -> (words in the list of contents, what writes the section), in the page's order
PICTURES: dict[str, tuple[str, Callable[[Comparison], Markup]]] = {
    "accuracy": ("Accuracy", accuracy),
    "macs": ("Accuracy by MACs", macs),
    "batch": ("Memory by batch", by_batch),
    "parameters": ("Memory by parameters", by_params),
    "speed": ("Accuracy by speed", speed),
    "numbers": ("Numbers", numbers),
    "how": ("How", machine),
}
STYLE = """
.disc { fill-opacity: .42; stroke: var(--card); stroke-width: 1; }
.name { font-size: 11px; paint-order: stroke; stroke: var(--card); stroke-width: 3px; stroke-linejoin: round; }
svg .name { fill: var(--ink); }
.leader, .stem { stroke: var(--soft); stroke-width: .8; opacity: .8; }
.ring { fill: none; stroke: var(--soft); stroke-width: 1.6; pointer-events: all; }
.key.ring { background: none; border: 2px solid var(--soft); }
.counted polyline { stroke: var(--soft); }
.counted circle { fill: var(--soft); }
.key.counted { width: 20px; height: 0; border-radius: 0; border-top: 2px solid var(--soft); background: none; }
.measured { fill: var(--accent); background: var(--accent); }
.everyone { fill: none; stroke: var(--soft); stroke-width: .7; opacity: .28; pointer-events: none; }
svg.defs { position: absolute; }
.panels { display: grid; grid-template-columns: repeat(auto-fill, minmax(150px, 1fr)); gap: 14px 18px; }
.panel { margin: 0; min-width: 0; break-inside: avoid; }
.panel figcaption { margin: 0 0 4px; font-size: .8rem; line-height: 1.35; overflow-wrap: anywhere; }
.panel strong { color: var(--ink); font-weight: 600; }
#numbers td:first-child { white-space: nowrap; }
#numbers table { font-size: .85rem; }
#numbers th { white-space: normal; vertical-align: bottom; }
details { margin: 10px 0; font-size: .875rem; color: var(--soft); }
summary { cursor: pointer; }
"""


def write_comparison(found: Comparison, path: str | Path) -> Path:
    """Write the page of a comparison.

    Args:
      found: networks side by side, at least one.
      path: the file; its folder must exist.

    Returns:
      The path.

    Raises:
      FireforgeError: CANNOT_WRITE.
    """
    return write_text(path, comparison_page(found))


def comparison_page(found: Comparison) -> str:
    """The page of a comparison as HTML text.

    Args:
      found: networks side by side, at least one.

    Returns:
      One file that loads nothing and runs nothing.

    Source:
      The pictures are those of Canziani, Paszke and Culurciello 2016, An Analysis of Deep Neural Network Models for
      Practical Applications.
    """
    title = f"{show.some(len(found.networks), 'network')} side by side"
    told = (
        f"{len(published(found))} with a published accuracy. Parameters, multiply-adds and memory are counted here; "
        f"speed and memory are measured on {found.hardware.processor}; accuracy is as printed."
    )
    head = tag("header", tag("p", "fireforge", class_="brand"), tag("h1", title), tag("p", told, class_="lead"))
    links = [tag("a", words, href=f"#{name}") for name, (words, _) in PICTURES.items()]
    sections = [write(found) for _, write in PICTURES.values()]
    return document(f"fireforge: {title}", head, tag("nav", links, aria_label="Contents"), sections, style=STYLE)
