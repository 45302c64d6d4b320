# SPDX-License-Identifier: Apache-2.0
"""Time and memory of a plain ONNX file by batch, in a fresh process."""

from __future__ import annotations

from pathlib import Path

import pytest

import fireforge.runtime.memory as memory
from fireforge.base.errors import FireforgeError
from fireforge.base.graph import Graph, Node, TensorType
from fireforge.export.onnx_file import onnx_bytes
from fireforge.runtime.gauge import gauge, gauge_fresh

SIDE = 512  # of the input: 3 MiB of float32 a picture


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    """Relu and a sum with the input: no weights, no card; of 3 tensors of 3 MiB a picture 2 or 3 live at once."""
    shape = ("N", 3, SIDE, SIDE)
    nodes = (
        Node(name="relu", op="Relu", inputs=("input",), outputs=("a",)),
        Node(name="sum", op="Add", inputs=("a", "input"), outputs=("b",)),
    )
    graph = Graph(inputs=(TensorType(name="input", shape=shape),), outputs=("b",), weights=(), nodes=nodes)
    path = tmp_path / "plain.onnx"
    path.write_bytes(onnx_bytes(graph, {}))
    return path


def test_memory_grows_by_what_a_picture_takes(plain: Path) -> None:
    """24 more pictures: at least input and output, 6 MiB each, at most three tensors and an arena twice as large."""
    found = {batch: gauge_fresh(plain, batch=batch, runs=2) for batch in (8, 32)}
    if found[8].memory_bytes is None:
        pytest.skip("this system does not tell a process its peak memory")
    more = found[32].memory_bytes - found[8].memory_bytes
    picture = 3 * SIDE * SIDE * 4
    assert 24 * 2 * picture <= more <= 24 * 4 * picture
    assert all(one.batch == batch and len(one.times_ms) == 2 and one.warmup == 1 for batch, one in found.items())
    assert min(found[32].times_ms) > min(found[8].times_ms)


def test_time_ends_the_runs_but_not_the_first(plain: Path) -> None:
    assert len(gauge(plain, runs=50, seconds=0.0).times_ms) == 1
    assert len(gauge(plain, runs=7, seconds=60.0).times_ms) == 7


def test_what_the_process_refuses_is_raised_here(tmp_path: Path, plain: Path) -> None:
    with pytest.raises(FireforgeError, match="NO_FILE"):
        gauge_fresh(tmp_path / "none.onnx")
    with pytest.raises(FireforgeError, match="BAD_BENCH"):
        gauge_fresh(plain, batch=0)


def test_a_process_that_takes_too_long_is_ended(plain: Path) -> None:
    with pytest.raises(FireforgeError, match=r"MEASURE_FAILED: .*took more than"):
        gauge_fresh(plain, limit_s=0.01)


def test_free_memory_is_the_lesser_of_machine_and_container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "meminfo").write_text("MemTotal: 9000 kB\nMemAvailable:    4000 kB\n")
    monkeypatch.setattr(memory, "MACHINE", tmp_path / "meminfo")
    monkeypatch.setattr(memory, "GROUP", tmp_path)
    assert memory.free_bytes() == 4_096_000
    (tmp_path / "memory.max").write_text("3000000\n")
    (tmp_path / "memory.current").write_text("1000000\n")
    assert memory.free_bytes() == 2_000_000
    (tmp_path / "memory.max").write_text("max\n")
    assert memory.free_bytes() == 4_096_000
    (tmp_path / "meminfo").unlink()
    assert memory.free_bytes() is None
    (tmp_path / "memory.max").write_text("3000000\n")  # the container alone tells
    assert memory.free_bytes() == 2_000_000
    (tmp_path / "memory.current").write_text("3500000\n")
    assert memory.free_bytes() == 0
