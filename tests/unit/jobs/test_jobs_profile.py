# SPDX-License-Identifier: Apache-2.0
"""The machine's profile: kernels told from a graph are those that ONNX Runtime runs; latencies follow."""

from __future__ import annotations

import itertools
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

import fireforge.jobs.profile as file
from fireforge.base.errors import FireforgeError
from fireforge.base.profile import DeviceProfile
from fireforge.base.spec import NetSpec
from fireforge.cost.kernels import kernels
from fireforge.cost.latency import LatencyModel
from fireforge.jobs.blank_files import blank_files
from fireforge.jobs.profile import drawn, profile
from fireforge.jobs.profiles import kept, kept_path, read_profile, write_profile
from fireforge.nets.families import NETWORKS, build_graph
from fireforge.runtime.events import block_of, trace
from fireforge.runtime.onnx_runtime import OnnxSession
from fireforge.runtime.profile import least_ms, shown

NUMBER = 24


@pytest.fixture(scope="module")
def block() -> int:
    return block_of()


@pytest.fixture(scope="module")
def found() -> DeviceProfile:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(file, "LEAST", 12)
        return profile(seconds=0.0, seed=5)


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
    found: DeviceProfile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert kept() is None
    assert write_profile(found) == kept_path()
    assert kept() == found
    kept_path().write_text("{}")
    assert kept() is None  # of another version: made again
    with pytest.raises(FireforgeError) as raised:
        read_profile(kept_path())
    assert raised.value.code == "BAD_JSON"
    path = write_profile(found, tmp_path / "deep" / "device.json")
    assert read_profile(path) == found
