# SPDX-License-Identifier: Apache-2.0
"""The choice among files and the words of an infeasible answer, by hand-made measurements."""

from __future__ import annotations

import pytest

from fireforge.base.budget import Budget
from fireforge.base.exported import Exported
from fireforge.base.machine import this_machine
from fireforge.base.measurement import Measurement
from fireforge.base.record import Facts
from fireforge.jobs.deliver import Delivery
from fireforge.jobs.settle import choose


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
