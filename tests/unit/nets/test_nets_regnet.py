# SPDX-License-Identifier: Apache-2.0
"""RegNet X and Y: the widths that the paper's figures 16 and 17 print, and their sizes."""

from __future__ import annotations

import pytest

from fireforge.base.errors import FireforgeError
from fireforge.base.infer import infer
from fireforge.base.spec import NetSpec
from fireforge.cost.count import count
from fireforge.nets.families import NETWORKS, build_graph, fillers_of
from fireforge.nets.module import GraphModule, initialise
from fireforge.nets.regnet import DEFAULTS, stages

TABLE = {  # widths, depths, parameters, billions of multiply-adds in print
    "regnetx-200mf": ((24, 56, 152, 368), (1, 1, 4, 7), 2_684_792, "0.2"),
    "regnetx-400mf": ((32, 64, 160, 384), (1, 2, 7, 12), 5_157_512, "0.4"),
    "regnetx-600mf": ((48, 96, 240, 528), (1, 3, 5, 7), 6_196_040, "0.6"),
    "regnetx-800mf": ((64, 128, 288, 672), (1, 3, 7, 5), 7_259_656, "0.8"),
    "regnetx-1.6gf": ((72, 168, 408, 912), (2, 4, 10, 2), 9_190_136, "1.6"),
    "regnetx-3.2gf": ((96, 192, 432, 1008), (2, 6, 15, 2), 15_296_552, "3.2"),
    "regnety-200mf": ((24, 56, 152, 368), (1, 1, 4, 7), 3_162_996, "0.2"),
    "regnety-400mf": ((48, 104, 208, 440), (1, 3, 6, 6), 4_344_144, "0.4"),
    "regnety-600mf": ((48, 112, 256, 608), (1, 3, 7, 4), 6_055_160, "0.6"),
    "regnety-800mf": ((64, 128, 320, 768), (1, 3, 8, 2), 6_263_168, "0.8"),
    "regnety-1.6gf": ((48, 120, 336, 888), (2, 6, 17, 2), 11_202_430, "1.6"),
    "regnety-3.2gf": ((72, 216, 576, 1512), (2, 5, 13, 1), 19_436_338, "3.2"),
}


@pytest.mark.parametrize("name", TABLE)
def test_widths_depths_and_sizes_as_published(name):
    """Radosavovic et al. 2020; parameters exact as pytorchcv prints them."""
    widths, depths, params, printed = TABLE[name]
    spec = NETWORKS[name]()
    graph = build_graph(spec)
    assert stages({**DEFAULTS, **spec.params}) == list(zip(widths, depths, strict=True))
    cost = count(graph)
    assert cost.params == params
    assert f"{cost.macs / 1e9:.1f}" == printed
    types = infer(graph)
    for stage, (width, depth) in enumerate(zip(widths, depths, strict=True), 1):
        assert types[f"stage{stage}.block{depth}.sum"].shape == ("N", width, 112 >> stage, 112 >> stage)


def test_a_half_is_rounded_to_even():
    """24 * 2.54 ** 3 is 392 in eights and 24.5 groups of 16: the paper's 384, where rounding up would make 400."""
    widths = stages({"depth": 22, "w_0": 24, "w_a": 24.48, "w_m": 2.54, "group_width": 16})
    assert widths[-1] == (384, 12)


def test_a_group_is_as_wide_as_its_stage_where_that_is_less():
    assert stages({"depth": 2, "w_0": 16, "w_a": 0.0, "w_m": 2.0, "group_width": 32}) == [(16, 2)]


def test_squeeze_follows_the_blocks_input():
    """A quarter of the channels that enter the block: 48 of stage 1 for the first block of stage 2."""
    shapes = {weight.name: weight.shape for weight in build_graph(NETWORKS["regnety-400mf"]()).weights}
    assert shapes["stage1.block1.squeeze.reduce.weight"][:2] == (8, 48)
    assert shapes["stage2.block1.squeeze.reduce.weight"][:2] == (12, 104)
    assert shapes["stage2.block2.squeeze.reduce.weight"][:2] == (26, 104)


def test_first_weights_follow_he():
    """5 %: the standard deviation of n normal numbers is known to 1 / sqrt(2 n), n from 1,920."""
    spec = NETWORKS["regnet-small"]()
    module = GraphModule(build_graph(spec))
    initialise(module, 0, fillers=fillers_of(spec))
    conv, grouped = module.get_submodule("stage4.block1.conv3"), module.get_submodule("stage4.block1.conv2")
    assert conv.weight.std().item() == pytest.approx((2 / 192) ** 0.5, rel=0.05)
    assert grouped.weight.std().item() == pytest.approx((2 / (8 * 9)) ** 0.5, rel=0.05)
    assert module.classifier.weight.std().item() == pytest.approx(0.01, rel=0.05)


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 1, 1), (2, 5, 9)])
def test_the_small_one_takes_every_picture(shape):
    graph = build_graph(NETWORKS["regnet-small"](3, input_shape=shape))
    assert infer(graph)["logits"].shape == ("N", 3)
    assert count(graph).params < 1_500_000


@pytest.mark.parametrize(
    "own",
    [{"depth": 0}, {"w_0": 4}, {"w_a": -1.0}, {"w_m": 1.0}, {"group_width": 0}, {"se": -0.1}, {"w_m": float("nan")}],
)
def test_what_makes_no_regnet_is_refused(own):
    with pytest.raises(FireforgeError) as caught:
        build_graph(NetSpec(family="regnet", params=own, classes=2, input_shape=(3, 32, 32)))
    assert caught.value.code == "BAD_SPEC"
    assert caught.value.where == f"regnet.{next(iter(own))}"
