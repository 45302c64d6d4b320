# SPDX-License-Identifier: Apache-2.0
"""Changes against the talk's table, against networks that are built so, and what cannot follow."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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
        ("lenet-5", "f6.filters=80", r"BAD_CHANGE: output_row: Reshape cannot take"),
        ("lenet-5", "c1.filters=8", r"BAD_CHANGE: c3\.sees3_maps: its table c3\.sees3\.links picks from 6, .* now 8"),
        ("lenet-5", "c1.filters=4", r"BAD_CHANGE: c3\.sees3_maps: its table"),
        (
            "lenet-5",
            "c3.sees4.filters=10",
            r"BAD_CHANGE: c3\.sees4: 36 channels and 10 filters do not go into 9 groups",
        ),
        ("mobilenet-v1", "block1.depthwise.group=3", r"BAD_CHANGE: block1\.depthwise: 32 channels .* 3 groups"),
        ("mobilenet-v1", "block1.depthwise.filters=40", r"BAD_CHANGE: block1\.depthwise: .* 40 filters .* 32 groups"),
        ("alexnet", "conv1.pad=65536", r"BAD_CHANGE: fc6: fc6\.weight would become"),
        ("alexnet", "conv1.stride=0", r"BAD_CHANGE: conv1\.stride=0: 0 stride; allowed: 1 to 65,536"),
        ("alexnet", "conv1.filters=0", r"BAD_CHANGE: conv1\.filters=0: 0 filters; allowed: 1 to 1,000,000"),
        ("alexnet", "conv1.filters=1000000000000", r"BAD_CHANGE: .*allowed: 1 to 1,000,000"),
        ("alexnet", "conv1.filters=" + "9" * 5000, r"BAD_CHANGE: .*allowed: 1 to 1,000,000"),
        ("alexnet", "conv1.filters=²", r"BAD_CHANGE: .*'²' is no whole number"),
        ("alexnet", "conv1.filters=٣", r"BAD_CHANGE: .*'٣' is no whole number"),
        ("alexnet", "input=0x0", r"BAD_CHANGE: input=0x0: 0 input; allowed: 1 to 65,536"),
        ("alexnet", "input=65537", r"BAD_CHANGE: .*allowed: 1 to 65,536"),
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


def test_lenet_follows_its_scales():
    """Reference: worked by hand from the paper: subsampling has a scale and a bias a map, f6 reads what c5 makes.

    Six filters instead of one in the part of c3 that sees all maps: 21 maps, each of 5 more with 6 x 25 weights and a
    bias, a scale and a bias in s4, and 25 x 120 weights in c5.
    """
    graph = build_graph(NETWORKS["lenet-5"]())
    base = count(graph).params
    assert count(changed(graph, "c3.sees6.filters=6")).params - base == 5 * (151 + 2 + 25 * 120)
    assert count(changed(graph, "c5.filters=100")).params - base == -20 * (16 * 25 + 1 + 84)
    assert count(changed(graph, "input=36")).params - base == 3 * 120 * 84  # c5 has 2 x 2 maps
    for text in ("c3.sees6.filters=6", "c5.filters=100", "input=36", "c1.kernel=3"):
        validate(changed(graph, text))


@pytest.mark.parametrize(("group", "weights"), [(1, 32 * 32 * 9), (2, 32 * 16 * 9), (16, 32 * 2 * 9), (32, 32 * 9)])
def test_another_group_of_a_depthwise_layer_is_what_was_asked_for(group, weights):
    """32 filters over 32 channels, 3 x 3: a filter reads 32 / group channels."""
    graph = build_graph(NETWORKS["mobilenet-v1"]())
    new = changed(graph, f"block1.depthwise.group={group}")
    validate(new)
    node = next(node for node in new.nodes if node.name == "block1.depthwise")
    assert node.attrs["group"] == group
    assert count(new).params - count(graph).params == weights - 32 * 9


def test_a_weight_of_two_layers_does_not_change_for_one():
    """The second layer's new kernel would be the first's as well, behind its back."""
    attrs = {"kernel_shape": (3, 3), "pads": (1,) * 4}
    nodes = tuple(
        Node(name=name, op="Conv", inputs=(source, "w"), outputs=(name,), attrs=attrs)
        for name, source in (("a", "x"), ("b", "a"))
    )
    source = TensorType(name="x", shape=("N", 2, 8, 8))
    graph = Graph(inputs=(source,), outputs=("b",), weights=(TensorType(name="w", shape=(2, 2, 3, 3)),), nodes=nodes)
    for text in ("a.kernel=1", "b.kernel=1", "b.filters=3"):
        with pytest.raises(FireforgeError, match="BAD_CHANGE: b: "):
            changed(graph, text)


def test_a_scale_on_the_left_follows():
    """A number a channel times the maps, and a border of one number a column that stays as the maps do."""
    conv = Node(name="c", op="Conv", inputs=("x", "w"), outputs=("c",), attrs={"kernel_shape": (1, 1)})
    nodes = (conv, Node(name="m", op="Mul", inputs=("s", "c"), outputs=("y",)))
    weights = (TensorType(name="w", shape=(4, 2, 1, 1)), TensorType(name="s", shape=(4, 1, 8)))
    source = TensorType(name="x", shape=("N", 2, 8, 8))
    graph = Graph(inputs=(source,), outputs=("y",), weights=weights, nodes=nodes)
    shapes = {weight.name: weight.shape for weight in changed(graph, "c.filters=6").weights}
    assert shapes == {"w": (6, 2, 1, 1), "s": (6, 1, 8)}
    assert {weight.name: weight.shape for weight in changed(graph, "input=9x7").weights}["s"] == (4, 1, 7)


def test_a_scale_a_channel_stays_one_where_single_numbers_become_maps():
    """Maps of 1 x 1 px that become 3 x 3: the scale has a number a channel as before, not one a pixel."""
    source = TensorType(name="x", shape=("N", 4, 1, 1))
    node = Node(name="m", op="Mul", inputs=("x", "s"), outputs=("y",))
    scale = TensorType(name="s", shape=(4, 1, 1))
    graph = Graph(inputs=(source,), outputs=("y",), weights=(scale,), nodes=(node,))
    assert changed(graph, "input=3").weights == (scale,)


SMALL = {
    name: build_graph(NETWORKS[name]()) for name in ("lenet-5", "mobilenet-small", "shufflenet-small", "vgg-small")
}
PARTS = ("filters", "kernel", "stride", "pad", "group", "colour", "")
NUMBERS = (
    "0",
    "1",
    "2",
    "3",
    "7",
    "32",
    "64",
    "65536",
    "65537",
    "1000000",
    "-1",
    "²",
    "٣",
    "1e3",
    "",
    "9" * 5000,
    "4x4",
)


@st.composite
def texts(draw) -> tuple[str, str]:
    """A network and a change of it, most of them of the right form."""
    name = draw(st.sampled_from(sorted(SMALL)))
    layer = draw(st.sampled_from([node.name for node in SMALL[name].nodes] + ["none", ""]))
    left = draw(st.sampled_from(["classes", "input", *(f"{layer}.{part}" for part in PARTS)]))
    return name, draw(st.one_of(st.just(f"{left}={draw(st.sampled_from(NUMBERS))}"), st.text(max_size=20)))


@settings(max_examples=150, deadline=None, derandomize=True)
@given(texts())
def test_a_change_is_made_or_refused(case):
    """Whatever is asked for: a valid graph, which can be counted, or BAD_CHANGE in one line."""
    name, text = case
    made = refused = None
    try:
        made = changed(SMALL[name], text)
    except FireforgeError as error:
        refused = error
    if made is not None:
        validate(made)
        assert count(made).params > 0
    else:
        assert refused.code == "BAD_CHANGE"
        assert "\n" not in str(refused)
        assert len(str(refused)) < 1500
