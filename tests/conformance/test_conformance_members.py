# SPDX-License-Identifier: Apache-2.0
"""The throw-away members of docs/house.md: each is cut out of the page, added by one line, checked like all others."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from conformance_checks import (
    CLASSES,
    check_family,
    check_format,
    check_network,
    check_runtime,
    check_stage,
    foreign_sources,
    small_model,
)
from PIL import Image

from fireforge.base.model import Tag
from fireforge.base.spec import NetSpec
from fireforge.base.value import canonical_json
from fireforge.compress.stages import STAGES
from fireforge.data.formats.table import FORMATS
from fireforge.data.open import open_dataset
from fireforge.nets.families import FAMILIES, NETWORKS
from fireforge.runtime.predictor import load
from fireforge.runtime.runtimes import RUNTIMES, SUFFIXES

PAGE = Path(__file__).parents[2] / "docs" / "house.md"


def member(tmp_path: Path, name: str) -> ModuleType:
    """The file that the page shows under this name, written and imported."""
    blocks = re.findall(r"```python\n# (\S+)\n(.*?)```", PAGE.read_text(), re.DOTALL)
    path = tmp_path / Path(name).name
    path.write_text(dict(blocks)[name])
    spec = importlib.util.spec_from_file_location(f"thrown_away_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_network_is_one_file_and_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = member(tmp_path, "nets/plain.py")
    monkeypatch.setitem(FAMILIES, "plain", made.plain)
    check_family("plain")


def test_a_preset_is_one_more_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = member(tmp_path, "nets/plain.py")

    def plain_5(classes: int = 10, *, input_shape: tuple[int, int, int] = (3, 32, 32)) -> NetSpec:
        return NetSpec(family="plain", params={"depth": 5}, classes=classes, input_shape=input_shape)

    monkeypatch.setitem(FAMILIES, "plain", made.plain)
    monkeypatch.setitem(NETWORKS, "plain-5", plain_5)
    check_network(NETWORKS["plain-5"](CLASSES, input_shape=(1, 20, 24)))


def test_a_stage_is_one_file_and_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = member(tmp_path, "compress/half.py")
    monkeypatch.setitem(STAGES, "half", made.half)
    check_stage("half", STAGES["half"], small_model("resnet", blocks=1, width=4))


def test_a_runtime_is_one_file_and_one_line_and_its_suffix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = member(tmp_path, "runtime/numpy_runtime.py")
    monkeypatch.setitem(RUNTIMES, "numpy", made.open_numpy)
    monkeypatch.setitem(SUFFIXES, ".npg", "numpy")
    model = small_model("resnet", blocks=1, width=4)
    texts = {"graph": canonical_json(model.graph.to_json()), "card": json.dumps(Tag(card=model.card).to_json())}
    with open(tmp_path / "model.npg", "wb") as stream:
        np.savez(stream, **texts, **model.arrays())
    check_runtime(RUNTIMES["numpy"], tmp_path / "model.npg", model.graph, model.arrays())
    assert load(tmp_path / "model.npg").predict(np.zeros((20, 20, 3), np.uint8)).label in model.card.labels


def test_a_dataset_format_is_one_file_and_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = member(tmp_path, "data/formats/listing.py")
    monkeypatch.setitem(FORMATS, "listing", made.LISTING)
    for i in range(8):
        Image.fromarray(np.full((9, 9, 3), 30 * i, np.uint8)).save(tmp_path / f"{i}.png")
    (tmp_path / "all.lst").write_text("".join(f"{i}.png\t{'even' if i % 2 == 0 else 'odd'}\n" for i in range(8)))
    check_format(FORMATS["listing"], str(tmp_path / "all.lst"), foreign_sources(tmp_path / "others", "listing"))
    assert open_dataset(tmp_path / "all.lst").counts() == {"even": {"all": 4}, "odd": {"all": 4}}
