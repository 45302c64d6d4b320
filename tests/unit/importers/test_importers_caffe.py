# SPDX-License-Identifier: Apache-2.0
"""Caffe's files: old and new messages, phases, inputs, steps, the writer, and files that are wrong or hostile."""

from __future__ import annotations

import contextlib
import os
import struct
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fireforge.base.canonical import graph_digest
from fireforge.base.errors import FireforgeError
from fireforge.base.preprocess import ImageSteps
from fireforge.base.reference import run_reference
from fireforge.importers import caffe_pen, caffe_wire
from fireforge.importers.caffe_model import import_caffe, network
from fireforge.importers.caffe_writer import caffemodel_bytes, rewritten
from fireforge.nets.families import NETWORKS, build_graph

DATA = Path(os.environ.get("FIREFORGE_DATA", "/absent"))
real = pytest.mark.skipif(not DATA.is_dir(), reason="FIREFORGE_DATA names no folder")
INPUT = 'name: "n" input: "data" input_shape { dim: 1 dim: 1 dim: 2 dim: 2 }\n'
FC = 'layer { name: "fc" type: "InnerProduct" bottom: "data" top: "fc" inner_product_param { num_output: 3 } }\n'
W = np.arange(12, dtype=np.float32).reshape(3, 4)
B = np.asarray([0.5, -1, 2], np.float32)
X = np.random.default_rng(0).normal(size=(2, 1, 2, 2)).astype(np.float32)
WANTED = X.reshape(2, 4) @ W.T + B


def bring(folder: Path, text: str | bytes | None, model: bytes | None = None):
    paths = []
    if text is not None:
        (folder / "n.prototxt").write_bytes(text if isinstance(text, bytes) else text.encode())
        paths.append(folder / "n.prototxt")
    if model is not None:
        (folder / "n.caffemodel").write_bytes(model)
        paths.append(folder / "n.caffemodel")
    return import_caffe(paths, None)


def check(got) -> None:
    """The network of one product gives what numpy gives."""
    arrays = {name: form.array() for name, form in got.weights.items()}
    assert (got.graph.inputs[0].name, got.graph.outputs) == ("input", ("logits",))
    out = run_reference(got.graph, arrays, {"input": X})["logits"]
    np.testing.assert_allclose(out, WANTED, rtol=1e-6, atol=1e-6)


def varint(number: int) -> bytes:
    out = b""
    while number > 127:
        out += bytes([number & 127 | 128])
        number >>= 7
    return out + bytes([number])


def field(number: int, value: bytes | str | int) -> bytes:
    """One field on the wire, written without protobuf."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    raw = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(raw)) + raw


def old_blob(values: np.ndarray, *, packed: bool = True, double: bool = False) -> bytes:
    """A BlobProto with num, channels, height, width."""
    dims = (1,) * (4 - values.ndim) + values.shape
    out = b"".join(field(i + 1, dim) for i, dim in enumerate(dims))
    if double:
        return out + field(8, values.astype("<f8").tobytes())
    if packed:
        return out + field(5, values.astype("<f4").tobytes())
    return out + b"".join(bytes([5 << 3 | 5]) + struct.pack("<f", number) for number in values.reshape(-1))


def new_blob(values: np.ndarray) -> bytes:
    return field(7, field(1, b"".join(map(varint, values.shape)))) + field(5, values.astype("<f4").tobytes())


def v1_model(*blobs: bytes, kind: int = 14) -> bytes:
    """One inner product of V1: bottom 2, top 3, name 4, type 5, blobs 6, inner_product_param 17."""
    layer = field(2, "data") + field(3, "fc") + field(4, "fc") + field(5, kind)
    layer += b"".join(field(6, blob) for blob in blobs) + field(17, field(1, 3))
    return field(1, "old") + field(2, layer)


def v2_model(*blobs: bytes, kind: str = "InnerProduct") -> bytes:
    layer = field(1, "fc") + field(2, kind) + field(3, "data") + field(4, "fc") + b"".join(field(7, b) for b in blobs)
    return field(1, "new") + field(100, layer + field(117, field(1, 3)))


INPUT_WIRE = field(3, "data") + field(8, field(1, bytes([1, 1, 2, 2])))  # input 3, input_shape 8
OLD_INPUT_WIRE = field(3, "data") + b"".join(field(4, dim) for dim in (1, 1, 2, 2))  # input_dim 4
MODELS = {
    "V1, old blobs": v1_model(old_blob(W), old_blob(B)),
    "V1, numbers one by one": v1_model(old_blob(W, packed=False), old_blob(B, packed=False)),
    "V1, doubles": v1_model(old_blob(W, double=True), old_blob(B, double=True)),
    "V2": v2_model(new_blob(W), new_blob(B)),
    "V2, old blobs": v2_model(old_blob(W), old_blob(B)),
    "V2, fields unknown to all": v2_model(new_blob(W) + field(900, "x"), new_blob(B)) + field(901, 7) + field(902, "y"),
}
V1_TEXT = (
    'input: "data" input_dim: 1 input_dim: 1 input_dim: 2 input_dim: 2 '
    'layers { name: "fc" type: INNER_PRODUCT bottom: "data" top: "fc" inner_product_param { num_output: 3 } }'
)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("text", [INPUT + FC, V1_TEXT], ids=["V2 text", "V1 text"])
def test_messages_of_all_ages(tmp_path: Path, text: str, model: str) -> None:
    check(bring(tmp_path, text, MODELS[model]))


@pytest.mark.parametrize("wire", [INPUT_WIRE, OLD_INPUT_WIRE])
@pytest.mark.parametrize("model", MODELS)
def test_whole_caffemodel_needs_no_prototxt(tmp_path: Path, model: str, wire: bytes) -> None:
    check(bring(tmp_path, None, wire + MODELS[model]))


def test_files_in_any_order_and_by_any_name(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(MODELS["V2"])
    (tmp_path / "b.txt").write_text(INPUT + FC)
    for order in (["a.bin", "b.txt"], ["b.txt", "a.bin"]):
        check(import_caffe([tmp_path / name for name in order], None))


TEXTS = {
    "comments, quotes, colons, fields that nobody knows": (
        "# a net { of\n"
        + INPUT.replace('"data"', "'data'")
        + FC.replace("inner_product_param {", "inner_product_param: {")
        + "\nsome_new_field { a: 1 b { c: 'x' } }"
    ),
    "Input layer": 'layer { name: "d" type: "Input" top: "data" input_param { shape { dim: 9 dim: 1 dim: 2 dim: 2 } } }'
    + FC,
    "Softmax at the end": INPUT + FC + 'layer { name: "p" type: "Softmax" bottom: "fc" top: "p" }',
    "Softmax in place": INPUT + FC + 'layer { name: "p" type: "Softmax" bottom: "fc" top: "fc" }',
    "ArgMax": INPUT + FC + 'layer { name: "p" type: "ArgMax" bottom: "fc" top: "p" }',
    "training": (
        'layer { name: "d" type: "Data" top: "data" top: "label" include { phase: TRAIN }'
        " transform_param { crop_size: 5 } }"
        'layer { name: "d" type: "Data" top: "data" top: "label" include { phase: TEST }'
        " transform_param { crop_size: 2 force_gray: true mean_value: 100 scale: 0.5 } }"
        + FC
        + 'layer { name: "l" type: "SoftmaxWithLoss" bottom: "fc" bottom: "label" top: "l" }'
        'layer { name: "a" type: "Accuracy" bottom: "fc" bottom: "label" top: "a" include { phase: TEST } }'
    ),
    "layer of training alone": INPUT
    + 'layer { name: "x" type: "Power" bottom: "data" top: "data" power_param { scale: 9 } include { phase: TRAIN } }'
    + FC,
    "layer kept out of tests": INPUT
    + 'layer { name: "x" type: "Power" bottom: "data" top: "data" power_param { scale: 9 } exclude { phase: TEST } }'
    + FC,
    "stage deploy": (
        'layer { name: "d" type: "Input" top: "data" input_param { shape { dim: 1 dim: 1 dim: 2 dim: 2 } }'
        ' include { stage: "deploy" } }'
        + FC
        + 'layer { name: "l" type: "Python" bottom: "fc" top: "l" exclude { stage: "deploy" } }'
    ),
    "a second head, left out": INPUT
    + 'layer { name: "aux" type: "InnerProduct" bottom: "data" top: "aux" inner_product_param { num_output: 7 } }'
    + FC,
    "1 x 1 maps at the end": INPUT + FC + 'layer { name: "r" type: "Reshape" bottom: "fc" top: "r" '
    "reshape_param { shape { dim: 0 dim: 3 dim: 1 dim: 1 } } }"
    + 'layer { name: "p" type: "Softmax" bottom: "r" top: "p" }',
}


@pytest.mark.parametrize("case", TEXTS)
def test_texts(tmp_path: Path, case: str) -> None:
    got = bring(tmp_path, TEXTS[case], MODELS["V2"])
    check(got)
    if case == "training":
        assert got.steps == ImageSteps(channels=1, resize=(2, 2), crop=(2, 2), order="L", mean=(100.0,), std=(2.0,))
    if case == "a second head, left out":
        assert any("'aux'" in note for note in got.notes)


def test_caffemodel_of_training_is_read_by_its_data_of_training(tmp_path: Path) -> None:
    data = field(1, "d") + field(2, "Data") + field(4, "data") + field(4, "label") + field(8, field(1, 0))
    data += field(100, field(3, 2) + field(7, 1))  # crop_size 3, force_gray 7
    loss = field(1, "loss") + field(2, "SoftmaxWithLoss") + field(3, "fc") + field(3, "label") + field(4, "loss")
    got = bring(tmp_path, None, field(100, data) + MODELS["V2"] + field(100, loss))
    check(got)
    assert any("TRAIN" in note for note in got.notes)


def imagenet(side: int, transform: str = "") -> str:
    """Pooling before a product: the numbers stay few."""
    source = f'layer {{ name: "d" type: "Data" top: "data" transform_param {{ crop_size: {side} {transform} }} }}\n'
    source = source if transform else f'input: "data" input_dim: 1 input_dim: 3 input_dim: {side} input_dim: {side}\n'
    pool = (
        'layer { name: "p" type: "Pooling" bottom: "data" top: "p" pooling_param { pool: AVE global_pooling: true } }\n'
    )
    return source + pool + FC.replace('"data"', '"p"')


@pytest.mark.parametrize(
    "side, transform, wanted",
    [
        (227, "", (256, (104.0, 117.0, 123.0), 1.0)),
        (224, "mean_value: 1 mean_value: 2 mean_value: 3", (256, (1.0, 2.0, 3.0), 1.0)),
        (224, 'mean_value: 128 scale: 0.25 mean_file: "x"', (256, (128.0,) * 3, 4.0)),
        (224, 'mean_file: "../../etc/passwd"', (256, (104.0, 117.0, 123.0), 1.0)),
        (32, "mean_value: 10", ((32, 32), (10.0,) * 3, 1.0)),
        (32, "scale: 0.5", ((32, 32), (0.0,) * 3, 2.0)),
    ],
)
def test_steps(tmp_path: Path, side: int, transform: str, wanted) -> None:
    model = v2_model(new_blob(W[:, :3]), new_blob(B))
    resize, mean, std = wanted
    assert bring(tmp_path, imagenet(side, transform), model).steps == ImageSteps(
        channels=3, resize=resize, crop=(side, side), order="BGR", mean=mean, std=(std,) * 3
    )


def test_steps_that_nothing_tells(tmp_path: Path) -> None:
    got = bring(tmp_path, imagenet(32), v2_model(new_blob(W[:, :3]), new_blob(B)))
    assert got.steps is None
    assert any("not told" in note for note in got.notes)


@real
@pytest.mark.parametrize("version, name", [("1.0", "squeezenet-1.0"), ("1.1", "squeezenet-1.1")])
def test_published_prototxt_is_the_network_of_the_paper(tmp_path: Path, version: str, name: str) -> None:
    """Deploy and train_val give one graph, whose weights are our own network's; what is written comes back, twice."""
    folder = DATA / f"squeezenet/prototxt/SqueezeNet_v{version}"
    text = (folder / "deploy.prototxt").read_bytes()
    rng = np.random.default_rng(0)
    ours = build_graph(NETWORKS[name](1000, input_shape=(3, 227, 227)))
    shapes = [weight.shape for weight in ours.weights]
    layers = [node.name for node in bare(text).nodes if node.op == "Conv"]
    numbers = [rng.normal(size=shape).astype(np.float32) for shape in shapes]
    arrays = {layer: numbers[2 * i : 2 * i + 2] for i, layer in enumerate(layers)}
    model = caffemodel_bytes(text, arrays)
    assert rewritten(model) == model
    deployed, trained = (
        bring(tmp_path, folder.joinpath(kind).read_bytes(), model) for kind in ("deploy.prototxt", "train_val.prototxt")
    )
    assert deployed.graph == trained.graph
    assert deployed.steps == trained.steps
    assert [weight.shape for weight in deployed.graph.weights] == shapes
    assert graph_digest(deployed.graph) == graph_digest(ours)
    for got, wanted in zip(deployed.weights.values(), numbers):
        np.testing.assert_array_equal(got.array(), wanted)
    alone = bring(tmp_path, None, model)
    assert alone.graph == deployed.graph


def bare(text: bytes):
    return network(caffe_wire.text_net(text, "n"), "n", {})[2]


def test_writer_keeps_each_bit(tmp_path: Path) -> None:
    odd = np.asarray([[0x7FC12345, 0x80000000, 1, 0x7F7FFFFF]] * 3, np.uint32).view(
        np.float32
    )  # a NaN with bits, -0, ...
    model = caffemodel_bytes((INPUT + FC).encode(), {"fc": [odd, B]})
    assert model == caffemodel_bytes((INPUT + FC).encode(), {"fc": [odd, B]})
    assert rewritten(model) == model
    assert rewritten(rewritten(model)) == model
    with pytest.raises(FireforgeError, match="NaN"):
        bring(tmp_path, None, model)
    with pytest.raises(FireforgeError, match="no such layer"):
        caffemodel_bytes((INPUT + FC).encode(), {"fd": [W]})
    with pytest.raises(FireforgeError, match="float64"):
        caffemodel_bytes((INPUT + FC).encode(), {"fc": [W.astype(np.float64)]})
    with pytest.raises(FireforgeError, match="V1"):
        caffemodel_bytes(V1_TEXT.encode(), {})


def one(kind: str, rest: str = "") -> str:
    return INPUT + f'layer {{ name: "odd" type: "{kind}" bottom: "data" top: "data" {rest} }}' + FC


WRONG = {
    "no numbers": (INPUT + FC, None, "BAD_WEIGHTS", "caffemodel"),
    "numbers without layers of use": (None, MODELS["V2"], "BAD_GRAPH", "which nothing before it makes"),
    "numbers of other layers": (INPUT + FC.replace('"fc"', '"fd"'), MODELS["V2"], "BAD_WEIGHTS", "0 blobs"),
    "one blob of two": (INPUT + FC, v2_model(new_blob(W)), "BAD_WEIGHTS", "1 blobs"),
    "another shape": (INPUT + FC, v2_model(new_blob(W.T), new_blob(B)), "BAD_WEIGHTS", r"\(4, 3\)"),
    "shape and numbers differ": (
        INPUT + FC,
        v2_model(field(7, field(1, bytes([3, 4]))) + field(5, bytes(40)), new_blob(B)),
        "BAD_WEIGHTS",
        "10 numbers",
    ),
    "doubles beyond float32": (
        INPUT + FC,
        v2_model(old_blob(W.astype(np.float64) * 1e300, double=True), new_blob(B)),
        "BAD_WEIGHTS",
        "infinity",
    ),
    "a shape of 2^60": (
        INPUT + FC,
        v2_model(field(7, field(1, varint(2**60) + bytes([4]))) + field(5, bytes(40)), new_blob(B)),
        "BAD_WEIGHTS",
        "10 numbers",
    ),
    "unknown layer": (one("DetectionOutput"), MODELS["V2"], "UNKNOWN_OPERATOR", "odd: layer type 'DetectionOutput'"),
    "Python": (one("Python", 'python_param { module: "os" layer: "x" }'), MODELS["V2"], "UNSAFE_FILE", "os.x"),
    "a form that has no place": (
        one("LRN", "lrn_param { norm_region: WITHIN_CHANNEL }"),
        None,
        "UNKNOWN_OPERATOR",
        "odd",
    ),
    "stochastic pooling": (one("Pooling", "pooling_param { pool: STOCHASTIC }"), None, "UNKNOWN_OPERATOR", "odd"),
    "power": (one("Power", "power_param { power: 0.5 }"), None, "UNKNOWN_OPERATOR", "odd"),
    "a convolution of nothing": (one("Convolution"), None, "UNKNOWN_OPERATOR", "num_output 0"),
    "a group of nothing": (
        one("Convolution", "convolution_param { num_output: 2 kernel_size: 1 group: 0 }"),
        None,
        "UNKNOWN_OPERATOR",
        "group 0",
    ),
    "a kernel of nothing": (
        one("Convolution", "convolution_param { num_output: 2 kernel_size: 0 }"),
        None,
        "BAD_GRAPH",
        "odd",
    ),
    "a kernel too large": (
        one("Convolution", "convolution_param { num_output: 2 kernel_size: 4000000000 }"),
        None,
        "BAD_SHAPE",
        "odd",
    ),
    "a layer read before it is made": (
        INPUT + FC.replace('bottom: "data"', 'bottom: "fc"'),
        None,
        "BAD_GRAPH",
        "reads 'fc'",
    ),
    "two layers of one name": (
        INPUT + FC + FC.replace('bottom: "data"', 'bottom: "fc"'),
        None,
        "BAD_GRAPH",
        "two layers",
    ),
    "no input sizes": ('input: "data"' + FC, None, "BAD_MODEL_FILE", "without sizes"),
    "sizes of zero": (INPUT.replace("dim: 2", "dim: 0") + FC, None, "BAD_MODEL_FILE", "input 'data' of shape"),
    "sizes below zero": (INPUT.replace("dim: 2", "dim: -1") + FC, None, "BAD_MODEL_FILE", "input 'data' of shape"),
    "sizes that no memory holds": (INPUT.replace("dim: 2", "dim: 200000") + FC, None, "BAD_MODEL_FILE", "numbers"),
    "maps that no memory holds": (
        one("Deconvolution", "convolution_param { num_output: 9 kernel_size: 20000 }"),
        None,
        "BAD_GRAPH",
        "ConvTranspose makes",
    ),
    "data of unknown size": (
        'layer { name: "d" type: "Data" top: "data" data_param { source: "../../x" } }' + FC,
        MODELS["V2"],
        "BAD_MODEL_FILE",
        "deployment",
    ),
    "maps at the end": (
        INPUT + 'layer { name: "r" type: "ReLU" bottom: "data" top: "r" }',
        None,
        "BAD_GRAPH",
        "one score a class",
    ),
    "no layers that compute": (INPUT + 'layer { type: "Silence" bottom: "data" }', None, "BAD_GRAPH", "compute"),
    "V0": ('layers { layer { name: "c" type: "conv" } }', None, "BAD_MODEL_FILE", "V0"),
    "V1 and V2": (V1_TEXT + FC, None, "BAD_MODEL_FILE", "in one file"),
    "a solver": ('net: "train_val.prototxt" base_lr: 0.01', None, "BAD_MODEL_FILE", "solver"),
    "no prototxt": ("layer { name: 'x' ", None, "BAD_MODEL_FILE", "not a prototxt"),
    "a number that is none": (INPUT.replace("dim: 2", "dim: two") + FC, None, "BAD_MODEL_FILE", "not a prototxt"),
    "a deep nest": ("a {" * 3000, None, "BAD_MODEL_FILE", "nested deeper"),
    "a deep nest behind a hash in quotes": ('a { b: "#" ' * 3000, None, "BAD_MODEL_FILE", "nested deeper"),
    "a deep nest behind ends in a comment": ("a { # }\u2028}\f}\r}\n" * 3000, None, "BAD_MODEL_FILE", "nested deeper"),
    "UTF-16": ((INPUT + FC).encode("utf-16"), None, "BAD_MODEL_FILE", "n.prototxt"),
    "Latin 1": (b'name: "\xe9"', None, "BAD_MODEL_FILE", "UTF-8"),
    "a web page": ("<!DOCTYPE html><html>", None, "BAD_MODEL_FILE", "web page"),
    "a pointer": ("version https://git-lfs.github.com/spec/v1", None, "BAD_MODEL_FILE", "git lfs pull"),
    "empty": (INPUT + FC, b"", "BAD_MODEL_FILE", "empty"),
    "another binary": (INPUT + FC, b"\x89PNG\r\n\x1a\n" + bytes(50), "BAD_MODEL_FILE", "n.caffemodel"),
    "length beyond the file": (
        INPUT + FC,
        field(1, "x") + b"\xa2\x06\xff\xff\xff\xff\x07",
        "BAD_MODEL_FILE",
        "are left",
    ),
    "length of 2^63": (INPUT + FC, b"\xa2\x06" + varint(2**63), "BAD_MODEL_FILE", "are left"),
    "an endless number": (INPUT + FC, b"\x10" + b"\xff" * 20, "BAD_MODEL_FILE", "10 bytes"),
    "a name that is no text": (INPUT + FC, field(100, field(1, b"\xff\xfe")), "BAD_MODEL_FILE", "UTF-8"),
}


@pytest.mark.parametrize("case", WRONG)
def test_mistakes_are_named(tmp_path: Path, case: str) -> None:
    text, model, code, words = WRONG[case]
    with pytest.raises(FireforgeError, match=words) as caught:
        bring(tmp_path, text, model)
    assert caught.value.code == code


def test_too_many_of_one_kind_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.prototxt").write_text(INPUT + FC)
    with pytest.raises(FireforgeError, match="2 prototxt"):
        import_caffe([tmp_path / "a.prototxt"] * 2, None)
    with pytest.raises(FireforgeError, match="0 prototxt"):
        import_caffe([], None)


def test_many_empty_messages_are_refused_before_they_are_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two bytes a message would be a hundred in memory."""
    monkeypatch.setattr(caffe_wire, "MOST_FIELDS", 1000)
    for flood in (b"\xa2\x06\x00" * 1001, field(100, field(143, b"\x0a\x00" * 1001)), field(100, b"\x18\x01" * 1001)):
        with pytest.raises(FireforgeError, match="more than 1000 fields"):
            bring(tmp_path, INPUT + FC, flood)


def test_too_many_nodes_are_refused_while_they_are_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One layer can ask for thousands."""
    monkeypatch.setattr(caffe_pen, "MOST_NODES", 100)
    bottoms = 'bottom: "data" ' * 102
    with pytest.raises(FireforgeError, match=r"BAD_GRAPH.*more than 100 nodes"):
        bring(tmp_path, INPUT + f'layer {{ name: "e" type: "Eltwise" {bottoms} top: "e" }}')


def test_floods_of_layers_end_soon(tmp_path: Path) -> None:
    """Ten thousand layers of one name, of shapes on shapes, of ends: refused or read, never in quadratic time."""
    relu = 'layer { name: "r" type: "ReLU" bottom: "data" top: "data" }'
    with pytest.raises(FireforgeError, match="too many layers"):
        bring(tmp_path, INPUT + relu * 2000)
    end = 'layer {{ name: "e{0}" type: "ReLU" bottom: "data" top: "e{0}" }}'
    best = 'layer { name: "b" type: "ArgMax" bottom: "data" top: "b" }'
    got = bring(tmp_path, INPUT + "".join(map(end.format, range(2000))) + best * 3000 + FC, MODELS["V2"])
    check(got)
    assert max(map(len, got.notes)) < 1000
    with pytest.raises(FireforgeError, match="at most 4194304"):
        bring(tmp_path, "#" * 2**23)


@pytest.mark.parametrize("mark", ['"', "'"])
@pytest.mark.parametrize("end", ["", "\\", "\n}", "\\\n"])
def test_a_quote_that_nobody_closes_takes_time_in_proportion(mark: str, end: str, tmp_path: Path) -> None:
    """A megabyte of quotes that are all escaped; a search that begins anew at each would take half an hour."""
    start = time.process_time()
    with pytest.raises(FireforgeError, match="BAD_MODEL_FILE"):
        bring(tmp_path, INPUT + "name: " + mark + ("\\" + mark) * 2**19 + end)
    assert time.process_time() - start < 1


def test_an_escape_that_is_none_stays_as_it_is_without_a_word(tmp_path: Path) -> None:
    """As in a path of Windows; the warning that protobuf's reader gives of it would be an error here."""
    check(bring(tmp_path, 'note: "C:\\:data"\n' + INPUT.replace('"n"', '"C\\:n"') + FC, MODELS["V2"]))


def test_braces_count_where_a_quote_has_ended_and_not_within_it(tmp_path: Path) -> None:
    quoted = 'note: "a{b\\"{" # {"\nnote: \'"{\\\'{\' '
    check(bring(tmp_path, quoted * 60 + INPUT + FC, MODELS["V2"]))
    with pytest.raises(FireforgeError, match="nested deeper than 50"):
        bring(tmp_path, 'name: "open {\n' + "layer {" * 60)
    with pytest.raises(FireforgeError, match="nested deeper than 50"):
        bring(tmp_path, 'name: "\\\\" ' + "layer {" * 60)


def test_every_cut_is_refused(tmp_path: Path) -> None:
    model = MODELS["V2"]
    for size in range(len(model)):
        with pytest.raises(FireforgeError):
            bring(tmp_path, INPUT + FC, model[:size])


@settings(max_examples=200, deadline=None)
@given(
    edits=st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), min_size=1, max_size=6), which=st.booleans()
)
def test_mangled_files_are_read_or_refused(tmp_path_factory: pytest.TempPathFactory, edits, which: bool) -> None:
    text = bytearray((INPUT + FC).encode() + TEXTS["training"].encode())
    model = bytearray(INPUT_WIRE + MODELS["V1, old blobs"] if len(edits) % 2 else INPUT_WIRE + MODELS["V2"])
    mangled = text if which else model
    for at, value in edits:
        mangled[at % len(mangled)] = value
    with contextlib.suppress(FireforgeError):  # any other exception is a failure
        bring(tmp_path_factory.mktemp("fuzz"), bytes(text) if which else None, bytes(model))
