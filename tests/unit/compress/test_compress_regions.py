# SPDX-License-Identifier: Apache-2.0
"""Which tensors become integers; each expectation is written by hand from the network's drawing."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fireforge.base.model import Model
from fireforge.base.regions import find_regions
from fireforge.compress.fold import folded

CONV = {"kernel_shape": (1, 1)}
W = {"w": np.ones((2, 2, 1, 1), np.float32), "v": np.ones((2, 2, 1, 1), np.float32)}


def test_firenet_shares_a_scale_over_pool_and_concat_and_leaves_the_mean_in_float(
    network: Callable[..., Model],
) -> None:
    graph = folded(network("firenet-small", fires=2, pools="3"))[0].graph
    regions = find_regions(graph)
    expand = tuple(f"fire2.{part}_norm_relu" for part in ("expand1x1", "expand3x3"))
    last = tuple(f"fire3.{part}_norm_relu" for part in ("expand1x1", "expand3x3"))
    assert regions.groups == (
        ("input",),
        ("conv1_norm_relu",),
        ("fire2.squeeze_norm_relu",),
        (*expand, "fire2.concat"),
        ("fire3.squeeze_norm_relu",),
        (*last, "fire3.concat", "pool3"),
        ("conv4",),
    )
    assert regions.sources[3] == expand
    assert regions.sources[5] == last
    assert len(regions.layers) == 8
    assert regions.float_nodes == ()


def test_resnet_adds_in_integers_and_answers_in_float(network: Callable[..., Model]) -> None:
    graph = folded(network("resnet-small"))[0].graph
    tensors = set(find_regions(graph).tensors())
    for node in graph.nodes:
        if node.op == "Add":
            assert set(node.inputs) <= tensors
            assert node.outputs[0] not in tensors  # its Relu is the only user
        if node.op == "Gemm":
            assert node.inputs[0] in tensors
            assert node.outputs[0] not in tensors
        if node.op == "GlobalAveragePool":
            assert {*node.inputs, *node.outputs} <= tensors


def test_a_relu_that_is_not_the_only_user_is_not_absorbed(layers: Callable[..., Model]) -> None:
    model = layers(
        ("a", "Conv", ("x", "w"), "h", CONV),
        ("r", "Relu", ("h",), "i", {}),
        ("s", "Add", ("h", "i"), "j", {}),
        ("b", "Conv", ("j", "v"), "y", CONV),
        arrays=W,
        shape=(2, 3, 3),
    )
    assert find_regions(model.graph).groups == (("x",), ("h",), ("i",), ("j",), ("y",))


def test_a_mover_keeps_its_integers_and_the_relu_behind_it_has_its_own(layers: Callable[..., Model]) -> None:
    model = layers(
        ("a", "Conv", ("x", "w"), "h", CONV),
        ("p", "MaxPool", ("h",), "i", {"kernel_shape": (2, 2)}),
        ("r", "Relu", ("i",), "j", {}),
        ("b", "Conv", ("j", "v"), "y", CONV),
        arrays=W,
        shape=(2, 3, 3),
    )
    regions = find_regions(model.graph)
    assert regions.groups == (("x",), ("h", "i"), ("j",), ("y",))
    assert regions.sources[1] == ("h",)


def test_float_operators_between_layers(layers: Callable[..., Model]) -> None:
    model = layers(
        ("a", "Conv", ("x", "w"), "h", CONV),
        ("s", "HardSwish", ("h",), "i", {}),
        ("l", "LRN", ("i",), "j", {"size": 3}),
        ("b", "Conv", ("j", "v"), "k", CONV),
        ("m", "Softmax", ("k",), "y", {"axis": 1}),
        arrays=W,
        shape=(2, 3, 3),
    )
    assert find_regions(model.graph).tensors() == ("x", "h", "j", "k")


def test_a_computed_weight_stays_in_float(layers: Callable[..., Model]) -> None:
    model = layers(
        ("t", "Tanh", ("w",), "u", {}),
        ("a", "Conv", ("x", "u"), "h", CONV),
        ("b", "Conv", ("h", "v"), "y", CONV),
        arrays=W,
        shape=(2, 3, 3),
    )
    regions = find_regions(model.graph)
    assert regions.float_nodes == ("a",)
    assert [node.name for node in regions.layers] == ["b"]
    assert regions.tensors() == ("h", "y")
