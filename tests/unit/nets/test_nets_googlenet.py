# SPDX-License-Identifier: Apache-2.0
"""GoogLeNet against the paper's table and the counts of Caffe's model file; its heads and its naive modules."""

from __future__ import annotations

import pytest
import torch

from fireforge.base.errors import FireforgeError
from fireforge.base.infer import infer
from fireforge.base.trunk import trunk
from fireforge.base.validate import validate
from fireforge.cost.count import by_node, count
from fireforge.nets.families import NETWORKS, build_graph, fillers_of
from fireforge.nets.googlenet import INCEPTIONS
from fireforge.nets.module import GraphModule, initialise

torch.set_num_threads(1)

MODULES = {  # channels in, channels out, parameters
    "3a": (192, 256, 163_696),
    "3b": (256, 480, 388_736),
    "4a": (480, 512, 376_176),
    "4b": (512, 512, 449_160),
    "4c": (512, 512, 510_104),
    "4d": (512, 528, 605_376),
    "4e": (528, 832, 868_352),
    "5a": (832, 832, 1_043_456),
    "5b": (832, 1024, 1_444_080),
}


def graph_of(name: str = "googlenet", **params):
    return build_graph(NETWORKS[name](params=params))


def test_counts_as_published():
    """6,998,552 parameters, 28.0 MB, 1.583 GMAC; with heads 13,378,280: the 53.5 MB that FireCaffe sent."""
    plain, headed = count(graph_of()), count(graph_of("googlenet-aux"))
    assert plain.params == 6_998_552
    assert round(plain.weight_bytes / 1e6, 1) == 28.0
    assert round(plain.macs / 1e9, 3) == 1.583
    assert headed.params == 13_378_280
    assert round(headed.wire_bytes / 1e6, 1) == 53.5


@pytest.mark.parametrize("name", sorted(MODULES))
def test_modules_as_published(name):
    graph = graph_of()
    inner, outer, params = MODULES[name]
    types = infer(graph)
    reduce = next(node for node in graph.nodes if node.name == f"inception{name}.conv1")
    assert types[reduce.inputs[0]].shape[1] == inner
    assert types[f"inception{name}"].shape[1] == outer
    sizes = INCEPTIONS[name]
    assert sizes.conv1 + sizes.conv3 + sizes.conv5 + sizes.project == outer
    assert sum(row.params for row in by_node(graph) if row.name.startswith(f"inception{name}.")) == params


def test_stem_and_maps_as_published():
    """112, 56, 28, 14 and 7 px; the stem's 9,472 + 4,160 + 110,784 parameters and the classifier's 1,025,000."""
    graph = graph_of()
    types = infer(graph)
    sides = [types[name].shape[2] for name in ("conv1", "pool1", "conv2", "pool2", "inception3b", "pool3", "pool4")]
    assert sides == [112, 56, 56, 28, 28, 14, 7]
    rows = [row.params for row in by_node(graph) if row.params and "inception" not in row.name]
    assert rows == [9_472, 4_160, 110_784, 1_025_000]
    first = [node.name for node in graph.nodes][:6]
    assert first == ["conv1", "conv1_relu", "pool1", "norm1", "conv2_reduce", "conv2_reduce_relu"]
    assert sum(node.op == "Relu" for node in graph.nodes) == 3 + 9 * 6


def test_heads_stand_behind_4a_and_4d_and_leave_again():
    """A head: 4 x 4 means, 128 maps, 1024 units, classes; the trunk of the network with heads is the one without."""
    graph = graph_of("googlenet-aux")
    validate(graph)
    assert graph.outputs == ("logits", "aux1", "aux2")
    types = infer(graph)
    assert [types[name].shape for name in graph.outputs] == [("N", 1000)] * 3
    assert types["aux1.pool"].shape == ("N", 512, 4, 4)
    assert types["aux2.pool"].shape == ("N", 528, 4, 4)
    inputs = {node.name: node.inputs[0] for node in graph.nodes}
    assert (inputs["aux1.pool"], inputs["aux2.pool"]) == ("inception4a", "inception4d")
    by_hand = (512 + 528) * 128 + 2 * 128 + 2 * (2048 * 1024 + 1024) + 2 * (1024 * 1000 + 1000)
    assert count(graph).params - count(trunk(graph)).params == by_hand
    assert trunk(graph) == graph_of()
    assert [node.attrs["ratio"] for node in graph.nodes if node.op == "Dropout"] == [0.7, 0.7, 0.4]


def test_naive_modules_grow_and_cost_eight_times_as_much():
    """Figure 2a: no 1x1 reductions, the pool's maps go on, so a module has its input's channels and more.

    By hand for 3a: 64 + 128 + 32 + 192 channels from 64 * 192 + 9 * 128 * 192 + 25 * 32 * 192 weights.
    """
    graph = graph_of("googlenet-naive")
    types, rows = infer(graph), by_node(graph)
    assert types["inception3a"].shape[1] == 416
    weights = 192 * (64 + 9 * 128 + 25 * 32)
    assert sum(row.params for row in rows if row.name.startswith("inception3a.")) == weights + 64 + 128 + 32
    assert sum(row.macs for row in rows if row.name.startswith("inception3a.")) == weights * 28 * 28
    assert not any("reduce3" in row.name or "project" in row.name for row in rows)
    assert 7.9 < count(graph).macs / count(graph_of()).macs < 8


def test_first_weights_as_published():
    """Caffe's xavier: uniform within sqrt(3 / fan-in); biases 0.2, in the classifiers 0."""
    spec = NETWORKS["googlenet-aux"](10, params={"width": 0.5})
    module = GraphModule(build_graph(spec))
    initialise(module, 0, fillers=fillers_of(spec))
    fans = {"conv1": 147, "inception3a.conv3": 48 * 9, "inception5b.project": 416, "classifier": 512, "aux1.fc": 1024}
    for name, fan_in in fans.items():
        layer, bound = module.get_submodule(name), (3 / fan_in) ** 0.5
        assert 0.98 * bound < layer.weight.abs().max().item() <= bound
        wanted = torch.tensor(0.0 if name.endswith("classifier") else 0.2).item()
        assert set(layer.bias.tolist()) == {wanted}
    assert fillers_of(NETWORKS["googlenet-small"]()) == ()


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32), (3, 1, 1), (1, 28, 28), (2, 5, 9), (3, 96, 64)])
def test_small_one_takes_pictures_of_every_size(shape):
    graph = build_graph(NETWORKS["googlenet-small"](3, input_shape=shape))
    validate(graph)
    assert infer(graph)["logits"].shape == ("N", 3)
    assert count(graph).params < 1_500_000


@pytest.mark.parametrize("own", [{"width": 0.0}, {"pools": 3}, {"dropout": 1.0}, {"stem_stride": 0}, {"aux": 1}])
def test_impossible_parameters_are_refused(own):
    with pytest.raises(FireforgeError) as caught:
        graph_of(**own)
    assert caught.value.code == "BAD_SPEC"
    assert caught.value.where.startswith("googlenet")
