# SPDX-License-Identifier: Apache-2.0
"""Every member of every dict, held to what its room promises."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from conformance_checks import (
    CLASSES,
    SIDE_PX,
    SOURCES,
    check_baseline,
    check_family,
    check_format,
    check_network,
    check_runtime,
    check_session,
    check_space,
    check_stage,
    check_target,
    foreign_sources,
    small_model,
)
from network_sizes import marked, shape_of

from fireforge.base.model import Model
from fireforge.baseline.baselines import BASELINES
from fireforge.compress.fold import folded
from fireforge.compress.stages import STAGES
from fireforge.data.formats.table import FORMATS
from fireforge.export.targets import TARGETS
from fireforge.nets.families import FAMILIES, NETWORKS
from fireforge.runtime.runtimes import RUNTIMES, SUFFIXES
from fireforge.runtime.torch_runtime import TorchSession
from fireforge.space.spaces import SPACES


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def model() -> Model:
    return small_model(fires=2, base_e=8, incr_e=4, stem=8, stem_kernel=3, stem_stride=1, pools="1", norm=True)


@pytest.mark.parametrize("name", marked(NETWORKS))
def test_network(name: str) -> None:
    check_network(NETWORKS[name](CLASSES, input_shape=shape_of(name, (3, SIDE_PX, SIDE_PX))))


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_family(name: str) -> None:
    check_family(name)


@pytest.mark.parametrize("name", sorted(STAGES))
def test_stage(name: str, model: Model) -> None:
    check_stage(name, STAGES[name], model if name == "fold" else folded(model)[0])


@pytest.mark.parametrize("name", sorted(RUNTIMES))
def test_runtime(name: str, model: Model, tmp_path: Path) -> None:
    suffix = next(suffix for suffix, runtime in SUFFIXES.items() if runtime == name)
    path = tmp_path / f"model{suffix}"
    TARGETS[name](model, path)
    check_runtime(RUNTIMES[name], path, model.graph, model.arrays())


def test_every_suffix_leads_to_a_runtime() -> None:
    assert set(SUFFIXES.values()) == set(RUNTIMES)


def test_torch_runtime_keeps_the_protocol(model: Model) -> None:
    check_session(TorchSession(model.graph, model.arrays()), model.graph, model.arrays())


@pytest.mark.parametrize("name", list(FORMATS))
def test_format(name: str, tmp_path: Path) -> None:
    others = foreign_sources(tmp_path / "others", name)
    check_format(FORMATS[name], SOURCES[name](tmp_path), others)


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_target(name: str, model: Model, tmp_path: Path) -> None:
    suffix = next(suffix for suffix, runtime in SUFFIXES.items() if runtime == name)
    check_target(TARGETS[name], model, tmp_path / f"model{suffix}")


@pytest.mark.parametrize("name", sorted(SPACES))
def test_space(name: str) -> None:
    check_space(SPACES[name])


@pytest.mark.parametrize("name", sorted(BASELINES))
def test_baseline(name: str) -> None:
    check_baseline(name, BASELINES[name])
