# SPDX-License-Identifier: Apache-2.0
"""Network in Network against the counts of its authors' Caffe files."""

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


def graph_of(name: str = "nin", **params):
    return build_graph(NETWORKS[name](params=params))


def test_counts_as_published():
    """7,595,176 parameters, 30.4 MB, 1.100 GMAC at 224 px."""
    cost = count(graph_of())
    assert cost.params == 7_595_176
    assert round(cost.weight_bytes / 1e6, 1) == 30.4
    assert round(cost.macs / 1e9, 3) == 1.100


def test_rows_by_hand():
    """Filters times channels times taps and a bias each; maps of 54, 27, 13 and 6."""
    graph = graph_of()
    rows = [row.params for row in by_node(graph) if row.params]
    sizes = [(96, 3, 121), (96, 96, 1), (96, 96, 1), (256, 96, 25), (256, 256, 1), (256, 256, 1)]
    sizes += [(384, 256, 9), (384, 384, 1), (384, 384, 1), (1024, 384, 9), (1024, 1024, 1), (1000, 1024, 1)]
    assert rows == [out * inner * taps + out for out, inner, taps in sizes]
    types = infer(graph)
    sides = [types[name].shape[2] for name in ("conv1", "pool1", "conv2", "pool2", "pool3", "conv4")]
    assert sides == [54, 27, 27, 13, 6, 6]
    assert [node.op for node in graph.nodes].count("Relu") == 12  # behind every convolution
    assert [node.name for node in graph.nodes if node.op == "Dropout"] == ["dropout3"]


def test_the_one_for_cifar_by_hand():
    """Lin et al. 2013, section 4.2: 192-160-96, 192-192-192, 192-192-10; the second pool is a mean."""
    graph = graph_of("nin-small")
    rows = [row.params for row in by_node(graph) if row.params]
    sizes = [(192, 3, 25), (160, 192, 1), (96, 160, 1), (192, 96, 25), (192, 192, 1), (192, 192, 1)]
    sizes += [(192, 192, 9), (192, 192, 1), (10, 192, 1)]
    assert rows == [out * inner * taps + out for out, inner, taps in sizes]
    assert sum(rows) == 966_986
    assert [node.op for node in graph.nodes if node.op.endswith("Pool")] == [
        *("MaxPool", "AveragePool", "GlobalAveragePool")
    ]
    assert infer(graph)["pool2"].shape == ("N", 192, 8, 8)


def test_first_weights_as_published():
    """N(0, 0.01), 1x1 convolutions N(0, 0.05); 5 % with n from 34,848."""
    spec = NETWORKS["nin"]()
    module = GraphModule(build_graph(spec))
    initialise(module, 0, fillers=fillers_of(spec))
    for name, std in {"conv1": 0.01, "conv3": 0.01, "cccp3": 0.05, "cccp8": 0.05}.items():
        assert module.get_submodule(name).weight.std().item() == pytest.approx(std, rel=0.05)
        assert not module.get_submodule(name).bias.any()
    assert fillers_of(NETWORKS["nin"](params={"norm": True})) == ()


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32), (3, 1, 1), (1, 28, 28), (2, 5, 9), (3, 96, 64)])
@pytest.mark.parametrize("norm", [False, True])
def test_small_one_takes_pictures_of_every_size(shape, norm):
    graph = build_graph(NETWORKS["nin-small"](3, input_shape=shape, params={"norm": norm}))
    validate(graph)
    assert infer(graph)["logits"].shape == ("N", 3)


@pytest.mark.parametrize(
    "own",
    [
        {"filters": "96,96,96"},
        {"filters": "96,96,96, 256,256,256, 384,384,384, 0,1024"},
        {"kernels": ""},
        {"kernels": "11,4,3,3"},
        {"pools": "max,min"},
        {"pools": "max,max,max,max"},
        {"drops": "4"},
        {"dropout": -0.1},
        {"stem_stride": 0},
        {"stem_pad": -1},
    ],
)
def test_impossible_parameters_are_refused(own):
    with pytest.raises(FireforgeError) as caught:
        graph_of(**own)
    assert caught.value.code == "BAD_SPEC"
    assert "nin" in caught.value.where
