# SPDX-License-Identifier: Apache-2.0
"""Energy by hand from the table of Horowitz 2014, against Deep Compression's example, and of files as they are."""

from __future__ import annotations

import pytest

from fireforge.base.errors import FireforgeError
from fireforge.base.graph import Graph, Node, TensorType
from fireforge.base.machine import this_machine
from fireforge.base.measurement import Measurement
from fireforge.cost.count import count
from fireforge.cost.energy import CACHE_BYTES, DRAM_PJ, FUSED, MAC_PJ, energy, energy_by_node, estimated
from fireforge.nets.families import NETWORKS, build_graph


def one_node(op, given, weight, attrs) -> Graph:
    """A graph of a single node with one weight."""
    node = Node(name="n", op=op, inputs=("x", "w"), outputs=("y",), attrs=attrs)
    held = (TensorType(name="w", shape=weight),)
    return Graph(inputs=(TensorType(name="x", shape=given),), outputs=("y",), weights=held, nodes=(node,))


def conv() -> Graph:
    """3 x 3, 2 to 4 channels, 6 x 6 px to 4 x 4: 64 numbers of 18 MACs are 1,152; 72 weights, 72 in, 64 out."""
    return one_node("Conv", ("N", 2, 6, 6), (4, 2, 3, 3), {"kernel_shape": (3, 3)})


@pytest.mark.parametrize(
    ("form", "mac_pj", "bytes_each"),
    [("float32", 4.6, 4), ("float16", 1.5, 2), ("fixed16", 0.89, 2), ("int8", 0.3, 1)],
)
def test_a_convolution_by_hand(form, mac_pj, bytes_each):
    """1,152 MACs, and 72 + 72 + 64 = 208 numbers moved once at 5 pJ for 4 bytes; all of it fits into the cache."""
    found = energy(conv(), form=form)
    assert found.compute_mj == pytest.approx(1152 * mac_pj * 1e-9)
    assert found.cache_mj == pytest.approx(208 * bytes_each * 1.25 * 1e-9)
    assert found.dram_mj == 0
    assert found.total_mj == found.compute_mj + found.cache_mj


def test_the_published_ratios_hold():
    """Horowitz: 640 pJ of DRAM are 711 float additions of 0.9 pJ; an integer product of 16 bits is a geometric mean."""
    dram_additions = 4 * DRAM_PJ / 0.9
    assert dram_additions == pytest.approx(711, abs=0.2)
    assert MAC_PJ["int8"] < MAC_PJ["fixed16"] < MAC_PJ["float16"] < MAC_PJ["float32"]
    product = MAC_PJ["fixed16"] - 0.1
    assert product**2 == pytest.approx(0.2 * 3.1, rel=0.01)


def test_a_billion_connections_from_dram_at_20_hz_draw_12_8_watts():
    """Han et al., Deep Compression, introduction: (20 Hz)(1 G)(640 pJ) = 12.8 W for DRAM access alone."""
    graph = one_node("MatMul", ("N", 31_250), (31_250, 32_000), {})
    found = energy(graph, form="float32")
    assert 20 * found.dram_mj * 1e-3 == pytest.approx(12.8)
    assert energy(graph, form="float32", cache_bytes=10**10).dram_mj == 0


def test_what_is_larger_than_the_cache_comes_from_dram():
    """The map in is 288 bytes, the weights 288, the map out 256: a cache of 256 bytes holds the last alone."""
    (row,) = energy_by_node(conv(), cache_bytes=256)
    assert row.dram_pj == 160 * (288 + 288)
    (row,) = energy_by_node(conv(), cache_bytes=288)
    assert row.dram_pj == 0


@pytest.mark.parametrize("name", ["squeezenet-1.0", "resnet-20", "mobilenet-v2"])
def test_nodes_add_up_and_compute_is_macs_by_the_table(name):
    graph = build_graph(NETWORKS[name]())
    rows, found = energy_by_node(graph, form="int8"), energy(graph, form="int8")
    assert sum(row.macs for row in rows) == count(graph).macs
    assert found.compute_mj == pytest.approx(count(graph).macs * 0.3e-9)
    assert found.total_mj == pytest.approx(1e-9 * sum(r.compute_pj + r.cache_pj + r.dram_pj for r in rows))
    assert all(row.cache_pj == 0 for row in rows if row.op in FUSED)
    assert found.total_mj < energy(graph, form="float32").total_mj / 3.9


def test_squeezenet_streams_its_weights():
    """1,248,424 weights of 4 bytes are more than the cache, in one byte each as well: all of them come from DRAM."""
    graph = build_graph(NETWORKS["squeezenet-1.0"]())
    assert CACHE_BYTES < 1_248_424
    far = sum(row.dram_pj for row in energy_by_node(graph, form="int8", cache_bytes=CACHE_BYTES))
    assert far >= 160 * 1_248_424


def quantized_conv() -> Graph:
    """The convolution with map, weights and result in 8-bit integers, as an exported file holds it."""
    scale = [TensorType(name=name, shape=()) for name in ("sx", "sw", "sy")]
    weights = (*scale, TensorType(name="w", dtype="int8", shape=(4, 2, 3, 3)))
    nodes = (
        Node(name="q", op="QuantizeLinear", inputs=("x", "sx"), outputs=("xq",)),
        Node(name="dq", op="DequantizeLinear", inputs=("xq", "sx"), outputs=("xr",)),
        Node(name="dw", op="DequantizeLinear", inputs=("w", "sw"), outputs=("wr",)),
        Node(name="c", op="Conv", inputs=("xr", "wr"), outputs=("y",), attrs={"kernel_shape": (3, 3)}),
        Node(name="relu", op="Relu", inputs=("y",), outputs=("yr",)),
        Node(name="qy", op="QuantizeLinear", inputs=("yr", "sy"), outputs=("yq",)),
        Node(name="dy", op="DequantizeLinear", inputs=("yq", "sy"), outputs=("z",)),
    )
    return Graph(inputs=(TensorType(name="x", shape=("N", 2, 6, 6)),), outputs=("z",), weights=weights, nodes=nodes)


def test_a_graph_of_integers_says_so_itself():
    """The same 1,152 MACs and 208 numbers, found as 8-bit integers without being told."""
    found = energy(quantized_conv())
    assert found == energy(conv(), form="int8")
    assert [row.form for row in energy_by_node(quantized_conv()) if row.macs] == ["int8"]


def test_integer_weights_alone_save_bytes_and_no_products():
    """Weights held in a byte, multiplied in float with a float map."""
    graph = quantized_conv()
    nodes = (graph.nodes[2], graph.nodes[3].replace(inputs=("x", "wr")))
    weights = tuple(weight for weight in graph.weights if weight.name in ("w", "sw"))
    (row,) = [row for row in energy_by_node(graph.replace(nodes=nodes, weights=weights, outputs=("y",))) if row.macs]
    assert (row.form, row.compute_pj) == ("float32", pytest.approx(1152 * 4.6))
    assert row.cache_pj == 1.25 * (72 * 4 + 72 + 64 * 4)


def test_unknown_form_is_refused():
    with pytest.raises(FireforgeError, match=r"UNKNOWN_NAME.*fixed16"):
        energy(conv(), form="int4")


def test_an_estimate_is_called_one_and_never_replaces_a_counter():
    figures = {"bytes": 1, "latency_ms": 1.0, "latency_p90_ms": 1.0, "load_ms": 1.0, "n": 0, "runs": 1, "threads": 1}
    measured = Measurement(
        **figures,
        memory_bytes=None,
        accuracy=None,
        runtime="x",
        torch_loaded=False,
        hardware=this_machine(),
        how={"energy_mj": "not measured: no counter"},
    )
    found = estimated(measured, conv())
    assert found.energy_mj == energy(conv()).total_mj == found.figures()["energy_mj"]
    assert found.how["energy_mj"].startswith("estimated: 45 nm table")
    assert found.how["energy_mj"].endswith("not measured: no counter")
    counted = measured.replace(energy_mj=3.0, how={"energy_mj": "counter: package-0"})
    assert estimated(counted, conv()) is counted
