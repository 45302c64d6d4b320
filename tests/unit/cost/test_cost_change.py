# SPDX-License-Identifier: Apache-2.0
"""Changes against the talk's table, against networks that are built so, and what cannot follow."""

from __future__ import annotations

import pytest

from fireforge.base.errors import FireforgeError
from fireforge.base.graph import Graph, Node, TensorType
from fireforge.base.validate import validate
from fireforge.cost.change import changed, changes
from fireforge.cost.count import count
from fireforge.nets.families import NETWORKS, build_graph

# local and global changes of NiN, worked by hand from its layers: |W|, |D| of a picture, and the three ratios
NIN = [
    ("", "", 7_595_176, 5_656_960, (1.0, 1.0, 1.0)),
    ("conv1.filters=384", "local", 7_727_656, 9_016_192, (1.017, 1.594, 1.350)),
    ("classes=10000", "local", 16_820_176, 5_656_960, (2.215, 1.0, 1.302)),
    ("conv1.stride=2", "global", 7_595_176, 20_639_360, (1.0, 3.648, 4.045)),
    ("input=448", "global", 7_595_176, 23_688_064, (1.0, 4.187, 4.279)),
]


def test_the_table_of_nin():
    rows = changes(build_graph(NETWORKS["nin"]()), [text for text, *_ in NIN[1:]])
    for row, (text, kind, params, data, ratios) in zip(rows, NIN, strict=True):
        assert (row.change, row.kind, row.params, row.data_bytes) == (text, kind, params, data)
        assert tuple(round(ratio, 3) for ratio in row.ratios) == ratios
    assert rows[0].macs == pytest.approx(1.1002e9, abs=5e4)


@pytest.mark.parametrize("name", ["alexnet", "resnet-20", "mobilenet-small", "googlenet-small", "shufflenet-small"])
def test_other_classes_are_those_of_the_network_built_so(name):
    new = changed(build_graph(NETWORKS[name]()), "classes=33")
    validate(new)
    assert count(new) == count(build_graph(NETWORKS[name](33)))


@pytest.mark.parametrize("name", ["resnet-20", "mobilenet-v3-small", "shufflenet-v2-0.5", "vgg-a", "nin"])
def test_another_input_is_that_of_the_network_built_so(name):
    """VGG has matrix products behind a Flatten: there |W| grows as well."""
    spec = NETWORKS[name]()
    side = 2 * spec.input_shape[1]
    new = changed(build_graph(spec), f"input={side}")
    assert count(new) == count(build_graph(NETWORKS[name](input_shape=(3, side, side))))
    assert (count(new).params > count(build_graph(spec)).params) == (name == "vgg-a")


def test_filters_reach_batch_norm_depthwise_groups_and_a_product_behind_a_flatten():
    """mobilenet-small's stem: its norm, the depthwise convolution behind it with its own norm, and the next 1x1."""
    graph = build_graph(NETWORKS["mobilenet-v1"]())
    stem = graph.nodes[0]
    new = changed(graph, f"{stem.name}.filters=48")
    validate(new)
    shapes = {weight.name: weight.shape for weight in new.weights}
    depthwise = next(node for node in new.nodes if node.attrs.get("group", 1) != 1)
    assert depthwise.attrs["group"] == 48
    assert shapes[depthwise.inputs[1]][:2] == (48, 1)
    norm = next(node for node in new.nodes if node.op == "BatchNormalization")
    assert shapes[norm.inputs[3]] == (48,)
    wide = changed(build_graph(NETWORKS["vgg-small"]()), "conv1_1.filters=5")
    validate(wide)
    flat = build_graph(NETWORKS["alexnet"]())
    assert count(changed(flat, "conv5.filters=128")).params < count(flat).params - 4096 * 128 * 36


def test_kernel_stride_and_pad():
    """1 x 8 x 8 px, 3 x 3 padded by 1: 8 x 8; 5 x 5 with the same padding: 6 x 6; stride 2: 4 x 4."""
    node = Node(
        name="c", op="Conv", inputs=("x", "w"), outputs=("y",), attrs={"kernel_shape": (3, 3), "pads": (1,) * 4}
    )
    source = TensorType(name="x", shape=("N", 1, 8, 8))
    weights = (TensorType(name="w", shape=(2, 1, 3, 3)),)
    graph = Graph(inputs=(source,), outputs=("y",), weights=weights, nodes=(node,))
    base, kernel, stride, pad = changes(graph, ["c.kernel=5", "c.stride=2", "c.pad=0"])
    assert [row.macs for row in (base, kernel, stride, pad)] == [2 * 64 * 9, 2 * 36 * 25, 2 * 16 * 9, 2 * 36 * 9]
    assert [row.kind for row in (kernel, stride, pad)] == ["global"] * 3


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("resnet-18", "stage1.block1.conv2.filters=24", r"BAD_CHANGE: stage1\.block1\.sum: Add needs two tensors"),
        ("googlenet", "inception3a.conv3.pad=0", r"BAD_CHANGE: inception3a[^:]*: Concat cannot take"),
        ("alexnet", "conv1.filters=97", r"BAD_CHANGE: conv2: 97 channels and 256 filters do not go into 2 groups"),
        ("alexnet", "conv9.filters=97", r"BAD_CHANGE: conv9\.filters=97: no layer called 'conv9'; allowed: conv1, "),
        ("alexnet", "conv1.colour=3", r"BAD_CHANGE: .*Conv has no 'colour'.*allowed: LAYER\.filters"),
        ("alexnet", "conv1.filters=many", r"BAD_CHANGE: .*'many' is no whole number"),
        ("alexnet", "input=3x4x5", r"BAD_CHANGE: .*input=448x320"),
        ("alexnet", "input=8", r"BAD_CHANGE: conv1|BAD_CHANGE: pool1|BAD_CHANGE: conv2"),
        ("lenet-5", "classes=77", r"BAD_CHANGE: output"),
    ],
)
def test_what_cannot_follow_says_where(name, text, told):
    with pytest.raises(FireforgeError, match=told):
        changed(build_graph(NETWORKS[name]()), text)


def test_the_graph_itself_is_not_changed():
    graph = build_graph(NETWORKS["resnet-20"]())
    before = graph.to_json()
    changed(graph, "classes=77")
    assert graph.to_json() == before
