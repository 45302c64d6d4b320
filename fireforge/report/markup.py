# SPDX-License-Identifier: Apache-2.0
"""A tiny HTML builder in which everything is escaped unless it was built here."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable

# elements that have no end tag
VOID = frozenset({"br", "hr", "img", "meta"})
# control characters that HTML cannot carry, and halves of surrogate pairs, which UTF-8 cannot
FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
Attribute = str | int | float | bool | None


class Markup(str):
    """HTML text that is safe to put into a page as it is."""

    __slots__ = ()


def escape(text: object) -> Markup:
    """Any value as text of a page; Markup passes through.

    Args:
      text: shown by `str`; quotes, angle brackets and ampersands become entities, characters that a page cannot carry
        become U+FFFD.

    Returns:
      Safe both between tags and inside a quoted attribute.
    """
    if isinstance(text, Markup):
        return text
    return Markup(html.escape(FORBIDDEN.sub("\ufffd", str(text)), quote=True))


def join(children: Iterable[object]) -> Markup:
    """Children one after the other; None is left out, lists are walked into."""
    parts: list[str] = []
    for child in children:
        if child is None:
            continue
        parts.append(join(child) if isinstance(child, (list, tuple)) else escape(child))
    return Markup("".join(parts))


def tag(name: str, *children: object, **attributes: Attribute) -> Markup:
    """One element.

    Args:
      name: of the element.
      *children: text, numbers, Markup, None, or lists of these; text is escaped.
      **attributes: ``class_`` is class and ``stroke_width`` is stroke-width; None and False leave an attribute out,
        True writes its name alone, floats are written with at most two decimals.

    Returns:
      The element with its end tag, which void elements lack.
    """
    opening = "".join(_attribute(key.rstrip("_").replace("_", "-"), value) for key, value in attributes.items())
    if name in VOID:
        return Markup(f"<{name}{opening}>")
    return Markup(f"<{name}{opening}>{join(children)}</{name}>")


def _attribute(name: str, value: Attribute) -> str:
    if value is None or value is False:
        return ""
    if value is True:
        return f" {name}"
    if isinstance(value, float):
        value = f"{value:.2f}".rstrip("0").rstrip(".")
    return f' {name}="{escape(value)}"'
