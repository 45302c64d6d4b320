# SPDX-License-Identifier: Apache-2.0
"""The page's top: what came out, and whether the limits hold."""

from __future__ import annotations

from pathlib import PurePath

import fireforge.report.parts as parts
import fireforge.report.show as show
from fireforge.base.answer import Answer
from fireforge.base.budget import Budget, Verdict, judge
from fireforge.base.record import RunRecord
from fireforge.base.units import show_bytes
from fireforge.report.markup import Markup, join, tag
from fireforge.report.run import Run

FORMS = {"int8": "8-bit integers", "float32": "32-bit floats"}


def headline(run: Run) -> Markup:
    """The answer in one sentence, its numbers large, its limits as badges."""
    source = run.start.dataset.source if run.start else run.folder.name
    kind = "Network for" if run.answer else "Run on"
    top = [
        tag("p", "fireforge", class_="brand"),
        tag("h1", f"{kind} ", parts.name(PurePath(source).name or source)),
    ]
    if run.answer is None:
        return tag("header", top, _interrupted(run))
    alarms = [_infeasible(run.answer), _beaten(run.answer)]
    data = run.dataset()
    sentence = _sentence(run.answer, data.seen if data else 0)
    return tag("header", top, alarms, sentence, _tiles(run.answer), _badges(run.answer))


def _infeasible(answer: Answer) -> Markup | None:
    if answer.feasible:
        return None
    return tag("p", tag("strong", "Infeasible: "), answer.infeasible_because, class_="alarm")


def _beaten(answer: Answer) -> Markup | None:
    """A plain warning where a method without a network is better on the same pictures, or no worse in all."""
    better, own = answer.beaten_by(), answer.on_validation()
    if answer.instead is not None:
        simple = answer.instead
        told = f" needs no search, keeps all limits and is no worse: {show.percent(simple.accuracy)} on the validation "
        told += f"part with {show.bytes_words(simple.bytes or None)}, the network {show.percent(own)}."
        return tag("p", tag("strong", "Simpler: "), parts.name(simple.name), told, class_="alarm")
    if better is None:
        return None
    told = (
        f"{show.percent(better.accuracy)} on the validation part, the network {show.percent(own)}. More time may help."
    )
    return tag(
        "p", tag("strong", "Warning: "), parts.name(better.name), " needs no search and has ", told, class_="alarm"
    )


def _trained(run: Run, best: RunRecord) -> Markup:
    """What a training of one network says in the place of an answer: it looks for none."""
    told = f"{show.percent(best.accuracy)} on the validation part. "
    return tag(
        "p", tag("strong", "One network, trained alone: "), told, "fireforge export writes its file.", class_="lead"
    )


def _interrupted(run: Run) -> Markup:
    best = run.best()
    if best is not None and run.start is not None and run.start.settings is not None:
        return _trained(run, best)
    told = f"{len(run.trials)} trials finished"
    if best is not None:
        told += f"; the best so far has {show.percent(best.accuracy)} on the validation part"
    return join(
        (
            tag("p", tag("strong", "Interrupted: "), "no answer yet.", class_="alarm"),
            tag("p", told, ". The same command on the same folder goes on from here.", class_="lead"),
        )
    )


def _sentence(answer: Answer, seen: int) -> Markup:
    told = (
        f"{'One' if answer.feasible else 'The nearest found: one'} file of {show_bytes(answer.model.bytes)}. It names "
    )
    told += f"{show.percent(answer.test.accuracy)} of {show.count(answer.test.n)} test pictures right, "
    part = "and none of them had a part in choosing it."
    if seen:
        part = f"but {show.count(seen)} of them equal pictures that it was trained or chosen on."
    if answer.epochs is not None and answer.epochs < 1:
        share = show.percent(answer.epochs, digits=0)
        part += f" It was trained on {share} of one pass over the pictures: the time was short."
    return tag("p", told, part, class_="lead")


def _tiles(answer: Answer) -> Markup:
    model, test, measured = answer.model, answer.test, answer.measured
    tiles = [
        parts.tile(
            "File",
            parts.number(model.bytes, show.bytes_words(model.bytes)),
            f"{PurePath(model.path).name}, {FORMS[model.form]}",
        ),
        parts.tile(
            "Test accuracy",
            parts.number(test.accuracy, show.percent(test.accuracy)),
            f"95 % interval {show.interval_words(test.interval)}".replace(" %", "\u00a0%"),
        ),
        parts.tile(
            "Latency",
            parts.number(measured.latency_ms, show.milliseconds(measured.latency_ms)),
            "median of one prediction, one thread",
        ),
        parts.tile(
            "Memory",
            parts.number(measured.memory_bytes, show.bytes_words(measured.memory_bytes)),
            "peak, above the bare process" if measured.memory_bytes is not None else "not measured",
        ),
    ]
    if measured.energy_mj is not None:
        counted = measured.how.get("energy_mj", "").startswith("counter")
        note = "a prediction, by the machine's counter" if counted else "a prediction, estimated: a lower bound"
        tiles.append(parts.tile("Energy", parts.number(measured.energy_mj, show.millijoules(measured.energy_mj)), note))
    return tag("div", tiles, class_="tiles")


def _badges(answer: Answer) -> Markup:
    if not answer.limits:
        return tag("p", parts.badge("no limit was set", None), class_="badges")
    badges = []
    for verdict in answer.limits:
        limit, achieved = show.limit_words(verdict.name, verdict.limit, verdict.achieved)
        sign = "≥" if verdict.name.startswith("min_") else "≤"
        told = f"{achieved} {sign} {limit}" if verdict.met else f"{achieved}, allowed {sign} {limit}"
        if verdict.achieved is None:
            told = f"not measured, allowed {sign} {limit}"
        told += ", estimated" if _estimated(verdict) else ""
        badges.append(parts.badge(f"{show.LIMIT_WORDS.get(verdict.name, verdict.name)} {told}", verdict.met))
    return tag("p", badges, class_="badges")


def limits(run: Run) -> Markup:
    """Each limit: what was allowed, what was measured, the room left, and how it was measured."""
    allowed = run.start.budget if run.start else None
    verdicts = run.answer.limits if run.answer else judge(allowed or Budget(), {}, {})
    if not verdicts:
        told = "No limit was set." if run.answer or allowed else "The record holds no budget."
        return parts.section("limits", "Limits", parts.missing(told))
    rows = []
    for verdict in verdicts:
        limit, achieved = show.limit_words(verdict.name, verdict.limit, verdict.achieved)
        rows.append(
            (
                show.LIMIT_WORDS.get(verdict.name, verdict.name),
                parts.number(verdict.limit, limit),
                parts.number(verdict.achieved, achieved),
                show.margin_words(verdict.name, verdict.limit, verdict.achieved),
                _met(verdict),
                verdict.how if run.answer else "not measured yet",
            )
        )
    header = ("Limit", "Allowed", "Achieved", "Room left", "Met", "How it was measured")
    lead = "Measured in a fresh process that has only the file. What was not measured is not met."
    return parts.section("limits", "Limits", parts.table(header, rows, words=(0, 4, 5)), lead=lead)


def _met(verdict: Verdict) -> Markup:
    if verdict.achieved is None:
        return parts.badge("not measured", None)
    told = "met" if verdict.met else "broken"
    return parts.badge(f"{told}, estimated" if _estimated(verdict) else told, verdict.met)


def _estimated(verdict: Verdict) -> bool:
    """Whether the limit was held against an estimate, as no counter was there to measure."""
    return verdict.how.startswith("estimated")
