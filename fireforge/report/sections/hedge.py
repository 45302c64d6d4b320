# SPDX-License-Identifier: Apache-2.0
"""Answers along a tree: accuracy against specificity, the numbers behind it, and some pictures."""

from __future__ import annotations

from collections.abc import Sequence

import fireforge.report.parts as parts
import fireforge.report.show as show
from fireforge.base.hedge import HedgePoint
from fireforge.base.hedging import HedgedPicture, Hedging
from fireforge.report.labels import Spot, labels, place
from fireforge.report.markup import Markup, join, tag
from fireforge.report.svg import Dot, Frame, chart, dots, line
from fireforge.report.ticks import axis_of, share_axis

WIDTH, HEIGHT = 900, 480
DOT_PX = 6.0


def trade(found: Hedging) -> Markup:
    """Accuracy against mean information gain: the curve, plain answers, bonus 0, and what was chosen."""
    named = [
        (found.plain, "plain", "square", "best class, always"),
        (found.free, "before", "circle", "bonus 0"),
        (found.chosen, "after", "circle", "chosen"),
    ]
    everyone = [*found.curve, *(point for point, *_ in named)]
    low, high = found.interval(found.chosen)
    frame = Frame(
        x=axis_of([point.bits for point in everyone], "information gain, mean bits an answer", lambda x: f"{x:g}"),
        y=share_axis([*(point.accuracy for point in everyone), low, high], "right answers", show.axis_percent),
        width=WIDTH,
        height=HEIGHT,
    )
    curve = line(frame, [(p.bits, p.accuracy) for p in found.curve], style="series-val", tip="fitted, bits")
    marks = [
        Dot(x=p.bits, y=p.accuracy, tip=f"{words}: {_told(p)}", style=style, shape=shape, radius=DOT_PX)
        for p, style, shape, words in named
    ]
    spots = [
        Spot(x=frame.px(p.bits), y=frame.py(p.accuracy), radius=DOT_PX, text=words) for p, _, _, words in named
    ] + [
        Spot(x=frame.px(p.bits), y=frame.py(p.accuracy), radius=2.2, text=f"{100 * p.wanted:g} %")
        for p in found.curve
        if p.bonus not in (found.chosen.bonus, 0.0)
    ]
    within = (frame.left, frame.top - 10, frame.width - frame.right, frame.height - frame.bottom)
    x = frame.px(found.chosen.bits)
    whisker = tag("line", class_="whisker", x1=x, x2=x, y1=frame.py(low), y2=frame.py(high))
    names = labels(place(spots, within=within))
    drawn = chart(frame, curve, whisker, dots(frame, marks), names, title="Accuracy against information gain")
    legend = parts.legend(
        [("curve", "fitted for the accuracy beside the mark"), ("after", "chosen, with its 95 % interval")]
    )
    lead = (
        f"Upward are more right answers, to the right more specific ones; a right class gains {found.most_bits:.2f} "
        f"bits, a group less, a wrong answer nothing. Fitted on {show.count(found.fitted)} pictures, measured here on "
        f"{show.count(found.judged)} others."
    )
    return parts.section("trade", "Accuracy against specificity", parts.figure(drawn, legend, wide=True), lead=lead)


def numbers(found: Hedging) -> Markup:
    """A row a point of the plot."""
    rows: list[Sequence[object]] = [
        _row("best class, always", found.plain, found, bonus=show.NONE),
        _row("bonus 0", found.free, found),
    ]
    chosen = []
    for point in found.curve:
        if point.bonus != found.free.bonus:
            chosen += [len(rows)] if point.bonus == found.chosen.bonus else []
            rows.append(_row(f"fitted for {show.axis_percent(point.wanted)}", point, found))
    if not chosen:
        at = 1 if found.chosen.bonus == found.free.bonus else len(rows)
        rows += [_row("chosen", found.chosen, found)] if at == len(rows) else []
        chosen = [at]
    header = ("Answers", "Bonus", "Right", "95 % interval", "Bits", "A class")
    note = f"Of {show.some(found.judged, 'picture')} that no bonus was fitted on; the chosen one is marked."
    return parts.section(
        "numbers", "The numbers", parts.table(header, rows, marked=chosen), tag("p", note, class_="note")
    )


def pictures(found: Hedging) -> Markup:
    """Some judged pictures with their answers."""
    cards = [_card(row) for row in found.shown]
    note = "Answer and probability; below a group the best class, and the truth where it is neither. Groups come first."
    return parts.section("pictures", "Some answers", tag("p", note, class_="note"), parts.gallery(cards))


def how(found: Hedging) -> Markup:
    """Where the figures come from."""
    fitted = f"{show.count(found.fitted)}, of which the chosen bonus keeps {show.percent(found.kept)}"
    part = found.caution or {"all": "all pictures"}.get(found.part, found.part)
    rows = [
        ("Rule", "the class or group with the greatest (information gain + bonus) × probability"),
        ("Source", "Deng, Krause, Berg and Fei-Fei, Hedging Your Bets, CVPR 2012 (DARTS)"),
        ("Tree", join((parts.name(found.tree), f", {show.some(found.groups, 'group')}"))),
        ("Data", join((parts.name(found.data), f", {part}"))),
        ("Fitted on", fitted),
        ("Measured on", show.count(found.judged)),
        ("Made of", parts.name(found.source)),
        ("Written", join((parts.name(found.exported.path), f", {show.bytes_words(found.exported.bytes)}"))),
        ("Parity", f"passed on {show.some(found.parity.pictures, 'picture')}, groups included"),
        ("sha256", found.exported.sha256),
    ]
    return parts.section("how", "How this was measured", parts.pairs(rows))


def _told(point: HedgePoint) -> str:
    return f"{show.percent(point.accuracy)} right, {point.bits:.2f} bits, {show.percent(point.exact)} a class"


def _row(words: str, point: HedgePoint, found: Hedging, *, bonus: str = "") -> Sequence[object]:
    return (
        words,
        bonus or parts.number(point.bonus, f"{point.bonus:.4g}"),
        parts.number(point.accuracy, show.percent(point.accuracy)),
        show.interval_words(found.interval(point)),
        parts.number(point.bits, f"{point.bits:.2f}"),
        show.percent(point.exact),
    )


def _whole(share: float) -> str:
    """A share in whole percent that is not broken into two lines."""
    return show.percent(share, digits=0).replace(" ", "\u00a0")


def _card(row: HedgedPicture) -> Markup:
    mark = tag("span", "✓ " if row.right else "✗ ", class_="yes" if row.right else "no")
    caption: list[object] = [mark, tag("strong", parts.name(row.answer)), f" {_whole(row.score)}"]
    if not row.exact:
        caption += [tag("br"), parts.name(row.best), f" {_whole(row.best_score)}"]
    if row.truth not in (row.answer, row.best):
        caption += [tag("br"), "truth: ", parts.name(row.truth)]
    return parts.picture(row.png, caption, title=f"{row.name}: {row.truth}, answered as {row.answer}")
