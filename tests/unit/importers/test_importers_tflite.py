# SPDX-License-Identifier: Apache-2.0
"""TFLite files against sums written out by hand, against LiteRT where it is installed, and damaged ones."""

from __future__ import annotations

import contextlib
import importlib.util
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fireforge.base.errors import FireforgeError
from fireforge.base.reference import run_reference
from fireforge.base.tensorform import Affine
from fireforge.export.onnx_file import onnx_bytes
from fireforge.importers.imported import Imported
from fireforge.importers.tflite import import_tflite
from fireforge.runtime.onnx_runtime import OnnxSession

SPEC = importlib.util.spec_from_file_location("tflite_writer", Path(__file__).with_name("tflite_writer.py"))
assert SPEC is not None
assert SPEC.loader is not None
writer = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(writer)
Writer = writer.Writer

SAME, VALID, RELU, RELU6 = 0, 1, 1, 3
HAS_LITERT = importlib.util.find_spec("ai_edge_litert") is not None
RNG = np.random.default_rng(0)
CONV = RNG.normal(size=(4, 3, 2, 3)).astype(np.float32)  # out, high, wide, in
BIAS = RNG.normal(size=4).astype(np.float32)
DEPTH = RNG.normal(size=(1, 3, 3, 8)).astype(np.float32)  # two outputs a channel
LINEAR = RNG.normal(size=(5, 12)).astype(np.float32)
PICTURES = RNG.uniform(-1, 1, (3, 3, 9, 7)).astype(np.float32)


def imported(data: bytes, folder: Path) -> Imported:
    path = folder / "net.tflite"
    path.write_bytes(data)
    return import_tflite([path], None)


def run(found: Imported, pictures: np.ndarray) -> np.ndarray:
    arrays = {name: form.array() for name, form in found.weights.items()}
    return run_reference(found.graph, arrays, {"input": pictures})["logits"]


def litert(data: bytes, pictures: np.ndarray) -> np.ndarray:
    """What LiteRT's plain kernels answer, picture by picture, in the file's dtype."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    net = Interpreter(model_content=data, experimental_op_resolver_type=OpResolverType.BUILTIN_REF)
    net.allocate_tensors()
    answers = []
    for picture in pictures:
        net.set_tensor(net.get_input_details()[0]["index"], picture.transpose(1, 2, 0)[None])
        net.invoke()
        answers.append(net.get_tensor(net.get_output_details()[0]["index"])[0].copy())
    return np.stack(answers)


def small() -> bytes:
    """conv, SAME, stride 2, Relu6; average pool, SAME; reshape; linear; softmax."""
    w = Writer()
    x = w.tensor((1, 9, 7, 3))
    options = {0: ("b", SAME), 1: ("i", 2), 2: ("i", 2), 3: ("b", RELU6)}
    y = w.add("CONV", [x, w.constant(CONV), w.constant(BIAS)], w.tensor((1, 5, 4, 4)), options)
    pool = {0: ("b", SAME), 1: ("i", 2), 2: ("i", 3), 3: ("i", 2), 4: ("i", 3)}
    y = w.add("AVERAGE_POOL", [y], w.tensor((1, 2, 2, 4)), pool)
    y = w.add("RESHAPE", [y], w.tensor((1, 16)), {0: np.asarray([1, 16], np.int32)})
    matrix = np.random.default_rng(5).normal(size=(5, 16)).astype(np.float32)
    y = w.add("LINEAR", [y, w.constant(matrix), w.constant(np.arange(5, dtype=np.float32))], w.tensor((1, 5)))
    return w.data(x, w.add("SOFTMAX", [y], w.tensor((1, 5)), {0: ("f", 1.0)}))


def wide() -> bytes:
    """All the other operators, of floats."""
    w = Writer()
    x = w.tensor((1, 9, 7, 3))
    pads = w.constant(np.asarray([[0, 0], [1, 2], [0, 1], [0, 0]], np.int32))
    y = w.add("PAD", [x, pads], w.tensor((1, 12, 8, 3)))
    options = {0: ("b", VALID), 1: ("i", 1), 2: ("i", 2), 3: ("b", RELU)}
    y = w.add("CONV", [y, w.constant(CONV), w.constant(BIAS)], w.tensor((1, 5, 7, 4)), options)
    depth = {0: ("b", SAME), 1: ("i", 1), 2: ("i", 1), 3: ("i", 2), 4: ("b", 0), 5: ("i", 1), 6: ("i", 2)}
    half = w.constant(DEPTH.astype(np.float16))
    kernel = w.add("DEQUANTIZE", [half], w.tensor((1, 3, 3, 8)))
    bias = w.constant(np.arange(8, dtype=np.float32))
    z = w.add("DEPTHWISE", [y, kernel, bias], w.tensor((1, 5, 7, 8)), depth)
    pool = {0: ("b", SAME), 1: ("i", 1), 2: ("i", 1), 3: ("i", 2), 4: ("i", 2)}
    y = w.add("MAX_POOL", [y], w.tensor((1, 5, 7, 4)), pool)
    y = w.add("MUL", [y, w.constant(np.float32([1, 2, 3, 4]))], w.tensor((1, 5, 7, 4)))
    y = w.add("CONCAT", [y, z], w.tensor((1, 5, 7, 12)), {0: ("i", 3)})
    y = w.add("ADD", [y, y], w.tensor((1, 5, 7, 12)), {0: ("b", RELU)})
    axes = w.constant(np.asarray([1, 2], np.int32))
    y = w.add("MEAN", [y, axes], w.tensor((1, 12)), {0: ("b", 0)})
    return w.data(x, w.add("LINEAR", [y, w.constant(LINEAR), -1], w.tensor((1, 5))))


def integers() -> bytes:
    """conv with a scale a channel, depthwise, max pool, add, average pool, linear: int8 as converters write it."""
    w = Writer()

    def weight(real: np.ndarray, axis: int) -> tuple[int, np.ndarray]:
        others = tuple(i for i in range(real.ndim) if i != axis)
        scale = (np.abs(real).max(axis=others) / 127).astype(np.float32)
        spread = scale.reshape([-1 if i == axis else 1 for i in range(real.ndim)])
        return w.constant(np.rint(real / spread).astype(np.int8), scale=scale, axis=axis), scale

    def bias(real: np.ndarray, scale: np.ndarray) -> int:
        return w.constant(np.rint(real / scale).astype(np.int32), scale=scale)

    x = w.tensor((1, 9, 7, 3), "int8", scale=1 / 128, zero=-1)
    kernel, scale = weight(CONV, 0)
    options = {0: ("b", SAME), 1: ("i", 1), 2: ("i", 1), 3: ("b", RELU)}
    shape = (1, 9, 7, 4)
    y = w.add("CONV", [x, kernel, bias(BIAS, scale / 128)], w.tensor(shape, "int8", scale=0.03, zero=-128), options)
    depth = {0: ("b", SAME), 1: ("i", 2), 2: ("i", 2), 3: ("i", 2), 4: ("b", 0)}
    kernel, scale = weight(DEPTH, 3)
    zeros = bias(np.zeros(8), scale * np.float32(0.03))
    y = w.add("DEPTHWISE", [y, kernel, zeros], w.tensor((1, 5, 4, 8), "int8", scale=0.15, zero=3), depth)
    pool = {0: ("b", SAME), 1: ("i", 1), 2: ("i", 1), 3: ("i", 2), 4: ("i", 2)}
    z = w.add("MAX_POOL", [y], w.tensor((1, 5, 4, 8), "int8", scale=0.15, zero=3), pool)
    y = w.add("ADD", [y, z], w.tensor((1, 5, 4, 8), "int8", scale=0.217, zero=-9), {0: ("b", 0)})
    pool = {0: ("b", VALID), 1: ("i", 1), 2: ("i", 1), 3: ("i", 3), 4: ("i", 5)}  # 15 numbers: no ties
    y = w.add("AVERAGE_POOL", [y], w.tensor((1, 1, 2, 8), "int8", scale=0.217, zero=-9), pool)
    y = w.add("RESHAPE", [y], w.tensor((1, 16), "int8", scale=0.217, zero=-9), {0: np.asarray([1, 16], np.int32)})
    matrix = np.random.default_rng(6).normal(size=(5, 16)).astype(np.float32)
    scale = float(np.float32(np.abs(matrix).max() / 127))
    held = w.constant(np.rint(matrix / scale).astype(np.int8), scale=scale)
    offsets = bias(np.arange(5) * 0.5, np.float32([scale * 0.217]))
    y = w.add("LINEAR", [y, held, offsets], w.tensor((1, 5), "int8", scale=0.12, zero=5))
    return w.data(x, y)


def float_ends() -> bytes:
    """Floats in and out, uint8 with zero points between: quantize, reshape, linear, softmax, dequantize."""
    w = Writer()
    x = w.tensor((1, 2, 2, 3))
    y = w.add("QUANTIZE", [x], w.tensor((1, 2, 2, 3), "uint8", scale=0.0173, zero=117))
    shape = {0: np.asarray([1, 12], np.int32)}
    y = w.add("RESHAPE", [y], w.tensor((1, 12), "uint8", scale=0.0173, zero=117), shape)
    held = w.constant(np.clip(np.rint(LINEAR / 0.021 + 130), 0, 255).astype(np.uint8), scale=0.021, zero=130)
    bias = np.rint(np.arange(5) / (0.0173 * 0.021)).astype(np.int32)
    offsets = w.constant(bias, scale=float(np.float32(0.0173) * np.float32(0.021)))
    y = w.add("LINEAR", [y, held, offsets], w.tensor((1, 5), "uint8", scale=0.09, zero=101))
    y = w.add("SOFTMAX", [y], w.tensor((1, 5), "uint8", scale=1 / 256, zero=0), {0: ("f", 1.0)})
    return w.data(x, w.add("DEQUANTIZE", [y], w.tensor((1, 5))))


def windows(x: np.ndarray, size: tuple[int, int], stride: tuple[int, int], fill: float) -> list[list[np.ndarray]]:
    """The windows of SAME padding over a picture (H, W, C), places outside filled."""
    rows = []
    for top in starts(x.shape[0], size[0], stride[0]):
        row = []
        for left in starts(x.shape[1], size[1], stride[1]):
            window = np.full((*size, x.shape[2]), fill, np.float64)
            for i in range(size[0]):
                for j in range(size[1]):
                    if 0 <= top + i < x.shape[0] and 0 <= left + j < x.shape[1]:
                        window[i, j] = x[top + i, left + j]
            row.append(window)
        rows.append(row)
    return rows


def starts(size: int, extent: int, stride: int) -> list[int]:
    count = -(-size // stride)
    before = max((count - 1) * stride + extent - size, 0) // 2
    return [i * stride - before for i in range(count)]


def test_a_small_network_against_sums_written_out(tmp_path: Path) -> None:
    """Tolerance 1e-4: float32 against float64."""
    found = imported(small(), tmp_path)
    assert [node.op for node in found.graph.nodes] == ["Conv", "Clip", "AveragePool", "Transpose", "Flatten", "Gemm"]
    matrix = np.random.default_rng(5).normal(size=(5, 16))
    for picture, logits in zip(PICTURES, run(found, PICTURES)):
        x = picture.transpose(1, 2, 0)
        y = np.array([[np.tensordot(CONV, v, 3) + BIAS for v in row] for row in windows(x, (3, 2), (2, 2), 0.0)])
        y = np.clip(y, 0, 6)
        y = np.array([[np.nanmean(v, axis=(0, 1)) for v in row] for row in windows(y, (3, 2), (3, 2), np.nan)])
        np.testing.assert_allclose(logits, matrix.astype(np.float32) @ y.reshape(-1) + np.arange(5), atol=1e-4)


@pytest.mark.skipif(not HAS_LITERT, reason="LiteRT is not installed")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("build", [small, wide])
def test_floats_are_those_of_litert(build, tmp_path: Path) -> None:
    """Tolerance 1e-4 of answers of 1 to 20: float32 sums in another order; LiteRT's softmax is undone."""
    data = build()
    got, want = run(imported(data, tmp_path), PICTURES), litert(data, PICTURES)
    if build is small:
        got = np.exp(got) / np.exp(got).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)


@pytest.mark.skipif(not HAS_LITERT, reason="LiteRT is not installed")
@pytest.mark.filterwarnings("ignore")
def test_integers_are_those_of_litert_but_for_ties(tmp_path: Path) -> None:
    """LiteRT multiplies by scales in 32-bit fixed point and rounds halves up; either may move a number by one step of
    the 255. Nearly all answers are equal; one step of what is pooled is up to 5 of the answer: 0.217 * 2.7 / 0.12."""
    data = integers()
    pictures = np.random.default_rng(3).integers(-128, 128, (40, 3, 9, 7)).astype(np.int8)
    found = imported(data, tmp_path)
    real = (pictures.astype(np.float32) + 1) / 128
    steps = run(found, real) / np.float32(0.12) + 5
    assert np.abs(steps - np.rint(steps)).max() < 1e-3
    off = np.abs(np.rint(steps) - litert(data, pictures))
    assert off.max() <= 5
    assert (off == 0).mean() > 0.93


@pytest.mark.filterwarnings("ignore")
def test_floats_around_integers_against_sums_written_out(tmp_path: Path) -> None:
    """Every number is a step of 0.09, and the answers those of float64; but for ties, which these pictures lack."""
    pictures = np.random.default_rng(9).uniform(-2, 2, (20, 3, 2, 2)).astype(np.float32)
    found = imported(float_ends(), tmp_path)
    assert found.graph.inputs[0].dtype == "float32"
    q = np.clip(np.rint(pictures.transpose(0, 2, 3, 1).reshape(20, 12) / np.float32(0.0173)) + 117, 0, 255) - 117
    matrix = np.clip(np.rint(LINEAR / 0.021 + 130), 0, 255) - 130
    total = q @ matrix.T + np.rint(np.arange(5) / (0.0173 * 0.021))
    steps = np.clip(np.rint(total * 0.0173 * 0.021 / 0.09) + 101, 0, 255) - 101
    np.testing.assert_allclose(run(found, pictures), steps * 0.09, atol=1e-4)
    if HAS_LITERT:
        power = np.exp(steps * 0.09)
        want = litert(float_ends(), pictures)
        np.testing.assert_allclose(power / power.sum(axis=1, keepdims=True), want, atol=1 / 256)


def test_integers_are_kept_and_run_alike_in_onnx_runtime(tmp_path: Path) -> None:
    """The same steps of 0.12 in the numpy reference and ONNX Runtime, but for ties that float32 sums decide."""
    found = imported(integers(), tmp_path)
    held = (
        found.weights["t3.weight"]
        if "t3.weight" in found.weights
        else next(form for name, form in found.weights.items() if name.endswith(".weight"))
    )
    assert isinstance(held, Affine)
    assert held.q.dtype == np.int8
    assert held.q.shape == (4, 3, 3, 2)
    assert held.quantization.axis == 0
    np.testing.assert_allclose(held.array(), CONV.transpose(0, 3, 1, 2), atol=np.abs(CONV).max() / 254)
    assert "rounded to 8 bits" in found.notes[0]
    arrays = {name: form.array() for name, form in found.weights.items()}
    session = OnnxSession(onnx_bytes(found.graph, arrays))
    got = session.run({"input": PICTURES})["logits"]
    assert np.abs(got - run(found, PICTURES)).max() < 0.121


@pytest.mark.parametrize(
    ("spoil", "code", "word"),
    [
        (lambda data: data[:4] + b"ONNX" + data[8:], "BAD_MODEL_FILE", "not a TFLite file"),
        (lambda data: b"<html>", "BAD_MODEL_FILE", "not a TFLite file"),
        (lambda data: b"", "BAD_MODEL_FILE", "not a TFLite file"),
        (lambda data: b"\xff\xff\xff\x7f" + data[4:], "BAD_MODEL_FILE", "damaged"),
        (lambda data: data[:200], "BAD_MODEL_FILE", "damaged"),
    ],
)
def test_what_is_no_tflite_file_is_refused(spoil, code: str, word: str, tmp_path: Path) -> None:
    with pytest.raises(FireforgeError) as caught:
        imported(spoil(small()), tmp_path)
    assert caught.value.code == code
    assert word in caught.value.what


def test_every_cut_of_a_file_is_refused(tmp_path: Path) -> None:
    """But for what only pads its end."""
    data = integers()
    for end in range(8, len(data) - 8, 97):
        with pytest.raises(FireforgeError):
            imported(data[:end], tmp_path)


def test_operators_and_forms_without_counterpart_are_named(tmp_path: Path) -> None:
    w = Writer()
    x = w.tensor((1, 9, 7, 3))
    with pytest.raises(FireforgeError, match=r"UNKNOWN_OPERATOR: t1: operator 77 "):
        imported(w.data(x, w.add(77, [x], w.tensor((1, 9, 7, 3)))), tmp_path)
    w = Writer()
    x, kernel = w.tensor((1, 9, 7, 3)), w.constant(CONV)
    y = w.add("CONV", [x, kernel], w.tensor((1, 9, 7, 4)), {0: ("b", 0), 1: ("i", 1), 2: ("i", 1), 3: ("b", 4)})
    with pytest.raises(FireforgeError, match=r"UNKNOWN_OPERATOR.*fused activation 4"):
        imported(w.data(x, y), tmp_path)
    w = Writer()
    x, kernel = w.tensor((1, 9, 7, 3)), w.tensor(CONV.shape, held=CONV[:2])
    y = w.add("CONV", [x, kernel], w.tensor((1, 9, 7, 4)), {0: ("b", 0), 1: ("i", 1), 2: ("i", 1)})
    with pytest.raises(FireforgeError, match=r"BAD_WEIGHTS.*bytes for float32"):
        imported(w.data(x, y), tmp_path)


def test_numbers_that_many_layers_share_are_not_copied_without_end(tmp_path: Path) -> None:
    """300 kernels of 2^17 numbers in one buffer of 2^17 bytes would be 160 MB."""
    w = Writer()
    y = x = w.tensor((1, 1, 1, 2**8), "int8", scale=1.0)
    kernel = w.constant(np.ones((2**8, 1, 2, 2**8), np.int8), scale=1.0)
    options = {0: ("b", SAME), 1: ("i", 1), 2: ("i", 1)}
    for _ in range(300):
        y = w.add("CONV", [y, kernel], w.tensor((1, 1, 1, 2**8), "int8", scale=1.0), options)
    with pytest.raises(FireforgeError, match=r"BAD_MODEL_FILE.*more than \d+ numbers"):
        imported(w.data(x, y), tmp_path)


@pytest.mark.parametrize("scale", [3e38, 2e36])
def test_a_scale_that_makes_integers_infinite_is_refused(tmp_path: Path, scale: float) -> None:
    w = Writer()
    x = w.tensor((1, 2, 2, 3))
    held = w.constant(np.full((5, 12), 100, np.int8), scale=scale)
    y = w.add("LINEAR", [x, held, -1], w.tensor((1, 5)), {0: ("b", 0)})
    with pytest.raises(FireforgeError, match=r"BAD_WEIGHTS: t1: a quantization"):
        imported(w.data(x, y), tmp_path)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    changes=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=6),
    kind=st.sampled_from((wide, integers)),
)
def test_mangled_bytes_end_in_an_error_of_ours_or_none(changes: list, kind, tmp_path: Path) -> None:
    data = bytearray(MADE[kind])
    for place, value in changes:
        data[place % len(data)] = value
    with contextlib.suppress(FireforgeError):  # anything else fails the test
        imported(bytes(data), tmp_path)


MADE = {kind: kind() for kind in (wide, integers)}
