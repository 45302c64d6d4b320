# SPDX-License-Identifier: Apache-2.0
"""A step is timed on the threads that were asked for, and the caller's number is his again; reference: torch's own."""

from __future__ import annotations

import pytest
import torch

from fireforge.base.trial import Recipe
from fireforge.nets.families import NETWORKS, build_graph
from fireforge.train import rehearsal as room
from fireforge.train.rehearsal import step_seconds

GRAPH = build_graph(NETWORKS["firenet-small"](10, input_shape=(1, 8, 8)))


@pytest.mark.parametrize("threads", [1, 3])
def test_a_step_is_timed_on_its_threads(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    real = room.train_step

    def step(*words: object, **named: object) -> object:
        seen.append(torch.get_num_threads())
        return real(*words, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(room, "train_step", step)
    before = torch.get_num_threads()
    assert 0 < step_seconds(GRAPH, Recipe(epochs=1, batch=8), threads=threads, timed=4) < 5
    assert seen == [threads] * 5  # one goes before
    assert torch.get_num_threads() == before
