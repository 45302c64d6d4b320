# SPDX-License-Identifier: Apache-2.0
"""doctor: each extra that is not there is named, and each package of others that the verbs can use."""

from __future__ import annotations

import importlib.util
import tomllib
from pathlib import Path

import pytest

from fireforge.jobs import doctor, tell

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("absent", ["h5py", "timm", "torchvision"])
def test_what_is_not_there_is_named_with_what_it_adds(absent, monkeypatch):
    monkeypatch.setattr(doctor, "_providers", lambda: ())
    real = importlib.util.find_spec
    there = lambda name: real("json") if name in ("h5py", "timm", "torchvision") else real(name)  # noqa: E731
    monkeypatch.setattr(doctor, "find_spec", there)
    whole = doctor.doctor()
    assert (dict(whole.optional), "import" in whole.missing) == ({}, False)
    monkeypatch.setattr(doctor, "find_spec", lambda name: None if name == absent else there(name))
    found = doctor.doctor()
    lines = "\n".join(tell.checkup(found))
    if absent == "h5py":
        assert "fireforge[import] adds" in lines
        assert found.optional == {}
    else:
        assert f"optional      {absent} adds" in lines
        assert found.missing == whole.missing


def test_every_extra_of_the_package_is_looked_for():
    """Against pyproject.toml; dev is for those who change the package."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert set(extras) - {"dev"} == set(doctor.EXTRAS)
