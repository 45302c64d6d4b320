# SPDX-License-Identifier: Apache-2.0
"""Networks side by side: one small real run, and what happens where time or memory does not suffice."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path

import numpy as np
import pytest

import fireforge.jobs.compare as job
from fireforge.base.comparison import Comparison
from fireforge.base.errors import FireforgeError
from fireforge.base.graph import Graph, Node, TensorType
from fireforge.base.units import show_bytes
from fireforge.cost.count import count
from fireforge.jobs.blank import blank_arrays
from fireforge.jobs.compare import Terms, compare, compare_page, published_nets
from fireforge.nets.families import NETWORKS, build_graph
from fireforge.nets.published import PUBLISHED
from fireforge.runtime.gauge import Gauge

NETS = ("firenet-small", "squeezenet-1.1")


def made_up(path: Path, *, batch: int, runs: int, seconds: float, threads: int, limit_s: float) -> Gauge:
    """A gauge that measures nothing: a millisecond a picture."""
    return Gauge(batch=batch, times_ms=(2.0 * batch, 1.0 * batch), memory_bytes=1000 * batch, load_ms=1.0, warmup=1)


def numbers(item: object) -> list[float]:
    """Every number in a JSON."""
    if isinstance(item, dict):
        return [number for part in item.values() for number in numbers(part)]
    if isinstance(item, list):
        return [number for part in item for number in numbers(part)]
    return [float(item)] if isinstance(item, (int, float)) and not isinstance(item, bool) else []


def test_a_real_run_of_two_networks(fireforge, tmp_path: Path) -> None:
    """The command itself: counted as `count` says, measured by batch, all on the page and in the JSON."""
    page = tmp_path / "new" / "page.html"
    done = fireforge("cost", "--compare", *NETS, "--image", "3x64x64", "--minutes", 0.3, "--out", page, "--json")
    assert done.returncode == 0, done.stderr
    found = Comparison.from_json(json.loads(done.stdout))
    assert tuple(row.name for row in found.networks) == NETS
    for row in found.networks:
        assert row.input_shape == (3, 64, 64)
        assert row.published is None  # what was printed holds for 227 px
        assert row.cost == count(build_graph(NETWORKS[row.name](input_shape=(3, 64, 64))))
        assert row.speed is not None
        assert row.speed.least_ms <= row.speed.median_ms == pytest.approx(1e3 / row.speed.images_per_second)
        assert row.speed.runs >= row.speed.visits == 3
        assert [at.batch for at in row.memory] == [1, 2, 4, 8, 16, 32, 64]
        assert all((at.measured_bytes is None) == bool(at.why) for at in row.memory)
        assert all(at.runs >= 2 for at in row.memory if at.measured_bytes is not None)
    light, heavy = found.networks
    assert light.memory[1].runs == 3  # the third run may take more than the second
    assert light.speed.images_per_second > heavy.speed.images_per_second
    text = page.read_text()
    drawn = re.findall(r'<data value="([^"]*)">', text)
    assert len(drawn) == 6
    assert {float(number) for number in drawn} <= set(numbers(found.to_json()))
    assert "http" not in text.replace("http-equiv", "")
    assert f"No published accuracy: {', '.join(NETS)}." in text
    assert html.escape(found.hardware.processor) in text
    assert f"onnxruntime {found.versions['onnxruntime']}" in text


def test_published_figures_stand_where_the_network_is_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job, "gauge_fresh", made_up)
    (row,) = compare(["squeezenet-1.1"]).networks
    assert row.published == PUBLISHED["squeezenet-1.1"]
    assert (row.speed.runs, row.speed.median_ms, row.speed.least_ms, row.speed.visits) == (6, 1.5, 1.0, 3)
    assert [at.measured_bytes for at in row.memory] == [1000, 2000, 4000, 8000, 16000, 32000, 64000]


def test_without_names_it_takes_those_with_a_published_accuracy() -> None:
    assert {"squeezenet-1.0", "squeezenet-1.1"} <= set(published_nets()) <= set(NETWORKS)
    assert all(PUBLISHED[name].top1 for name in published_nets())


def test_what_does_not_fit_the_memory_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twice what is counted of the lighter network suffices for it, and not even for one picture of the heavier."""
    monkeypatch.setattr(job, "gauge_fresh", made_up)
    light, heavy = compare(NETS, terms=Terms(batches=(1, 2))).networks
    most = 2 * light.memory[1].counted_bytes
    light, heavy = compare(NETS, terms=Terms(batches=(1, 2), most_bytes=most)).networks
    assert light.why == ""
    assert light.memory[1].measured_bytes == 2000
    assert heavy.speed is None
    assert re.fullmatch(rf"may take .* at batch 1, and {re.escape(show_bytes(most))} are allowed", heavy.why)
    assert all(at.why == heavy.why and at.measured_bytes is None for at in heavy.memory)


def test_time_that_is_over_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job, "gauge_fresh", made_up)
    (row,) = compare(["firenet-small"], terms=Terms(minutes=1e-9)).networks
    assert row.speed is None
    assert row.why.endswith("minutes were over")
    (row,) = compare(["firenet-small"], terms=Terms(minutes=0.05, batches=(1, 2000))).networks
    assert row.speed is not None  # 3 runs of 2000 pictures of 1.5 ms are 9 s of the 3 s
    assert row.memory[1].why.startswith("would take about 9.5 s, of 0.05 minutes")


@pytest.mark.parametrize("minutes", [0.0, -1.0, float("nan"), float("inf"), 1e6])
def test_minutes_that_are_none_are_refused(minutes: float) -> None:
    """What was given, and what is allowed, in words that hold for all of them."""
    told = rf"BAD_UNIT: --minutes: {minutes:g} minutes; allowed: more than 0, less than 1,000,000"
    with pytest.raises(FireforgeError, match=told.replace("+", r"\+")):
        compare(["firenet-small"], terms=Terms(minutes=minutes))


def test_a_network_that_cannot_be_built_is_left_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """AlexNet's windows of 11 px, 4 apart, leave 2 x 2 maps of 16 px, too few for its first pool of 3 x 3."""
    monkeypatch.setattr(job, "gauge_fresh", made_up)
    terms = Terms(image=16, batches=(1, 2))
    found, page = compare_page(["alexnet", "firenet-small"], out=tmp_path / "page.html", terms=terms)
    assert [row.name for row in found.networks] == ["firenet-small"]
    assert list(found.absent) == ["alexnet"]
    assert f"alexnet: {html.escape(found.absent['alexnet'])}" in page.read_text()
    with pytest.raises(FireforgeError) as alone:
        compare(["alexnet"], terms=terms)
    assert f"{alone.value.code}: {alone.value.what}" == found.absent["alexnet"]


def test_a_process_that_died_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def die(path: Path, **given: object) -> Gauge:
        raise FireforgeError("MEASURE_FAILED", "the process ended with -9")

    monkeypatch.setattr(job, "gauge_fresh", die)
    (row,) = compare(["firenet-small"]).networks
    assert row.why == "MEASURE_FAILED: the process ended with -9"


def test_a_page_that_cannot_be_written_is_refused_before_anything_is_measured(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for out in (tmp_path, tmp_path / "file" / "page.html"):
        with pytest.raises(FireforgeError, match="CANNOT_WRITE"):
            compare_page(["firenet-small"], out=out, terms=Terms(minutes=1e5))
    with pytest.raises(FireforgeError, match="UNKNOWN_NAME"):
        compare_page(["firenet-smal"], out=tmp_path / "page.html")


def test_progress_tells_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job, "gauge_fresh", made_up)
    seen = []
    compare(NETS, terms=Terms(batches=(1, 2, 4)), progress=seen.append)
    assert {update.stage for update in seen} == {"time", "memory"}
    assert [update.done for update in seen if update.stage == "time"] == list(range(7))
    assert [update.done for update in seen if update.stage == "memory"] == list(range(5))


def test_blank_numbers_keep_the_size_of_what_goes_through() -> None:
    """He et al. 2015, equation 10: variance 2 / fan-in; 20,000 numbers, so 5 standard errors are 2.5 %."""
    weights = (
        TensorType(name="w", shape=(50, 16, 5, 5)),
        TensorType(name="b", shape=(50,)),
        TensorType(name="scale", shape=(50,)),
        TensorType(name="codes", shape=(2,), fixed=(3.0, -1.0)),
    )
    nodes = (
        Node(name="conv", op="Conv", inputs=("input", "w", "b"), outputs=("x",)),
        Node(name="norm", op="BatchNormalization", inputs=("x", "scale", "b", "b", "scale"), outputs=("y",)),
    )
    graph = Graph(
        inputs=(TensorType(name="input", shape=("N", 16, 9, 9)),), outputs=("y",), weights=weights, nodes=nodes
    )
    found = blank_arrays(graph)
    assert np.std(found["w"]) == pytest.approx((2 / (16 * 25)) ** 0.5, rel=0.025)
    assert found["b"].tolist() == [0.0] * 50
    assert found["scale"].tolist() == [1.0] * 50
    assert found["codes"].tolist() == [3.0, -1.0]
    assert all(array.dtype == np.float32 for array in found.values())
