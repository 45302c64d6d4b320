# SPDX-License-Identifier: Apache-2.0
"""The answer as JSON, beside its baseline, and as a notebook shows it; expected values by hand."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest

from fireforge.base.answer import Answer, BestBaseline, CandidateFile, Score
from fireforge.base.budget import Verdict
from fireforge.base.exported import Exported
from fireforge.base.machine import Hardware
from fireforge.base.measurement import Measurement
from fireforge.base.spec import NetSpec

MACHINE = Hardware(processor="cpu", architecture="x", cores=1, memory_bytes=0, instructions=(), system="os")
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
    hardware=MACHINE,
    how={},
)
ANSWER = Answer(
    model=Exported(path="model-int8.onnx", form="int8", bytes=30_000, sha256="ab"),
    test=Score(accuracy=0.98, n=100, interval=(0.93, 0.994)),
    measured=MEASURED,
    limits=(Verdict(name="max_bytes", limit=40_000.0, achieved=30_000, met=True, how="size"),),
    feasible=True,
    spec=NetSpec(family="firenet", classes=2, input_shape=(1, 8, 8)),
    baseline=BestBaseline(name="neighbours", accuracy=0.97),
    candidates=(
        CandidateFile(path="model.onnx", form="float32", bytes=100_000, val_accuracy=0.96),
        CandidateFile(path="model-int8.onnx", form="int8", bytes=30_000, val_accuracy=0.95),
    ),
    versions={},
    hardware=MACHINE,
)


def test_the_json_has_the_form_that_programs_read() -> None:
    data = ANSWER.to_json()
    assert set(data) == {
        "model", "test", "measured", "limits", "feasible", "infeasible_because", "spec", "trial", "epochs", "cost",
        "baseline", "instead", "candidates", "val_accuracy", "seconds", "command", "versions", "hardware",
    }  # fmt: skip
    assert data["model"] == {"path": "model-int8.onnx", "form": "int8", "bytes": 30_000, "sha256": "ab"}
    assert data["test"] == {"accuracy": 0.98, "n": 100, "interval": [0.93, 0.994]}
    assert data["limits"] == [{"name": "max_bytes", "limit": 40_000.0, "achieved": 30_000, "met": True, "how": "size"}]
    assert data["baseline"] == {"name": "neighbours", "accuracy": 0.97, "bytes": 0, "latency_ms": None}
    assert data["instead"] is None
    assert data["candidates"][1] == {"path": "model-int8.onnx", "form": "int8", "bytes": 30_000, "val_accuracy": 0.95}
    assert Answer.from_json(data) == ANSWER


@pytest.mark.parametrize(
    ("own", "baseline", "better"),
    [(0.97, 0.97, False), (0.98, 0.97, False), (0.9699, 0.97, True), (None, 0.96, True), (None, 0.95, False)],
)
def test_a_baseline_wins_where_it_is_better_on_validation(own: float | None, baseline: float, better: bool) -> None:
    """Without an accuracy of its own the chosen file's among the candidates counts, 0.95, and not the better one's."""
    answer = ANSWER.replace(val_accuracy=own, baseline=BestBaseline(name="neighbours", accuracy=baseline))
    assert (answer.beaten_by() is not None) == better


def test_nothing_is_compared_that_is_not_there() -> None:
    assert ANSWER.replace(baseline=None).beaten_by() is None
    assert ANSWER.replace(candidates=()).on_validation() is None
    assert ANSWER.replace(candidates=()).beaten_by() is None


def test_a_notebook_shows_a_table_and_names_stay_text() -> None:
    """Read back with the standard library's parser: rows of a name and words, no other element."""
    seen: list[str] = []
    words: list[str] = []

    class Table(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            seen.append(tag)

        def handle_data(self, data: str) -> None:
            words.append(data)

    broken = Verdict(name="min_accuracy", limit=0.99, achieved=0.98, met=False, how="test part")
    unseen = Verdict(name="max_energy_mj", limit=2.5, achieved=None, met=False, how="not measured")
    answer = ANSWER.replace(
        model=ANSWER.model.replace(path="<script>&.onnx"),
        limits=(*ANSWER.limits, broken, unseen),
        feasible=False,
        infeasible_because='"<b>"',
        val_accuracy=0.95,
        baseline=BestBaseline(name="<i>", accuracy=0.99),
    )
    text = answer._repr_html_()
    Table(convert_charrefs=True).feed(text)
    assert set(seen) == {"table", "tr", "th", "td"}
    assert words == [
        "File", "<script>&.onnx (int8), 30,000 B",
        "Test accuracy", "98.00% of 100 (93.0% to 99.4%)",
        "Latency", "0.0625 ms",
        "Memory", "not measured",
        "max_bytes", "40,000: met with 30,000",
        "min_accuracy", "0.99: not met with 0.98",
        "max_energy_mj", "2.5: not measured",
        "Infeasible", '"<b>"',
        "Warning", "<i> needs no search and is better: 99.0%",
    ]  # fmt: skip
