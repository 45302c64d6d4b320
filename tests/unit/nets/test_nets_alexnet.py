# SPDX-License-Identifier: Apache-2.0
"""AlexNet in its printings, against the counts of Caffe's model file and torchvision's."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fireforge.base.errors import FireforgeError
from fireforge.base.infer import infer
from fireforge.base.reference import run_reference
from fireforge.base.validate import validate
from fireforge.cost.count import by_node, count
from fireforge.nets.families import NETWORKS, build_graph, fillers_of
from fireforge.nets.module import GraphModule, initialise

torch.set_num_threads(1)


def graph_of(name: str, **params):
    return build_graph(NETWORKS[name](params=params))


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("alexnet", 60_965_224),
        ("alexnet-paper", 60_965_224),
        ("caffenet", 60_965_224),
        ("alexnet-ungrouped", 62_378_344),
        ("alexnet-owt", 61_100_840),
    ],
)
def test_parameters_as_published(name, params):
    assert count(graph_of(name)).params == params


def test_sizes_as_published():
    """243.86 MB and 232.6 MiB of Caffe's file; 249.5 MB, FireCaffe's 249, without groups."""
    size = count(graph_of("alexnet")).weight_bytes
    assert (round(size / 1e6, 2), round(size / 2**20, 1)) == (243.86, 232.6)
    assert round(count(graph_of("alexnet-ungrouped")).weight_bytes / 1e6, 1) == 249.5


def test_rows_as_published():
    graph = graph_of("alexnet")
    rows = {row.name: row.params for row in by_node(graph) if row.params}
    assert rows == {
        "conv1": 34_944,
        "conv2": 307_456,
        "conv3": 885_120,
        "conv4": 663_936,
        "conv5": 442_624,
        "fc6": 37_752_832,
        "fc7": 16_781_312,
        "fc8": 4_097_000,
    }
    types = infer(graph)
    maps = {name: types[name].shape[1:] for name in ("conv1", "pool1", "conv2", "pool2", "conv3", "conv5", "pool5")}
    assert maps == {
        "conv1": (96, 55, 55),
        "pool1": (96, 27, 27),
        "conv2": (256, 27, 27),
        "pool2": (256, 13, 13),
        "conv3": (384, 13, 13),
        "conv5": (256, 13, 13),
        "pool5": (256, 6, 6),
    }
    assert infer(graph_of("alexnet-owt"))["conv1"].shape == ("N", 64, 55, 55)  # 224 px with a border of 2


def test_order_of_layers():
    """AlexNet normalizes before it pools, CaffeNet after; the single tower has no response norm."""
    names = [node.name for node in graph_of("alexnet").nodes]
    assert names[:7] == ["conv1", "conv1_relu", "norm1", "pool1", "conv2", "conv2_relu", "norm2"]
    names = [node.name for node in graph_of("caffenet").nodes]
    assert names[:4] == ["conv1", "conv1_relu", "pool1", "norm1"]
    assert all(node.op != "LRN" for node in graph_of("alexnet-owt").nodes)


@pytest.mark.parametrize(("name", "bias", "share"), [("alexnet", 1.0, 1 / 5), ("alexnet-paper", 2.0, 1.0)])
def test_response_norms_are_those_of_caffe_and_of_the_paper(name, bias, share):
    """Reference: the sum over 5 channels written out, alpha 1e-4 divided by 5 in Caffe alone; 1e-6 of the numbers."""
    graph = graph_of(name)
    node = next(node for node in graph.nodes if node.name == "norm1")
    x = 30 * np.random.default_rng(0).normal(size=(1, 96, 2, 2)).astype(np.float32)
    alone = graph.replace(
        inputs=(infer(graph)["conv1"].replace(name=node.inputs[0], shape=x.shape),),
        nodes=(node,),
        weights=(),
        outputs=node.outputs,
    )
    got = run_reference(alone, {}, {node.inputs[0]: x})["norm1"]
    for c in (0, 1, 50, 95):
        window = np.square(x[:, max(0, c - 2) : c + 3].astype(np.float64)).sum(axis=1)
        wanted = x[:, c] / (bias + share * 1e-4 * window) ** 0.75
        np.testing.assert_allclose(got[:, c], wanted, rtol=1e-5)


def test_towers_meet_in_conv3_and_nowhere_before():
    """A change of the first half of conv1's filters leaves the second half of conv2's maps as they are."""
    spec = NETWORKS["alexnet"](5, input_shape=(3, 67, 67), params={"norm": "none", "units": "8,8"})
    module = GraphModule(build_graph(spec)).eval()
    initialise(module, 0)
    x = torch.randn(1, 3, 67, 67, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        before = module.taps(x, ["conv2", "conv3"])
        module.conv1.weight[:48] += 0.1
        after = module.taps(x, ["conv2", "conv3"])
    assert torch.equal(before["conv2"][:, 128:], after["conv2"][:, 128:])
    assert not torch.equal(before["conv2"][:, :128], after["conv2"][:, :128])
    assert not torch.equal(before["conv3"][:, 192:], after["conv3"][:, 192:])


def test_first_weights_as_published():
    """Caffe's fillers: 0.01, in fc6 and fc7 0.005; biases 0.1 in conv2, 4, 5, fc6, fc7. 5 %: n from 30,000."""
    spec = NETWORKS["alexnet"](100, input_shape=(3, 67, 67), params={"units": "512,512"})
    module = GraphModule(build_graph(spec))
    initialise(module, 0, fillers=fillers_of(spec))
    for name in ("conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8"):
        layer = module.get_submodule(name)
        assert layer.weight.std().item() == pytest.approx(0.005 if name in ("fc6", "fc7") else 0.01, rel=0.05)
        assert set(layer.bias.tolist()) == {torch.tensor(0.0 if name in ("conv1", "conv3", "fc8") else 0.1).item()}
    assert fillers_of(NETWORKS["alexnet-small"]()) == ()


def test_the_papers_first_weights():
    """Section 5 of the paper: 0.01 everywhere; biases of the 2nd, 4th, 5th and the hidden full layers 1, others 0."""
    spec = NETWORKS["alexnet-paper"](100, input_shape=(3, 67, 67), params={"units": "512,512"})
    module = GraphModule(build_graph(spec))
    initialise(module, 0, fillers=fillers_of(spec))
    for name in ("conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8"):
        layer = module.get_submodule(name)
        assert layer.weight.std().item() == pytest.approx(0.01, rel=0.05)
        assert set(layer.bias.tolist()) == {0.0 if name in ("conv1", "conv3", "fc8") else 1.0}


@pytest.mark.parametrize(
    "shape", [(1, 8, 8), (3, 32, 32), (3, 1, 1), (1, 28, 28), (2, 5, 9), (3, 96, 64), (3, 224, 224)]
)
def test_small_one_takes_pictures_of_every_size(shape):
    graph = build_graph(NETWORKS["alexnet-small"](3, input_shape=shape))
    validate(graph)
    assert infer(graph)["logits"].shape == ("N", 3)
    assert count(graph).params < 2_500_000


def test_small_one_is_small():
    assert count(graph_of("alexnet-small")).params == 910_634
    assert [node.name for node in graph_of("alexnet-small").nodes if node.op == "MaxPool"] == [
        "pool1",
        "pool2",
        "pool5",
    ]


@pytest.mark.parametrize(
    "own",
    [
        {"norm": "l2"},
        {"groups": 0},
        {"groups": 7},
        {"filters": "96,256"},
        {"filters": "96,256,384,384,0"},
        {"units": "4096"},
        {"pools": "2,1"},
        {"pools": "6"},
        {"dropout": 1.0},
        {"stem_stride": 0},
    ],
)
def test_impossible_parameters_are_refused(own):
    with pytest.raises(FireforgeError) as caught:
        graph_of("alexnet", **own)
    assert caught.value.code == "BAD_SPEC"
    assert "alexnet" in caught.value.where
