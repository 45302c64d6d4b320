# SPDX-License-Identifier: Apache-2.0
"""What every member of a dict promises, as functions that take the member; a new member passes through them too."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from network_sizes import shape_of
from PIL import Image
from source_files import datum, keyed, lmdb_of, parquet_of, png, tar
from torch.utils.flop_counter import FlopCounterMode

from fireforge.base.canonical import graph_digest
from fireforge.base.errors import FireforgeError
from fireforge.base.exported import Exported
from fireforge.base.graph import Graph
from fireforge.base.model import Card, Model, dense
from fireforge.base.postprocess import Postprocess
from fireforge.base.preprocess import ImageSteps, Preprocess
from fireforge.base.record import Facts
from fireforge.base.reference import run_reference
from fireforge.base.session import Session
from fireforge.base.spec import NetSpec
from fireforge.base.trial import DataRef
from fireforge.base.validate import validate
from fireforge.baseline.baselines import Baseline
from fireforge.compress.stage import Context, Stage
from fireforge.cost.count import count
from fireforge.data.dataset import content_digest
from fireforge.data.formats.format import Format
from fireforge.data.formats.table import FORMATS
from fireforge.data.pixels import load_pixels
from fireforge.data.split import split
from fireforge.export.onnx_file import onnx_bytes
from fireforge.export.qdq import lower
from fireforge.jobs.pack import pack
from fireforge.nets.families import FAMILIES, build_graph
from fireforge.nets.module import GraphModule, arrays_of, initialise
from fireforge.runtime.onnx_runtime import OnnxSession
from fireforge.runtime.runtimes import FileSession, open_session
from fireforge.space.spaces import SpaceFn

Arrays = Mapping[str, np.ndarray]
SIDE_PX = 32
CLASSES = 5


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def close(want: np.ndarray, got: np.ndarray, bound: float) -> bool:
    """Relative to the greatest magnitude of what is wanted."""
    return want.shape == got.shape and float(np.abs(want - got).max()) <= bound * max(float(np.abs(want).max()), 1e-6)


def small_card(shape: tuple[int, int, int], classes: int) -> Card:
    channels, high, wide = shape
    steps = ImageSteps(
        channels=channels,
        resize=(high, wide),
        crop=(high, wide),
        order="L" if channels == 1 else "RGB",
        mean=(127.5,) * channels,
        std=(64.0,) * channels,
    )
    labels = tuple(f"class {i}" for i in range(classes))
    return Card(preprocess=Preprocess(image=steps), postprocess=Postprocess(), labels=labels)


def settled(module: GraphModule) -> GraphModule:
    """Fresh weights, and running statistics that some pictures went through."""
    initialise(module, 0)
    module.train()
    with torch.no_grad():
        module(torch.from_numpy(noise(4, *(int(size) for size in module.graph.inputs[0].shape[1:]))))
    return module.eval()


def small_model(name: str = "firenet", **params: int | float | bool | str) -> Model:
    """A network of 16 x 16 px with batch norms that have seen pictures."""
    spec = NetSpec(family=name, params=dict(params), classes=CLASSES, input_shape=(3, 16, 16))
    graph = build_graph(spec)
    arrays = arrays_of(settled(GraphModule(graph)))
    return Model(graph=graph, weights=dense(arrays), card=small_card((3, 16, 16), CLASSES))


def answer(outputs: torch.Tensor | tuple[torch.Tensor, ...]) -> torch.Tensor:
    """The first of a network's outputs; the others are heads that serve training."""
    return outputs if isinstance(outputs, torch.Tensor) else outputs[0]


def check_network(spec: NetSpec) -> None:
    """A specification that can be built, trained, counted, exported and run.

    References: the numpy meaning of the graph (1e-5 in torch: sums in another order; 1e-4 in ONNX Runtime, which fuses
    as well), torch's flop counter (exact), equality of two builds (exact).
    """
    graph = build_graph(spec)
    validate(graph)
    assert graph_digest(graph) == graph_digest(build_graph(spec))
    assert tuple(graph.inputs[0].shape) == ("N", *spec.input_shape)
    module = settled(GraphModule(graph))
    assert set(module.state_dict()) == {weight.name for weight in graph.weights}
    arrays = arrays_of(module)
    images = noise(2, *spec.input_shape, seed=1)
    want = run_reference(graph, arrays, {graph.inputs[0].name: images})[graph.outputs[0]]
    assert want.shape == (2, spec.classes)
    with torch.no_grad():
        assert close(want, answer(module(torch.from_numpy(images))).numpy(), 1e-5)
    got = OnnxSession(onnx_bytes(graph, arrays)).run({graph.inputs[0].name: images})[graph.outputs[0]]
    assert close(want, got, 1e-4)
    check_counts(graph, module)
    check_step(module, spec)


def check_counts(graph: Graph, module: GraphModule) -> None:
    cost = count(graph)
    shape = [int(size) for size in graph.inputs[0].shape[1:]]
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module(torch.zeros(1, *shape))
    assert cost.macs == counter.get_total_flops() / 2
    assert cost.params == sum(p.numel() for p in module.parameters())
    assert cost.weight_bytes == sum(t.numel() * t.element_size() for t in module.state_dict().values())


def check_step(module: GraphModule, spec: NetSpec, *, pictures: int = 8) -> None:
    """One step down the gradient lowers the loss on the batch that it was taken on.

    It is as long as lowers the loss by 1 % where the loss is a plane, whatever the network: a fixed rate is too much
    for batch norms over few numbers.
    """
    module.train()
    images = torch.from_numpy(noise(pictures, *spec.input_shape, seed=2))
    targets = torch.arange(pictures) % spec.classes
    losses = []
    for _ in range(2):
        torch.manual_seed(0)  # the same Dropout before and after
        loss = torch.nn.functional.cross_entropy(answer(module(images)), targets)
        losses.append(float(loss.detach()))
        led = [weight for weight in module.parameters() if weight.requires_grad]
        slopes = torch.autograd.grad(loss, led, allow_unused=True, materialize_grads=True)  # heads have none
        steep = sum(float(slope.square().sum()) for slope in slopes)
        assert steep > 0
        with torch.no_grad():
            for weight, slope in zip(led, slopes):
                weight -= 0.01 * losses[0] / steep * slope
    assert losses[1] < losses[0]


def check_family(name: str) -> None:
    """A name of FAMILIES: its defaults make a network, and a parameter that it does not have is refused."""
    spec = NetSpec(family=name, classes=CLASSES, input_shape=shape_of(name, (3, SIDE_PX, SIDE_PX)))
    check_network(spec)
    with pytest.raises(FireforgeError) as raised:
        FAMILIES[name](spec.replace(params={"no_such_parameter": 1}))
    assert raised.value.code == "UNKNOWN_NAME"


def check_stage(name: str, stage: Stage, model: Model) -> None:
    """Model in, Model and report out: the same labels and card, nearly the same answers, nothing changed in place.

    Reference: the float model run by numpy; 5 % of the outputs' variance, which 8 bits keep with a wide margin.
    """
    before = {key: array.copy() for key, array in model.arrays().items()}
    judged: list[Model] = []

    def evaluate(candidate: Model) -> Facts:
        judged.append(candidate)
        return Facts(accuracy=1 / len(judged), samples=10)

    images = noise(32, 3, 16, 16, seed=3)
    made, report = stage(model, Context(calibration=images, evaluate=evaluate))
    validate(made.graph)
    assert made.card == model.card
    assert report.stage == name
    assert report.before == Facts(accuracy=1.0, samples=10)
    assert judged[0] is model
    assert judged[-1] is made
    assert report.notes
    assert set(made.weights) == {weight.name for weight in made.graph.weights}
    assert all(np.array_equal(before[key], array) for key, array in model.arrays().items())
    output = model.graph.outputs[0]
    assert made.graph.outputs[0] == output
    want = run_reference(model.graph, model.arrays(), {"input": images})[output]
    graph, arrays = lower(made)
    got = OnnxSession(onnx_bytes(graph, arrays)).run({"input": images})[output]
    assert float(np.mean(np.square(want - got))) <= 0.05 * float(np.var(want))


def check_session(session: Session, graph: Graph, arrays: Arrays) -> None:
    """The protocol: the graph's inputs and outputs, the reference's answers (1e-4), wrong inputs refused by name."""
    assert [(t.name, t.dtype, t.shape[1:]) for t in session.inputs] == [
        (t.name, t.dtype, t.shape[1:]) for t in graph.inputs
    ]
    assert tuple(t.name for t in session.outputs) == graph.outputs
    name, shape = graph.inputs[0].name, [int(size) for size in graph.inputs[0].shape[1:]]
    for batch in (1, 3):
        feeds = {name: noise(batch, *shape, seed=batch)}
        want = run_reference(graph, arrays, feeds)
        got = session.run(feeds)
        assert list(got) == list(want)
        assert all(close(want[key], got[key], 1e-4) for key in want)
    good = noise(1, *shape)
    wrong = ({}, {name: good.astype(np.float64)}, {name: good[0]}, {name: good[:, :, :-1]}, {name: good, "other": good})
    for feeds in wrong:
        with pytest.raises(FireforgeError) as raised:
            session.run(feeds)
        assert raised.value.code == "BAD_INPUT_TENSOR"


def check_runtime(opened: Callable[..., FileSession], path: Path, graph: Graph, arrays: Arrays) -> None:
    """A function of RUNTIMES and a file of its own: its session, its metadata, and a file that is none refused."""
    session = opened(path, threads=1)
    check_session(session, graph, arrays)
    assert session.metadata is None or isinstance(session.metadata, str)
    assert type(open_session(path)) is type(session)  # the suffix leads to it
    with pytest.raises(FireforgeError) as raised:
        opened(path.with_name("nothing" + path.suffix))
    assert raised.value.code == "NO_FILE"
    broken = path.with_name("broken" + path.suffix)
    broken.write_bytes(path.read_bytes()[:20])
    with pytest.raises(FireforgeError) as raised:
        opened(broken)
    assert raised.value.code == "BAD_MODEL_FILE"


def folder_of(tmp_path: Path) -> str:
    for label in ("left", "right"):
        (tmp_path / "pictures" / label).mkdir(parents=True)
        for i in range(4):
            shade = np.full((10, 12, 3), 40 * i + (label == "left"), np.uint8)
            Image.fromarray(shade).save(tmp_path / "pictures" / label / f"{i}.png")
    (tmp_path / "pictures" / "left" / "notes.txt").write_text("not a picture")
    return str(tmp_path / "pictures")


def npz_of(tmp_path: Path) -> str:
    pixels = np.arange(8 * 6 * 6, dtype=np.int64).reshape(8, 6, 6) % 256
    np.savez(tmp_path / "some.npz", x=pixels.astype(np.uint8), y=np.arange(8) % 2)
    return str(tmp_path / "some.npz")


def shards_of(tmp_path: Path) -> str:
    (tmp_path / "before").mkdir()
    pack(npz_of(tmp_path / "before"), tmp_path / "some.shards")
    return str(tmp_path / "some.shards")


def idx_of(tmp_path: Path) -> str:
    folder = tmp_path / "idx"
    folder.mkdir()
    pixels = np.arange(8 * 6 * 6, dtype=np.int64) % 256
    (folder / "train-images-idx3-ubyte").write_bytes(
        bytes([0, 0, 8, 3, 0, 0, 0, 8, 0, 0, 0, 6, 0, 0, 0, 6]) + pixels.astype(np.uint8).tobytes()
    )
    (folder / "train-labels-idx1-ubyte").write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 8]) + bytes([0, 1] * 4))
    return str(folder)


def cifar_of(tmp_path: Path) -> str:
    folder = tmp_path / "cifar"
    folder.mkdir()
    records = np.arange(40 * 3073, dtype=np.int64).reshape(40, 3073) % 256
    records[:, 0] = np.arange(40) % 10
    (folder / "data_batch_1.bin").write_bytes(records.astype(np.uint8).tobytes())
    return str(folder)


def manifest_of(tmp_path: Path) -> str:
    folder = tmp_path / "listed"
    (folder / "img").mkdir(parents=True)
    for i in range(8):
        Image.fromarray(np.full((9, 7, 3), 30 * i, np.uint8)).save(folder / "img" / f"{i}.png")
    (folder / "labels.csv").write_text("file,label\n" + "".join(f"img/{i}.png,{'ab'[i % 2]}\n" for i in range(8)))
    return str(folder / "labels.csv")


def archive_of(tmp_path: Path) -> str:
    with zipfile.ZipFile(tmp_path / "pictures.zip", "w") as archive:
        for i in range(8):
            stream = io.BytesIO()
            Image.fromarray(np.full((9, 7, 3), 30 * i, np.uint8)).save(stream, "PNG")
            archive.writestr(f"{'ab'[i % 2]}/{i}.png", stream.getvalue())
    return str(tmp_path / "pictures.zip")


def parquet_source(tmp_path: Path) -> str:
    return str(parquet_of(tmp_path / "some.parquet", [{"bytes": png(i), "label": i % 2} for i in range(8)]))


def caffe_of(tmp_path: Path) -> str:
    gray = np.arange(8 * 30, dtype=np.int64).reshape(8, 1, 6, 5) % 256
    records = {b"%04d" % i: datum(one.astype(np.uint8), i % 2) for i, one in enumerate(gray)}
    return str(lmdb_of(tmp_path / "some_lmdb", records))


def webdataset_of(tmp_path: Path) -> str:
    (tmp_path / "tars").mkdir()
    for i in range(2):
        (tmp_path / "tars" / f"{i}.tar").write_bytes(tar(keyed(range(4 * i, 4 * i + 4))))
    return str(tmp_path / "tars")


SOURCES: dict[str, Callable[[Path], str]] = {
    "digits": lambda _: "digits",
    "shards": shards_of,
    "npz": npz_of,
    "parquet": parquet_source,
    "caffe": caffe_of,
    "idx": idx_of,
    "cifar": cifar_of,
    "manifest": manifest_of,
    "webdataset": webdataset_of,
    "archive": archive_of,
    "folder": folder_of,
}


def foreign_sources(folder: Path, name: str) -> list[str]:
    """A source of each format but one."""
    folder.mkdir()
    return [make(folder) for other, make in SOURCES.items() if other != name]


def taken_by(source: str) -> str:
    """The format that a source goes to: the first that recognises it, as `open_dataset` asks them."""
    return next((name for name, item in FORMATS.items() if item.recognise(source)), "")


def check_format(item: Format, source: str, others: Sequence[str]) -> None:
    """A format, a source of it, sources of others: no confusion, a full ledger, ids in order, the same twice."""
    assert FORMATS[item.name] is item
    assert taken_by(source) == item.name
    assert item.name not in [taken_by(other) for other in others]
    assert not item.recognise(source + ".absent")
    dataset = item.open(source)
    assert dataset.format == item.name
    assert dataset.found == len(dataset.samples) + len(dataset.skipped) > 0
    assert [sample.id for sample in dataset.samples] == list(range(len(dataset.samples)))
    assert all(0 <= sample.label < len(dataset.labels) for sample in dataset.samples)
    assert len({sample.name for sample in dataset.samples}) == len(dataset.samples)
    assert all(len(content_digest(dataset.read(sample.id))) == 32 for sample in dataset.samples)
    assert dataset.sha256 == item.open(source).sha256
    for wrong in (-1, len(dataset.samples)):
        with pytest.raises(FireforgeError) as raised:
            dataset.read(wrong)
        assert raised.value.code == "NO_SAMPLE"
    parts = split(dataset, DataRef(source=source))
    steps = ImageSteps(channels=3, resize=(8, 8), crop=(8, 8))
    assert load_pixels(dataset, parts.train[:4], steps).shape == (4, 3, 8, 8)


def check_target(write: Callable[[Model, Path], Exported], model: Model, path: Path) -> None:
    """A writer: one whole file that says its size and digest, and answers as the model does (1e-4)."""
    written = write(model, path)
    data = Path(written.path).read_bytes()
    assert (written.bytes, written.sha256) == (len(data), hashlib.sha256(data).hexdigest())
    assert sorted(p.name for p in path.parent.iterdir()) == [path.name]
    images = noise(2, 3, 16, 16, seed=4)
    graph, arrays = lower(model)
    want = run_reference(graph, arrays, {"input": images})
    got = open_session(written.path).run({"input": images})
    assert all(close(want[key], got[key], 1e-4) for key in want)
    assert write(model, path) == written  # the same bytes


def check_space(space: SpaceFn) -> None:
    """A space: draws depend on the generator alone, name a known family, keep the question, and most can be built."""
    built, codes = 0, set()
    for seed in range(20):
        spec = space(CLASSES, (3, SIDE_PX, SIDE_PX), np.random.default_rng(seed))
        assert spec == space(CLASSES, (3, SIDE_PX, SIDE_PX), np.random.default_rng(seed))
        assert (spec.classes, spec.input_shape) == (CLASSES, (3, SIDE_PX, SIDE_PX))
        assert spec.family in FAMILIES
        try:
            validate(build_graph(spec))
            built += 1
        except FireforgeError as error:
            codes.add(error.code)
    assert codes <= {"BAD_SPEC"}
    assert built >= 10


def check_baseline(name: str, baseline: Baseline) -> None:
    """A baseline: at least as good as chance on two plain classes, the same twice, its pictures left as they are."""
    x = np.repeat(np.array([20, 220], np.uint8), 20)[:, None, None, None] + np.zeros((40, 1, 4, 4), np.uint8)
    y = np.repeat(np.array([0, 1]), 20)
    kept = x.copy()
    first, second = (baseline(x, y, x[::2], y[::2], 2) for _ in range(2))
    assert first.name == name
    assert 0.5 <= first.accuracy <= 1
    assert first.interval[0] <= first.accuracy <= first.interval[1]
    assert first.samples == 20
    assert first.bytes > 0
    assert first.replace(seconds=0.0) == second.replace(seconds=0.0)
    assert np.array_equal(x, kept)
