# SPDX-License-Identifier: Apache-2.0
"""Markup against hand values and against the standard library's HTML parser."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest

from fireforge.report.markup import Markup, escape, join, tag

HOSTILE = ["<script>alert(1)</script>", "a\"b'c", "x & y", "two\nlines", "\u202eabc", "שלום", "🔥", "]]>", "--><b>"]


class Texts(HTMLParser):
    """Collects text and attribute values as a browser would read them."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.tags: list[str] = []
        self.values: list[str | None] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.values += [value for _, value in attrs]

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


@pytest.mark.parametrize("text", HOSTILE)
def test_text_and_attributes_survive_a_parser_round_trip(text: str) -> None:
    parser = Texts()
    parser.feed(tag("p", text, title=text))
    parser.close()
    assert parser.tags == ["p"]
    assert "".join(parser.texts) == text
    assert parser.values == [text]


def test_tag_by_hand() -> None:
    assert tag("p", "a", 1, None, ["b", tag("br")], class_="x") == '<p class="x">a1b<br></p>'


def test_attributes_by_hand() -> None:
    built = tag("rect", x=1.5, y=2.0, stroke_width=3, hidden=True, id=None, open=False, width=1 / 3)
    assert built == '<rect x="1.5" y="2" stroke-width="3" hidden width="0.33"></rect>'


def test_built_markup_is_not_escaped_twice() -> None:
    assert tag("b", tag("i", "<")) == "<b><i>&lt;</i></b>"
    assert isinstance(tag("b"), Markup)


def test_text_next_to_markup_is_still_escaped() -> None:
    assert join((tag("i", "x"), "<y>")) == "<i>x</i>&lt;y&gt;"
    assert not isinstance(tag("i") + "<y>", Markup)  # a plain sum is plain text, and would be escaped


def test_what_a_page_cannot_carry_becomes_the_replacement_character() -> None:
    assert escape("a\x00b\x1bc\udc80d\te\n") == "a\ufffdb\ufffdc\ufffdd\te\n"
    escape("\ud800").encode()  # half a surrogate pair would raise here
