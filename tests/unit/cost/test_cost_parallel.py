# SPDX-License-Identifier: Apache-2.0
"""|W| and |D| against FireCaffe's table, and the four ways by hand."""

from __future__ import annotations

import pytest

from fireforge.base.graph import Graph, Node, TensorType
from fireforge.cost.count import count
from fireforge.cost.parallel import volumes, ways
from fireforge.nets.families import NETWORKS, build_graph

BATCH = 1024
# FireCaffe, table of volumes at batch 1024, in millions of bytes: |D| and |W|. GoogLeNet is trained with its heads, so
# they are in |W|, and |D| is that of the main network. AlexNet's picture has 224 px there and 227 here.
TABLE = [
    ("nin", "nin", 5793, 30),
    ("alexnet-ungrouped", "alexnet-ungrouped", 1683, 249),
    ("googlenet", "googlenet-aux", 19102, 54),
    ("vgg-e", "vgg-e", 42679, 575),
]
PICTURE = {"alexnet-ungrouped": 4 * 3 * BATCH * (227**2 - 224**2)}


@pytest.mark.parametrize(("data", "weights", "data_mb", "weight_mb"), TABLE)
def test_the_table_of_firecaffe(data, weights, data_mb, weight_mb):
    """To the million of bytes; |W| to a million, as 249.5 is printed as 249."""
    held = volumes(build_graph(NETWORKS[data]()), batch=BATCH)
    sent = volumes(build_graph(NETWORKS[weights]()))
    assert round((held.data_bytes - PICTURE.get(data, 0)) / 1e6) == data_mb
    assert sent.weight_bytes / 1e6 == pytest.approx(weight_mb, abs=1)


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
    assert (data.workers, pipeline.workers) == (10, 3)
    assert pipeline.moved_bytes == 4 * 10 * (8 + 4)
    assert "3 layers" in pipeline.why
    assert "320 bytes" in pipeline.why  # the largest output, 8 numbers of 10 pictures


def test_what_moves_less_is_told_by_the_batch():
    """|D| is 800 at batch 10 and 80 at batch 1, |W| 416."""
    assert "data parallel moves less" in ways(three(), batch=10, workers=2)[0].why
    assert "model parallel moves less" in ways(three(), batch=1, workers=2)[0].why


def test_gradients_do_not_depend_on_the_batch():
    graph = build_graph(NETWORKS["squeezenet-1.0"]())
    assert volumes(graph, batch=1).weight_bytes == volumes(graph, batch=64).weight_bytes == count(graph).wire_bytes
    assert volumes(graph, batch=64).data_bytes == 64 * volumes(graph).data_bytes
