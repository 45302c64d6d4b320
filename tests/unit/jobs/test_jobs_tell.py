# SPDX-License-Identifier: Apache-2.0
"""The last lines of a build and of an evaluation, by hand."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from fireforge.base.answer import Answer, BestBaseline, CandidateFile, Score
from fireforge.base.budget import Verdict
from fireforge.base.evaluation import Evaluation, PerClass
from fireforge.base.exported import Exported
from fireforge.base.machine import this_machine
from fireforge.base.measurement import Measurement
from fireforge.base.spec import NetSpec
from fireforge.jobs.tell import answer, evaluation

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


@pytest.mark.parametrize(
    ("baseline", "lines"),
    [
        (None, []),
        (0.95, ["on validation: 95.0%; baseline neighbours: 95.0%"]),
        (
            0.97,
            [
                "on validation: 95.0%; baseline neighbours: 97.0%",
                "WARNING: neighbours needs no network and is better here; a longer --time may mend it",
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


def test_what_to_type_next_is_one_word_each_whatever_the_folder_is_called() -> None:
    told = answer(ANSWER, Path("my 'runs'"))
    commands = {line.split()[0]: shlex.split(line) for line in told if line.startswith("  ") and "report:" not in line}
    assert commands["python"][2] == (
        'import fireforge; print(fireforge.load("my \'runs\'/model-int8.onnx").predict("PICTURE"))'
    )
    assert commands["fireforge"][2] == "my 'runs'/model-int8.onnx"


def test_an_evaluation_by_hand() -> None:
    found = Evaluation(
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
    assert evaluation(found) == [
        "m on 4 pictures (test): 75.00% (95 % interval 30.0% to 95.0%); top-1 75.0%; calibration error 0.100",
        "",
        "class  precision  recall     F1  pictures",
        "-----  ---------  ------  -----  --------",
        "a          66.7%  100.0%  80.0%         2",
        "b         100.0%   50.0%  66.7%         2",
    ]
