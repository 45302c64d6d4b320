# SPDX-License-Identifier: Apache-2.0
"""The machine's profile: kernels told from a graph are those that ONNX Runtime runs; latencies follow."""

from __future__ import annotations

import itertools
import runpy
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

import fireforge.jobs.profile as file
from fireforge.base.errors import FireforgeError
from fireforge.base.profile import DeviceProfile
from fireforge.base.spec import NetSpec
from fireforge.base.trunk import trunk
from fireforge.cost.kernels import kernels
from fireforge.cost.latency import LatencyModel, kind_of
from fireforge.jobs.blank_files import blank_files
from fireforge.jobs.profile import drawn
from fireforge.jobs.profiles import check_threads, kept, kept_path, place, read_profile, write_profile
from fireforge.nets.families import NETWORKS, build_graph
from fireforge.runtime.events import block_of, trace
from fireforge.runtime.onnx_runtime import OnnxSession
from fireforge.runtime.profile import least_ms, shown

NUMBER = 24


@pytest.fixture(scope="module")
def block() -> int:
    return block_of()


@pytest.fixture(scope="module")
def found(quick_profile: DeviceProfile) -> DeviceProfile:
    return quick_profile


@pytest.mark.parametrize("spec", list(itertools.islice(drawn(1), NUMBER)), ids=lambda spec: spec.family)
def test_the_kernels_of_a_graph_are_those_that_onnx_runtime_runs(spec: NetSpec, block: int) -> None:
    """Reference: ONNX Runtime's own trace of the file, kernel by kernel, in whatever order."""
    graph = build_graph(spec)
    for form, data in blank_files(spec).items():
        events = trace(data, shown(OnnxSession(data)), runs=1, block=block)
        assert Counter(kernels(graph, form=form, block=block)) == Counter(event.kernel for event in events), form


@pytest.mark.parametrize(
    "name", ["mobilenet-v3-tiny", "regnet-small", "cifar-resnet-20", "lenet-5", "googlenet-small", "shufflenet-small"]
)
def test_the_kernels_of_named_networks_are_those_that_onnx_runtime_runs(name: str, block: int) -> None:
    """Reference as above; pools behind plain sums, hard swishes, gates and scaled maps, which the spaces draw not."""
    spec = NETWORKS[name]()
    data = blank_files(spec)["float32"]
    events = trace(data, shown(OnnxSession(data)), runs=1, block=block)
    assert Counter(kernels(build_graph(spec), form="float32", block=block)) == Counter(e.kernel for e in events)


@pytest.mark.parametrize(
    "name", ["cifar-resnet-20", "shufflenet-small", "regnet-small", "resnext-small", "nin-small", "alexnet-small"]
)
def test_the_int8_kernels_of_named_networks_are_those_that_onnx_runtime_runs(name: str, block: int) -> None:
    """Reference as above; groups, gates, shuffles, and what runs on floats between integers."""
    check_int8(NETWORKS[name](), block)


def test_response_norms_between_integers_are_those_that_onnx_runtime_runs(block: int) -> None:
    """Reference as above: dequantized, normed, quantized, the channels first; two towers of convolutions."""
    check_int8(file.TOWERS, block)
    check_int8(NETWORKS["googlenet"](10, input_shape=(3, 64, 64), params={"width": 0.25}), block)


def check_int8(spec: NetSpec, block: int) -> None:
    data = blank_files(spec)["int8"]
    events = trace(data, shown(OnnxSession(data)), runs=1, block=block)
    assert Counter(kernels(build_graph(spec), form="int8", block=block)) == Counter(e.kernel for e in events)


def test_the_networks_that_are_measured_have_all_kinds_of_kernels_that_networks_with_names_have(block: int) -> None:
    """Else their latency is foretold as a lower bound alone; kinds from the graphs, nothing is run."""
    specs = [*file.named_specs(), file.FASTEST, file.WIDEST, *itertools.islice(drawn(0), file.LEAST)]
    for form in ("float32", "int8"):
        held = {kind_of(kernel) for spec in specs for kernel in kernels(build_graph(spec), form=form, block=block)}
        for name, preset in NETWORKS.items():
            own = {kind_of(kernel) for kernel in kernels(trunk(build_graph(preset())), form=form, block=block)}
            assert own <= held, (name, form)


def test_the_kernels_of_a_file_are_those_of_its_network(tmp_path: Path, block: int) -> None:
    from fireforge.importers.onnx_file import import_onnx

    spec = NETWORKS["mobilenet-small"]()
    for form, data in blank_files(spec).items():
        (tmp_path / f"{form}.onnx").write_bytes(data)
        again = import_onnx(tmp_path / f"{form}.onnx")[0]
        own = kernels(build_graph(spec), form=form, block=block)
        assert Counter(kernels(again, form=form, block=block)) == Counter(own)


def test_a_profile_tells_which_network_is_slower(found: DeviceProfile) -> None:
    """Real times of networks that it has not seen: logarithms correlate above 0.9 even on a loaded machine."""
    specs = list(itertools.islice(drawn(6), 12))
    for form in ("float32", "int8"):
        times = [latency.ms for latency in LatencyModel(found, form).predict_all([build_graph(s) for s in specs])]
        real = []
        for spec in specs:
            session = OnnxSession(blank_files(spec)[form])
            real.append(least_ms(session, shown(session), 10))
        assert np.corrcoef(np.log(times), np.log(real))[0, 1] > 0.9


def test_a_profile_holds_rates_that_a_machine_can_have(found: DeviceProfile) -> None:
    """A core does 0.1 to 10,000 billion multiply-adds a second; the margin is an error of times, in shares."""
    assert set(found.forms) == {"float32", "int8"}
    for form in found.forms.values():
        assert 1e8 < form.peak_macs < 1e13
        assert form.margin > 0
        assert len(form.times) > 100
    assert found.networks == 12


def test_the_draws_follow_from_the_seed() -> None:
    first, again, other = (list(itertools.islice(drawn(seed), 8)) for seed in (3, 3, 4))
    assert first == again
    assert first != other


def test_a_profile_is_kept_where_later_commands_find_it(
    found: DeviceProfile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert kept() is None
    assert write_profile(found) == kept_path()
    assert kept() == found
    kept_path().write_text("{}")
    assert capsys.readouterr().err == ""
    assert kept() is None  # of another version: made again
    assert kept() is None
    told = capsys.readouterr().err.splitlines()  # in one line, once
    assert len(told) == 1
    assert str(kept_path()) in told[0]
    assert "BAD_JSON" in told[0]
    assert "bench --profile" in told[0]
    with pytest.raises(FireforgeError) as raised:
        read_profile(kept_path())
    assert raised.value.code == "BAD_JSON"
    path = write_profile(found, tmp_path / "deep" / "device.json")
    assert read_profile(path) == found


def test_a_profile_of_other_threads_or_another_machine_is_not_used_and_told(
    found: DeviceProfile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    write_profile(found.replace(threads=3), kept_path())
    assert kept() is None
    assert "3 threads" in capsys.readouterr().err
    write_profile(found.replace(hardware=found.hardware.replace(processor="an abacus")), kept_path())
    assert kept() is None
    assert "an abacus" in capsys.readouterr().err
    with pytest.raises(FireforgeError) as raised:
        check_threads(found, 2)
    assert raised.value.code == "NOT_PROFILED"


def test_a_place_that_cannot_be_written_is_told_before_anything_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from fireforge.cli.app import main

    def measured(**_: object) -> None:
        raise AssertionError("measured first")

    monkeypatch.setattr(file, "profile", measured)
    (tmp_path / "file").write_text("")
    for bad in (tmp_path, tmp_path / "file" / "p.json", tmp_path / ("n" * 300)):
        with pytest.raises(FireforgeError) as raised:
            place(bad)
        assert raised.value.code == "CANNOT_WRITE"
    monkeypatch.setattr(sys, "argv", ["fireforge", "bench", "--profile", "-o", str(tmp_path)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 3
    assert "CANNOT_WRITE" in capsys.readouterr().err
    assert place(tmp_path / "new" / "p.json") == tmp_path / "new" / "p.json"
    assert list((tmp_path / "new").iterdir()) == []


def test_the_benchmark_refuses_the_networks_that_the_profile_was_fitted_to(
    found: DeviceProfile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_profile(found, tmp_path / "p.json")
    script = Path(__file__).parents[3] / "benchmarks" / "latency.py"
    monkeypatch.setattr(sys, "argv", [str(script), "--profile", str(path), "--seed", str(found.seed)])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(script), run_name="__main__")
    assert ended.value.code == 2
    assert f"seed {found.seed}" in capsys.readouterr().err
