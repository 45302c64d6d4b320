# SPDX-License-Identifier: Apache-2.0
"""The layer that makes the classes: what is changed for another number of them, and nothing else."""

from __future__ import annotations

import pytest

from fireforge.base.errors import FireforgeError
from fireforge.base.graph import Graph, Node, TensorType
from fireforge.base.head import bare, head_of, with_classes
from fireforge.base.infer import infer
from fireforge.base.trunk import trunk
from fireforge.nets.families import NETWORKS, build_graph

# the last weighted layer by each paper's own table
HEADS = {
    "alexnet": "Gemm",
    "cifar-resnet-20": "Gemm",
    "googlenet": "Gemm",
    "mobilenet-v2": "Gemm",
    "nin": "Conv",
    "shufflenet-v2-1.0": "Gemm",
    "squeezenet-1.0": "Conv",
}


def made(net: str) -> Graph:
    return trunk(build_graph(NETWORKS[net]()))


@pytest.mark.parametrize("net", HEADS)
def test_it_is_the_graph_that_the_family_makes_for_so_many_classes(net: str) -> None:
    graph = made(net)
    assert head_of(graph).op == HEADS[net]
    changed = with_classes(graph, 7)
    assert changed == trunk(build_graph(NETWORKS[net](classes=7)))
    assert with_classes(changed, infer(graph)[graph.outputs[0]].shape[1]) == graph


def test_activations_behind_it_go_and_nothing_else() -> None:
    graph = made("squeezenet-1.0")
    ops = [node.op for node in graph.nodes]
    assert [node.op for node in bare(graph).nodes] == ops[:-3] + ops[-2:]  # conv10, Relu, mean, Flatten
    assert ops[-3] == "Relu"
    assert infer(bare(graph))[graph.outputs[0]] == infer(graph)[graph.outputs[0]]
    last = small(
        (node("Flatten", "input", out="f", axis=1), node("Gemm", "f", "w", out="s"), node("Relu", "s", out="logits")),
        TensorType(name="w", shape=(48, 10)),
    )
    assert bare(last).outputs == ("logits",)
    assert infer(bare(last))["logits"].shape == ("N", 10)
    plain = made("mobilenet-v2")
    assert bare(plain) == plain


def small(nodes: tuple[Node, ...], *weights: TensorType) -> Graph:
    taken = TensorType(name="input", shape=("N", 3, 4, 4))
    return Graph(inputs=(taken,), outputs=(nodes[-1].outputs[0],), weights=weights, nodes=nodes)


def node(op: str, *inputs: str, out: str, **attrs: object) -> Node:
    return Node(name=out, op=op, inputs=inputs, outputs=(out,), attrs=attrs)  # type: ignore[arg-type]


def test_a_matrix_that_stands_the_other_way_and_a_reshape_by_number() -> None:
    graph = small(
        (
            node("Flatten", "input", out="flat", axis=1),
            node("Gemm", "flat", "w", "b", out="scores"),
            node("Reshape", "scores", out="logits", shape=(0, 10)),
        ),
        TensorType(name="w", shape=(48, 10)),
        TensorType(name="b", shape=(10,)),
    )
    changed = with_classes(graph, 3)
    assert {weight.name: weight.shape for weight in changed.weights} == {"w": (48, 3), "b": (3,)}
    assert infer(changed)["logits"].shape == ("N", 3)


def refused(graph: Graph, what: str) -> None:
    with pytest.raises(FireforgeError, match=what) as raised:
        with_classes(graph, 3)
    assert raised.value.code == "NO_HEAD"


def test_what_has_no_single_layer_of_classes_is_refused_by_the_operator() -> None:
    weights = (TensorType(name="w", shape=(10, 48)), TensorType(name="b", shape=(10,)))
    flat, first = node("Flatten", "input", out="flat", axis=1), node("Gemm", "flat", "w", "b", out="a", transB=1)
    refused(small((flat, first, node("Add", "a", "a", out="logits")), *weights), "Add at 'logits'")
    refused(small((node("GlobalAveragePool", "input", out="p"), node("Flatten", "p", out="q", axis=1))), "the input")
    grouped = node("Conv", "input", "k", out="c", group=3, kernel_shape=(4, 4))
    refused(small((grouped, node("Flatten", "c", out="q", axis=1)), TensorType(name="k", shape=(6, 1, 4, 4))), "Conv")


def test_a_layer_whose_rows_are_not_the_classes_is_refused() -> None:
    conv = node("Conv", "input", "k", out="c", kernel_shape=(3, 3))
    spread = small((conv, node("Flatten", "c", out="q", axis=1)), TensorType(name="k", shape=(5, 3, 3, 3)))
    refused(spread, "does not hold a row for each of 20 classes")
    fixed = TensorType(name="w", shape=(10, 48), fixed=(0.0,) * 480)
    table = small((node("Flatten", "input", out="f", axis=1), node("Gemm", "f", "w", out="s", transB=1)), fixed)
    refused(table, "'w'")
