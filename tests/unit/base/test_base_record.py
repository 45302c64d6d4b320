# SPDX-License-Identifier: Apache-2.0
"""Reports of stages in JSON; expected JSON by hand."""

from __future__ import annotations

import pytest

from fireforge.base.errors import FireforgeError
from fireforge.base.record import Facts, StageReport


def test_the_json_of_a_report_by_hand() -> None:
    report = StageReport(
        stage="fold", before=Facts(accuracy=0.5, interval=(0.25, 0.75), samples=4), after=Facts(bytes=9), notes=("n",)
    )
    before = {"accuracy": 0.5, "interval": [0.25, 0.75], "samples": 4, "macs": 0, "bytes": 0, "latency_ms": None}
    after = {"accuracy": None, "interval": None, "samples": 0, "macs": 0, "bytes": 9, "latency_ms": None}
    want = {"stage": "fold", "before": before, "after": after, "notes": ["n"], "seconds": 0.0, "lost": None}
    assert report.to_json() == want
    assert StageReport.from_json(want) == report


def test_an_interval_of_three_numbers_is_refused() -> None:
    with pytest.raises(FireforgeError, match="interval"):
        Facts.from_json({"interval": [0.1, 0.2, 0.3]})
