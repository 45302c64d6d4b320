# SPDX-License-Identifier: Apache-2.0
"""Everything that is drawn either builds and runs, or is refused as BAD_SPEC."""

from __future__ import annotations

import pytest
import torch

from fireforge.base.errors import FireforgeError
from fireforge.base.rng import rng
from fireforge.nets.families import build_graph
from fireforge.nets.module import GraphModule, initialise
from fireforge.space.spaces import firenet_space

SHAPES = [(1, 8, 8), (1, 28, 28), (3, 32, 32), (3, 64, 64), (3, 96, 96)]


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: "x".join(map(str, shape)))
def test_a_draw_builds_and_runs_in_both_modes_or_is_refused(shape: tuple[int, int, int]) -> None:
    torch.set_num_threads(1)
    draws, impossible, ran = 150, 0, 0
    for index in range(draws):
        spec = firenet_space(7, shape, rng(11, 0, index))
        assert (spec.classes, spec.input_shape) == (7, shape)
        try:
            graph = build_graph(spec)
        except FireforgeError as error:
            if error.code != "BAD_SPEC":
                raise
            impossible += 1
            continue
        if index % 15:
            continue
        module = GraphModule(graph)
        initialise(module, 0)
        for mode in (True, False):
            module.train(mode)
            with torch.no_grad():
                outputs = module(torch.randn(2, *shape, generator=torch.Generator().manual_seed(index)))
            assert outputs.shape == (2, 7)
            assert bool(outputs.isfinite().all())
        ran += 1
    print(f"{shape}: {impossible / draws:.1%} of {draws} draws are impossible, {ran} ran")
    assert impossible / draws < 0.2
    assert ran > 0


def test_draws_differ() -> None:
    digests = {firenet_space(10, (3, 32, 32), rng(0, 0, index)).digest() for index in range(200)}
    assert len(digests) > 195  # of more than 100,000 combinations
