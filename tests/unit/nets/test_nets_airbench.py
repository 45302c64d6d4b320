# SPDX-License-Identifier: Apache-2.0
"""The airbench family: sizes by hand, first weights that hand maps on, parameters that are refused."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fireforge.base.errors import FireforgeError
from fireforge.base.infer import infer
from fireforge.base.spec import NetSpec
from fireforge.base.validate import validate
from fireforge.cost.count import count
from fireforge.nets.families import NETWORKS, build_graph, fillers_of
from fireforge.nets.module import GraphModule, initialise


def graph_of(**params):
    return build_graph(NETWORKS["airbench94"](params=params))


def test_parameters_and_macs_by_hand():
    """2x2 patches without a border make 31 px, which pools halve to 15, 7 and 3; norms have two numbers a filter."""
    convs = [(24, 64, 31), (64, 64, 15), (64, 256, 15), (256, 256, 7), (256, 256, 7), (256, 256, 3)]
    weights = [9 * read * made for read, made, _ in convs]
    cost = count(graph_of())
    assert cost.params == 12 * 24 + 24 + sum(weights) + 2 * 2 * (64 + 256 + 256) + 2560 == 1_972_792
    assert cost.macs == 12 * 24 * 31**2 + sum(w * side**2 for w, (_, _, side) in zip(weights, convs)) + 2560


def test_the_one_for_600_processor_seconds_by_hand():
    convs = [(24, 48, 31), (48, 48, 15), (48, 48, 15), (48, 160, 15), *[(160, 160, 7)] * 3, *[(160, 160, 3)] * 2]
    cost, weights = count(build_graph(NETWORKS["airbench-medium"]())), [9 * read * made for read, made, _ in convs]
    assert cost.params == 12 * 24 + sum(weights) + 2 * 3 * (48 + 160 + 160) + 1600 == 1_277_056
    assert cost.macs == 12 * 24 * 31**2 + sum(w * side**2 for w, (_, _, side) in zip(weights, convs)) + 1600


def test_layers_in_the_papers_order():
    kinds = [node.op for node in graph_of(widths="8").nodes]
    stage = ["Conv", "MaxPool", "BatchNormalization", "Relu", "Conv", "BatchNormalization", "Relu"]
    assert kinds == ["Conv", "Relu", *stage, "GlobalMaxPool", "Flatten", "Mul", "Gemm"]


def test_parameters_do_what_they_say():
    graph = graph_of(
        widths="8,16", convs=3, residual=True, activation="hard-swish", dropout=0.5, scale=1, stem_bias=False
    )
    kinds = [node.op for node in graph.nodes]
    assert (kinds.count("Conv"), kinds.count("Add"), kinds.count("HardSwish")) == (7, 2, 7)
    assert "Mul" not in kinds
    assert "Relu" not in kinds
    assert "Dropout" in kinds
    assert "stem.bias" not in {weight.name for weight in graph.weights}
    assert [node.name for node in graph_of(pools="1,3").nodes if node.op == "MaxPool"] == ["stage1.pool", "stage3.pool"]
    shapes = {name: tensor.shape for name, tensor in infer(graph_of(stem=48, stem_kernel=4, stem_stride=2)).items()}
    assert shapes["stem"] == ("N", 48, 16, 16)


def test_fresh_convolutions_hand_their_maps_on():
    """The first 64 of 256 filters of stage 2 give back the 64 maps, exactly; what is left is within 1 / sqrt(576)."""
    spec = NETWORKS["airbench94"]()
    module = GraphModule(build_graph(spec))
    initialise(module, 0, fillers=fillers_of(spec))
    layer, maps = module.stage2.conv1, torch.randn(2, 64, 5, 5)
    with torch.no_grad():
        assert torch.equal(layer(maps)[:, :64], maps)
    drawn = layer.weight[64:].detach()
    assert 0.98 / 24 < drawn.abs().max().item() <= 1 / 24
    assert torch.equal(module.stage2.conv1_norm.weight, torch.ones(256))
    narrow = GraphModule(build_graph(NETWORKS["airbench94"](params={"widths": "8"})))  # fewer filters than maps
    initialise(narrow, 0, fillers=fillers_of(spec))
    with torch.no_grad():
        assert torch.equal(narrow.stage1.conv1(torch.ones(1, 24, 3, 3))[0, :, 1, 1], torch.ones(8))


@given(channels=st.sampled_from([1, 3]), high=st.integers(2, 70), wide=st.integers(2, 70))
@settings(max_examples=30, deadline=None)
def test_pictures_of_every_size(channels, high, wide):
    graph = build_graph(NETWORKS["airbench-small"](7, input_shape=(channels, high, wide)))
    validate(graph)
    assert infer(graph)["logits"].shape == ("N", 7)


@pytest.mark.parametrize(
    "own",
    [
        *({"stem": 0}, {"stem_kernel": 0}, {"convs": 0}, {"widths": ""}, {"widths": "8,0"}, {"pools": "4"}),
        *({"activation": "gelu"}, {"dropout": 1.0}, {"scale": 0.0}, {"scale": 2.0}),
    ],
)
def test_impossible_parameters_are_refused(own):
    with pytest.raises(FireforgeError) as caught:
        graph_of(**own)
    assert caught.value.code == "BAD_SPEC"
    assert caught.value.where.startswith("airbench")


def test_a_picture_that_holds_no_patch_is_refused():
    with pytest.raises(FireforgeError) as caught:
        build_graph(NetSpec(family="airbench", classes=2, input_shape=(3, 1, 8)))
    assert caught.value.code == "BAD_SPEC"
