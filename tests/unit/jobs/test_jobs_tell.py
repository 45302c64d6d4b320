# SPDX-License-Identifier: Apache-2.0
"""The last lines of a build and of an evaluation, by hand."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest

from fireforge.base.answer import Answer, BestBaseline, CandidateFile, Score
from fireforge.base.budget import Verdict
from fireforge.base.errors import FireforgeError
from fireforge.base.evaluation import Evaluation, PerClass
from fireforge.base.exported import Exported
from fireforge.base.gradients import Gradients, Look
from fireforge.base.machine import this_machine
from fireforge.base.measurement import Measurement
from fireforge.base.postprocess import Classification
from fireforge.base.spec import NetSpec
from fireforge.jobs.tell import answer, evaluation, predictions
from fireforge.jobs.tell_gradients import gradients

MEASURED = Measurement(
    bytes=30_000,
    latency_ms=0.0625,
    latency_p90_ms=0.07,
    memory_bytes=None,
    load_ms=1.0,
    accuracy=0.98,
    n=100,
    runs=200,
    threads=1,
    runtime="OnnxSession",
    torch_loaded=False,
    hardware=this_machine(),
    how={},
)
ANSWER = Answer(
    model=Exported(path="model-int8.onnx", form="int8", bytes=30_000, sha256="ab"),
    test=Score(accuracy=0.98, n=100, interval=(0.93, 0.994)),
    measured=MEASURED,
    limits=(Verdict(name="max_bytes", limit=40_000.0, achieved=30_000.0, met=True, how="size"),),
    feasible=True,
    spec=NetSpec(family="firenet", classes=2, input_shape=(1, 8, 8)),
    candidates=(CandidateFile(path="model-int8.onnx", form="int8", bytes=30_000, val_accuracy=0.95),),
    seconds=42.0,
    versions={},
    hardware=this_machine(),
)


@pytest.mark.parametrize(("epochs", "warned"), [(None, False), (0.42, True), (1.0, False), (12.0, False)])
def test_less_than_one_pass_over_the_pictures_is_told(epochs: float | None, warned: bool) -> None:
    told = answer(ANSWER.replace(epochs=epochs), Path("run"))
    line = "WARNING: trained on 42% of one pass over the pictures; a longer --time gives better"
    assert (line in told) is warned
    assert any("one pass" in line for line in told) is warned


@pytest.mark.parametrize(
    ("baseline", "lines"),
    [
        (None, []),
        (0.95, ["on validation: 95.0%; baseline neighbours: 95.0%"]),
        (
            0.97,
            [
                "on validation: 95.0%; baseline neighbours: 97.0%",
                "WARNING: neighbours needs no search and is better here; a longer --time may mend it",
            ],
        ),
    ],
)
def test_the_answer_stands_beside_the_baseline(baseline: float | None, lines: list[str]) -> None:
    best = None if baseline is None else BestBaseline(name="neighbours", accuracy=baseline)
    told = answer(ANSWER.replace(baseline=best), Path("runs/x"))
    assert told[0] == (
        "runs/x/model-int8.onnx: 30,000 bytes (int8), 98.00% of 100 test pictures"
        " (95 % interval 93.0% to 99.4%), 0.06 ms a picture, in 42 s"
    )
    assert told[1 : told.index("")] == lines
    assert "File size  40,000 B  30,000 B  yes  size" in told


def test_what_now_is_five_lines_with_one_word_each_whatever_the_folder_is_called() -> None:
    told = answer(ANSWER, Path("my 'runs'"))
    lines = told[told.index("what now") + 1 :]
    words = [shlex.split(line[21:]) for line in lines]
    assert [line[2:20].strip() for line in lines] == ["the file", "shell", "Python", "ONNX Runtime only", "the report"]
    model, picture = "my 'runs'/model-int8.onnx", "PICTURE"
    assert words[0] == [model]
    assert words[1] == ["fireforge", "predict", model, picture]
    assert words[2][:2] == ["python", "-c"]
    assert words[2][2] == f'import fireforge; print(fireforge.load("{model}").predict("PICTURE"))'
    assert words[3] == ["python", "my 'runs'/predict.py", picture]
    assert words[4] == ["my 'runs'/report.html"]


def test_a_baseline_that_makes_the_network_needless_is_named_instead_of_a_warning() -> None:
    best = BestBaseline(name="neighbours", accuracy=0.97, bytes=20_000, latency_ms=0.5)
    told = answer(ANSWER.replace(baseline=best, instead=best), Path("runs/x"))
    simpler = "SIMPLER: neighbours needs no search, meets all limits and is no worse"
    assert f"{simpler}: 97.0% on validation, 20,000 B, 0.50 ms" in told
    assert not any(line.startswith("WARNING") for line in told)


FOUND = Evaluation(
    model="m",
    part="test",
    n=4,
    accuracy=0.75,
    interval=(0.3, 0.95),
    top_k={"1": 0.75},
    ece=0.1,
    confusion=((2, 0), (1, 1)),
    labels=("a", "b"),
    per_class=PerClass(precision=(0.667, 1.0), recall=(1.0, 0.5), f1=(0.8, 0.667), support=(2, 2)),
    reliability=(),
    worst=(),
)


def test_an_evaluation_by_hand() -> None:
    assert evaluation(FOUND) == [
        "m on 4 pictures (test): 75.00% (95 % interval 30.0% to 95.0%); top-1 75.0%; calibration error 0.100",
        "",
        "class  precision  recall     F1  pictures",
        "-----  ---------  ------  -----  --------",
        "a          66.7%  100.0%  80.0%         2",
        "b         100.0%   50.0%  66.7%         2",
        "",
        "truth, answered as  a  b",
        "------------------  -  -",
        "a                   2  –",
        "b                   1  1",
    ]


def test_refused_answers_and_pictures_that_were_not_used_are_told() -> None:
    told = evaluation(
        FOUND.replace(threshold=0.5, refused=1, accuracy_accepted=1.0, skipped={"IMG_EMPTY": 2, "NO_FILE": 1})
    )
    assert told[1:3] == [
        "none of these: 1 answers with a score below 0.5, 100.00% of the others are right",
        "not used: 2 IMG_EMPTY, 1 NO_FILE; fireforge inspect lists them",
    ]


def test_of_many_classes_the_pairs_confused_most_are_told() -> None:
    size = 30
    table = np.diag(np.full(size, 9))
    table[np.arange(14), np.arange(14) + 1] = np.arange(1, 15)
    same = (0.5,) * size
    many = FOUND.replace(
        labels=tuple(f"class {k}" for k in range(size)),
        confusion=tuple(map(tuple, table.tolist())),
        per_class=PerClass(precision=same, recall=same, f1=same, support=same),
    )
    told = evaluation(many)[size + 5 :]
    assert told[0].split("  ")[0] == "truth"
    assert told[2].split() == ["class", "13", "class", "14", "14"]
    assert len(told) == 2 + 12 + 1
    assert told[-1] == "and 2 more pairs: --json has them all"


def test_predictions_by_hand(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    sure = Classification(labels=("cat", "dog"), scores=(0.75, 0.25))
    unsure = Classification(labels=("dog",), scores=(0.3125,), accepted=False)
    answers = [
        ("a.png", sure),
        ("line\nfeed,\udcff.png", unsure),
        ("b", FireforgeError("IMG_EMPTY", "none", where="b")),
    ]
    printed = {}
    for form in ("", "csv", "json"):
        assert predictions(answers, form=form) == 1
        sys.stdout.flush()
        printed[form], errors = capfdbinary.readouterr()
        assert errors == b"IMG_EMPTY: b: none\n"
    assert printed[""] == b"a.png  cat 75.0%, dog 25.0%\nline feed,\xff.png  none of these (best: dog 31.2%)\n"
    assert printed["csv"] == (
        b"file,label,score,accepted\na.png,cat,0.750000,yes\na.png,dog,0.250000,yes\n"
        b'"line\nfeed,\xff.png",dog,0.312500,no\n'
    )
    rows = [json.loads(line) for line in printed["json"].decode("utf-8").splitlines()]
    assert rows[0] == {"file": "a.png", "labels": ["cat", "dog"], "scores": [0.75, 0.25], "accepted": True}
    assert (rows[1]["file"], rows[1]["accepted"]) == ("line\nfeed,\udcff.png", False)


def test_gradients_are_told_at_the_first_look_and_at_the_last() -> None:
    rows = [(0.0, 10.0), (1.0, 3.0), (2.0, 0.5)]
    looks = [
        Look(epoch=epoch, outputs=tuple(gain**power for power in (4, 3, 2, 1, 0)), weights=(), relative=())
        for epoch, gain in rows
    ]
    head = "gradients, first layer beside the last but one: "
    assert gradients(Gradients(looks=tuple(looks))) == [
        head + "ideal at the first step (1,000 times); ideal after 2 epochs (0.12 times)"
    ]
    assert gradients(Gradients(looks=tuple(looks[:1]))) == [head + "ideal at the first step (1,000 times)"]
    assert gradients(Gradients()) == []
    assert gradients(Gradients(looks=(looks[0].replace(outputs=(1.0, 2.0)),))) == []
