# SPDX-License-Identifier: Apache-2.0
"""finetune: the model's own rows for classes that it knows, fresh ones for others; then like any other run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits
from typer.testing import CliRunner

from fireforge.base.errors import FireforgeError
from fireforge.base.graph import Graph, Node, TensorType
from fireforge.base.head import head_of
from fireforge.base.model import Card, Model, dense
from fireforge.base.pixels import normalize
from fireforge.base.postprocess import Postprocess
from fireforge.base.preprocess import Preprocess
from fireforge.base.recipes import steps_of
from fireforge.base.settings import Settings
from fireforge.cli.app import app
from fireforge.jobs.blank import blank_arrays
from fireforge.jobs.compress import compress, read_float
from fireforge.jobs.evaluate import evaluate
from fireforge.jobs.export import export
from fireforge.jobs.finetune import finetune
from fireforge.jobs.probe import Lesson, begun, for_classes
from fireforge.jobs.scene import look
from fireforge.jobs.train import train
from fireforge.nets.families import NETWORKS, build_graph
from fireforge.nets.module import GraphModule, load_arrays
from fireforge.runtime.predictor import load
from fireforge.train.trial import weights_path
from fireforge.train.weights import read_weights, write_weights

NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
SHORT = Settings(net="", epochs=2, device="cpu")


@pytest.fixture(scope="module")
def floats(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A float file of digits that has a licence, in a folder that is no run's."""
    folder = tmp_path_factory.mktemp("finetune")
    train("digits", Settings(net="firenet-small", epochs=4, device="cpu"), out=folder / "run")
    export(folder / "run", out=folder / "run" / "digits.onnx")
    (folder / "names.txt").write_text("\n".join(NAMES))
    words = ["import", str(folder / "run" / "digits.onnx"), "--licence", "MIT", "-o", str(folder / "digits.onnx")]
    words += ["--labels", str(folder / "names.txt")]
    assert CliRunner().invoke(app, words, catch_exceptions=False).exit_code == 0
    return folder / "digits.onnx"


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Digits of three classes, one of which goes by a name that the model does not know."""
    folder, digits = tmp_path_factory.mktemp("others"), load_digits()
    for label, name in ((8, "eight"), (3, "three"), (5, "V")):
        (folder / name).mkdir()
        for i, image in enumerate(digits.images[digits.target == label][:120]):
            Image.fromarray((image * 15.9).astype(np.uint8)).save(folder / name / f"{i}.png")
    return folder


def own(floats: Path) -> Path:
    """The same numbers, in their run's folder, with the classes as the data calls them."""
    return floats.parent / "run" / "digits.onnx"


def lesson_of(data: Path, start: Model) -> Lesson:
    return Lesson(scene=look(str(data), seed=0, known=start.card.preprocess), device="cpu")


def test_known_classes_keep_their_rows_and_the_body_its_numbers(floats: Path, others: Path, tmp_path: Path) -> None:
    for name in ("eight", "three"):
        shutil.copytree(others / name, tmp_path / name)
    start = read_float(floats)
    lesson = lesson_of(tmp_path, start)
    graph = for_classes(start, lesson.scene.dataset.labels)
    before, (after, words) = start.arrays(), begun(graph, start, lesson)
    head = head_of(start.graph).inputs[1:]
    for name in head:
        np.testing.assert_array_equal(after[name], before[name][[8, 3]])
    for name in set(before) - set(head):
        np.testing.assert_array_equal(after[name], before[name])
    assert [node.op for node in graph.nodes] == [node.op for node in start.graph.nodes]
    assert words.startswith("the model's own")
    numbered = start.replace(card=start.card.replace(labels=tuple(map(str, range(10)))))
    assert begun(for_classes(numbered, ("3", "8")), numbered, lesson)[1].startswith("fitted to")  # numbers are no names


def test_the_classes_of_the_model_need_no_layer_that_makes_them(others: Path) -> None:
    """A sum makes them, which no other number of classes can be given to; the same classes can be trained on."""
    nodes = (
        Node(name="f", op="Flatten", inputs=("input",), outputs=("f",), attrs={"axis": 1}),
        Node(name="g", op="Gemm", inputs=("f", "w"), outputs=("g",), attrs={"transB": 1}),
        Node(name="logits", op="Add", inputs=("g", "g"), outputs=("logits",)),
    )
    graph = Graph(
        inputs=(TensorType(name="input", shape=("N", 1, 8, 8)),),
        outputs=("logits",),
        weights=(TensorType(name="w", shape=(3, 64)),),
        nodes=nodes,
    )
    card = Card(
        preprocess=Preprocess(image=steps_of("gray", (1, 8, 8))), postprocess=Postprocess(), labels=("x", "y", "z")
    )
    start = Model(graph=graph, weights=dense({"w": np.ones((3, 64), np.float32)}), card=card)
    same = start.replace(card=card.replace(labels=("eight", "three", "V")))
    lesson = lesson_of(others, same)
    assert for_classes(same, lesson.scene.dataset.labels) == graph
    np.testing.assert_array_equal(begun(graph, same, lesson)[0]["w"], 1)
    with pytest.raises(FireforgeError, match="NO_HEAD"):
        for_classes(start, lesson.scene.dataset.labels)


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize("net", ["convnet-small", "squeezenet-1.1"])  # a Gemm; a Conv under a ReLU and a mean
def test_new_rows_are_those_of_scikit_learn_on_what_the_layer_sees(
    net: str, biased: bool, classes: int, others: Path, tmp_path: Path
) -> None:
    """Probabilities against predict_proba on features that a hook takes; 5e-3: the solver stops early."""
    for name in ("V", "eight", "three")[:classes]:
        shutil.copytree(others / name, tmp_path / name)
    graph = build_graph(NETWORKS[net](10, input_shape=(1, 64, 64)))
    graph = graph if biased else without_bias(graph)
    steps = steps_of("gray", (1, 64, 64))
    card = Card(preprocess=Preprocess(image=steps), postprocess=Postprocess(), labels=tuple(map(str, range(10))))
    start = Model(graph=graph, weights=dense(blank_arrays(graph)), card=card)
    lesson = lesson_of(tmp_path, start)
    made = for_classes(start, lesson.scene.dataset.labels)
    module = GraphModule(made)
    load_arrays(module, begun(made, start, lesson)[0])
    held: list[np.ndarray] = []
    layer = module.get_submodule(head_of(made).name)
    layer.register_forward_pre_hook(lambda _, given: held.append(given[0].detach().numpy()))
    ids = lesson.scene.part("train")
    with torch.no_grad():
        inputs = torch.from_numpy(normalize(lesson.scene.pixels["train"], steps))
        got = module.eval()(inputs).softmax(dim=1).numpy()
    seen = held[0].reshape(len(ids), held[0].shape[1], -1).mean(axis=2)
    spread = np.where(seen.std(axis=0) > 1e-6, seen.std(axis=0), 1)
    table = (seen - biased * seen.mean(axis=0)) / spread
    with threadpool_limits(1):
        fit = LogisticRegression(C=0.03, max_iter=300, fit_intercept=biased).fit(table, lesson.scene.truth[ids])
    np.testing.assert_allclose(got, fit.predict_proba(table), atol=5e-3)


def without_bias(graph: Graph) -> Graph:
    """The network whose last layer has a weight alone."""
    head = head_of(graph)
    nodes = tuple(node.replace(inputs=head.inputs[:2]) if node is head else node for node in graph.nodes)
    return graph.replace(nodes=nodes, weights=tuple(w for w in graph.weights if w.name != head.inputs[2]))


def test_a_model_is_trained_on_resumed_exported_and_evaluated(floats: Path, others: Path, tmp_path: Path) -> None:
    found, folder = finetune(floats, str(others), SHORT, out=tmp_path / "run")
    record = found.record
    fresh, _ = train(str(others), SHORT.replace(net="firenet-small"), out=tmp_path / "fresh")
    assert record.accuracy is not None
    assert fresh.accuracy is not None
    assert record.accuracy > max(0.9, fresh.accuracy)  # the layers know digits; two epochs from nothing do not
    again, _ = finetune(floats, str(others), SHORT, out=folder)
    assert again == found
    assert len((folder / "record.jsonl").read_text().splitlines()) == 3  # a start, its numbers, one trial
    made = export(folder)
    card = load(made.path).card
    assert card.labels == ("eight", "three", "V")
    assert card.licence == "MIT"
    assert (
        card.source
        == f"trained from nothing on digits by fireforge; then trained further on {others.name} by fireforge"
    )
    assert evaluate(folder).accuracy > 0.9
    page = (folder / "report.html").read_text()
    assert "trained alone" in page
    assert "GlobalAveragePool" not in page  # the graph is told by its length


@pytest.mark.parametrize("words", [["--licence", "GPL-2.0-only"], ["--preprocess", "gray"], ["--labels", "letters"]])
def test_what_stands_in_a_folder_is_of_one_file(
    words: list[str], floats: Path, others: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same numbers with another licence, other steps or other labels are another model."""
    monkeypatch.chdir(tmp_path)
    Path("letters").write_text("\n".join("abcdefghij"))
    finetune(floats, str(others), SHORT.replace(epochs=1), out="run")
    said = CliRunner().invoke(app, ["import", str(floats), *words, "-o", "other.onnx"], catch_exceptions=False)
    assert said.exit_code == 0
    with pytest.raises(FireforgeError, match="OTHER_RUN"):
        finetune("other.onnx", str(others), SHORT.replace(epochs=1), out="run")


def test_numbers_that_a_run_began_with_are_proved_and_made_again(floats: Path, others: Path, tmp_path: Path) -> None:
    whole, folder = finetune(floats, str(others), SHORT.replace(epochs=1), out=tmp_path / "run")
    lines = (folder / "record.jsonl").read_text().splitlines(keepends=True)
    (folder / "record.jsonl").write_text("".join(line for line in lines if '"type":"trial"' not in line))
    path = weights_path(folder, whole.begun.numbers)
    write_weights(path, {name: -array for name, array in read_weights(path).items()})
    again, _ = finetune(floats, str(others), SHORT.replace(epochs=1), out=folder)
    assert again.record.weights_sha256 == whole.record.weights_sha256


def test_on_the_data_of_its_own_run_the_parts_are_that_runs(floats: Path, tmp_path: Path) -> None:
    found, _ = finetune(own(floats), "digits", SHORT.replace(epochs=1, seed=7), out=tmp_path / "run")
    assert found.record.trial.data.seed == 0
    assert "own run" in found.seen
    other, _ = finetune(floats, "digits", SHORT.replace(epochs=1, seed=7), out=tmp_path / "other")
    assert (other.record.trial.data.seed, "does not say" in other.seen) == (7, True)


def test_integers_are_not_trained_on(floats: Path, others: Path, tmp_path: Path) -> None:
    small = compress(own(floats), "digits", out=tmp_path / "small.onnx").exported.path
    with pytest.raises(FireforgeError, match="BAD_STAGE"):
        finetune(small, str(others), SHORT, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_file_is_exported_as_a_run_is(floats: Path, tmp_path: Path) -> None:
    """In float against the file itself, which the gate holds it to; in int8 by the stage that `compress` runs."""
    out = tmp_path / "again.onnx"
    said = CliRunner().invoke(app, ["export", str(floats), "--data", "digits", "-o", str(out), "--json"])
    assert json.loads(said.stdout)["path"] == str(out)
    assert load(out).card == load(floats).card
    steps = load(floats).card.preprocess.steps()
    pixels = np.random.default_rng(0).integers(0, 256, (4, steps.channels, *steps.crop), np.uint8)
    np.testing.assert_allclose(load(out).scores(pixels), load(floats).scores(pixels), atol=1e-5)
    small = export(own(floats), form="int8", data="digits", out=tmp_path / "int8.onnx")
    same = compress(own(floats), "digits", out=tmp_path / "same.onnx")
    assert small.sha256 == same.exported.sha256
    with pytest.raises(FireforgeError, match=r"NO_DATA.*--data"):
        export(floats, form="int8", out=tmp_path / "none.onnx")
    with pytest.raises(FireforgeError, match="BAD_USAGE"):
        export(tmp_path, data="digits")
