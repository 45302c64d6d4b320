# SPDX-License-Identifier: Apache-2.0
"""Contrast of the page's colours, light, dark and in print, by the formula of WCAG 2.1."""

from __future__ import annotations

import re

import pytest

from fireforge.report.style import STYLE

TEXT, GRAPHIC = 4.5, 3.0  # WCAG 2.1, success criteria 1.4.3 and 1.4.11, level AA
SCHEMES = dict(zip(("light", "dark", "print"), re.findall(r":root \{(.*?)\}", STYLE, re.DOTALL), strict=True))


def luminance(colour: str) -> float:
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(first: str, second: str) -> float:
    high, low = sorted((luminance(first), luminance(second)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_contrast_by_hand() -> None:
    """Black on white is 21; #767676 on white is the well-known 4.54."""
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#767676", "#ffffff") == pytest.approx(4.54, abs=0.005)  # given with two decimals


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize(
    ("front", "back", "least"),
    [
        *((front, back, TEXT) for front in ("ink", "soft") for back in ("page", "card", "faint")),
        ("good", "good-back", TEXT),
        ("bad", "bad-back", TEXT),
        ("accent", "page", TEXT),
        *((front, "card", GRAPHIC) for front in ("accent", "second", "third", "fourth", "soft")),
    ],
)
def test_words_and_marks_can_be_told_from_their_ground(scheme: str, front: str, back: str, least: float) -> None:
    colours = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6});", SCHEMES[scheme]))
    assert contrast(colours[front], colours[back]) >= least
