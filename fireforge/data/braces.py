# SPDX-License-Identifier: Apache-2.0
"""Names with braces, such as train-{000..003}.tar, spelt out as WebDataset and shells do."""

from __future__ import annotations

import re

from fireforge.base.errors import FireforgeError

BRACE = re.compile(r"\{(?:([0-9]+)\.\.([0-9]+)|([^{}]*,[^{}]*))\}")
MOST_NAMES = 100_000
MOST_BRACES = 8


def has_braces(text: str) -> bool:
    """Whether a name stands for several."""
    return BRACE.search(text) is not None


def spelt_out(text: str) -> list[str]:
    """The names that a name with braces stands for, in order.

    Args:
      text: with {000..003}, whose numbers keep the digits of the first, or {a,b}.

    Returns:
      The names; the text itself where it has no braces.

    Raises:
      FireforgeError: BAD_LAYOUT, if there are none or too many.
    """
    found = [text]
    for _ in range(MOST_BRACES):
        match = BRACE.search(found[0])
        if match is None:
            return found
        pieces = _pieces(match, text)
        if len(pieces) * len(found) > MOST_NAMES:
            raise _bad(text, f"more than {MOST_NAMES:,} names")
        found = [BRACE.sub(piece.replace("\\", r"\\"), name, count=1) for name in found for piece in pieces]
    raise _bad(text, f"more than {MOST_BRACES} braces")


def _pieces(match: re.Match[str], text: str) -> list[str]:
    """What one pair of braces stands for."""
    first, last, listed = match.groups()
    if listed is not None:
        return str(listed).split(",")
    if len(first) > 12 or len(last) > 12 or not 0 <= int(last) - int(first) < MOST_NAMES:
        raise _bad(text, f"the numbers {first[:20]} to {last[:20]}")
    return [f"{number:0{len(first)}d}" for number in range(int(first), int(last) + 1)]


def _bad(text: str, what: str) -> FireforgeError:
    allowed = f"a rising range such as {{000..003}}, up to {MOST_NAMES:,} names"
    return FireforgeError("BAD_LAYOUT", what, where=text[:200], allowed=allowed)
