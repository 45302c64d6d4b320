# SPDX-License-Identifier: Apache-2.0
"""Counts against published numbers, hand values and torch's own counter."""

from __future__ import annotations

import pytest
import torch
from network_sizes import shape_of
from torch.utils.flop_counter import FlopCounterMode

from fireforge.base.errors import FireforgeError
from fireforge.base.graph import Graph, Node, TensorType
from fireforge.base.ops.table import OPERATORS
from fireforge.cost import count as module
from fireforge.cost.count import FREE, MACS, by_node, count
from fireforge.nets.families import NETWORKS, build_graph
from fireforge.nets.firenet import squeezenet_1_0, squeezenet_1_1
from fireforge.nets.mobilenet import mobilenet_v2
from fireforge.nets.module import GraphModule
from fireforge.nets.resnet import resnet_20

torch.set_num_threads(1)


def one_node(op, inputs, output_weights, attrs):
    """A graph of a single node: first input from outside, the others weights."""
    weights = tuple(TensorType(name=f"w{i}", shape=shape) for i, shape in enumerate(output_weights))
    node = Node(name="n", op=op, inputs=("x", *(w.name for w in weights)), outputs=("y",), attrs=attrs)
    return Graph(inputs=(TensorType(name="x", shape=inputs),), outputs=("y",), weights=weights, nodes=(node,))


def test_squeezenet_1_0_as_published():
    """FACTS: 1,248,424 parameters, 861,339,936 MACs at 227 with conv10's padding."""
    cost = count(build_graph(squeezenet_1_0()))
    assert (cost.params, cost.macs) == (1_248_424, 861_339_936)
    assert cost.weight_bytes == cost.wire_bytes == 4 * 1_248_424


def test_squeezenet_1_1_as_published():
    """1,235,496 parameters; .3877 GMAC at 227, 2.4 times fewer than 1.0 by its authors' word (2.2 at this size)."""
    cost = count(build_graph(squeezenet_1_1()))
    assert cost.params == 1_235_496
    assert round(cost.macs / 1e9, 4) == 0.3877


def test_mobilenet_v2_as_torchvision_publishes_it():
    """3,504,872 parameters and 0.301 GMAC (300.8 M) at 224."""
    cost = count(build_graph(mobilenet_v2()))
    assert cost.params == 3_504_872
    assert cost.macs == 300_774_272


def test_resnet_20_by_hand():
    """He's 269,722 parameters plus the two projections 16*32 + 64 and 32*64 + 128, running statistics not counted.

    MACs: stem 442,368; 14,155,776; 12,976,128 twice; classifier 640; projections 131,072 twice.
    """
    cost = count(build_graph(resnet_20()))
    assert cost.params == 269_722 + 16 * 32 + 64 + 32 * 64 + 128
    assert cost.macs == 442_368 + 14_155_776 + 2 * 12_976_128 + 640 + 2 * 131_072
    assert cost.weight_bytes == 4 * (cost.params + 2 * (7 * 16 + 7 * 32 + 7 * 64))  # seven norms at each width


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_macs_are_half_of_torchs_flops(name):
    shape = shape_of(name, (3, 67, 63))
    graph = build_graph(NETWORKS[name](10, input_shape=shape))
    with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter:
        network = GraphModule(graph).eval()
        network(torch.zeros(1, *shape))
    assert count(graph).macs * 2 == counter.get_total_flops()
    assert count(graph).params == sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize(
    ("graph", "macs", "activations"),
    [
        # 5x7 outputs of 6 filters with 2 channels a group and 3x3 taps
        (one_node("Conv", ("N", 4, 5, 7), [(6, 2, 3, 3), (6,)], {"kernel_shape": (3, 3), "pads": (1, 1, 1, 1), "group": 2}), 6 * 35 * 18, 210),  # noqa: E501
        # each of 4x3x3 inputs meets 2 filters of its group and 4 taps; outputs 4 x 6 x 6
        (one_node("ConvTranspose", ("N", 4, 3, 3), [(4, 2, 2, 2)], {"kernel_shape": (2, 2), "strides": (2, 2), "group": 2}), 36 * 8, 144),  # noqa: E501
        (one_node("Gemm", ("N", 5), [(7, 5), (7,)], {"transB": 1}), 35, 7),
        (one_node("Gemm", (3, 5), [(5, 7)], {}), 105, 21),
        (one_node("MatMul", ("N", 2, 3, 5), [(5, 7)], {}), 2 * 3 * 5 * 7, 42),
    ],
)  # fmt: skip
def test_formulas_by_hand(graph, macs, activations):
    cost = count(graph)
    assert (cost.macs, cost.activations) == (macs, activations)


def test_transposed_convolution_against_torch():
    layer = torch.nn.ConvTranspose2d(4, 6, 3, 2, 1, groups=2, bias=False)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        layer(torch.zeros(1, 4, 5, 5))
    attrs = {"kernel_shape": (3, 3), "strides": (2, 2), "pads": (1, 1, 1, 1), "group": 2}
    graph = one_node("ConvTranspose", ("N", 4, 5, 5), [(4, 3, 3, 3)], attrs)
    assert count(graph).macs * 2 == counter.get_total_flops()


def test_every_operator_has_a_count_or_is_listed_as_free():
    assert MACS.keys() | FREE == OPERATORS.keys()
    assert MACS.keys().isdisjoint(FREE)


def test_operator_in_neither_list_is_an_error(monkeypatch):
    monkeypatch.setattr(module, "FREE", FREE - {"Relu"})
    with pytest.raises(FireforgeError, match="no count for operator Relu") as caught:
        count(build_graph(squeezenet_1_0()))
    assert caught.value.code == "UNKNOWN_OPERATOR"


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_nodes_add_up_to_the_whole(name):
    graph = build_graph(NETWORKS[name]())
    cost, rows = count(graph), by_node(graph)
    assert [row.name for row in rows] == [node.name for node in graph.nodes]
    assert sum(row.params for row in rows) == cost.params
    assert sum(row.macs for row in rows) == cost.macs
    assert sum(row.activations for row in rows) == cost.activations


def test_node_rows_of_squeezenet_as_in_the_papers_table():
    rows = {row.name: row for row in by_node(build_graph(squeezenet_1_0()))}
    fires = [sum(row.params for name, row in rows.items() if name.startswith(f"fire{i}.")) for i in range(2, 10)]
    assert fires == [11_920, 12_432, 45_344, 49_440, 104_880, 111_024, 188_992, 197_184]
    assert (rows["conv1"].params, rows["conv10"].params) == (14_208, 513_000)
    assert rows["conv1"].shape == ("N", 96, 111, 111)
    assert [rows[f"pool{i}"].shape[2] for i in (1, 4, 8)] == [55, 27, 13]
    assert rows["conv10"].shape == ("N", 1000, 15, 15)


def test_peak_activation_bytes_by_hand():
    """x 8 numbers, a 8, b 8 (x is held for the sum), sum 8: most alive is x + a + b or x + b + sum, 24 floats."""
    nodes = (
        Node(name="a", op="Relu", inputs=("x",), outputs=("a",)),
        Node(name="b", op="Tanh", inputs=("a",), outputs=("b",)),
        Node(name="c", op="Add", inputs=("x", "b"), outputs=("c",)),
        Node(name="d", op="ReduceMean", inputs=("c",), outputs=("d",), attrs={"axes": (1,), "keepdims": 1}),
    )
    graph = Graph(inputs=(TensorType(name="x", shape=("N", 8)),), outputs=("d",), weights=(), nodes=nodes)
    assert count(graph).peak_activation_bytes == 24 * 4
    # with the first tensor as an output too it stays to the end, and all four of 8 are alive at the sum
    assert count(graph.replace(outputs=("d", "a"))).peak_activation_bytes == 32 * 4


def test_peak_of_squeezenet_is_its_first_layer():
    """conv1's output of 96 x 111 x 111 and its Relu's, both alive while the Relu runs."""
    assert count(build_graph(squeezenet_1_0())).peak_activation_bytes == 2 * 96 * 111 * 111 * 4


def test_constants_and_statistics_are_no_parameters():
    graph = one_node("Mul", ("N", 4), [()], {})
    assert count(graph).params == 0
    graph = one_node("Mul", ("N", 4), [(4,)], {})
    held = graph.replace(weights=(graph.weights[0].replace(fixed=(1.0, 2.0, 3.0, 4.0)),))
    assert (count(graph).params, count(held).params, count(held).weight_bytes) == (4, 0, 16)
    norm = one_node("BatchNormalization", ("N", 4), [(4,)] * 4, {})
    assert (count(norm).params, count(norm).weight_bytes) == (8, 64)


def test_quantized_graph_counts_its_integer_weights_in_bytes():
    weights = (
        TensorType(name="q", dtype="int8", shape=(3, 4)),
        TensorType(name="s", shape=()),
    )
    nodes = (
        Node(name="d", op="DequantizeLinear", inputs=("q", "s"), outputs=("w",)),
        Node(name="g", op="Gemm", inputs=("x", "w"), outputs=("y",), attrs={"transB": 1}),
    )
    graph = Graph(inputs=(TensorType(name="x", shape=("N", 4)),), outputs=("y",), weights=weights, nodes=nodes)
    cost = count(graph)
    assert (cost.params, cost.macs, cost.weight_bytes, cost.wire_bytes) == (12, 12, 16, 48)
