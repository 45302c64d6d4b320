# SPDX-License-Identifier: Apache-2.0
"""predict.py in its own process against the predictor of the same file: what is printed, to a tenth of a percent."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from fireforge.base.errors import FireforgeError
from fireforge.base.hedge import Hedge, LabelTree
from fireforge.base.model import Card
from fireforge.base.parity import ParityReport
from fireforge.base.pixels import encode_png
from fireforge.base.postprocess import Postprocess
from fireforge.base.preprocess import Preprocess
from fireforge.jobs import alone
from fireforge.jobs.program import BOUND, DOUBT, TAP, _apart, with_program
from fireforge.runtime.executed import Executed, execute
from fireforge.runtime.predictor import load

LABELS = ("ape", "a bee", "cat")
REPORT = ParityReport(passed=True, pictures=3, taps=(), agreement=1.0, least_agreement=1.0, form="float32")


@pytest.fixture
def seen(small_model: Callable[..., Path], tmp_path: Path) -> tuple[Path, list[bytes], Executed]:
    path = small_model(tmp_path / "model.onnx", LABELS, channels=3)
    rng = np.random.default_rng(3)
    pictures = [encode_png(rng.integers(0, 256, (20, 31, 3)).astype(np.uint8)) for _ in range(3)]
    return path, pictures, execute(load(path), pictures)


def test_the_program_agrees(seen) -> None:
    path, pictures, executed = seen
    report = with_program(REPORT, path, pictures, executed)
    assert (report.passed, report.blame, [tap.tap for tap in report.taps]) == (True, "", [TAP])
    assert report.taps[0].difference <= 0.0005 + 1e-6  # half of the last digit that is printed


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("(pixels - mean) / std", "(pixels - mean)"),
        ("scores.argmax()", "scores.argmin()"),
        ('steps.get("resize")', "None"),
    ],
)
def test_a_fault_in_the_program_is_named(right: str, wrong: str, seen, tmp_path, monkeypatch) -> None:
    path, pictures, executed = seen
    text = Path(alone.__file__).read_text()
    assert right in text
    (tmp_path / "alone.py").write_text(text.replace(right, wrong))
    monkeypatch.setattr("fireforge.jobs.program.alone", SimpleNamespace(__file__=str(tmp_path / "alone.py")))
    report = with_program(REPORT, path, pictures, executed)
    assert (report.passed, report.blame) == (False, TAP)
    assert report.taps[0].difference > BOUND


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("", ""),
        ("last + 1", "last"),
        pytest.param('.get("bonus", 0.0)', '.get("none", 0.0)', marks=pytest.mark.slow),
        pytest.param("gain * ", "", marks=pytest.mark.slow),
    ],
)
def test_a_fault_in_its_answers_along_a_tree_is_named(
    right: str, wrong: str, small_model, seen, tmp_path, monkeypatch
) -> None:
    """The pair has 0.93, its better class 0.70: with 4 bits the pair is worth 0.26, the class -0.09, all 0."""
    tree = LabelTree(parents={"all": "", "both": "all"}, members={"all": ((1, 1),), "both": ((0, 0), (2, 2))})
    post = Postprocess(hedge=Hedge(tree=tree, bonus=4.0))
    path, pictures = small_model(tmp_path / "hedged.onnx", LABELS, channels=3, post=post), seen[1]
    executed = execute(load(path), pictures)
    assert set(executed.groups) == {"both"}
    (tmp_path / "alone.py").write_text(Path(alone.__file__).read_text().replace(right, wrong))
    monkeypatch.setattr("fireforge.jobs.program.alone", SimpleNamespace(__file__=str(tmp_path / "alone.py")))
    report = with_program(REPORT, path, pictures, executed)
    assert report.blame == (TAP if right else "")


def faulty(right: str, wrong: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a program with a fault in place of the true one."""
    text = Path(alone.__file__).read_text()
    assert right in text
    (folder / "alone.py").write_text(text.replace(right, wrong))
    monkeypatch.setattr("fireforge.jobs.program.alone", SimpleNamespace(__file__=str(folder / "alone.py")))


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("", ""),
        ("scores.max() < post", "False and post"),
        ("scores.max() < post", "score < post"),
        pytest.param("scores.max() < post", "scores.max() > post", marks=pytest.mark.slow),
        pytest.param("{doubt}{name}", "{doubt}not {name}", marks=pytest.mark.slow),
    ],
)
def test_every_word_of_its_answers_counts(right: str, wrong: str, small_model, seen, tmp_path, monkeypatch) -> None:
    """The pair has 0.93, its better class 0.70, which is below the threshold: "none of these, nearest: both"."""
    tree = LabelTree(parents={"all": "", "both": "all"}, members={"all": ((1, 1),), "both": ((0, 0), (2, 2))})
    post = Postprocess(hedge=Hedge(tree=tree, bonus=4.0), threshold=0.8)
    path, pictures = small_model(tmp_path / "hedged.onnx", LABELS, channels=3, post=post), seen[1]
    executed = execute(load(path), pictures)
    assert (set(executed.groups), set(executed.accepted)) == ({"both"}, {False})
    faulty(right, wrong, tmp_path, monkeypatch)
    assert with_program(REPORT, path, pictures, executed).blame == (TAP if right else "")


@pytest.mark.parametrize(
    ("moved", "form", "passed"), [(0.03, "int8", True), (0.06, "int8", False), (0.03, "float32", False)]
)
def test_sums_that_saturate_differ_from_the_predictor_alone(moved: float, form: str, passed: bool, seen) -> None:
    """In int8 the program's session may give other probabilities than the predictor, by 0.05; it must tell its own."""
    path, pictures, executed = seen
    scores = executed.scores.copy()
    scores[:, 0] += moved
    scores[:, 1] -= moved
    report = with_program(REPORT.replace(form=form), path, pictures, dataclasses.replace(executed, scores=scores))
    assert report.passed is passed
    assert report.taps[0].difference == (pytest.approx(moved) if form == "int8" else 1.0)


@pytest.mark.parametrize(
    ("line", "apart"),
    [
        ("  bee 70.0%", 0.0),
        ("  a bee 20.0%", 0.0),  # nearly as good
        ("  bee 69.0%", 0.01),
        ("  none of these, nearest: bee 70.0%", 1.0),
        ("  a bee 70.0%", 1.0),
        ("  no bee 70.0%", 1.0),
        (" bee 70.0%", 1.0),
        ("  cat 10.0%", 1.0),
    ],
)
def test_the_whole_line_is_compared(line: str, apart: float) -> None:
    """By hand; "a bee" ends with the words of the class "bee", and is due only where it comes as near."""
    near = line == "  a bee 20.0%"
    scores = np.array([0.1, 0.2, 0.2] if near else [0.1, 0.2, 0.7])
    card = Card(preprocess=Preprocess(), postprocess=Postprocess(threshold=0.1), labels=("cat", "a bee", "bee"))
    assert _apart(line, scores, card) == pytest.approx(apart, abs=1e-9)


@pytest.mark.parametrize(("threshold", "due"), [(0.6985, ("",)), (0.6995, ("", DOUBT)), (0.7015, (DOUBT,))])
def test_both_refusals_are_due_within_the_bound_of_the_threshold(threshold: float, due: tuple[str, ...]) -> None:
    card = Card(preprocess=Preprocess(), postprocess=Postprocess(threshold=threshold), labels=("cat", "bee"))
    for doubt in ("", DOUBT):
        assert _apart(f"  {doubt}bee 70.0%", np.array([0.3, 0.7]), card) == pytest.approx(float(doubt not in due))


def test_a_program_that_does_not_end_is_told(seen, tmp_path, monkeypatch) -> None:
    path, pictures, executed = seen
    (tmp_path / "alone.py").write_text("import time\n\ntime.sleep(60)\n")
    monkeypatch.setattr("fireforge.jobs.program.alone", SimpleNamespace(__file__=str(tmp_path / "alone.py")))
    monkeypatch.setattr("fireforge.jobs.program.LIMIT_S", 0.5)
    with pytest.raises(FireforgeError, match=r"MEASURE_FAILED.*predict.py took more"):
        with_program(REPORT, path, pictures, executed)


def test_pictures_that_it_does_not_promise_to_take_are_left_out(seen) -> None:
    path, _, executed = seen
    assert with_program(REPORT, path, [b"GIF89a"], executed) == REPORT


def test_a_program_that_dies_is_an_error(seen, tmp_path, monkeypatch) -> None:
    path, pictures, executed = seen
    (tmp_path / "alone.py").write_text("raise SystemExit('no such thing')")
    monkeypatch.setattr("fireforge.jobs.program.alone", SimpleNamespace(__file__=str(tmp_path / "alone.py")))
    with pytest.raises(FireforgeError, match="no such thing"):
        with_program(REPORT, path, pictures, executed)
