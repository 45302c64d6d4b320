# SPDX-License-Identifier: Apache-2.0
"""A fresh process: what it is given, what it answers, and how it fails. The modules are written here."""

from __future__ import annotations

from pathlib import Path

import pytest

from fireforge.base.errors import Exit, FireforgeError
from fireforge.base.fresh import fresh

ECHO = """
import json, os, sys
print("noise that libraries print")
print(json.dumps([sys.argv[1:], sys.stdin.read(), os.environ["COLOUR"]]))
"""
REFUSES = """
import sys
from fireforge.base.errors import FireforgeError
from fireforge.base.fresh import answer

def make():
    raise FireforgeError("BAD_BENCH", "no runs", where="here", allowed="1 or more", do="ask for one")

sys.exit(answer(make))
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Writes a module that a fresh process finds by the caller's own PYTHONPATH; its name."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    def write(text: str) -> str:
        (tmp_path / "errand.py").write_text(text)
        return "errand"

    return write


def test_a_process_gets_arguments_order_and_variables_and_its_last_line_counts(module) -> None:
    found = fresh(module(ECHO), ["a", "b"], where="x", order="text", env={"COLOUR": "red"})
    assert found == [["a", "b"], "text", "red"]


def test_what_it_refuses_is_raised_as_it_was(module) -> None:
    with pytest.raises(FireforgeError) as raised:
        fresh(module(REFUSES), where="x")
    error = raised.value
    assert (error.code, error.what, error.where) == ("BAD_BENCH", "no runs", "here")
    assert (error.allowed, error.do) == ("1 or more", "ask for one")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("raise ValueError('broken')", "ValueError: broken"),
        ("import os; os._exit(9)", "the process ended with 9"),
        ("pass", "the process ended with 0"),
        ("import time; time.sleep(60)", "took more than 1 s"),
    ],
)
def test_a_process_that_fails_is_a_bug_of_ours(module, text: str, told: str) -> None:
    with pytest.raises(FireforgeError, match="MEASURE_FAILED") as raised:
        fresh(module(text), where="x", limit_s=1.0 if "sleep" in text else 60.0)
    assert raised.value.what == told
    assert raised.value.exit_code == Exit.BUG
