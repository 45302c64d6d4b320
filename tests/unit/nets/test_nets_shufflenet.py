# SPDX-License-Identifier: Apache-2.0
"""ShuffleNet V2 against the paper's tables, and the shuffle by hand."""

from __future__ import annotations

import pytest
import torch

from fireforge.base.errors import FireforgeError
from fireforge.base.infer import infer
from fireforge.base.spec import NetSpec
from fireforge.cost.count import count
from fireforge.nets.families import NETWORKS, build_graph
from fireforge.nets.module import GraphModule, initialise


@pytest.mark.parametrize(
    ("width", "params", "millions", "printed"),
    [
        ("0.5", 1_366_792, 40, 41),
        ("1.0", 2_278_604, 145, 146),
        ("1.5", 3_503_624, 296, 299),
        ("2.0", 7_393_996, 583, 591),
    ],
)
def test_parameters_and_macs_as_published(width, params, millions, printed):
    """Exact as torchvision prints them; Ma et al. 2018, table 8, counts 1 to 1.4 % more: other layers' work as well."""
    cost = count(build_graph(NETWORKS[f"shufflenet-v2-{width}"]()))
    assert cost.params == params
    assert round(cost.macs / 1e6) == millions
    assert 0 < printed / (cost.macs / 1e6) - 1 < 0.015


def test_stages_have_the_papers_sizes():
    """Ma et al. 2018, table 5 at 1x: 24, 116, 232, 464 and 1024 channels at 56, 28, 14, 7 and 7 px."""
    types = infer(build_graph(NETWORKS["shufflenet-v2-1.0"]()))
    assert types["stem_pool"].shape == ("N", 24, 56, 56)
    for stage, units, shape in ((2, 4, (116, 28, 28)), (3, 8, (232, 14, 14)), (4, 4, (464, 7, 7))):
        assert types[f"stage{stage}.unit{units}.shuffle.join"].shape == ("N", *shape)
        assert f"stage{stage}.unit{units + 1}.concat" not in types
    assert types["head"].shape == ("N", 1024, 7, 7)


def test_a_unit_leaves_one_half_as_it_is_and_shuffles():
    """By hand: channel 2 i of the output is channel i of the input, 2 i + 1 the other half's. Exact."""
    module = GraphModule(build_graph(NETWORKS["shufflenet-small"]()))
    initialise(module, 0)
    names = ["stage2.unit1.shuffle.join", "stage2.unit2.shuffle.join", "stage2.unit2.right.pointwise2_norm_relu"]
    with torch.no_grad():
        taps = module.eval().taps(torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)), names)
    before, after, right = taps.values()
    assert torch.equal(after[:, 0::2], before[:, :32])
    assert torch.equal(after[:, 1::2], right)


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 1, 1), (2, 5, 9)])
def test_the_small_one_takes_every_picture(shape):
    graph = build_graph(NETWORKS["shufflenet-small"](3, input_shape=shape))
    assert infer(graph)["logits"].shape == ("N", 3)
    assert count(graph).params < 1_500_000


@pytest.mark.parametrize("own", [{"widths": "15,30"}, {"widths": ""}, {"repeats": "1,2"}, {"head": 0}, {"dropout": 1}])
def test_what_makes_no_shufflenet_is_refused(own):
    with pytest.raises(FireforgeError) as caught:
        build_graph(NetSpec(family="shufflenet", params=own, classes=2, input_shape=(3, 32, 32)))
    assert caught.value.code == "BAD_SPEC"
    assert caught.value.where == f"shufflenet.{next(iter(own))}"
