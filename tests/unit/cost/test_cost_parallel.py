# SPDX-License-Identifier: Apache-2.0
"""|W| and |D| against FireCaffe's table, and the four ways by hand."""

from __future__ import annotations

import itertools

import pytest

from fireforge.base.graph import Graph, Node, TensorType
from fireforge.cost.count import by_node, count
from fireforge.cost.parallel import volumes, ways
from fireforge.nets.families import NETWORKS, build_graph

BATCH = 1024
# FireCaffe, table of volumes at batch 1024, in millions of bytes: |D|, |W|, and |W| as it is printed. GoogLeNet is
# trained with its heads, so they are in |W|, and |D| is that of the main network. AlexNet's picture there has 224 px.
TABLE = [
    ("nin", "nin", {}, 5793, 30.4, 30),
    (*("alexnet-ungrouped",) * 2, {"input_shape": (3, 224, 224), "params": {"stem_pad": 2}}, 1683, 249.5, 249),
    ("googlenet", "googlenet-aux", {}, 19102, 53.5, 53.5),
    ("vgg-e", "vgg-e", {}, 42679, 574.7, 575),
]


@pytest.mark.parametrize(("data", "weights", "own", "data_mb", "weight_mb", "printed"), TABLE)
def test_the_table_of_firecaffe(data, weights, own, data_mb, weight_mb, printed):
    """|D| to the million of bytes, |W| to the tenth of one; in print it is rounded or cut off."""
    held = volumes(build_graph(NETWORKS[data](**own)), batch=BATCH)
    sent = volumes(build_graph(NETWORKS[weights](**own)))
    assert round(held.data_bytes / 1e6) == data_mb
    assert round(sent.weight_bytes / 1e6, 1) == weight_mb
    assert abs(sent.weight_bytes / 1e6 - printed) < 1


def test_googlenet_s_ratio_is_the_360_of_the_talk():
    """19,101.6 by 53.5 is 357; with the heads' own inputs 359; the talk says 360."""
    main = volumes(build_graph(NETWORKS["googlenet"]()), batch=BATCH)
    trained = volumes(build_graph(NETWORKS["googlenet-aux"]()), batch=BATCH)
    assert main.data_bytes / 1e6 == pytest.approx(19_101.6, abs=0.05)
    assert main.data_bytes / trained.weight_bytes == pytest.approx(357, abs=0.5)
    assert 357 < trained.ratio < 360


def three() -> Graph:
    """Matrix products 8 to 8, 8 to 4 and 4 to 2: 64, 32 and 8 MACs, 104 weights, inputs of 8, 8 and 4."""
    sizes = [(8, 8), (8, 4), (4, 2)]
    weights = tuple(TensorType(name=f"w{i}", shape=size) for i, size in enumerate(sizes))
    names = ("x", "a", "b", "c")
    nodes = tuple(
        Node(name=f"n{i}", op="MatMul", inputs=(names[i], f"w{i}"), outputs=(names[i + 1],)) for i in range(3)
    )
    return Graph(inputs=(TensorType(name="x", shape=("N", 8)),), outputs=("c",), weights=weights, nodes=nodes)


def test_four_ways_by_hand():
    """Two workers: the pipeline is cut behind the first layer, 8 numbers a picture cross; it runs 104 / 64 as fast."""
    data, model, pipeline, quarters = ways(three(), batch=10, workers=2)
    assert (data.moved_bytes, data.workers, data.macs) == (4 * 104, 2, 1040)
    assert model.moved_bytes == 4 * 20 * 10
    assert (pipeline.moved_bytes, pipeline.workers) == (4 * 8 * 10, 2)
    assert pipeline.speedup == pytest.approx(104 / 64)
    assert (quarters.macs, quarters.speedup, quarters.moved_bytes) == (4 * 1040, 1.0, 4 * 4 * 104)


def test_a_pipeline_has_no_more_stages_than_layers_nor_data_parallel_more_workers_than_pictures():
    data, _, pipeline, _ = ways(three(), batch=10, workers=64)
    assert (data.workers, pipeline.workers) == (10, 2)  # a third stage would wait for the first one all the same
    assert pipeline.moved_bytes == 4 * 10 * 8
    assert "3 layers" in pipeline.why
    assert "320 bytes" in pipeline.why  # the largest output, 8 numbers of 10 pictures


def test_what_moves_less_is_told_by_the_batch():
    """|D| is 800 at batch 10 and 400 at batch 5, |W| 416."""
    assert "data parallel moves less" in ways(three(), batch=10, workers=2)[0].why
    assert "model parallel moves less" in ways(three(), batch=5, workers=2)[0].why
    assert ways(three(), batch=1, workers=2)[0].why == "one worker has all of it"


@pytest.mark.parametrize(("name", "workers"), [("resnet-50", 32), ("alexnet", 4), ("nin", 16), ("squeezenet-1.0", 4)])
def test_a_pipeline_is_cut_where_its_slowest_stage_is_quickest(name, workers):
    """Against all partitions of the layers into so many consecutive parts, by dynamic programming."""
    graph = build_graph(NETWORKS[name]())
    macs = [row.macs for row in by_node(graph) if row.macs]
    sums = [0, *itertools.accumulate(macs)]
    best = sums[:]  # of one stage
    for _ in range(min(workers, len(macs)) - 1):
        best = [
            min((max(best[cut], sums[end] - sums[cut]) for cut in range(end + 1)), default=0)
            for end in range(len(sums))
        ]
    assert ways(graph, batch=1, workers=workers)[2].speedup == pytest.approx(sum(macs) / best[-1])


def test_one_worker_exchanges_nothing():
    assert [way.moved_bytes for way in ways(three(), batch=10, workers=1)] == [0, 0, 0, 0]


def test_a_network_without_weights_has_no_ratio():
    pool = Node(name="n", op="Relu", inputs=("x",), outputs=("y",))
    graph = Graph(inputs=(TensorType(name="x", shape=("N", 8)),), outputs=("y",), weights=(), nodes=(pool,))
    assert volumes(graph).ratio is None
    assert "nothing is trained" in ways(graph, batch=4, workers=2)[0].why


def test_gradients_do_not_depend_on_the_batch():
    graph = build_graph(NETWORKS["squeezenet-1.0"]())
    assert volumes(graph, batch=1).weight_bytes == volumes(graph, batch=64).weight_bytes == count(graph).wire_bytes
    assert volumes(graph, batch=64).data_bytes == 64 * volumes(graph).data_bytes
