# SPDX-License-Identifier: Apache-2.0
"""The page of a comparison: marks stand and grow as the numbers say, names lie apart, and what is absent is named."""

from __future__ import annotations

import itertools
import math
import random
import re

import pytest

from fireforge.base.comparison import BatchMemory, Compared, Comparison, Speed
from fireforge.base.cost import Cost
from fireforge.base.machine import Hardware
from fireforge.base.published import Published
from fireforge.report.compare import comparison_page
from fireforge.report.labels import Spot, labels, place
from fireforge.report.sections.compare_accuracy import accuracy, colours, macs, speed
from fireforge.report.sections.compare_memory import by_batch, by_params, bytes_tick
from fireforge.report.svg import Frame
from fireforge.report.ticks import Axis

ROUNDED = 0.006  # the drawing is written with two decimals
# name, family, parameters, MACs, top-1 (0 for not published), images a second (0 for not timed), memory at batch 1
TABLE = (
    ("tiny", "a", 1_000_000, 100_000_000, 50.0, 400.0, 10_000_000),
    ("mid", "a", 4_000_000, 1_000_000_000, 60.0, 40.0, 30_000_000),
    ("great", "b", 16_000_000, 10_000_000_000, 70.0, 0.0, 100_000_000),
    ("<own>", "c", 2_000_000, 300_000_000, 0.0, 90.0, 20_000_000),
)
MACHINE = Hardware(
    processor="Example CPU 3000",
    architecture="x86_64",
    cores=2,
    memory_bytes=8_000_000_000,
    instructions=("avx2",),
    system="Linux 6.1",
)


def row(name: str, family: str, params: int, work: int, top1: float, rate: float, memory: int) -> Compared:
    cost = Cost(
        params=params,
        macs=work,
        activations=1,
        peak_activation_bytes=1,
        weight_bytes=4 * params,
        wire_bytes=4 * params,
    )
    batches = [
        BatchMemory(batch=1, counted_bytes=memory // 2, measured_bytes=memory, runs=51),
        BatchMemory(batch=8, counted_bytes=2 * memory, measured_bytes=3 * memory, runs=2),
        BatchMemory(batch=64, counted_bytes=9 * memory, why="no time for it"),
    ]
    timed = (
        Speed(images_per_second=rate, median_ms=1e3 / rate, least_ms=900 / rate, runs=150, visits=3) if rate else None
    )
    return Compared(
        name=name,
        family=family,
        input_shape=(3, 224, 224),
        cost=cost,
        published=Published(source="a paper", year=2016, top1=top1, note="one crop") if top1 else None,
        memory=tuple(batches),
        speed=timed,
        why="" if rate else "it is too great",
    )


@pytest.fixture
def found() -> Comparison:
    return Comparison(
        networks=tuple(row(*line) for line in TABLE),
        threads=1,
        hardware=MACHINE,
        versions={"onnxruntime": "1.20.1"},
        how={"speed": "by the clock"},
    )


def discs(drawn: str, style: str) -> dict[str, tuple[float, float, float]]:
    """(x, y, radius) of the circles of a class, by the name with which their tooltip begins."""
    pattern = rf'<circle class="{style}[^"]*" cx="([^"]*)" cy="([^"]*)" r="([^"]*)"><title>([^:,]*)'
    return {name: (float(x), float(y), float(r)) for x, y, r, name in re.findall(pattern, drawn)}


def test_area_of_a_disc_is_its_parameters(found: Comparison) -> None:
    drawn = discs(macs(found), "disc family-[a-z0-9]+")
    assert set(drawn) == {"tiny", "mid", "great"}
    params = {name: count for name, _, count, *_ in TABLE}
    for one, other in itertools.combinations(drawn, 2):
        ratio = (drawn[one][2] / drawn[other][2]) ** 2
        slack = 2 * ROUNDED * (1 / drawn[one][2] + 1 / drawn[other][2])
        assert ratio == pytest.approx(params[one] / params[other], rel=slack)


def test_a_disc_of_the_legend_has_the_size_that_it_tells(found: Comparison) -> None:
    """10 M of 16 M parameters: the largest radius by the root of 10 / 16."""
    drawn = str(macs(found))
    legend = drawn[drawn.index('class="sizes"') :]
    sizes = re.findall(r' r="([^"]*)"></circle><text[^>]*>([^<]*)<', legend)
    assert sizes[0][1] == "10 M"
    largest = discs(drawn, "disc")["great"][2]
    assert float(sizes[0][0]) == pytest.approx(largest * math.sqrt(10 / 16), abs=ROUNDED * 2)


def test_places_follow_macs_and_accuracy(found: Comparison) -> None:
    """MACs are a decade apart and accuracies ten points: equal steps on either axis, more MACs right, better up."""
    drawn = discs(macs(found), "disc")
    (x1, y1, _), (x2, y2, _), (x3, y3, _) = (drawn[name] for name in ("tiny", "mid", "great"))
    assert x2 - x1 == pytest.approx(x3 - x2, abs=2 * ROUNDED)
    assert y1 - y2 == pytest.approx(y2 - y3, abs=2 * ROUNDED)
    assert x2 > x1
    assert y2 < y1


def test_places_follow_speed_and_the_network_without_one_is_named(found: Comparison) -> None:
    drawn = discs(speed(found), "dot")
    assert set(drawn) == {"tiny", "mid"}
    assert drawn["tiny"][0] > drawn["mid"][0]
    assert "Not timed: great (it is too great)." in speed(found)


def test_places_follow_memory_and_parameters(found: Comparison) -> None:
    """Parameters 1, 4, 16 million: equal steps; counted memory is half of what is measured, one step for all."""
    drawn, rings = discs(by_params(found), "dot"), discs(by_params(found), "ring")
    assert set(drawn) == set(rings) == {"tiny", "mid", "great", "&lt;own&gt;"}
    assert drawn["mid"][0] - drawn["tiny"][0] == pytest.approx(drawn["great"][0] - drawn["mid"][0], abs=2 * ROUNDED)
    gaps = {round(rings[name][1] - drawn[name][1], 1) for name in drawn}
    assert len(gaps) == 1
    assert gaps.pop() > 0


def test_bars_are_sorted_and_as_long_as_the_accuracy(found: Comparison) -> None:
    drawn = accuracy(found)
    names = re.findall(r'text-anchor="end">([^<]*)</text>', drawn)
    assert names == ["great", "mid", "tiny"]
    widths = [float(width) for width in re.findall(r'width="([\d.]+)" height="14"', drawn)]
    assert [width / widths[0] for width in widths] == pytest.approx([1, 60 / 70, 50 / 70], rel=2 * ROUNDED / widths[2])
    assert "70.0 % (2016)" in drawn


def test_every_batch_stands_in_its_network_s_plot(found: Comparison) -> None:
    drawn = by_batch(found)
    assert drawn.count('<figure class="panel">') == len(TABLE)
    for name, memory in (("tiny", "10.00 MB"), ("great", "100.0 MB")):
        assert f"{name}, batch 1: {memory} measured over 51 runs" in drawn
    assert "tiny, batch 64: no time for it" in drawn
    assert drawn.count('class="measured"') == 2 * len(TABLE)


@pytest.mark.parametrize("section", [accuracy, macs, speed])
def test_a_network_without_published_accuracy_is_named(section, found: Comparison) -> None:
    drawn = section(found)
    assert "No published accuracy: &lt;own&gt;." in drawn
    only = found.replace(networks=found.networks[3:])
    assert "No published accuracy: &lt;own&gt;." in section(only)


def test_page_is_one_file_that_loads_nothing(found: Comparison) -> None:
    text = comparison_page(found)
    assert "http" not in text.replace("http-equiv", "")
    assert "<script" not in text
    assert "<own>" not in text
    targets = re.findall(r'href="([^"]*)"', text)
    assert targets
    assert all(target.startswith("#") and f'id="{target[1:]}"' in text for target in targets)
    for words in ("Example CPU 3000", "onnxruntime 1.20.1", "by the clock", "a paper; one crop", "16,000,000"):
        assert words in text


def test_comparison_comes_back_from_json(found: Comparison) -> None:
    assert Comparison.from_json(found.to_json()) == found


def test_families_with_most_networks_have_colours_of_their_own() -> None:
    line = TABLE[0]
    rows = [row(f"{name}{i}", name, *line[2:]) for name, many in zip("abcdef", (1, 3, 2, 4, 5, 1)) for i in range(many)]
    look = colours(rows)
    assert [look[name] for name in "edbc"] == [f"family-{i}" for i in range(4)]
    assert look["a"] == look["f"] == "family-other"


def test_bytes_of_an_axis_by_hand() -> None:
    assert [bytes_tick(size) for size in (500, 20_000, 5e6, 1e9)] == ["500 B", "20 KB", "5 MB", "1 GB"]


@pytest.mark.parametrize("count", [5, 40])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_names_lie_apart_and_cover_no_mark(count: int, seed: int) -> None:
    """Held to a naive look at all pairs; random places, as crowded as 40 networks."""
    draw = random.Random(seed)
    spots = [
        Spot(
            x=draw.uniform(80, 820), y=draw.uniform(60, 460), radius=draw.uniform(3, 30), text="n" * draw.randint(5, 17)
        )
        for _ in range(count)
    ]
    placed = place(spots, within=(58, 20, 886, 500))
    assert len(placed) == count
    assert [label.spot for label in placed] == spots
    for one, other in itertools.combinations([label.box for label in placed], 2):
        assert one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]
    for label, spot in itertools.product(placed, spots):
        left, top, right, bottom = label.box
        assert not (left < spot.x < right and top < spot.y < bottom)
        assert left >= 58
        assert top >= 20
        assert right <= 886
        assert bottom <= 500


def test_a_lone_name_stands_at_the_right_of_its_mark() -> None:
    """Radius 5 and a gap of 3: the box begins 8 to the right, and its middle is as high as the mark's."""
    (label,) = place([Spot(x=100, y=100, radius=5, text="abc")], within=(0, 0, 300, 200))
    assert label.box[0] == pytest.approx(108)
    assert label.box[1] + label.box[3] == pytest.approx(200)
    assert not label.led
    assert "<line" not in labels([label])


def test_a_name_without_room_is_left_out() -> None:
    assert place([Spot(x=10, y=10, radius=5, text="much too long")], within=(0, 0, 40, 20)) == ()


def test_a_name_without_room_is_told(found: Comparison, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fireforge.report.sections.compare_accuracy.place", lambda spots, within: ())
    assert "No room for the names of great, mid, tiny." in macs(found)


def test_frame_of_the_small_plots_holds_all_memory(found: Comparison) -> None:
    """From 5 MB counted to 900 MB counted: whole decades 1 MB to 1 GB."""
    ticks = re.findall(r'text-anchor="end">([^<]*)</text>', by_batch(found))
    assert ticks[:4] == ["1 MB", "10 MB", "100 MB", "1 GB"]
    axis = Axis(ticks=(1.0, 8.0, 64.0), label="", log=True)
    assert Frame(x=axis, y=axis).px(8) == pytest.approx(
        (Frame(x=axis, y=axis).px(1) + Frame(x=axis, y=axis).px(64)) / 2
    )
