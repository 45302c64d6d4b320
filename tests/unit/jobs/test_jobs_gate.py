# SPDX-License-Identifier: Apache-2.0
"""What stands under which name before and after the gate; what is on the disk already is not lost."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image

import fireforge.jobs.gate as gate
from fireforge.base.errors import FireforgeError
from fireforge.base.model import METADATA_KEY, Card, Model, dense
from fireforge.base.postprocess import Postprocess
from fireforge.base.preprocess import Preprocess
from fireforge.base.recipes import steps_of
from fireforge.importers.onnx_file import import_onnx
from fireforge.jobs.blank import blank_arrays
from fireforge.jobs.verify import generated, verify, verify_file
from fireforge.nets.families import NETWORKS, build_graph
from fireforge.runtime.predictor import load


@pytest.fixture(scope="module")
def small() -> Model:
    graph = build_graph(NETWORKS["convnet-small"](3, input_shape=(1, 8, 8)))
    card = Card(
        preprocess=Preprocess(image=steps_of("gray", (1, 8, 8))), postprocess=Postprocess(), labels=("a", "b", "c")
    )
    return Model(graph=graph, weights=dense(blank_arrays(graph)), card=card)


def written(model: Model, path: Path) -> None:
    gate.write_gated(model, path, pictures=generated(model.card.preprocess.steps()), trained=model)


def refusing(*words: object, **named: object):  # type: ignore[no-untyped-def]
    return verify_file(*words, **named).replace(passed=False, blame="label")  # type: ignore[arg-type]


def test_a_refused_file_takes_no_name_that_is_taken(small: Model, tmp_path: Path, monkeypatch) -> None:
    """A file of the user's that is called as a refused one stays as it is, whether the gate passes or not."""
    mine = tmp_path / "net.refused.onnx"
    mine.write_bytes(b"mine")
    written(small, tmp_path / "net.onnx")
    before = (tmp_path / "net.onnx").read_bytes()
    monkeypatch.setattr(gate, "verify_file", refusing)
    for _ in range(2):
        with pytest.raises(FireforgeError, match="PARITY"):
            written(small, tmp_path / "net.onnx")
    assert mine.read_bytes() == b"mine"
    assert (tmp_path / "net.onnx").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "net.onnx",
        "net.refused.2.onnx",
        "net.refused.3.onnx",
        "net.refused.onnx",
    ]


def test_another_card_passes_the_gate_before_it_has_its_name(small: Model, tmp_path: Path, monkeypatch) -> None:
    written(small, tmp_path / "net.onnx")
    card, shown = small.card.replace(labels=("x", "y", "z")), generated(small.card.preprocess.steps())
    gate.retag_gated(tmp_path / "net.onnx", card, tmp_path / "new.onnx", pictures=shown)
    assert load(tmp_path / "new.onnx").labels == ("x", "y", "z")
    monkeypatch.setattr(gate, "verify_file", refusing)
    with pytest.raises(FireforgeError, match="PARITY"):
        gate.retag_gated(tmp_path / "net.onnx", card, tmp_path / "bad.onnx", pictures=shown)
    assert not (tmp_path / "bad.onnx").exists()
    assert (tmp_path / "bad.refused.onnx").exists()


def test_what_cannot_be_read_is_left_out_and_told(small: Model, tmp_path: Path) -> None:
    written(small, tmp_path / "net.onnx")
    folder, rng = tmp_path / "data", np.random.default_rng(0)
    for label in ("a", "b", "c"):
        (folder / label).mkdir(parents=True)
        for i in range(4):
            Image.fromarray(rng.integers(0, 256, (8, 8), np.uint8)).save(folder / label / f"{i}.png")
    for i in range(2):
        whole = (folder / "a" / f"{i}.png").read_bytes()
        (folder / "a" / f"{i}.png").write_bytes(whole[: len(whole) // 2])
    found = verify(tmp_path / "net.onnx", str(folder))
    assert (found.passed, found.pictures, found.skipped) == (True, 10, 2)


def test_a_card_that_is_nested_without_end_is_one_line(small: Model, tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    written(small, path)
    deep = onnx.load(path)
    next(item for item in deep.metadata_props if item.key == METADATA_KEY).value = "[" * 200_000
    onnx.save(deep, path)
    for reading in (load, import_onnx):
        with pytest.raises(FireforgeError, match="BAD_MODEL_FILE"):
            reading(path)
