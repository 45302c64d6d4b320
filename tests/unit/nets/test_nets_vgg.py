# SPDX-License-Identifier: Apache-2.0
"""VGG's six configurations against the paper's tables."""

from __future__ import annotations

import pytest
import torch

from fireforge.base.errors import FireforgeError
from fireforge.base.infer import infer
from fireforge.base.validate import validate
from fireforge.cost.count import by_node, count
from fireforge.nets.families import NETWORKS, build_graph, fillers_of
from fireforge.nets.module import GraphModule, initialise

torch.set_num_threads(1)


def graph_of(name: str, **params):
    return build_graph(NETWORKS[name](params=params))


@pytest.mark.parametrize(
    ("name", "layers", "params", "millions", "gmacs"),
    [
        ("vgg-a", 11, 132_863_336, 133, 7.609),
        ("vgg-a-lrn", 11, 132_863_336, 133, 7.609),
        ("vgg-b", 13, 133_047_848, 133, 11.308),
        ("vgg-c", 16, 133_638_952, 134, 11.771),
        ("vgg-d", 16, 138_357_544, 138, 15.470),
        ("vgg-e", 19, 143_667_240, 144, 19.632),
    ],
)
def test_table_as_published(name, layers, params, millions, gmacs):
    """Simonyan and Zisserman 2014, tables 1 and 2: weight layers and millions of parameters; torchvision's counts."""
    graph = graph_of(name)
    cost = count(graph)
    assert [node.op in ("Conv", "Gemm") for node in graph.nodes].count(True) == layers
    assert cost.params == params
    assert round(params / 1e6) == millions
    assert round(cost.macs / 1e9, 3) == gmacs


def test_layers_of_configuration_d():
    graph = graph_of("vgg-d")
    types = infer(graph)
    widths = [types[node.name].shape[1] for node in graph.nodes if node.op == "Conv"]
    assert widths == [64] * 2 + [128] * 2 + [256] * 3 + [512] * 6
    assert [types[f"pool{i}"].shape[2] for i in range(1, 6)] == [112, 56, 28, 14, 7]
    linear = [row.params for row in by_node(graph) if row.op == "Gemm"]
    assert linear == [25_088 * 4096 + 4096, 4096 * 4096 + 4096, 4096 * 1000 + 1000]


def test_what_sets_c_and_a_lrn_apart():
    """The third convolution of blocks 3 to 5 is 1x1 in C; A-LRN has a norm behind the first Relu and nothing else."""
    kernels = {node.name: node.attrs["kernel_shape"] for node in graph_of("vgg-c").nodes if node.op == "Conv"}
    assert [name for name, kernel in kernels.items() if kernel == (1, 1)] == ["conv3_3", "conv4_3", "conv5_3"]
    plain, normed = ([node.op for node in graph_of(name).nodes] for name in ("vgg-a", "vgg-a-lrn"))
    assert normed == [*plain[:2], "LRN", *plain[2:]]


def test_three_3x3_have_45_percent_fewer_weights_than_one_7x7():
    """27 C^2 against 49 C^2, section 2.3."""
    assert round(100 * (1 - 27 / 49)) == 45
    rows = {row.name: row.params for row in by_node(graph_of("vgg-d"))}
    assert rows["conv5_1"] + rows["conv5_2"] + rows["conv5_3"] == 27 * 512**2 + 3 * 512


def test_first_weights_are_glorots():
    """sqrt(2 / (fan-in + fan-out)), biases 0; 5 % with n from 36,864."""
    spec = NETWORKS["vgg-a"](10, input_shape=(3, 32, 32), params={"units": "64,64"})
    module = GraphModule(build_graph(spec))
    initialise(module, 0, fillers=fillers_of(spec))
    for name, fans in {"conv2_1": 9 * (64 + 128), "conv5_2": 9 * (512 + 512), "fc6": 512 + 64}.items():
        layer = module.get_submodule(name)
        assert layer.weight.std().item() == pytest.approx((2 / fans) ** 0.5, rel=0.05)
        assert not layer.bias.any()
    assert fillers_of(NETWORKS["vgg-small"]()) == ()


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32), (3, 1, 1), (1, 28, 28), (2, 5, 9), (3, 96, 64)])
def test_small_one_takes_pictures_of_every_size(shape):
    graph = build_graph(NETWORKS["vgg-small"](3, input_shape=shape))
    validate(graph)
    assert infer(graph)["logits"].shape == ("N", 3)
    assert count(graph).params < 2_000_000


@pytest.mark.parametrize(
    "own",
    [{"blocks": 6}, {"blocks": 0}, {"pools": 6}, {"width": 0}, {"units": "0"}, {"dropout": 1}, {"stem_stride": 0}],
)
def test_impossible_parameters_are_refused(own):
    with pytest.raises(FireforgeError) as caught:
        graph_of("vgg-a", **own)
    assert caught.value.code == "BAD_SPEC"
    assert caught.value.where.startswith("vgg")


def test_unknown_configuration_lists_the_known_ones():
    with pytest.raises(FireforgeError, match="A, A-LRN, B, C, D, E") as caught:
        graph_of("vgg-a", configuration="F")
    assert caught.value.code == "UNKNOWN_NAME"


def test_pictures_that_vanish_are_refused():
    with pytest.raises(FireforgeError, match="vgg at pool5"):
        build_graph(NETWORKS["vgg-a"](10, input_shape=(3, 31, 31)))
