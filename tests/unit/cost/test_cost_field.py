# SPDX-License-Identifier: Apache-2.0
"""Receptive fields against published ones, and against the pixels that have a gradient."""

from __future__ import annotations

import pytest
import torch

from fireforge.base.graph import Graph, Node, TensorType
from fireforge.cost.field import fields
from fireforge.nets.families import NETWORKS, build_graph
from fireforge.nets.module import GraphModule

# Araujo, Norris, Sim, Distill 2019, table of architectures (AlexNet, VGG-16 and MobileNet v1 at their last maps), and
# the rule worked by hand: conv5_3 = 164 + 2 * 16, ResNet-50 = 11 + 24, + 56, + 176, + 160 with the stride on the 3x3.
PUBLISHED = [
    ("vgg-d", "conv5_3", 196, 16),
    ("vgg-d", "pool5", 212, 32),
    ("alexnet", "conv5", 163, 16),
    ("alexnet", "pool5", 195, 32),
    ("mobilenet-v1", "block13.pointwise", 315, 32),
    ("resnet-50", "stage4.block3.sum", 427, 32),
]


@pytest.mark.parametrize(("net", "tensor", "size", "jump"), PUBLISHED)
def test_published_fields(net, tensor, size, jump):
    found = fields(build_graph(NETWORKS[net]()))[tensor]
    assert (found.height.size, found.width.size, found.height.jump) == (size, size, jump)


def graph_of(nodes: tuple[Node, ...], weights: dict[str, tuple[int, ...]]) -> Graph:
    """One channel of 41 x 37 pixels through some nodes."""
    held = tuple(TensorType(name=name, shape=shape) for name, shape in weights.items())
    source = TensorType(name="x", shape=("N", 1, 41, 37))
    return Graph(inputs=(source,), outputs=(nodes[-1].outputs[0],), weights=held, nodes=nodes)


def node(op: str, name: str, *inputs: str, **attrs) -> Node:
    return Node(name=name, op=op, inputs=inputs, outputs=(name,), attrs=attrs)


def uneven() -> Graph:
    """Dilation, padding on one side, another stride along each axis."""
    conv = node("Conv", "a", "x", "a.w", kernel_shape=(3, 5), strides=(2, 1), dilations=(2, 1), pads=(1, 0, 0, 3))
    pool = node("AveragePool", "b", "a", kernel_shape=(3, 2), strides=(1, 2), pads=(1, 0, 1, 0))
    return graph_of((conv, pool), {"a.w": (1, 1, 3, 5)})


def branches() -> Graph:
    """A 5 x 5 and a 1 x 1 branch side by side, then summed with a third."""
    wide = node("Conv", "wide", "x", "wide.w", kernel_shape=(5, 5), pads=(2, 2, 2, 2))
    thin = node("Conv", "thin", "x", "thin.w", kernel_shape=(1, 1))
    both = node("Concat", "both", "wide", "thin", axis=1)
    last = node("Conv", "last", "both", "last.w", kernel_shape=(3, 3), strides=(2, 2), pads=(1, 1, 1, 1))
    return graph_of((wide, thin, both, last), {"wide.w": (1, 1, 5, 5), "thin.w": (1, 1, 1, 1), "last.w": (1, 2, 3, 3)})


def enlarged() -> Graph:
    """A strided convolution and a transposed one that undoes its stride."""
    down = node("Conv", "down", "x", "down.w", kernel_shape=(3, 3), strides=(2, 2), pads=(1, 1, 1, 1))
    up = node("ConvTranspose", "up", "down", "up.w", kernel_shape=(2, 2), strides=(2, 2))
    return graph_of((down, up), {"down.w": (1, 1, 3, 3), "up.w": (1, 1, 2, 2)})


def turned() -> Graph:
    """Height and width exchanged, and a sum with what was exchanged twice."""
    once = node("Transpose", "once", "x", perm=(0, 1, 3, 2))
    twice = node("Transpose", "twice", "once", perm=(0, 1, 3, 2))
    last = node("Conv", "last", "twice", "w", kernel_shape=(3, 5), strides=(2, 1), pads=(1, 0, 0, 3))
    return graph_of((once, twice, last), {"w": (1, 1, 3, 5)})


def cut() -> Graph:
    """Every second row from the third, the columns but for the first four and the last."""
    conv = node("Conv", "a", "x", "w", kernel_shape=(3, 3), pads=(1, 1, 1, 1))
    part = node("Slice", "b", "a", starts=(2, 4), ends=(2**31 - 1, -1), axes=(2, 3), steps=(2, 1))
    last = node("Conv", "c", "b", "w", kernel_shape=(3, 3), pads=(1, 1, 1, 1))
    return graph_of((conv, part, last), {"w": (1, 1, 3, 3)})


def bordered() -> Graph:
    """A border of zeros that differs on each side, then one that is taken off, and a strided window."""
    wider = node("Pad", "a", "x", pads=(0, 0, 3, 1, 0, 0, 2, 0))
    less = node("Pad", "b", "a", pads=(0, 0, -1, 2, 0, 0, 0, -4))
    last = node("Conv", "c", "b", "w", kernel_shape=(3, 3), strides=(2, 2))
    return graph_of((wider, less, last), {"w": (1, 1, 3, 3)})


def parted() -> Graph:
    """The lower part of the rows, cut off by a Split."""
    split = Node(name="s", op="Split", inputs=("x",), outputs=("top", "s"), attrs={"axis": 2, "split": (11, 30)})
    last = node("Conv", "c", "s", "w", kernel_shape=(3, 3), strides=(2, 2))
    top = node("Relu", "r", "top")
    return graph_of((split, top, last), {"w": (1, 1, 3, 3)})


def shuffled() -> Graph:
    """Channels parted, turned and put together again: the maps stay where they are."""
    conv = node("Conv", "a", "x", "a.w", kernel_shape=(3, 3), strides=(2, 2))
    groups = node("Reshape", "b", "a", shape=(0, 2, 3, 20, 18))
    turn = node("Transpose", "c", "b", perm=(0, 2, 1, 3, 4))
    join = node("Reshape", "d", "c", shape=(0, 6, 20, 18))
    last = node("Conv", "e", "d", "e.w", kernel_shape=(5, 3))
    return graph_of((conv, groups, turn, join, last), {"a.w": (6, 1, 3, 3), "e.w": (1, 6, 5, 3)})


def footprint(graph: Graph, at: tuple[int, int]) -> list[tuple[int, int]]:
    """Begin and end, by axis, of the pixels that have a gradient at one output; all weights are positive."""
    module = GraphModule(graph).double().eval()
    for weight in module.parameters():
        weight.data.fill_(1.0)
    x = torch.ones(1, 1, 41, 37, dtype=torch.double, requires_grad=True)
    module(x)[0, 0, at[0], at[1]].backward()
    seen = x.grad[0, 0].nonzero()
    return [(int(seen[:, axis].min()), int(seen[:, axis].max()) + 1) for axis in (0, 1)]


@pytest.mark.parametrize(
    ("make", "at"),
    [
        *((uneven, (6, 5)), (branches, (8, 9)), (enlarged, (18, 17)), (turned, (6, 5)), (cut, (7, 9))),
        *((bordered, (7, 8)), (parted, (5, 6)), (shuffled, (4, 5))),
    ],
)
def test_field_is_what_has_a_gradient(make, at):
    """In the middle of the picture, where nothing hangs over its edge, exactly.

    Outputs of a transposed convolution that lie between two inputs see what one of them sees: less than a stride away.
    """
    graph = make()
    found = fields(graph)[graph.outputs[0]]
    for axis, place, (begin, end) in zip((found.height, found.width), at, footprint(graph, at)):
        start = axis.start + place * axis.jump
        if graph.nodes[-1].op == "ConvTranspose":
            assert end - begin == axis.size
            assert abs(begin - start) < 2 * axis.jump
        else:
            assert (start, start + axis.size) == (begin, end)


def test_a_mean_of_the_map_sees_what_the_whole_map_sees():
    """SqueezeNet 1.1: conv10 has 14 x 14 numbers, 16 px apart."""
    found = fields(build_graph(NETWORKS["squeezenet-1.1"]()))
    conv, pooled = found["conv10"].height, found["logits"].height
    assert pooled.size == conv.size + 13 * conv.jump


def test_behind_a_gate_all_see_the_same():
    """A gate sees the whole map, so what it scales does, and nothing behind it sees more."""
    conv = node("Conv", "a", "x", "w", kernel_shape=(3, 3), strides=(2, 2))
    gate = node("GlobalAveragePool", "g", "a")
    scaled = node("Mul", "y", "g", "a")
    found = fields(graph_of((conv, gate, scaled), {"w": (1, 1, 3, 3)}))
    assert (found["g"].height.size, found["y"].height.size, found["y"].width.size) == (41, 41, 37)
    assert (found["y"].height.jump, found["y"].width.jump) == (0, 0)
    found = fields(build_graph(NETWORKS["mobilenet-v3-large"]()))
    assert found["block3.project"].height.jump == 4  # two strides of 2 before the first gate
    assert max(field.height.size for field in found.values()) <= 224 + 2 * 297  # the windows' reach on either side


def test_bilinear_maps_begin_one_place_before():
    """Twice as large: output 0 lies between the places -1 and 0, output 16 between 7 and 8."""
    conv = node("Conv", "a", "x", "w", kernel_shape=(3, 3), strides=(2, 2), pads=(1, 1, 1, 1))
    twice = node("Resize", "y", "a", scales=(1.0, 1.0, 2.0, 2.0), mode="linear")
    found = fields(graph_of((conv, twice), {"w": (1, 1, 3, 3)}))["y"].height
    assert (found.start, found.jump, found.size) == (-3, 1, 5)


def test_behind_a_softmax_along_the_width_all_places_of_a_row_see_the_same():
    found = fields(graph_of((node("Softmax", "y", "x", axis=3),), {}))["y"]
    assert (found.height.size, found.height.jump) == (1, 1)
    assert (found.width.jump, found.width.start) == (0, 0)


def test_shuffles_do_not_widen_the_field():
    """ShuffleNet v2 worked by hand: 3x3/2 and a pool 3x3/2 see 7 px, 4 apart; 3x3/2 then 15, 8 apart; 3x3 then 31."""
    found = fields(build_graph(NETWORKS["shufflenet-v2-1.0"]()))
    assert found["stage2.unit1.shuffle.join"] == found["stage2.unit1.concat"]
    assert found["stage2.unit1.concat"].height.size == 7 + 2 * 4
    assert found["stage2.unit2.concat"].height.size == 15 + 2 * 8


ONE = {"w": (1, 1, 3, 3)}
UNKNOWN = {
    "joined along the height": (node("Concat", "y", "x", "x", axis=2),),
    "picked along the width": (node("Gather", "y", "x", "i", axis=3),),
    "window over turned maps": (
        node("Transpose", "t", "x", perm=(0, 1, 3, 2)),
        node("Conv", "y", "t", "w", kernel_shape=(3, 3)),
    ),
    "folded": (node("Reshape", "y", "x", shape=(0, 37, 41, 1)),),
    "a sum with turned maps": (
        node("Slice", "s", "x", starts=(0,), ends=(37,), axes=(2,), steps=(1,)),
        node("Transpose", "t", "s", perm=(0, 1, 3, 2)),
        node("Add", "y", "s", "t"),
    ),
    "from the back": (node("Slice", "y", "x", starts=(40,), ends=(-50,), axes=(2,), steps=(-1,)),),
}


@pytest.mark.parametrize("case", UNKNOWN)
def test_what_cannot_be_followed_is_left_out(case):
    """And so is all that stands behind it: no number is better than a wrong one."""
    nodes = (*UNKNOWN[case], node("Relu", "z", "y"))
    index = TensorType(name="i", dtype="int64", shape=(3,), fixed=(0, 5, 1))
    graph = graph_of(nodes, ONE)
    found = fields(graph.replace(weights=(*graph.weights, index)))
    assert not {"y", "z"} & set(found)


def test_no_picture_no_field():
    source = TensorType(name="x", shape=("N", 4))
    graph = Graph(inputs=(source,), outputs=("y",), weights=(), nodes=(node("Relu", "y", "x"),))
    assert fields(graph) == {}
