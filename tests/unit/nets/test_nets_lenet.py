# SPDX-License-Identifier: Apache-2.0
"""LeNet-5 against the rows of LeCun et al. 1998, and the other two by the counts that papers print."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fireforge.base.errors import FireforgeError
from fireforge.base.infer import infer
from fireforge.base.reference import run_reference
from fireforge.base.validate import validate
from fireforge.cost.count import by_node, count
from fireforge.nets.codes import HIGH, MOST, WIDE, codes
from fireforge.nets.families import NETWORKS, build_graph, fillers_of
from fireforge.nets.lenet import C3_SEES
from fireforge.nets.module import GraphModule, arrays_of, initialise, load_arrays

torch.set_num_threads(1)


def lenet(**params):
    return build_graph(NETWORKS["lenet-5"](params=params))


def drawn(**params) -> GraphModule:
    spec = NETWORKS["lenet-5"](params=params)
    module = GraphModule(build_graph(spec))
    initialise(module, 0, fillers=fillers_of(spec))
    return module


def test_trained_numbers_as_published():
    """60,000 in the paper; 850 more with a linear output of ten classes."""
    assert count(lenet()).params == 60_000
    assert count(lenet(output="dense")).params == 60_850


def test_rows_as_published():
    """LeCun et al. 1998, section II.B: maps, trained numbers and connections, a bias counting as one, of each layer."""
    graph = lenet()
    types, rows = infer(graph), by_node(graph)
    params, connections = {}, {}
    for row in rows:
        layer = row.name.partition("_")[0].partition(".")[0]
        params[layer] = params.get(layer, 0) + row.params
        connections[layer] = connections.get(layer, 0) + row.macs + row.activations
    assert {name: params[name] for name in ("c1", "s2", "c3", "s4", "c5", "f6", "output")} == {
        "c1": 156,
        "s2": 12,
        "c3": 1_516,
        "s4": 32,
        "c5": 48_120,
        "f6": 10_164,
        "output": 0,
    }
    assert {name: connections[name] for name in ("c1", "c3", "c5", "f6")} == {
        "c1": 122_304,
        "c3": 151_600,
        "c5": 48_120,
        "f6": 10_164,
    }
    assert 5 * np.prod(types["s2"].shape[1:]) == 5_880  # four numbers and a bias each
    assert 5 * np.prod(types["s4"].shape[1:]) == 2_000
    shapes = [types[name].shape[1:] for name in ("c1", "s2", "c3", "s4", "c5", "f6")]
    assert shapes == [(6, 28, 28), (6, 14, 14), (16, 10, 10), (16, 5, 5), (120, 1, 1), (84,)]
    assert types["output.codes"].shape == (10, 84)


def test_table_of_links_as_published():
    """60 links; each map of S2 leads to ten maps of C3; the six maps that see 3, the nine that see 4, the one."""
    rows = [sources for row in C3_SEES for sources in row]
    assert [len(row) for row in rows] == [3] * 6 + [4] * 9 + [6]
    assert len(set(rows)) == 16
    assert [sum(source in row for row in rows) for source in range(6)] == [10] * 6
    assert rows[4:6] == [(0, 4, 5), (0, 1, 5)]
    assert rows[14] == (0, 2, 3, 5)


def test_partial_convolution_equals_a_whole_one_with_zeros():
    """Reference: one convolution of all 6 maps whose kernels are 0 where there is no link; 1e-5, another order."""
    module = drawn().double()
    maps = module.taps(torch.randn(2, 1, 32, 32, dtype=torch.float64), ["s2_squash", "c3"])
    whole, bias, number = torch.zeros(16, 6, 5, 5, dtype=torch.float64), [], 0
    for row in C3_SEES:
        layer = module.get_submodule(f"c3.sees{len(row[0])}")
        for kernels, sources in zip(layer.weight, row, strict=True):
            for kernel, source in zip(kernels, sources, strict=True):
                whole[number, source] = kernel
            number += 1
        bias.append(layer.bias)
    wanted = torch.nn.functional.conv2d(maps["s2_squash"], whole, torch.cat(bias))
    torch.testing.assert_close(maps["c3"], wanted, rtol=1e-5, atol=1e-7)


def test_squash_and_subsampling_by_hand():
    """f(1) = 1.7159 tanh(2/3) is 1 to 4 places; a unit takes coefficient times mean plus bias."""
    module = drawn().eval()
    arrays = arrays_of(module)
    arrays["s2.weight"][:], arrays["s2.bias"][:] = 4.0, 0.5
    load_arrays(module, arrays)
    x = torch.randn(1, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    got = module.taps(x, ["c1", "c1_squash", "s2"])
    torch.testing.assert_close(got["c1_squash"], 1.7159 * torch.tanh(2 / 3 * got["c1"]))
    first = got["c1_squash"][0, 2, :2, :2]
    assert got["s2"][0, 2, 0, 0].item() == pytest.approx(first.sum().item() + 0.5, rel=1e-5)
    assert 1.7159 * np.tanh(2 / 3) == pytest.approx(1, abs=1e-4)


def test_logits_are_minus_the_squared_distances():
    """Reference: the sum written out; a picture whose features are a code is nearest to it, at distance 0."""
    module = drawn().eval()
    table = np.array(codes(10))
    with torch.no_grad():
        got = module.taps(torch.randn(3, 1, 32, 32), ["f6_squash", "logits"])
    features = got["f6_squash"].numpy()
    wanted = -np.square(features[:, None, :] - table).sum(axis=2)
    np.testing.assert_allclose(got["logits"].numpy(), wanted, rtol=1e-5)
    graph = module.graph
    tail = graph.replace(
        inputs=(infer(graph)["f6_squash"],),
        nodes=tuple(node for node in graph.nodes if node.name.startswith("output")),
        weights=tuple(weight for weight in graph.weights if weight.name.startswith("output")),
    )
    own = {name: array for name, array in arrays_of(module).items() if name.startswith("output")}
    answers = run_reference(tail, own, {"f6_squash": table.astype(np.float32)})["logits"]
    assert np.array_equal(np.diag(answers), np.zeros(10))
    assert (answers.argmax(axis=1) == np.arange(10)).all()


def test_codes_are_seven_by_twelve_and_far_apart():
    table = np.array(codes(MOST))
    assert table.shape == (16, WIDE * HIGH) == (16, 84)
    assert set(table.ravel()) == {1.0, -1.0}
    apart = (table[:, None] != table[None]).sum(axis=2) + 84 * np.eye(MOST, dtype=int)
    assert apart.min() >= 4  # pixels; no two are alike


def test_codes_and_constants_are_never_trained():
    module = drawn()
    fixed = {weight.name for weight in module.graph.weights if weight.fixed}
    assert fixed == {"slope", "gain", "output.codes", "output.minus", *(f"c3.sees{n}.links" for n in (3, 4, 6))}
    assert fixed == set(dict(module.named_buffers()))
    before = arrays_of(module)
    optimizer = torch.optim.SGD(module.parameters(), lr=1e-3, weight_decay=0.1)
    torch.nn.functional.cross_entropy(module.train()(torch.randn(4, 1, 32, 32)), torch.arange(4)).backward()
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in module.parameters())
    optimizer.step()
    after = arrays_of(module)
    assert all(np.array_equal(before[name], after[name]) == (name in fixed) for name in before)


def test_first_weights_as_published():
    """Uniform within 2.4 by fan-in; a coefficient of the mean within 2.4, which is 4 times 2.4 / 4 of the sum."""
    module = drawn()
    bounds = {"c1": 25, "c3.sees3": 75, "c3.sees4": 100, "c3.sees6": 150, "c5": 400, "f6": 120, "s4": 1}
    for name, fan_in in bounds.items():
        weight = module.get_submodule(name).weight
        assert 0.5 * 2.4 / fan_in < weight.abs().max().item() <= 2.4 / fan_in
        assert not module.get_submodule(name).bias.any()
    assert module.c5.weight.std().item() == pytest.approx(2.4 / 400 / 3**0.5, rel=0.02)  # of a uniform, n = 48,000


@pytest.mark.parametrize("classes", [1, 16])
def test_as_many_classes_as_there_are_codes(classes):
    validate(build_graph(NETWORKS["lenet-5"](classes)))


@pytest.mark.parametrize(("classes", "own"), [(17, {}), (10, {"output": "softmax"})])
def test_impossible_outputs_are_refused(classes, own):
    with pytest.raises(FireforgeError, match=r"lenet-5\.output") as caught:
        build_graph(NETWORKS["lenet-5"](classes, params=own))
    assert caught.value.code == "BAD_SPEC"


def test_caffes_lenet_as_published():
    """520 + 25,050 + 400,500 + 5,010 = 431,080; maps of 24, 12, 8 and 4; one Relu."""
    graph = build_graph(NETWORKS["caffe-lenet"]())
    assert [row.params for row in by_node(graph) if row.params] == [520, 25_050, 400_500, 5_010]
    types = infer(graph)
    assert [types[name].shape[1:] for name in ("conv1", "pool1", "conv2", "pool2", "ip1")] == [
        *((20, 24, 24), (20, 12, 12), (50, 8, 8), (50, 4, 4), (500,))
    ]
    assert [node.op for node in graph.nodes].count("Relu") == 1


def test_lenet_300_100_as_published():
    """235,500 + 30,100 + 1,010 = 266,610."""
    graph = build_graph(NETWORKS["lenet-300-100"]())
    assert [row.params for row in by_node(graph) if row.params] == [235_500, 30_100, 1_010]
    assert count(build_graph(NETWORKS["lenet-300-100"](params={"widths": ""}))).params == 7_850
    with pytest.raises(FireforgeError, match=r"mlp\.widths"):
        build_graph(NETWORKS["lenet-300-100"](params={"widths": "300,0"}))
