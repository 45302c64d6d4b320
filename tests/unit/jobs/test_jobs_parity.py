# SPDX-License-Identifier: Apache-2.0
"""The parity gate: what is right passes, planted faults in the exporter and in files are refused and named.

References: the trained network and the plan in memory, which the faults do not touch.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest

import fireforge.compress.fold as fold
import fireforge.export.targets as targets
from fireforge.base.deadline import Deadline
from fireforge.base.errors import Exit, FireforgeError
from fireforge.base.files import make_folder
from fireforge.base.graph import Graph, TensorType
from fireforge.base.infer import filled
from fireforge.base.machine import this_machine
from fireforge.base.meaning import meaning
from fireforge.base.model import Model
from fireforge.base.pixels import normalize
from fireforge.base.progress import Update
from fireforge.base.record import RunRecord
from fireforge.base.reference import run_reference
from fireforge.base.trial import Recipe, Trial
from fireforge.compress.stages import STAGES
from fireforge.export.onnx_file import onnx_bytes
from fireforge.export.qdq import lower
from fireforge.jobs.deliver import context_of, deliver, facts_of, model_of, write_verified
from fireforge.jobs.folder import RunFolder
from fireforge.jobs.scene import look
from fireforge.jobs.verify import generated, refusal, verify, verify_file
from fireforge.nets.families import NETWORKS, build_graph
from fireforge.nets.module import GraphModule, arrays_of, initialise
from fireforge.runtime.predictor import load
from fireforge.train.weights import write_weights

FORMS = ("float32", "int8")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run's folder with the weights of a network that some batches of digits went through; it was not trained."""
    torch = pytest.importorskip("torch")
    path = tmp_path_factory.mktemp("parity") / "run"
    scene = look("digits", seed=0)
    spec = NETWORKS["firenet-small"](10, input_shape=scene.input_shape)
    module = GraphModule(build_graph(spec))
    initialise(module, 0)
    module.train()
    with torch.no_grad():
        for start in range(0, 640, 64):
            module(torch.from_numpy(normalize(scene.pixels["train"][start : start + 64], scene.steps)))
    sha256 = write_weights(make_folder(path / "trials") / "a.safetensors", arrays_of(module.eval()))
    trial = Trial(spec=spec, recipe=Recipe(epochs=1), data=scene.ref, preprocess=scene.preprocess)
    record = RunRecord(
        trial=trial,
        trial_digest=trial.digest(),
        metrics={},
        accuracy=0.1,
        seconds={},
        samples={},
        weights="trials/a.safetensors",
        weights_sha256=sha256,
        hardware=this_machine(),
    )
    RunFolder(path).journal.append("trial", record.to_json())
    return path


@pytest.fixture(scope="module")
def stage(folder: Path) -> SimpleNamespace:
    """The network, its folded and its int8 model, and the data they are judged on."""
    record = next(iter(RunFolder(folder).trials().values()))
    scene = look("digits", seed=record.trial.data.seed, known=record.trial.preprocess)
    start = model_of(scene, record, folder)
    context = context_of(scene, clock=Deadline(), progress=lambda _: None)
    folded, _ = STAGES["fold"](start, context)
    int8, _ = STAGES["int8"](folded, context)
    return SimpleNamespace(scene=scene, record=record, trained=start, float32=folded, int8=int8)


@pytest.fixture
def run(folder: Path, tmp_path: Path) -> RunFolder:
    return RunFolder(shutil.copytree(folder, tmp_path / "run"))


def write(stage: SimpleNamespace, run: RunFolder, form: str) -> Path:
    model: Model = getattr(stage, form)
    path = run.path / f"{form}.onnx"
    return Path(write_verified(model, path, scene=stage.scene, run=run, trained=stage.trained).path)


def some_weight(arrays: dict[str, np.ndarray]) -> str:
    """The greatest array of at least two axes."""
    return max((name for name in arrays if arrays[name].ndim > 1), key=lambda name: arrays[name].size)


def all_zero(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    name = some_weight(arrays)
    return {**arrays, name: np.zeros_like(arrays[name])}


def one_changed(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    name = some_weight(arrays)
    changed = arrays[name].copy()
    changed.reshape(-1)[0] = changed.reshape(-1)[0] + 1
    return {**arrays, name: changed}


def faulty_lower(change: Callable) -> Callable:
    def lowered(model: Model) -> tuple:
        graph, arrays = lower(model)
        return graph, change(arrays)

    return lowered


def faulty_bytes(change: Callable) -> Callable:
    return lambda graph, arrays, **others: onnx_bytes(graph, change(arrays), **others)


def changed_file(path: Path, target: Path) -> Path:
    """A copy with the lowest bit of one byte of its greatest weight turned."""
    model = onnx.load(path)
    kernel = max(model.graph.initializer, key=lambda tensor: len(tensor.raw_data))
    data = bytearray(kernel.raw_data)
    data[0] ^= 1
    kernel.raw_data = bytes(data)
    onnx.save(model, target)
    return target


@pytest.mark.parametrize("form", FORMS)
def test_a_right_file_stands_under_its_name_and_the_record_tells(form, stage, run) -> None:
    path = write(stage, run, form)
    assert not list(run.path.glob("*.refused.onnx"))
    told, entry = run.entry("parity"), run.entry("export")
    assert told["passed"]
    assert [tap["tap"] for tap in told["taps"]][:3] == ["weights", "model", "file"]
    assert entry == {
        "path": path.name,
        "form": form,
        "bytes": path.stat().st_size,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
    }


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("name", "fault", "blame"),
    [("lower", faulty_lower, "model"), ("onnx_bytes", faulty_bytes, "weights")],
)
@pytest.mark.parametrize("change", [all_zero, one_changed])
def test_a_fault_in_the_exporter_is_refused(name, fault, blame, change, form, stage, run, monkeypatch) -> None:
    monkeypatch.setattr(targets, name, fault(change))
    with pytest.raises(FireforgeError) as caught:
        write(stage, run, form)
    assert (caught.value.code, caught.value.exit_code) == ("PARITY", Exit.PARITY)
    told = run.entry("parity")
    assert (told["passed"], told["blame"], told["model"]) == (False, blame, f"{form}.onnx")
    assert run.entry("export") is None
    assert not (run.path / f"{form}.onnx").exists()
    assert (run.path / f"{form}.refused.onnx").exists()
    if change is all_zero:  # the outputs alone would have told: the reference is not the file's own
        assert not next(tap for tap in told["taps"] if tap["tap"] == "network")["passed"]


def test_a_fault_in_folding_is_refused_by_the_trained_network(stage, run) -> None:
    """The folded model and the file agree; only the network before folding knows better."""
    model = stage.float32
    arrays = model.arrays()
    name = some_weight(arrays)
    forms = {**model.weights, name: type(model.weights[name])(values=arrays[name] * np.float32(1.01))}
    with pytest.raises(FireforgeError, match="network differs"):
        write_verified(
            model.replace(weights=forms), run.path / "x.onnx", scene=stage.scene, run=run, trained=stage.trained
        )


def other_zero_point(graph: Graph, arrays: dict[str, np.ndarray]) -> tuple[Graph, dict[str, np.ndarray]]:
    """The zero point of one tensor one step off, where it goes to integers; what reads it back keeps the right one."""
    node = next(node for node in graph.nodes if node.op == "QuantizeLinear")
    zero = arrays[node.inputs[2]] if len(node.inputs) > 2 else np.zeros((), np.uint8)
    nodes = tuple(
        other if other is not node else node.replace(inputs=(*node.inputs[:2], "off")) for other in graph.nodes
    )
    weights = (*graph.weights, TensorType(name="off", dtype=str(zero.dtype), shape=zero.shape))
    return graph.replace(nodes=nodes, weights=weights), {**arrays, "off": zero + zero.dtype.type(1)}


def other_pooling(graph: Graph, arrays: dict[str, np.ndarray]) -> tuple[Graph, dict[str, np.ndarray]]:
    """Floor where the network pools with ceil."""
    assert any(node.attrs.get("ceil_mode") == 1 for node in graph.nodes)
    floored = [{**node.attrs, "ceil_mode": 0} if "ceil_mode" in node.attrs else node.attrs for node in graph.nodes]
    nodes = tuple(node.replace(attrs=attrs) for node, attrs in zip(graph.nodes, floored))
    return graph.replace(nodes=nodes), arrays


@pytest.mark.parametrize(
    ("form", "change"), [("int8", other_zero_point), ("int8", other_pooling), ("float32", other_pooling)]
)
def test_a_fault_in_the_graph_is_named_by_its_tap(form, change, stage, run, monkeypatch) -> None:
    """The file is whole, its digest is that of its numbers and its weights are the model's: only the way differs."""
    monkeypatch.setattr(targets, "lower", lambda model: change(*lower(model)))
    with pytest.raises(FireforgeError, match="network"):
        write(stage, run, form)
    told = run.entry("parity")
    assert told["blame"] in ("network", "network mean")
    assert {tap["tap"]: tap["passed"] for tap in told["taps"]}["weights"]
    assert told["picture"]


def test_a_wrong_epsilon_in_folding_is_named_by_its_tap(stage, run, monkeypatch) -> None:
    """The folded model and its file agree; only the trained network knows: 1e-3 in place of 1e-5."""
    monkeypatch.setattr(fold, "filled", lambda node: {**filled(node), "epsilon": 1e-3})
    wrong, _ = fold.folded(stage.trained)
    with pytest.raises(FireforgeError, match="network differs"):
        write_verified(wrong, run.path / "x.onnx", scene=stage.scene, run=run, trained=stage.trained)


def test_without_data_a_reader_that_ignores_exif_is_found(stage, run, monkeypatch) -> None:
    """By the picture that ships with the package; the reader with the fault runs in the fresh process."""
    path = write(stage, run, "int8")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1] / "runtime"))
    monkeypatch.setenv("FAULT", "exif")
    steps = stage.scene.steps
    assert verify_file(path, generated(steps)).passed
    report = verify_file(path, generated(steps), reader="faulty_reader")
    assert (report.blame, refusal(report).exit_code) == ("orient", Exit.PARITY)


def test_the_meaning_of_a_plan_is_what_lowering_makes_of_it(stage) -> None:
    """Two ways that share no code and round at the same places: bit by bit."""
    pixels = stage.scene.pixels["val"][:50]
    feeds = {"input": normalize(pixels, stage.scene.steps)}
    want = run_reference(*meaning(stage.int8), feeds)["logits"]
    got = run_reference(*lower(stage.int8), feeds)["logits"]
    np.testing.assert_array_equal(want, got)
    assert np.abs(want - run_reference(*meaning(stage.float32), feeds)["logits"]).max() > 1e-3 * np.abs(want).max()


@pytest.mark.parametrize("form", FORMS)
def test_one_turned_bit_in_a_bare_file_is_blamed_on_the_weights(form, stage, run, tmp_path) -> None:
    path = write(stage, run, form)
    bare = shutil.copy(path, tmp_path / "bare.onnx")
    assert verify(bare).passed
    report = verify(changed_file(path, tmp_path / "changed.onnx"))
    assert (report.passed, report.blame) == (False, "weights")
    error = refusal(report)
    assert (error.code, error.exit_code) == ("PARITY", Exit.PARITY)
    assert "weights" in error.line()


def test_a_tag_without_its_digest_does_not_pass(stage, run, tmp_path) -> None:
    model = onnx.load(write(stage, run, "int8"))
    tag = json.loads(model.metadata_props[0].value)
    assert len(tag.pop("weights")) == 64
    model.metadata_props[0].value = json.dumps(tag)
    onnx.save(model, tmp_path / "bare.onnx")
    assert verify(tmp_path / "bare.onnx").blame == "weights"


@pytest.mark.parametrize("teller", ["record", "result"])
def test_in_a_run_folder_a_file_must_be_the_one_that_was_told(teller, stage, run) -> None:
    """The other file is whole, tag and digest included; only its sha256 is another."""
    path = write(stage, run, "int8")
    sha256 = run.entry("export")["sha256"]
    assert [tap.tap for tap in verify(path).taps][1] == "file"
    if teller == "result":
        write_entry = {"model": {"path": path.name, "sha256": "0" * 64}}
        (run.path / "result.json").write_text(json.dumps(write_entry))
        assert verify(run.path).blame == "file"
        (run.path / "result.json").write_text(json.dumps({"model": {"path": path.name, "sha256": sha256}}))
        assert verify(run.path).passed
    else:
        other = stage.int8.replace(card=stage.int8.card.replace(licence="other"))
        targets.write_onnx(other, path)
        assert verify(path).blame == "file"


def delivered(stage: SimpleNamespace, run: RunFolder) -> tuple[list, list[Update]]:
    told: list[Update] = []
    return deliver(stage.scene, run, stage.record, clock=Deadline(), progress=told.append), told


def test_bytes_before_and_after_are_those_of_the_files(stage, run) -> None:
    found, _ = delivered(stage, run)
    reports = [entry.value for entry in run.journal.read() if entry.type == "stage"]
    sizes = [(run.path / name).stat().st_size for name in ("model.onnx", "model-int8.onnx")]
    assert [d.exported.bytes for d in found] == [d.facts.bytes for d in found] == sizes
    assert [d.measurement.bytes for d in found] == sizes
    assert reports[0]["after"]["bytes"] == reports[1]["before"]["bytes"] == sizes[0]
    assert reports[1]["after"]["bytes"] == sizes[1]
    calibrated = stage.float32.replace(card=load(run.path / "model.onnx").card)
    assert facts_of(calibrated, stage.scene).bytes == sizes[0]
    for delivery, report in zip(found, reports, strict=True):
        assert delivery.measurement.latency_ms == delivery.facts.latency_ms == report["after"]["latency_ms"] > 0
        assert delivery.measurement.runs == 100


def break_form(monkeypatch: pytest.MonkeyPatch, *forms: str) -> None:
    def lowered(model: Model) -> tuple:
        form = "float32" if model.quant is None else "int8"
        return (faulty_lower(all_zero) if form in forms else lower)(model)

    monkeypatch.setattr(targets, "lower", lowered)


def test_a_refused_int8_file_does_not_end_the_build(stage, run, monkeypatch) -> None:
    break_form(monkeypatch, "int8")
    found, told = delivered(stage, run)
    assert [d.exported.form for d in found] == ["float32"]
    assert any(update.note.startswith("PARITY") and "model-int8" in update.note for update in told)
    parities = [entry.value for entry in run.journal.read() if entry.type == "parity"]
    assert [row["passed"] for row in parities] == [True, False]
    assert [e.value["path"] for e in run.journal.read() if e.type == "export"] == ["model.onnx"]


def test_a_build_without_any_right_file_is_refused(stage, run, monkeypatch) -> None:
    break_form(monkeypatch, *FORMS)
    with pytest.raises(FireforgeError, match="PARITY"):
        delivered(stage, run)
    assert {path.name for path in run.path.glob("*.onnx")} == {"model.refused.onnx", "model-int8.refused.onnx"}


def test_the_card_names_the_data_without_its_folders(stage, folder) -> None:
    ref = stage.scene.ref.replace(source="/home/somebody/secret/flowers/")
    scene = SimpleNamespace(ref=ref, preprocess=stage.scene.preprocess, dataset=stage.scene.dataset)
    card = model_of(scene, stage.record, folder).card
    assert card.source == "trained from nothing on flowers by fireforge"
