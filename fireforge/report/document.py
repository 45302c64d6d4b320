# SPDX-License-Identifier: Apache-2.0
"""An HTML page that is one file, loads nothing and runs nothing."""

from __future__ import annotations

from fireforge.report.markup import Markup, tag
from fireforge.report.style import STYLE

# the page may load nothing and run nothing, whatever a label says
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def document(title: str, *children: object, style: str = "") -> str:
    """A page as HTML text.

    Args:
      title: in the window's frame.
      *children: what stands on it.
      style: rules of its own, after those that all pages share.

    Returns:
      The text of the file.
    """
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=POLICY),
        tag("meta", name_="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name_="color-scheme", content="light dark"),
        tag("title", title),
        tag("style", Markup(STYLE + style)),
    )
    return f"<!DOCTYPE html>\n{tag('html', head, tag('body', tag('main', *children)), lang='en')}\n"
