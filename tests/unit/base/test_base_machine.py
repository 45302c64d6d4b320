# SPDX-License-Identifier: Apache-2.0
"""The machine against the standard library and importlib's versions."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path

import numpy
import pytest

from fireforge.base import machine


def test_this_machine_against_the_standard_library() -> None:
    found = machine.this_machine(accelerator="g")
    assert found.architecture == platform.machine()
    assert 1 <= found.cores <= (os.cpu_count() or 1)
    assert found.memory_bytes > 2**28
    assert found.system.startswith(platform.system())
    assert found.accelerator == "g"
    assert found.processor
    assert set(found.instructions) <= set(machine.INSTRUCTION_SETS)
    assert machine.Hardware.from_json(found.to_json()) == found


def test_instruction_sets_of_a_written_cpuinfo(monkeypatch: pytest.MonkeyPatch) -> None:
    fields = {"model name": "X", "flags": "sse4_2 avx2 avx512_vnni avx2x"}
    monkeypatch.setattr(machine, "_cpuinfo", lambda: fields)
    assert machine.this_machine().instructions == ("avx512_vnni", "avx2", "sse4_2")
    monkeypatch.setattr(machine, "_cpuinfo", lambda: {"Features": "asimd asimddp"})
    assert machine.this_machine().instructions == ("asimddp", "asimd")
    monkeypatch.setattr(machine, "_cpuinfo", dict)
    assert machine.this_machine().processor


def test_versions_against_importlib(monkeypatch: pytest.MonkeyPatch) -> None:
    found = machine.versions()
    assert found["numpy"] == numpy.__version__ == metadata.version("numpy")
    assert found["python"] == platform.python_version()
    monkeypatch.setattr(machine, "PACKAGES", ("numpy", "no-such-package-here"))
    assert list(machine.versions()) == ["python", "numpy"]


def test_cpuinfo_is_read_where_there_is_one() -> None:
    assert bool(machine._cpuinfo()) == Path("/proc/cpuinfo").exists()
