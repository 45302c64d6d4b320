# SPDX-License-Identifier: Apache-2.0
"""What is shown of long work, by hand: plain lines elsewhere, the panel's words on a terminal, rate and time left."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from fireforge.base.budget import Budget
from fireforge.base.progress import Update
from fireforge.jobs import view
from fireforge.jobs.view import Rate, View


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(view.time, "monotonic", lambda: now[0])
    return now


def shown(panel: View) -> str:
    stream = io.StringIO()
    Console(file=stream, width=110, force_terminal=False).print(panel.panel())
    return stream.getvalue()


def test_plain_lines_come_every_few_seconds_and_at_each_stage(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    with View() as told:
        for step in range(7):
            told(Update(stage="rung 1", done=step, total=10, unit="networks", note="best 90.0%"))
            clock[0] += 1
        told(Update(stage="finish", note="compress"))
        told(Update(stage="finish", note="too soon"))
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "   0.0 s  rung 1 0/10 networks  best 90.0%",
        "   3.0 s  rung 1 3/10 networks, 1.0 networks/s, 7.0 s left  best 90.0%",
        "   6.0 s  rung 1 6/10 networks, 1.0 networks/s, 4.0 s left  best 90.0%",
        "   7.0 s  finish  compress",
    ]


def test_time_of_earlier_runs_counts(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with View(budget=Budget(seconds=60.0)) as told:
        told(Update(stage="rung 1", used_s=40.0))
        clock[0] += 4
        told(Update(stage="rung 2"))
    assert [line.split(" s ")[0].strip() for line in capsys.readouterr().err.splitlines()] == ["40.0", "44.0"]


def test_the_panel_says_stage_best_budget_rate_and_time_left(clock: list[float]) -> None:
    told = View(budget=Budget(max_bytes=40_000, min_accuracy=0.98, seconds=120.0))
    told(Update(stage="rung 1", done=0, total=12, unit="networks", used_s=20.0, best_accuracy=0.91, best_bytes=31_000))
    clock[0] += 10
    told(Update(stage="rung 1", done=3, total=12, unit="networks", used_s=30.0))
    text = shown(told)
    for words in (
        "rung 1",
        "3/12 networks, 0.3 networks/s, 30 s left",
        "best so far  91.0% on validation, 31,000 B",
        "30 s of 2 min 00 s, 1 min 30 s left",
        "File size 40,000 B",
        "Accuracy 98.0 %",
    ):
        assert words in text, text


def test_the_panel_of_other_work_has_no_budget(clock: list[float]) -> None:
    told = View()
    told(Update(stage="inspect", done=256, total=512, unit="image"))
    text = shown(told)
    assert "inspect" in text
    assert "limits" not in text


def test_quiet_shows_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with View(quiet=True) as told:
        told(Update(stage="rung 1", done=1, total=2, unit="networks"))
    assert capsys.readouterr() == ("", "")


def test_rate_begins_anew_with_a_stage_and_where_the_count_falls_back() -> None:
    rate = Rate()
    rate.see(Update(stage="a", done=10), 0.0)
    rate.see(Update(stage="a", done=20), 5.0)
    assert rate.words(Update(stage="a", done=20, total=40, unit="images")) == ", 2.0 images/s, 10 s left"
    rate.see(Update(stage="b", done=0), 6.0)
    assert rate.words(Update(stage="b", done=0, total=40, unit="images")) == ""
    rate.see(Update(stage="b", done=1), 66.0)
    assert rate.words(Update(stage="b", done=1, total=3, unit="networks")) == ", 1.0 networks/min, 2 min 00 s left"
    rate.see(Update(stage="b", done=0), 70.0)
    assert rate.words(Update(stage="b", done=0, total=3, unit="networks")) == ""
