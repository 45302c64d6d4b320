# SPDX-License-Identifier: Apache-2.0
"""ncnn's files: the published SqueezeNet 1.1 exact and as accurate as it is known to be; lies are refused."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fireforge.base.errors import FireforgeError
from fireforge.base.model import Card, Model
from fireforge.base.pixels import normalize
from fireforge.base.postprocess import Postprocess
from fireforge.base.preprocess import Preprocess
from fireforge.base.recipes import steps_of
from fireforge.base.reference import run_reference
from fireforge.export.targets import pack
from fireforge.importers.imported import Imported
from fireforge.importers.ncnn import import_ncnn
from fireforge.nets.module import GraphModule
from fireforge.runtime.onnx_runtime import OnnxSession
from fireforge.runtime.predictor import Predictor

DATA = Path(os.environ.get("FIREFORGE_DATA", "/absent"))
data = pytest.mark.skipif(not DATA.is_dir(), reason="FIREFORGE_DATA names no folder")
RNG = np.random.default_rng(0)


def imported(folder: Path, lines: list[str], content: bytes) -> Imported:
    blobs = {word for line in lines for word in line.split()[4:] if "=" not in word}
    (folder / "a.param").write_text("\n".join(["7767517", f"{len(lines)} {len(blobs)}", *lines]) + "\n")
    (folder / "a.bin").write_bytes(content)
    return import_ncnn([folder / "a.bin", folder / "a.param"], None)


def answer(found: Imported, x: np.ndarray) -> np.ndarray:
    weights = {name: form.array() for name, form in found.weights.items()}
    return run_reference(found.graph, weights, {"input": x})["logits"]


def half(*shape: int) -> tuple[np.ndarray, bytes]:
    values = RNG.uniform(-1, 1, shape).astype(np.float16)
    raw = values.tobytes()
    return values.astype(np.float64), (0x01306B47).to_bytes(4, "little") + raw + b"\0" * (-len(raw) % 4)


def full(*shape: int, tag: bool = False) -> tuple[np.ndarray, bytes]:
    values = RNG.uniform(0.1, 1, shape).astype("<f4")
    return values.astype(np.float64), b"\0\0\0\0" * tag + values.tobytes()


@pytest.fixture(scope="module")
def squeezenet() -> Imported:
    folder = DATA / "squeezenet" / "ncnn"
    return import_ncnn([folder / "squeezenet_v1.1.param", folder / "squeezenet_v1.1.bin"], None)


@data
def test_every_number_of_squeezenet_is_the_oracles(squeezenet: Imported) -> None:
    stats = json.loads((DATA / "squeezenet" / "decoded_reference_stats.json").read_text())["squeezenet_v1.1_ncnn"]
    assert len(stats) == 26
    assert len(squeezenet.weights) == 52
    for layer, told in stats.items():
        for role in ("weight", "bias"):
            array = squeezenet.weights[f"{layer}.{role}"].array()
            assert array.dtype == np.float32
            assert hashlib.sha256(array.astype("<f4").tobytes()).hexdigest() == told[f"sha256_f32le_{role}"], layer
        assert list(squeezenet.weights[f"{layer}.weight"].array().shape) == told["shape"]
    assert "16 bits" in squeezenet.notes[0]


@data
def test_squeezenet_is_as_accurate_as_it_is_known_to_be(squeezenet: Imported) -> None:
    """151 +- 2 first answers and 228 +- 3 among five of 300; the reference and torch answer the same on six."""
    card = Card(
        preprocess=Preprocess(image=steps_of("caffe", (3, 227, 227))),
        postprocess=Postprocess(),
        labels=tuple(map(str, range(1000))),
    )
    model = Model(graph=squeezenet.graph, weights=squeezenet.weights, card=card)
    predictor = Predictor(OnnxSession(pack(model)), card)
    rows = list(csv.DictReader((DATA / "imagenet_eval300" / "labels.csv").read_text().splitlines()))
    answers = [predictor.predict(DATA / "imagenet_eval300" / row["file"], top=5).labels for row in rows]
    assert abs(sum(row["class_index"] == labels[0] for row, labels in zip(rows, answers)) - 151) <= 2
    assert abs(sum(row["class_index"] in labels for row, labels in zip(rows, answers)) - 228) <= 3
    pixels = np.stack([predictor.pixels(DATA / "imagenet_eval300" / row["file"]) for row in rows[:6]])
    x = normalize(pixels, card.preprocess.steps())
    wanted = [int(labels[0]) for labels in answers[:6]]
    np.testing.assert_array_equal(answer(squeezenet, x).argmax(1), wanted)
    torch = pytest.importorskip("torch")
    module = GraphModule(squeezenet.graph)
    module.load_state_dict({name: torch.from_numpy(array) for name, array in model.arrays().items()})
    with torch.no_grad():
        np.testing.assert_array_equal(module.eval()(torch.from_numpy(x)).argmax(1), wanted)


def test_layers_mean_what_they_mean_in_plain_numpy(tmp_path: Path) -> None:
    """A small network against sums written out here, float64; 1e-5 for float32's rounding."""
    (weight, raw_weight), (bias, raw_bias) = half(3, 2, 1, 1), full(3)
    norms = [full(3) for _ in range(4)]
    (dense, raw_dense), (shift, raw_shift) = full(4, 3, tag=True), full(4)
    lines = [
        "Input data 0 1 data 0=3 1=4 2=2",
        "Convolution c 1 1 data c 0=3 1=1 5=1 6=6 9=2 -23310=1,0.1",
        "BatchNorm n 1 1 c n 0=3 1=0.001",
        "Split s 1 2 n n0 n1",
        "HardSwish h 1 1 n0 h 0=1.666667e-01 1=0.5",
        "BinaryOp m 2 1 h n1 m 0=2",
        "Pooling p 1 1 m p 0=1 4=1",
        "InnerProduct f 1 1 p f 0=4 1=1 2=12",
        "Softmax prob 1 1 f prob",
    ]
    raw = b"".join((raw_weight, raw_bias, *(item[1] for item in norms), raw_dense, raw_shift))
    x = RNG.uniform(-1, 1, (2, 2, 4, 3)).astype(np.float32)
    y = np.einsum("kc,nchw->nkhw", weight[:, :, 0, 0], x.astype(np.float64)) + bias[None, :, None, None]
    y = np.where(y < 0, 0.1 * y, y)
    scale, mean, variance, beta = (item[0][None, :, None, None] for item in norms)
    y = scale * (y - mean) / np.sqrt(variance + 0.001) + beta
    y = y * (y * np.clip(y / 6 + 0.5, 0, 1))
    wanted = y.mean((2, 3)) @ dense.T + shift
    found = imported(tmp_path, lines, raw)
    np.testing.assert_allclose(answer(found, x), wanted, rtol=1e-5, atol=1e-5)
    assert found.graph.nodes[-1].op == "Gemm"  # the Softmax is left out


@pytest.mark.parametrize(
    ("words", "side"),
    [
        ("1=3 2=2", 4),
        ("1=3 2=2 5=1", 3),
        ("1=3 2=2 5=2", 4),
        ("1=3 2=2 5=3", 4),
        ("0=1 1=3 2=2", 4),
        ("0=1 1=3 2=2 3=1", 5),
    ],
)
def test_pooling_rounds_as_ncnn_does(tmp_path: Path, words: str, side: int) -> None:
    """8 px: full mode fills the last window up, valid mode drops it; averages count no padding."""
    lines = ["Input data 0 1 data 0=8 1=8 2=1", f"Pooling p 1 1 data p {words}", "Pooling g 1 1 p g 0=0 4=1"]
    x = RNG.uniform(0, 1, (1, 1, 8, 8)).astype(np.float32)
    found = imported(tmp_path, lines, b"")
    weights = {name: form.array() for name, form in found.weights.items()}
    got = run_reference(found.graph, weights, {"input": x}, wanted=("p",))["p"]
    assert got.shape == (1, 1, side, side)
    pad = 1 if "5=3" in words or "3=1" in words else 0
    naive = np.empty((side, side))
    for i in range(side):
        for j in range(side):
            top, left = 2 * i - pad, 2 * j - pad
            window = x[0, 0, max(top, 0) : top + 3, max(left, 0) : left + 3]
            naive[i, j] = window.mean() if words.startswith("0=1") else window.max()
    np.testing.assert_allclose(got[0, 0], naive, rtol=1e-6)


def test_depthwise_scale_sum_and_join_in_plain_numpy(tmp_path: Path) -> None:
    """Nine half floats are followed by two bytes of filling; a sum of three, and channels joined in their order."""
    (kernel, raw_kernel), (scale, raw_scale), (shift, raw_shift) = half(3, 1, 1, 3), full(3), full(3)
    lines = [
        "Input data 0 1 data 0=5 1=2 2=3",
        "Split s 1 4 data a b c d",
        "ConvolutionDepthWise w 1 1 a w 0=3 1=3 11=1 4=1 14=0 6=9 7=3 9=3 -23310=2,-0.5,0.5",
        "Scale n 1 1 b n 0=3 1=1",
        "Eltwise e 3 1 w n c e 0=1",
        "Concat k 2 1 d e k",
        "Pooling p 1 1 k p 0=1 4=1",
        "Flatten f 1 1 p f",
    ]
    x = RNG.uniform(-1, 1, (2, 3, 2, 5)).astype(np.float32)
    wide = np.pad(x.astype(np.float64), [(0, 0), (0, 0), (0, 0), (1, 1)])
    filtered = sum(kernel[None, :, 0, 0, i, None, None] * wide[..., i : i + 5] for i in range(3))
    e = np.clip(filtered, -0.5, 0.5) + x * scale[:, None, None] + shift[:, None, None] + x
    wanted = np.concatenate([x, e], 1).mean((2, 3))
    found = imported(tmp_path, lines, raw_kernel + raw_scale + raw_shift)
    np.testing.assert_allclose(answer(found, x), wanted, rtol=1e-5, atol=1e-6)


def test_a_gate_of_numbers_laid_flat_scales_maps(tmp_path: Path) -> None:
    raw = full(2, 2, tag=True)
    lines = [
        "Input data 0 1 data 0=3 1=3 2=2",
        "Split s 1 2 data a b",
        "Pooling p 1 1 a p 0=1 4=1",
        "InnerProduct f 1 1 p f 0=2 2=4 9=4",
        "BinaryOp m 2 1 b f m 0=2",
        "Pooling q 1 1 m q 0=1 4=1",
    ]
    x = RNG.uniform(0, 1, (1, 2, 3, 3)).astype(np.float32)
    gate = 1 / (1 + np.exp(-(x.mean((2, 3)) @ raw[0].T)))
    np.testing.assert_allclose(answer(imported(tmp_path, lines, raw[1]), x), x.mean((2, 3)) * gate, rtol=1e-5)


CONV = "Convolution c 1 1 data c 0=3 1=1 6=6"
INPUT = "Input data 0 1 data 0=3 1=3 2=2"


@pytest.mark.parametrize(
    ("lines", "content", "code", "told"),
    [
        ([INPUT, CONV], b"\0" * 20, "BAD_MODEL_FILE", "24 bytes, 16 are left"),
        ([INPUT, CONV], b"\0" * 32, "BAD_MODEL_FILE", "4 bytes that no layer reads"),
        ([INPUT, CONV], (0x000D4B38).to_bytes(4, "little") + b"\0" * 24, "UNKNOWN_OPERATOR", "int8"),
        ([INPUT, CONV], b"\1\0\0\0" + b"\0" * 24, "UNKNOWN_OPERATOR", "tag 0x00000001"),
        ([INPUT, CONV], b"\0" * 4 + b"\xff" * 24, "BAD_WEIGHTS", "NaN"),
        ([INPUT, CONV.replace("6=6", "6=7")], b"\0" * 28, "BAD_MODEL_FILE", "7 weights for shape"),
        ([INPUT, CONV + " 8=1"], b"\0" * 28, "UNKNOWN_OPERATOR", "parameter 8"),
        ([INPUT, CONV.replace("0=3", "0=2147483647")], b"", "BAD_MODEL_FILE", "2147483647"),
        ([INPUT, CONV.replace("1=1", "1=9").replace("6=6", "6=486")], b"\0" * 1948, "BAD_SHAPE", "does not fit"),
        ([INPUT, "Yolov3DetectionOutput y 1 1 data y"], b"", "UNKNOWN_OPERATOR", "Yolov3DetectionOutput"),
        (["Input data 0 1 data", CONV], b"\0" * 28, "BAD_MODEL_FILE", "how large"),
        (["Input data 0 1 data 0=99999 1=3 2=3", CONV], b"", "BAD_GRAPH", "99999"),
        ([INPUT, "Concat k 2 1 data later k", "ReLU r 1 1 k later"], b"", "BAD_MODEL_FILE", "'later'"),
        ([INPUT, "ReLU r 1 1 data data"], b"", "BAD_MODEL_FILE", "made twice"),
        ([INPUT, "Convolution c 9 9 data c"], b"", "BAD_MODEL_FILE", "Convolution c 9 9"),
        ([INPUT, "ReLU r 1 2 data a b"], b"", "BAD_MODEL_FILE", "outputs: a, b"),
        ([INPUT, "ReLU r 1 1 data a 0=nan"], b"", "BAD_MODEL_FILE", "0=nan"),
        ([INPUT, "ReLU r 1 1 data a -23301=5,1"], b"", "BAD_MODEL_FILE", "-23301=5,1"),
        ([INPUT, f"ReLU {'r' * 600} 1 1 data a"], b"", "BAD_MODEL_FILE", "too long: 'rrr"),
        (
            [INPUT, f"ReLU r 1 1 {'b' * 9000} a"],
            b"",
            "BAD_MODEL_FILE",
            "too long: '" + "b" * 80 + "'; allowed: at most 512",
        ),
    ],
)
def test_what_lies_is_refused(tmp_path: Path, lines: list[str], content: bytes, code: str, told: str) -> None:
    with pytest.raises(FireforgeError) as error:
        imported(tmp_path, lines, content)
    assert error.value.code == code
    assert told in error.value.line()


def test_layers_that_are_all_called_alike_are_refused_soon(tmp_path: Path) -> None:
    """20,000 names with 0 to 19,999 underscores behind them would take an hour."""
    lines = [f"ReLU r 1 1 {f'b{i - 1}' if i else 'data'} b{i}" for i in range(19_000)]
    start = time.process_time()
    with pytest.raises(FireforgeError, match=r"BAD_GRAPH: r_*: .*too many layers"):
        imported(tmp_path, [INPUT, *lines], b"")
    assert time.process_time() - start < 5


def test_both_files_are_needed_and_the_param_must_be_text(tmp_path: Path) -> None:
    (tmp_path / "a.param").write_bytes(b"\xdd\x85\x76\x00")
    (tmp_path / "a.bin").write_bytes(b"")
    for files in (["a.param"], ["a.param", "a.bin"]):
        with pytest.raises(FireforgeError, match=r"BAD_MODEL_FILE.*\.param"):
            import_ncnn([tmp_path / name for name in files], None)


SMALL = f"7767517\n4 4\n{INPUT}\n{CONV} 5=1 9=1\nPooling p 1 1 c p 1=2 2=2\nPooling g 1 1 p g 0=1 4=1\n".encode()
NUMBERS = b"\0" * 4 + RNG.uniform(0.1, 1, 9).astype("<f4").tobytes()


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(SMALL) - 1), st.integers(0, 255)), max_size=4), st.integers(0, len(SMALL)))
def test_mangled_text_is_read_or_refused(changes: list[tuple[int, int]], end: int) -> None:
    text = bytearray(SMALL)
    for at, value in changes:
        text[at] = value
    read_or_refused(bytes(text[: end if end % 3 == 0 else len(text)]), NUMBERS)


@pytest.mark.parametrize("size", range(len(NUMBERS)))
def test_every_truncation_of_the_numbers_is_refused(size: int) -> None:
    assert read_or_refused(SMALL, NUMBERS[:size]) == "BAD_MODEL_FILE"


def test_the_whole_is_read() -> None:
    assert read_or_refused(SMALL, NUMBERS) == ""


def read_or_refused(text: bytes, numbers: bytes) -> str:
    with tempfile.TemporaryDirectory() as folder:
        param, held = Path(folder) / "a.param", Path(folder) / "a.bin"
        param.write_bytes(text)
        held.write_bytes(numbers)
        try:
            import_ncnn([param, held], None)
        except FireforgeError as error:
            return error.code
    return ""
