# SPDX-License-Identifier: Apache-2.0
"""The choice among files and the words of an infeasible answer, by hand-made measurements."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from fireforge.base.budget import Budget
from fireforge.base.exported import Exported
from fireforge.base.machine import this_machine
from fireforge.base.measurement import Measurement
from fireforge.base.record import Facts
from fireforge.jobs.deliver import Delivery
from fireforge.jobs.folder import RunFolder
from fireforge.jobs.settle import _epochs, choose


def delivery(form: str, *, size: int, accuracy: float, latency_ms: float, memory: int = 10**7) -> Delivery:
    measurement = Measurement(
        bytes=size,
        latency_ms=latency_ms,
        latency_p90_ms=latency_ms,
        memory_bytes=memory,
        load_ms=1.0,
        accuracy=None,
        n=0,
        runs=100,
        threads=1,
        runtime="OnnxSession",
        torch_loaded=False,
        hardware=this_machine(),
        how={},
    )
    exported = Exported(path=f"{form}.onnx", form=form, bytes=size, sha256="")
    return Delivery(exported=exported, facts=Facts(accuracy=accuracy), measurement=measurement)


FLOAT = delivery("float32", size=100_000, accuracy=0.990, latency_ms=0.060)
INT8 = delivery("int8", size=30_000, accuracy=0.987, latency_ms=0.070)


@pytest.mark.parametrize(
    ("budget", "form"),
    [
        (Budget(), "int8"),  # within the tolerance of half a point, and smaller
        (Budget(tolerance=0.001), "float32"),
        (Budget(max_bytes=40_000, tolerance=0.001), "int8"),
        (Budget(max_latency_ms=0.065), "float32"),  # int8 breaks the limit
        (Budget(min_accuracy=0.989), "float32"),
        (Budget(max_bytes=1000), "int8"),  # none keeps it: the smallest
        (Budget(max_bytes=1000, max_latency_ms=0.065), "float32"),  # int8 breaks two limits, float one
        (Budget(max_memory_bytes=1), "int8"),
        (Budget(min_accuracy=0.995), "float32"),  # none keeps it: the nearest, not the smallest
        (Budget(max_bytes=20_000, min_accuracy=0.995), "int8"),  # 0.5 and 0.008 of the limits off, float 4 and 0.005
    ],
)
def test_choice_keeps_every_limit_it_can(budget: Budget, form: str) -> None:
    assert choose([FLOAT, INT8], budget).exported.form == form


def test_passes_are_those_of_all_rungs_whose_weights_it_goes_on_from_by_hand() -> None:
    """100 pictures. 40 of them once, then all of them 2.5 times, then 3 times: (40 + 250 + 300) / 100."""

    def trained(digest: str, start: str, pictures: int, epochs: float) -> SimpleNamespace:
        return SimpleNamespace(
            trial_digest=digest,
            trial=SimpleNamespace(start=start),
            samples={"train": pictures},
            metrics={"train/epoch": (1.0, epochs)},
        )

    first, second, last = trained("a", "", 40, 1.0), trained("b", "a", 100, 2.5), trained("c", "b", 100, 3.0)
    other = trained("d", "", 100, 9.0)
    run = SimpleNamespace(earlier=lambda: (first,), trials=lambda: {"b": second, "c": last, "d": other})
    assert _epochs(run, last, 100) == 5.9  # type: ignore[arg-type]
    assert _epochs(run, trained("e", "gone", 100, 0.25), 100) == 0.25  # type: ignore[arg-type]


def test_the_bytes_that_were_foretold_are_those_of_the_file(built: Path) -> None:
    """Counted with the longest numbers that its card could hold, so at most some hundred too many, never too few."""
    with RunFolder(built) as run:
        told, answer = run.entry("prediction"), run.entry("answer")
    real = (built / answer["model"]["path"]).stat().st_size
    assert told["name"] == "bytes"
    assert real <= told["value"] <= real + 300
    assert answer["epochs"] > 1
