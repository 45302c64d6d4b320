# SPDX-License-Identifier: Apache-2.0
"""Everything that is drawn either builds and runs, or is refused as BAD_SPEC."""

from __future__ import annotations

import pytest
import torch

from fireforge.base.errors import FireforgeError
from fireforge.base.graph import Graph
from fireforge.base.infer import infer
from fireforge.base.rng import rng
from fireforge.cost.count import count
from fireforge.nets.families import build_graph
from fireforge.nets.module import GraphModule, initialise
from fireforge.space.spaces import SPACES

SHAPES = [(1, 7, 7), (1, 8, 8), (1, 28, 28), (3, 32, 32), (3, 20, 40), (3, 64, 64), (3, 96, 96), (3, 224, 224)]
LIGHT = 40_000_000  # MACs of a network that is run here


@pytest.mark.parametrize("name", sorted(SPACES))
@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: "x".join(map(str, shape)))
def test_a_draw_builds_and_runs_in_both_modes_or_is_refused(name: str, shape: tuple[int, int, int]) -> None:
    """60 draws; a few of the light ones run. At most a fifth may be impossible."""
    torch.set_num_threads(1)
    draws, impossible, ran = 60, 0, 0
    for index in range(draws):
        spec = SPACES[name](7, shape, rng(11, 0, index))
        assert (spec.family, spec.classes, spec.input_shape) == (name, 7, shape)
        try:
            graph = build_graph(spec)
        except FireforgeError as error:
            if error.code != "BAD_SPEC":
                raise
            impossible += 1
            continue
        if ran == 3 or index % 5 or count(graph).macs > LIGHT:
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
    assert impossible / draws < 0.2
    assert ran > 0 or max(shape) > 96  # the largest pictures may leave no light network


@pytest.mark.parametrize(("name", "least"), [("firenet", 195), ("mobilenet", 160), ("resnet", 110)])
def test_draws_differ(name: str, least: int) -> None:
    """200 draws of more than 100,000 FireNets, 4 x 4 x 3 x 4 x 3 x 2 = 1,152 MobileNets and 5 x 3 x 4 x 2 x 2 x 2 = 480
    ResNets: n (1 - (1 - 1/n)^200) are expected to be distinct, 183 and 164, fewer where widths or weights coincide."""
    digests = {SPACES[name](10, (3, 32, 32), rng(0, 0, index)).digest() for index in range(200)}
    assert len(digests) > least


@pytest.mark.parametrize("name", sorted(SPACES))
@pytest.mark.parametrize("side", [8, 16, 32, 48, 64, 128, 224])
def test_the_last_map_keeps_at_least_two_pixels_a_side(name: str, side: int) -> None:
    """Below 2 x 2 the global average is a single pixel, and most of the picture has been thrown away on the way.

    Where rounding up of odd sides is counted: the map that is averaged, of 40 draws that can be built."""
    for index in range(40):
        try:
            graph = build_graph(SPACES[name](3, (3, side, side), rng(5, 0, index)))
        except FireforgeError:
            continue
        assert last_map(graph) >= 2


def last_map(graph: Graph) -> int:
    """Side of the map that the global average pool of a graph reads."""
    pool = next(node for node in graph.nodes if node.op == "GlobalAveragePool")
    return min(int(size) for size in infer(graph)[pool.inputs[0]].shape[2:])
