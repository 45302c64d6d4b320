# SPDX-License-Identifier: Apache-2.0
"""The ledger by hand, against `count`, and what it refuses."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from fireforge.base.errors import FireforgeError
from fireforge.base.graph import Graph, Node, TensorType
from fireforge.cost import count as counting
from fireforge.cost.count import count
from fireforge.cost.energy import energy
from fireforge.cost.ledger import ledger
from fireforge.cost.summary import summary
from fireforge.importers.torch_module import import_torch
from fireforge.nets.families import NETWORKS, build_graph


def conv() -> Graph:
    """3 x 3, 2 to 4 channels with a bias, 6 x 6 px to 4 x 4: 64 numbers of 18 MACs are 1,152."""
    weights = (TensorType(name="w", shape=(4, 2, 3, 3)), TensorType(name="b", shape=(4,)))
    node = Node(name="n", op="Conv", inputs=("x", "w", "b"), outputs=("y",), attrs={"kernel_shape": (3, 3)})
    flat = Node(name="f", op="Flatten", inputs=("y",), outputs=("z",), attrs={"axis": 1})
    source = TensorType(name="x", shape=("N", 2, 6, 6))
    return Graph(inputs=(source,), outputs=("z",), weights=weights, nodes=(node, flat))


@pytest.mark.parametrize(("batch", "dtype", "item"), [(1, "float32", 4), (8, "float32", 4), (3, "int8", 1)])
def test_a_convolution_by_hand(batch, dtype, item):
    """Reads 72 numbers a picture and 72 + 4 weights once, writes 64 a picture; a Flatten moves nothing."""
    line, flat = ledger(conv(), batch=batch, dtype=dtype)
    assert (line.params, line.macs, line.activations) == (76, 1152 * batch, 64 * batch)
    assert (line.read_bytes, line.written_bytes) == (item * (72 * batch + 76), item * 64 * batch)
    assert line.intensity == pytest.approx(1152 * batch / (item * (136 * batch + 76)))
    assert (flat.read_bytes, flat.written_bytes, flat.intensity) == (0, 0, None)


@pytest.mark.parametrize("name", ["squeezenet-1.1", "resnet-20", "mobilenet-small"])
def test_lines_add_up_to_the_count(name):
    graph = build_graph(NETWORKS[name]())
    lines, found = ledger(graph, batch=5), count(graph)
    assert sum(line.params for line in lines) == found.params
    assert sum(line.macs for line in lines) == 5 * found.macs
    assert sum(line.activations for line in lines) == 5 * found.activations


def test_a_larger_batch_reads_the_weights_once():
    """So the work a byte grows with the batch."""
    graph = build_graph(NETWORKS["squeezenet-1.1"]())
    one, many = summary(graph, batch=1), summary(graph, batch=16)
    assert many.read_bytes == 16 * one.read_bytes - 15 * one.cost.weight_bytes
    assert many.intensity > one.intensity


def test_the_sum_has_four_formats_three_levels_and_the_optimizers():
    """float32 of 1,235,496 parameters: momentum keeps one number each, AdamW two."""
    graph = build_graph(NETWORKS["squeezenet-1.1"]())
    found = summary(graph)
    assert list(found.energy) == ["float32", "float16", "fixed16", "int8"]
    assert found.energy["int8"] == energy(graph, form="int8")
    params = 4 * 1_235_496
    assert found.state_bytes == {"sgd": 0, "momentum": params, "adamw": 2 * params, "average": params}
    assert found.file_bytes["int8"] < found.file_bytes["float32"] / 3.5
    assert found.absent == {}


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_is_counted_whole(name):
    """Nothing absent, and a training takes more than its weights, gradients and what it keeps."""
    found = summary(build_graph(NETWORKS[name]()), batch=2)
    assert found.absent == {}
    assert found.inference is not None
    assert found.inference.peak > found.inference.alive > 0
    assert found.training is not None
    assert found.training.peak > found.training.weights + found.training.saved


def test_what_is_not_counted_says_why():
    graph = build_graph(NETWORKS["resnet-20"]())
    found = summary(graph, dtype="int8")
    assert found.inference is None
    assert found.training is None
    assert set(found.absent) == {"inference", "training"}
    assert summary(graph, dtype="bfloat16").training is not None


def test_unknown_format_is_refused():
    with pytest.raises(FireforgeError, match=r"UNKNOWN_NAME.*bfloat16"):
        ledger(conv(), dtype="int4")


def test_an_operator_without_a_count_is_named_and_never_zero(monkeypatch):
    monkeypatch.setattr(counting, "FREE", counting.FREE - {"Flatten"})
    with pytest.raises(FireforgeError, match=r"UNKNOWN_OPERATOR: f: no count for operator Flatten"):
        ledger(conv())


class Sorted(nn.Module):
    """Uses an operator that the closed list lacks."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Sort the answers."""
        return torch.sort(self.conv(x).flatten(1))[0]


def test_an_operator_of_a_foreign_module_is_named():
    with pytest.raises(FireforgeError, match=r"UNKNOWN_OPERATOR.*sort"):
        import_torch(Sorted(), (3, 8, 8))
