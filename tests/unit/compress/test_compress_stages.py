# SPDX-License-Identifier: Apache-2.0
"""The contract that every stage of STAGES keeps; the reference is the model that goes in."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from fireforge.base.model import Model
from fireforge.base.record import Facts, StageReport
from fireforge.base.validate import validate
from fireforge.compress.stage import Context
from fireforge.compress.stages import STAGES


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_gives_a_valid_model_and_a_report_and_changes_nothing_it_was_given(
    network: Callable[..., Model], name: str
) -> None:
    model = network("resnet-small")
    graph, arrays = model.graph, {key: array.copy() for key, array in model.arrays().items()}
    pictures = np.random.default_rng(0).normal(size=(8, 3, 16, 16)).astype(np.float32)
    ctx = Context(calibration=pictures, evaluate=lambda m: Facts(macs=len(m.graph.nodes)))
    after, report = STAGES[name](model, ctx)
    validate(after.graph)
    assert {tensor.name for tensor in after.graph.weights} == set(after.weights)
    assert after.card == model.card
    assert (after.graph.inputs, after.graph.outputs) == (graph.inputs, graph.outputs)
    assert report.stage == name
    assert report.before.macs == len(graph.nodes)
    assert report.after.macs == len(after.graph.nodes)
    assert report.notes
    assert StageReport.from_json(report.to_json()) == report
    assert model.graph is graph
    assert all(np.array_equal(array, model.arrays()[key]) for key, array in arrays.items())
