# SPDX-License-Identifier: Apache-2.0
"""The plain ConvNet: sizes by hand, presets for every size of picture."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fireforge.base.errors import FireforgeError
from fireforge.base.infer import infer
from fireforge.base.spec import NetSpec
from fireforge.base.validate import validate
from fireforge.cost.count import count
from fireforge.nets.convnet import small_convnet
from fireforge.nets.families import FAMILIES, NETWORKS, build_graph


def graph_of(**params):
    return build_graph(NetSpec(family="convnet", params=params, classes=10, input_shape=(3, 32, 32)))


def test_parameters_and_macs_by_hand():
    """Weights of 3x3 convolutions without bias, two numbers a filter of batch norm, a linear layer with bias."""
    cost = count(graph_of())
    weights = [9 * 3 * 16, 9 * 16 * 32, 9 * 32 * 64]
    assert cost.params == sum(weights) + 2 * (16 + 32 + 64) + 64 * 10 + 10
    assert cost.macs == weights[0] * 32**2 + weights[1] * 16**2 + weights[2] * 8**2 + 640


def test_layers_in_order():
    kinds = [node.op for node in graph_of(widths="8,16", pools=1).nodes]
    layer = ["Conv", "BatchNormalization", "Relu"]
    assert kinds == [*layer, "MaxPool", *layer, "GlobalAveragePool", "Flatten", "Gemm"]


def test_parameters_do_what_they_say():
    shapes = {name: tensor.shape for name, tensor in infer(graph_of(convs=2, kernel=5, stem_stride=2)).items()}
    assert shapes["stage1.conv1"] == ("N", 16, 16, 16)
    assert shapes["stage1.conv2"] == ("N", 16, 16, 16)
    assert shapes["stage3.conv2.weight"] == (64, 64, 5, 5)
    assert any(node.op == "Dropout" for node in graph_of(dropout=0.5).nodes)


@given(channels=st.sampled_from([1, 3]), high=st.integers(1, 300), wide=st.integers(1, 300))
@settings(max_examples=60, deadline=None)
def test_the_preset_takes_pictures_of_every_size(channels, high, wide):
    graph = build_graph(NETWORKS["convnet-small"](7, input_shape=(channels, high, wide)))
    validate(graph)
    assert infer(graph)["logits"].shape == ("N", 7)
    last = infer(graph)["stage3.conv1"].shape
    assert min(int(side) for side in last[2:]) >= min(high, wide, 4)


@pytest.mark.parametrize(
    ("side", "stride", "pools", "macs"),
    [(8, 1, 1, None), (28, 1, 2, None), (32, 1, 3, 2_802_304), (64, 2, 3, 2_802_304), (224, 4, 3, None)],
)
def test_the_preset_keeps_the_work_small(side, stride, pools, macs):
    """By hand at 32 px, where a stem of stride 2 makes 64 px the same; below 10 million MACs everywhere."""
    spec = small_convnet(10, input_shape=(3, side, side))
    assert spec.params == {"stem_stride": stride, "pools": pools}
    got = count(build_graph(spec)).macs
    assert got < 10_000_000
    assert macs in (None, got)


@pytest.mark.parametrize(
    "own",
    [
        {"stages": 0},
        {"widths": "8,0"},
        {"kernel": 4},
        {"pools": 4},
        {"pools": -1},
        {"convs": 0},
        {"stem_stride": 0},
        {"dropout": 1.0},
        {"width": 0},
    ],
)
def test_impossible_parameters_are_refused(own):
    with pytest.raises(FireforgeError) as caught:
        graph_of(**own)
    assert caught.value.code == "BAD_SPEC"
    assert caught.value.where.startswith("convnet")


def test_unknown_parameter_lists_the_known_ones():
    with pytest.raises(FireforgeError, match="no parameter called 'depth'") as caught:
        FAMILIES["convnet"](NetSpec(family="convnet", params={"depth": 3}, classes=2, input_shape=(3, 32, 32)))
    assert caught.value.code == "UNKNOWN_NAME"
