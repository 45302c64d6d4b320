# SPDX-License-Identifier: Apache-2.0
"""import: files of several kinds become a file like a build's own; what is not said is asked for by name."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest
from safetensors.numpy import save_file
from typer.testing import CliRunner

from fireforge.base.errors import FireforgeError
from fireforge.base.files import write_json
from fireforge.base.pixels import encode_png, normalize
from fireforge.base.recipes import RECIPES, steps_of
from fireforge.base.reference import run_reference
from fireforge.cli.app import app
from fireforge.importers.formats import ENDINGS, IMPORTERS, import_files, kind_of
from fireforge.jobs.blank import blank_arrays
from fireforge.jobs.bring import Told, bring
from fireforge.jobs.verify import verify
from fireforge.nets.families import NETWORKS, build_graph
from fireforge.runtime.predictor import load

NET = "caffe-lenet"


@pytest.fixture(scope="module")
def numbers(tmp_path_factory):
    """A .safetensors file of a small network, its graph and its numbers."""
    graph = build_graph(NETWORKS[NET]())
    arrays = blank_arrays(graph)
    path = tmp_path_factory.mktemp("bring") / "net.safetensors"
    save_file(arrays, path)
    return path, graph, arrays


@pytest.fixture
def labels(tmp_path):
    path = tmp_path / "labels.txt"
    path.write_text("\n".join(f"digit {i}" for i in range(10)) + "\n")
    return path


def test_numbers_alone_become_a_file_that_answers_as_they_do(numbers, labels, tmp_path):
    """Against the numpy reference on the numbers as they were saved; 1e-4 is the gate's own bound."""
    path, graph, arrays = numbers
    told = Told(net=NET, preprocess="gray", labels=str(labels), licence="MIT")
    found = bring([path], out=tmp_path / "net.onnx", told=told)
    assert found.parity.passed
    assert not (tmp_path / "net.refused.onnx").exists()
    predictor = load(found.exported.path)
    assert (predictor.labels[3], predictor.card.licence) == ("digit 3", "MIT")
    pixels = np.random.default_rng(0).integers(0, 256, (4, 1, 28, 28), np.uint8)
    fed = normalize(pixels, steps_of("gray", (1, 28, 28)))
    wanted = run_reference(graph, arrays, {graph.inputs[0].name: fed})[graph.outputs[0]]
    got = predictor.outputs(pixels)[predictor.card.postprocess.outputs[0]]
    np.testing.assert_allclose(got, wanted, atol=1e-4 * np.abs(wanted).max())
    answer = predictor.predict(encode_png(pixels[0, 0]))
    assert answer.label == f"digit {wanted[0].argmax()}"
    assert verify(found.exported.path).passed


def test_an_imported_file_goes_where_a_built_one_goes(numbers, labels, tmp_path):
    out = tmp_path / "net.onnx"
    words = ["import", str(numbers[0]), "--net", NET, "--preprocess", "gray", "--labels", str(labels), "-o", str(out)]
    said = CliRunner().invoke(app, words, catch_exceptions=False)
    assert "passed" in said.stdout
    for words in (["cost", str(out), "--json"], ["bench", str(out), "--seconds", "0.1", "--json"]):
        data = json.loads(CliRunner().invoke(app, words, catch_exceptions=False).stdout)
        assert data
    again = bring([out], out=tmp_path / "again.onnx")  # our own file, with its card
    assert load(again.exported.path).card == load(out).card


def test_what_nobody_says_is_asked_for(numbers, labels, tmp_path):
    path, out = numbers[0], tmp_path / "net.onnx"
    with pytest.raises(FireforgeError, match=r"NO_STEPS.*caffe.*--preprocess"):
        bring([path], out=out, told=Told(net=NET))
    with pytest.raises(FireforgeError, match="BAD_WEIGHTS"):
        bring([path], out=out, told=Told(preprocess="gray"))
    found = bring([path], out=out, told=Told(net=NET, preprocess="gray"))
    assert any("--labels" in note for note in found.notes)
    assert load(out).labels == tuple("0123456789")
    labels.write_text("one\ntwo\n")
    with pytest.raises(FireforgeError, match=r"BAD_LABELS: .*2 labels for 10 outputs"):
        bring([path], out=out, told=Told(net=NET, preprocess="gray", labels=str(labels)))
    labels.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(FireforgeError, match="BAD_LABELS"):
        bring([path], out=out, told=Told(net=NET, preprocess="gray", labels=str(labels)))


@pytest.mark.parametrize("name", ["net", "net.txt", "folder.onnx", "pipe.onnx"])
def test_a_place_where_no_model_can_stand_is_refused_before_anything_is_written(name, numbers, tmp_path):
    (tmp_path / "folder.onnx").mkdir()
    os.mkfifo(tmp_path / "pipe.onnx")
    with pytest.raises(FireforgeError, match=r"BAD_USAGE|CANNOT_WRITE"):
        bring([numbers[0]], out=tmp_path / name, told=Told(net=NET, preprocess="gray"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder.onnx", "pipe.onnx"]


def test_steps_may_stand_in_a_file(numbers, tmp_path):
    steps = steps_of("gray", (1, 28, 28)).replace(mean=(12.5,))
    write_json(tmp_path / "steps.json", steps.to_json())
    told = Told(net=NET, preprocess=str(tmp_path / "steps.json"))
    bring([numbers[0]], out=tmp_path / "net.onnx", told=told)
    assert load(tmp_path / "net.onnx").card.preprocess.steps() == steps


def test_recipes_fit_the_size_and_the_channels():
    """Zoo networks of 224 and 227 px are fed from pictures whose shorter side has 256; small ones see all of it."""
    assert steps_of("caffe", (3, 227, 227)).resize == 256
    assert steps_of("torchvision", (3, 32, 32)).resize == (32, 32)
    assert {len(order) for order, _, _ in RECIPES.values()} == {1, 3}
    with pytest.raises(FireforgeError, match=r"BAD_PREPROCESS.*3 channels"):
        steps_of("caffe", (1, 28, 28))


def test_kinds_are_told_by_endings_and_others_are_refused_with_the_list(tmp_path):
    assert set(IMPORTERS) <= set(ENDINGS)
    for kind, sets in ENDINGS.items():
        if kind in IMPORTERS:
            files = [tmp_path / f"model{ending}" for ending in sets[0]]
            assert kind_of(files) == kind
    (tmp_path / "model.docx").write_bytes(b"x")
    with pytest.raises(FireforgeError, match=r"BAD_MODEL_FILE.*ncnn"):
        import_files([tmp_path / "model.docx"])
    with pytest.raises(FireforgeError, match="NO_FILE"):
        import_files([tmp_path / "absent.onnx"])
    with pytest.raises(FireforgeError, match="UNKNOWN_NAME"):
        import_files([tmp_path / "model.docx"], kind="word")


def test_a_network_is_not_named_for_files_that_hold_their_own(numbers, tmp_path):
    own = tmp_path / "own.onnx"
    bring([numbers[0]], out=own, told=Told(net=NET, preprocess="gray"))
    for told, words in (
        (Told(net="resnet-18"), "BAD_USAGE: .*own.onnx: files of the kind onnx hold their own network, not resnet-18"),
        (Told(kind="onnx", net=NET), "BAD_USAGE: .*allowed: safetensors, torch; try: leave --net out"),
        (Told(classes=5), "BAD_USAGE: .*--classes"),
    ):
        with pytest.raises(FireforgeError, match=words):
            bring([own], out=tmp_path / "again.onnx", told=told)
    with pytest.raises(FireforgeError, match=r"BAD_USAGE: .*--classes"):
        bring([numbers[0]], out=tmp_path / "again.onnx", told=Told(classes=5, preprocess="gray"))
    with pytest.raises(FireforgeError, match="UNKNOWN_NAME"):
        bring([own], out=tmp_path / "again.onnx", told=Told(kind="word", net=NET))
    assert [path.name for path in tmp_path.iterdir()] == ["own.onnx"]
