# SPDX-License-Identifier: Apache-2.0
"""The page of hedged answers: marks stand where their numbers are, and every number is told."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fireforge.base.exported import Exported
from fireforge.base.hedge import HedgePoint
from fireforge.base.hedging import HedgedPicture, Hedging
from fireforge.base.parity import ParityReport
from fireforge.jobs.tell_hedge import hedging
from fireforge.report.hedge import hedging_page
from fireforge.report.sections.hedge import how, numbers, pictures, trade


def point(wanted: float, bonus: float, accuracy: float, bits: float, exact: float = 0.5) -> HedgePoint:
    return HedgePoint(wanted=wanted, bonus=bonus, accuracy=accuracy, bits=bits, exact=exact)


def picture(answer: str, *, best: str, truth: str, right: bool) -> HedgedPicture:
    return HedgedPicture(
        name="1.png",
        truth=truth,
        best=best,
        best_score=0.4,
        answer=answer,
        score=0.9,
        exact=answer == best,
        right=right,
        png="",
    )


@pytest.fixture
def found() -> Hedging:
    curve = (point(0.6, 0.0, 0.64, 3.0), point(0.8, 1.0, 0.78, 2.5), point(0.9, 4.0, 0.9, 2.0))
    parity = ParityReport(passed=True, pictures=64, taps=(), agreement=1.0, least_agreement=1.0, form="float32")
    return Hedging(
        exported=Exported(path="x/<net>-hedge.onnx", form="float32", bytes=1_000, sha256="ab"),
        parity=parity,
        source="net.onnx",
        tree="tree.json",
        data="photos",
        part="val",
        groups=3,
        most_bits=4.0,
        wanted=0.9,
        fitted=100,
        kept=0.91,
        judged=100,
        chosen=curve[2],
        plain=point(0.0, 0.0, 0.6, 2.4, 1.0),
        free=point(0.0, 0.0, 0.64, 3.0),
        curve=curve,
        shown=(
            picture("<pets>", best="cat", truth="dog", right=True),
            picture("bus", best="bus", truth="car", right=False),
            picture("cow", best="cow", truth="cow", right=True),
        ),
    )


def test_marks_stand_where_their_numbers_are(found: Hedging) -> None:
    """Bits 2.0, 2.4 and 3.0 are in these distances; the curve passes through bonus 0 and the chosen point."""
    drawn = str(trade(found))
    marks = re.findall(r'<circle class="(before|after)" cx="([^"]*)" cy="([^"]*)"', drawn)
    places = {style: (float(x), float(y)) for style, x, y in marks}
    square = re.search(r'<polygon class="plain" points="([^"]*)"', drawn)
    assert square
    corners = [float(corner.split(",")[0]) for corner in square[1].split()]
    middle = (min(corners) + max(corners)) / 2
    left, right = places["after"][0], places["before"][0]
    assert (middle - left) / (right - left) == pytest.approx(0.4, abs=0.001)
    assert places["after"][1] < places["before"][1]  # more right answers are higher
    line = re.search(r'<polyline points="([^"]*)"', drawn)
    assert line
    ends = [tuple(map(float, pair.split(","))) for pair in line[1].split()]
    assert ends[0] == pytest.approx(places["before"], abs=0.06)
    assert ends[-1] == pytest.approx(places["after"], abs=0.06)


def test_the_whisker_is_the_interval(found: Hedging) -> None:
    """Wilson for 90 of 100: 82.56 to 94.48 %, as printed in tables; the table tells it."""
    assert found.interval(found.chosen) == pytest.approx((0.8256, 0.9448), abs=1e-4)
    low, high = re.findall(r'class="whisker"[^>]* y1="([^"]*)" y2="([^"]*)"', str(trade(found)))[0]
    assert float(low) > float(high)
    assert "82.6 to 94.5 %" in numbers(found)


def test_every_point_has_its_row_and_the_chosen_one_is_marked(found: Hedging) -> None:
    table = str(numbers(found))
    assert table.count("<tr") == 1 + 4  # best class, bonus 0, and the two that were fitted to more
    marked = re.search(r'<tr class="marked">(.*?)</tr>', table)
    assert marked
    assert "fitted for 90 %" in marked[1]
    given = found.replace(chosen=point(0.0, 7.0, 0.95, 1.5), wanted=0.0)
    marked = re.search(r'<tr class="marked">(.*?)</tr>', str(numbers(given)))
    assert marked
    assert "chosen" in marked[1]
    free = found.replace(chosen=found.free)
    marked = re.search(r'<tr class="marked">(.*?)</tr>', str(numbers(free)))
    assert marked
    assert "bonus 0" in marked[1]


def test_pictures_tell_what_the_group_hides(found: Hedging) -> None:
    pets, bus, cow = re.findall(r"<figcaption>(.*?)</figcaption>", str(pictures(found)))
    assert "✓" in pets
    assert all(word in pets for word in ("&lt;pets&gt;", "cat", "truth: ", "dog"))
    assert "✗" in bus
    assert "truth: " in bus
    assert "truth" not in cow


def test_an_accuracy_that_other_pictures_do_not_keep_is_told(found: Hedging) -> None:
    """90 of 100 are 82.6 to 94.5 %: 94 % may be, 95 % may not."""
    words = "is not kept on pictures that nothing was fitted on"
    for wanted, missed in ((0.94, False), (0.95, True)):
        told = found.replace(wanted=wanted)
        assert (f"{100 * wanted:g} % {words}" in hedging_page(told)) == missed
        assert any(line.startswith(f"WARNING: {wanted:.1%} is not kept") for line in hedging(told, Path("p"))) == missed


def test_all_right_answers_cannot_be_wanted_more(found: Hedging) -> None:
    lines = "\n".join(hedging(found.replace(wanted=1.0), Path("p")))
    assert "WARNING: 100.0% is not kept on other pictures; more pictures" in lines
    assert "greater --accuracy" not in lines


@pytest.mark.parametrize(
    ("part", "said"),
    [
        ("run", "which chose the network and fitted its temperature on it"),
        ("val", "the file does not say what it was trained on, so these may be training pictures"),
        ("all", ""),
    ],
)
def test_pictures_that_are_not_new_to_the_network_are_told(found: Hedging, part: str, said: str) -> None:
    told = found.replace(part=part)
    text = "\n".join(hedging(told, Path("p")))
    assert said == told.caution[-len(said) :] if said else not told.caution
    assert (said in text, said in how(told)) == (True, True)
    assert ("may be training" in text, "chose the network" in text) == (part == "val", part == "run")


def test_the_page_loads_and_runs_nothing(found: Hedging) -> None:
    page = hedging_page(found)
    assert "<net>" not in page
    assert "&lt;net&gt;-hedge.onnx" in page
    assert "http" not in page.replace("http-equiv", "")
    assert "<script" not in page
    assert "90.0 % of the answers are right instead of 60.0 %" in page
