# SPDX-License-Identifier: Apache-2.0
"""Residual, plain and grouped networks against the papers' tables."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fireforge.base.errors import FireforgeError
from fireforge.base.graph import Graph
from fireforge.base.infer import infer
from fireforge.base.reference import run_reference
from fireforge.base.spec import NetSpec
from fireforge.cost.count import count
from fireforge.nets.families import NETWORKS, build_graph, fillers_of
from fireforge.nets.module import GraphModule, arrays_of, initialise


def graph_of(name: str, **params: int | str) -> Graph:
    return build_graph(NETWORKS[name](params=params))


def convs(graph: Graph) -> dict[str, tuple[int | str, ...]]:
    """Convolution to the shape of its weight."""
    shapes = {weight.name: weight.shape for weight in graph.weights}
    return {node.name: shapes[node.inputs[1]] for node in graph.nodes if node.op == "Conv"}


@pytest.mark.parametrize(
    ("name", "params", "gmacs"),
    [
        ("resnet-18", 11_689_512, "1.814"),
        ("resnet-34", 21_797_672, "3.664"),
        ("resnet-50", 25_557_032, "4.089"),
        ("resnet-101", 44_549_160, "7.801"),
        ("resnet-152", 60_192_808, "11.514"),
        ("resnext-50-32x4d", 25_028_904, "4.230"),
        ("resnext-101-32x4d", 44_177_704, "7.970"),
        ("resnext-101-64x4d", 83_455_272, "15.460"),
    ],
)
def test_parameters_and_macs_as_published(name, params, gmacs):
    """He et al. 2015, table 1, and Xie et al. 2017, tables 1 and 4, exact as torchvision and pytorchcv print them."""
    cost = count(graph_of(name))
    assert cost.params == params
    assert f"{cost.macs / 1e9:.3f}" == gmacs


@pytest.mark.parametrize(("name", "gmacs"), [("resnet-50", 3.86), ("resnet-101", 7.57), ("resnet-152", 11.28)])
def test_stride_on_the_first_1x1_saves_macs_and_no_parameter(name, gmacs):
    """Table 1 of He et al. 2015 prints 3.8, 7.6 and 11.3 for it; here with one digit more.

    By hand: each of the three stages that halve the map runs its first 1x1 convolution on a quarter of the positions.
    """
    own, other = count(graph_of(name)), count(graph_of(name, stride_kernel=1))
    assert own.params == other.params
    assert round(other.macs / 1e9, 2) == gmacs
    fewer = sum(3 * (56 >> i) ** 2 // 4 * (256 << i) * (128 << i) for i in range(3))
    assert own.macs - other.macs == fewer


@pytest.mark.parametrize("name", ["resnet-18", "resnet-50", "plain-34", "resnext-50-32x4d"])
def test_stages_have_the_papers_sizes(name):
    """He et al. 2015, table 1: 112, 56, 28, 14 and 7 px."""
    types = infer(graph_of(name))
    expansion = 4 if "50" in name else 1
    assert types["stem"].shape == ("N", 64, 112, 112)
    assert types["stem_pool"].shape == ("N", 64, 56, 56)
    depths = (2, 2, 2, 2) if name == "resnet-18" else (3, 4, 6, 3)
    for stage, depth in enumerate(depths, 1):
        last = f"stage{stage}.block{depth}.conv{3 if '50' in name else 2}"
        assert types[last].shape == ("N", (32 << stage) * expansion, 112 >> stage, 112 >> stage)
        assert f"stage{stage}.block{depth + 1}.conv1" not in types


@pytest.mark.parametrize(
    ("plain", "residual"),
    [("plain-18", "resnet-18"), ("plain-34", "resnet-34"), ("cifar-plain-20", "cifar-resnet-20")],
)
def test_a_plain_net_has_the_residual_nets_convolutions(plain, residual):
    mine, other = convs(graph_of(plain)), convs(graph_of(residual))
    assert mine == {name: shape for name, shape in other.items() if "shortcut" not in name}
    assert len(mine) + 1 == int(plain.rpartition("-")[2])  # the layers that its name counts, less the classifier
    assert all(node.op != "Add" for node in graph_of(plain).nodes)


@pytest.mark.parametrize(
    ("layers", "params"), [(20, 269_722), (32, 464_154), (44, 658_586), (56, 853_018), (110, 1_727_962)]
)
def test_cifar_resnets_of_option_a(layers, params):
    """He et al. 2015, table 6: 0.27, 0.46, 0.66, 0.85 and 1.7 million; exact by hand from its section 4.2."""
    graph = graph_of(f"cifar-resnet-{layers}")
    n = (layers - 2) // 6
    filters = [(16, 16)] * (2 * n) + [(16, 32)] + [(32, 32)] * (2 * n - 1) + [(32, 64)] + [(64, 64)] * (2 * n - 1)
    by_hand = 3 * 16 * 9 + 2 * 16 + sum(9 * a * b + 2 * b for a, b in filters) + 64 * 10 + 10
    assert count(graph).params == by_hand == params
    assert len(convs(graph)) + 1 == layers
    assert sum(node.op == "Add" for node in graph.nodes) == 3 * n


def test_option_a_takes_every_second_pixel_and_lays_zeros_around():
    """Reference: numpy slicing and padding; exact, for nothing is computed."""
    graph = graph_of("cifar-resnet-20")
    module = GraphModule(graph)
    initialise(module, 0)
    images = np.random.default_rng(0).normal(size=(2, 3, 32, 32)).astype(np.float32)
    names = ["stage1.block3.sum_relu", "stage2.block1.shortcut"]
    source, shortcut = run_reference(graph, arrays_of(module), {"input": images}, wanted=names).values()
    assert np.array_equal(shortcut, np.pad(source[:, :, ::2, ::2], ((0, 0), (8, 8), (0, 0), (0, 0))))
    with torch.no_grad():
        taps = module.eval().taps(torch.from_numpy(images), names)
    assert torch.equal(taps[names[1]][:, 8:24], taps[names[0]][:, :, ::2, ::2])
    assert not taps[names[1]][:, :8].any()


def test_option_b_costs_two_projections_more():
    assert count(graph_of("resnet-20")).params == 269_722 + (16 * 32 + 2 * 32) + (32 * 64 + 2 * 64)


@pytest.mark.parametrize(("name", "group"), [("resnext-50-32x4d", 4), ("resnext-101-64x4d", 4), ("resnext-small", 4)])
def test_a_groups_filters_double_at_each_stage(name, group):
    """Xie et al. 2017, table 1: 32 groups, 128, 256, 512 and 1024 filters."""
    graph = graph_of(name)
    groups = {node.attrs["group"] for node in graph.nodes if node.name.endswith("conv2")}
    assert len(groups) == 1
    for stage in range(1, 4):
        filters, inner = convs(graph)[f"stage{stage}.block1.conv2"][:2]
        assert inner == group << (stage - 1)
        assert filters == inner * next(iter(groups))


def test_resnext_small_has_29_layers_and_less_than_a_million_parameters():
    graph = graph_of("resnext-small")
    assert sum("shortcut" not in name for name in convs(graph)) + 1 == 29
    assert count(graph).params < 1_000_000


def test_first_weights_follow_he_and_goyal():
    """He by the fan-in, within a group where there are groups; 0.01 for the classifier.

    Tolerance 5 %: the standard deviation of n normal numbers is known to 1 / sqrt(2 n), n from 4,608.
    """
    spec = NETWORKS["resnext-small"]()
    module = GraphModule(build_graph(spec))
    initialise(module, 0, fillers=fillers_of(spec))
    wide, grouped = module.get_submodule("stage3.block1.conv3"), module.get_submodule("stage3.block1.conv2")
    assert wide.weight.std().item() == pytest.approx((2 / 128) ** 0.5, rel=0.05)
    assert grouped.weight.std().item() == pytest.approx((2 / (16 * 9)) ** 0.5, rel=0.05)
    shortcut = module.get_submodule("stage3.block1.shortcut")  # no activation follows, and yet He
    assert shortcut.weight.std().item() == pytest.approx((2 / 128) ** 0.5, rel=0.05)
    assert module.classifier.weight.std().item() == pytest.approx(0.01, rel=0.05)
    norm = module.get_submodule("stage3.block3.conv3_norm")
    assert torch.equal(norm.weight, torch.ones(256))
    assert torch.equal(norm.running_var, torch.ones(256))
    assert not any(tensor.any() for tensor in (norm.bias, norm.running_mean, module.classifier.bias))


@pytest.mark.parametrize("name", ["cifar-plain-20", "cifar-resnet-20", "resnet-50"])
def test_without_norms_each_convolution_has_a_bias_in_their_place(name: str) -> None:
    """A norm has two trained numbers a filter, a bias has one; ResNet-50 projects, so its shortcuts count too."""
    normed, bare = graph_of(name), graph_of(name, norm="none")
    assert convs(normed) == convs(bare)
    filters = sum(int(shape[0]) for shape in convs(normed).values())
    assert count(normed).params - count(bare).params == filters
    assert not any(node.op == "BatchNormalization" for node in bare.nodes)


@pytest.mark.parametrize(
    ("own", "where"),
    [
        ({"block": "basics"}, "block"),
        ({"shortcut": "identity"}, "shortcut"),
        ({"stride_kernel": 2}, "stride_kernel"),
        ({"stem_kernel": 4}, "stem_kernel"),
        ({"norm": "layer"}, "norm"),
        ({"depths": "1,2"}, "depths"),
        ({"depths": "1,2,0"}, "depths"),
        ({"groups": 2}, "groups"),
        ({"groups": 0}, "groups"),
        ({"widths": "32,16", "shortcut": "padding"}, "widths"),
        ({"block": "bottleneck", "groups": 3}, "stage1.block1.conv2"),
    ],
)
def test_what_makes_no_resnet_is_refused(own, where):
    with pytest.raises(FireforgeError) as caught:
        build_graph(NetSpec(family="resnet", params=own, classes=2, input_shape=(3, 32, 32)))
    assert caught.value.code == "BAD_SPEC"
    assert where in caught.value.where
