# SPDX-License-Identifier: Apache-2.0
"""The page of a file whose answers were hedged: what accuracy costs in specificity."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path, PurePath

import fireforge.report.parts as parts
import fireforge.report.show as show
from fireforge.base.files import write_text
from fireforge.base.hedging import Hedging
from fireforge.report.document import document
from fireforge.report.markup import Markup, tag
from fireforge.report.sections.hedge import how, numbers, pictures, trade

# anchor -> (words in the list of contents, what writes the section), in the page's order
SECTIONS: dict[str, tuple[str, Callable[[Hedging], Markup]]] = {
    "trade": ("Accuracy against specificity", trade),
    "numbers": ("Numbers", numbers),
    "pictures": ("Pictures", pictures),
    "how": ("How", how),
}
STYLE = """
.name { font-size: 11px; paint-order: stroke; stroke: var(--card); stroke-width: 5px; stroke-linejoin: round; }
svg .name { fill: var(--ink); }
.leader { stroke: var(--soft); stroke-width: .8; opacity: .8; }
.whisker { stroke: var(--accent); stroke-width: 6; opacity: .3; stroke-linecap: round; }
.key.curve { width: 20px; height: 0; border-radius: 0; border-top: 2px solid var(--accent); background: none; }
.yes { color: var(--good); }
.no { color: var(--bad); }
.gallery { grid-template-columns: repeat(auto-fill, minmax(118px, 1fr)); }
"""


def write_hedging(found: Hedging, path: str | Path) -> Path:
    """Write the page of a hedged file.

    Args:
      found: what was measured.
      path: the page's file; its folder must exist.

    Returns:
      The path.

    Raises:
      FireforgeError: CANNOT_WRITE.
    """
    return write_text(path, hedging_page(found))


def hedging_page(found: Hedging) -> str:
    """The page of a hedged file as HTML text.

    Args:
      found: what was measured.

    Returns:
      One file that loads nothing and runs nothing.
    """
    title = f"{PurePath(found.exported.path).name}: answers along a tree"
    links = [tag("a", words, href=f"#{name}") for name, (words, _) in SECTIONS.items()]
    sections = [write(found) for _, write in SECTIONS.values()]
    contents = tag("nav", links, aria_label="Contents")
    return document(f"fireforge: {title}", _head(found, title), contents, sections, style=STYLE)


def _head(found: Hedging, title: str) -> Markup:
    chosen, plain = found.chosen, found.plain
    told = (
        f"Where the scores do not tell one class, the answer is a group of classes that they do tell: "
        f"{show.percent(chosen.accuracy)} of the answers are right instead of {show.percent(plain.accuracy)}, and "
        f"{show.percent(chosen.exact)} are still a single class."
    )
    asked = f"wanted\u00a0{show.axis_percent(found.wanted)}".replace(" %", "\u00a0%") if found.wanted else "as given"
    tiles = [
        parts.tile(
            "Right answers", show.percent(chosen.accuracy), f"{show.interval_words(found.interval(chosen))}; {asked}"
        ),
        parts.tile("Information gain", f"{chosen.bits:.2f} bits", f"of {found.most_bits:.2f}; plain {plain.bits:.2f}"),
        parts.tile("Answered with a class", show.percent(chosen.exact), f"of {show.some(found.judged, 'picture')}"),
        parts.tile(
            "Bonus",
            f"{chosen.bonus:.4g} bits",
            f"fitted on {show.some(found.fitted, 'picture')}" if found.wanted else "given",
        ),
    ]
    top = (tag("p", "fireforge", class_="brand"), tag("h1", title), tag("p", told, class_="lead"))
    words = f"{show.axis_percent(found.wanted)} is not kept on pictures that nothing was fitted on"
    alarm = tag("p", parts.badge(words, False), class_="badges") if found.missed else None
    return tag("header", *top, alarm, tag("div", tiles, class_="tiles"))
