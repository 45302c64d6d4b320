# SPDX-License-Identifier: Apache-2.0
"""The page's top: what came out, and whether the limits hold."""

from __future__ import annotations

from pathlib import PurePath

import fireforge.report.parts as parts
import fireforge.report.show as show
from fireforge.base.units import show_bytes
from fireforge.base.value import Json
from fireforge.report.markup import Markup, join, tag
from fireforge.report.run import Run


def headline(run: Run) -> Markup:
    """The answer in one sentence, its numbers large, its limits as badges."""
    source = run.dataset().get("source") or (run.start.get("data") or {}).get("source") or run.folder.name
    kind = "Network for" if run.answer else "Run on"
    top = [
        tag("p", "fireforge", class_="brand"),
        tag("h1", f"{kind} ", parts.name(PurePath(str(source)).name or source)),
    ]
    if run.answer is None:
        return tag("header", top, _interrupted(run))
    verdict = None
    if not run.answer.get("feasible", True):
        reason = run.answer.get("infeasible_because") or "the record does not say why"
        verdict = tag("p", tag("strong", "Infeasible: "), reason, class_="alarm")
    return tag("header", top, verdict, _sentence(run.answer), _tiles(run.answer), _badges(run.answer))


def _interrupted(run: Run) -> Markup:
    best = run.best()
    told = f"{len(run.trials)} trials finished"
    if best is not None:
        told += f"; the best so far has {show.percent(best.accuracy)} on the validation part"
    return join(
        (
            tag("p", tag("strong", "Interrupted: "), "no answer yet.", class_="alarm"),
            tag("p", told, ". The same command on the same folder goes on from here.", class_="lead"),
        )
    )


def _sentence(answer: dict[str, Json]) -> Markup | None:
    model, test = answer.get("model") or {}, answer.get("test") or {}
    if not model or test.get("accuracy") is None:
        return parts.missing("The answer names no file or no accuracy on the test part.")
    nearest = "" if answer.get("feasible", True) else "The nearest found: "
    told = f"{nearest}{'one' if nearest else 'One'} file of {show_bytes(model.get('bytes', 0))}. It names "
    told += f"{show.percent(test['accuracy'])} of {show.count(test.get('n'))} test pictures right, "
    return tag("p", told, "and none of them had a part in choosing it.", class_="lead")


def _tiles(answer: dict[str, Json]) -> Markup:
    model, test, measured = (answer.get(key) or {} for key in ("model", "test", "measured"))
    form = {"int8": "8-bit integers", "float32": "32-bit floats"}.get(model.get("form", ""), model.get("form", ""))
    interval = show.interval_words(test.get("interval"))
    path = PurePath(str(model.get("path", ""))).name
    tiles = [
        parts.tile("File", parts.number(model.get("bytes"), show.bytes_words(model.get("bytes"))), f"{path}, {form}"),
        parts.tile(
            "Test accuracy",
            parts.number(test.get("accuracy"), show.percent(test.get("accuracy"))),
            f"95 % interval {interval}" if interval else "no interval in the record",
        ),
        parts.tile(
            "Latency",
            parts.number(measured.get("latency_ms"), show.milliseconds(measured.get("latency_ms"))),
            "median of one prediction, one thread" if measured.get("latency_ms") is not None else "not measured",
        ),
        parts.tile(
            "Memory",
            parts.number(measured.get("memory_bytes"), show.bytes_words(measured.get("memory_bytes"))),
            "peak, above the bare process" if measured.get("memory_bytes") is not None else "not measured",
        ),
    ]
    return tag("div", tiles, class_="tiles")


def _badges(answer: dict[str, Json]) -> Markup:
    limits = answer.get("limits") or []
    if not limits:
        return tag("p", parts.badge("no limit was set", None), class_="badges")
    badges = []
    for verdict in limits:
        limit, achieved = show.limit_words(verdict["name"], verdict["limit"], verdict["achieved"])
        sign = "≥" if verdict["name"].startswith("min_") else "≤"
        told = f"{achieved} {sign} {limit}" if verdict["met"] else f"{achieved}, allowed {sign} {limit}"
        if verdict["achieved"] is None:
            told = f"not measured, allowed {sign} {limit}"
        badges.append(parts.badge(f"{show.LIMIT_WORDS.get(verdict['name'], verdict['name'])} {told}", verdict["met"]))
    return tag("p", badges, class_="badges")


def budget(run: Run) -> Markup:
    """Each limit: what was allowed, what was measured, the room left, and how it was measured."""
    limits = (run.answer or {}).get("limits")
    allowed = run.start.get("budget") or {}
    if limits is None:
        limits = [
            {"name": key, "limit": allowed[key], "achieved": None, "met": False, "how": "not measured yet"}
            for key in show.LIMIT_WORDS
            if allowed.get(key) is not None
        ]
    if not limits:
        told = "No limit was set." if run.answer or allowed else "The record holds no budget."
        return parts.section("budget", "Budget", parts.missing(told))
    rows = []
    for verdict in limits:
        limit, achieved = show.limit_words(verdict["name"], verdict["limit"], verdict["achieved"])
        rows.append(
            (
                show.LIMIT_WORDS.get(verdict["name"], verdict["name"]),
                parts.number(verdict["limit"], limit),
                parts.number(verdict["achieved"], achieved),
                show.margin_words(verdict["name"], verdict["limit"], verdict["achieved"]),
                _met(verdict),
                verdict["how"],
            )
        )
    header = ("Limit", "Allowed", "Achieved", "Room left", "Met", "How it was measured")
    lead = "Measured in a fresh process that has only the file. What was not measured is not met."
    return parts.section("budget", "Budget", parts.table(header, rows, words=(0, 4, 5)), lead=lead)


def _met(verdict: dict[str, Json]) -> Markup:
    if verdict["achieved"] is None:
        return parts.badge("not measured", None)
    return parts.badge("met" if verdict["met"] else "broken", verdict["met"])
