# SPDX-License-Identifier: Apache-2.0
"""Caffe's layers one by one and together, held against Caffe's own rules written out as loops."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fireforge.base.errors import FireforgeError
from fireforge.base.model import Card, Model
from fireforge.base.postprocess import Postprocess
from fireforge.base.preprocess import ImageSteps, Preprocess
from fireforge.base.reference import run_reference
from fireforge.export.targets import pack
from fireforge.importers.caffe_model import import_caffe
from fireforge.importers.caffe_writer import caffemodel_bytes
from fireforge.nets.module import GraphModule, load_arrays
from fireforge.runtime.onnx_runtime import OnnxSession

CLOSE: dict[str, Any] = {"rtol": 1e-5, "atol": 1e-5}  # float32 sums of some dozens of numbers of about 1
HEAD = 'name: "net" layer {{ name: "data" type: "Input" top: "data" input_param {{ shape {{ dim: 1 {} }} }} }}\n'
TAIL = 'layer { name: "fc" type: "InnerProduct" bottom: "y" top: "fc" inner_product_param { num_output: 3 } }'


def load(folder: Path, text: str, arrays: dict[str, list[np.ndarray]]):
    """What the importer makes of a prototxt and a caffemodel of our own writing."""
    (folder / "n.prototxt").write_text(text)
    (folder / "n.caffemodel").write_bytes(caffemodel_bytes(text.encode(), arrays))
    return import_caffe([folder / "n.caffemodel", folder / "n.prototxt"], None)


def run(got, x: np.ndarray) -> np.ndarray:
    arrays = {name: form.array() for name, form in got.weights.items()}
    return run_reference(got.graph, arrays, {"input": x})["logits"]


def numbers(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def through(folder: Path, layers: str, x: np.ndarray, wanted: np.ndarray, arrays: dict[str, list[np.ndarray]]):
    """One or more layers from "data" to "y", seen through a product with the identity."""
    size = math.prod(wanted.shape[1:])
    text = HEAD.format(" ".join(f"dim: {size}" for size in x.shape[1:])) + layers
    text += TAIL.replace("num_output: 3", f"num_output: {size}")
    eye = np.eye(size, dtype=np.float32)
    got = load(folder, text, {**arrays, "fc": [eye, np.zeros(size, np.float32)]})
    np.testing.assert_allclose(run(got, x), wanted.reshape(len(x), -1), **CLOSE)
    return got


def layer(kind: str, param: str = "", *, bottoms: str = 'bottom: "data"', top: str = "y", name: str = "one") -> str:
    return f'layer {{ name: "{name}" type: "{kind}" {bottoms} top: "{top}" {param} }}\n'


def conv(x, w, b, *, stride=(1, 1), pad=(0, 0), dilation=1, group=1):
    """Caffe's ConvolutionLayer: each filter of a group over that group's channels."""
    n, _, h, width = x.shape
    filters, inner, kh, kw = w.shape
    oh = (h + 2 * pad[0] - (dilation * (kh - 1) + 1)) // stride[0] + 1
    ow = (width + 2 * pad[1] - (dilation * (kw - 1) + 1)) // stride[1] + 1
    out = np.zeros((n, filters, oh, ow))
    for f in range(filters):
        first = f // (filters // group) * inner
        for i, j, c, r, s in np.ndindex(oh, ow, inner, kh, kw):
            y, z = i * stride[0] - pad[0] + r * dilation, j * stride[1] - pad[1] + s * dilation
            if 0 <= y < h and 0 <= z < width:
                out[:, f, i, j] += x[:, first + c, y, z] * float(w[f, c, r, s])
    return out + (0 if b is None else b.reshape(1, -1, 1, 1))


def deconv(x, w, b, *, stride: int, pad: int, group: int):
    """Caffe's DeconvolutionLayer: the gradient of a convolution with respect to its input."""
    n, channels, h, width = x.shape
    _, inner, k, _ = w.shape
    oh, ow = stride * (h - 1) + k - 2 * pad, stride * (width - 1) + k - 2 * pad
    out = np.zeros((n, inner * group, oh, ow))
    for c, i, j, f, r, s in np.ndindex(channels, h, width, inner, k, k):
        y, z = i * stride - pad + r, j * stride - pad + s
        if 0 <= y < oh and 0 <= z < ow:
            out[:, c // (channels // group) * inner + f, y, z] += x[:, c, i, j] * float(w[c, f, r, s])
    return out + b.reshape(1, -1, 1, 1)


def pool(x, *, kernel: int, stride: int, pad: int, mean: bool, up: bool = True):
    """Caffe's PoolingLayer: sizes by ceil, the last window dropped if it starts behind input and padding."""
    n, channels, *sides = x.shape
    counts = []
    for side in sides:
        exact = (side + 2 * pad - kernel) / stride
        count = int(math.ceil(exact) if up else math.floor(exact)) + 1
        counts.append(count - 1 if pad and (count - 1) * stride >= side + pad else count)
    out = np.zeros((n, channels, *counts))
    for i, j in np.ndindex(*counts):
        y, z = i * stride - pad, j * stride - pad
        y_end, z_end = min(y + kernel, sides[0] + pad), min(z + kernel, sides[1] + pad)
        area = (y_end - y) * (z_end - z)
        inside = x[:, :, max(y, 0) : min(y_end, sides[0]), max(z, 0) : min(z_end, sides[1])]
        out[:, :, i, j] = inside.sum(axis=(2, 3)) / area if mean else inside.max(axis=(2, 3))
    return out


def lrn(x, *, size: int, alpha: float, beta: float, k: float):
    """Caffe's LRNLayer across channels: alpha is divided by the size."""
    out = np.zeros(x.shape)
    for c in range(x.shape[1]):
        near = x[:, max(c - size // 2, 0) : c + size // 2 + 1].astype(np.float64)
        out[:, c] = x[:, c] / (k + alpha / size * (near**2).sum(axis=1)) ** beta
    return out


@pytest.mark.parametrize(
    "param, options",
    [
        ("kernel_size: 3", {}),
        ("kernel_size: 3 pad: 1 stride: 2 group: 2", {"pad": (1, 1), "stride": (2, 2), "group": 2}),
        ("kernel_size: 3 pad: 2 dilation: 2", {"pad": (2, 2), "dilation": 2}),
        ("kernel_h: 3 kernel_w: 1 pad_h: 1 stride_h: 2 stride_w: 1", {"pad": (1, 0), "stride": (2, 1)}),
        ("kernel_size: 3 kernel_size: 1 pad: 1 pad: 0 bias_term: false", {"pad": (1, 0)}),
    ],
)
def test_convolution(tmp_path: Path, param: str, options: dict[str, Any]) -> None:
    x = numbers(2, 4, 8, 7)
    side = 1 if "kernel_w" in param or "kernel_size: 1" in param else 3
    w, b = numbers(6, 4 // options.get("group", 1), 3, side, seed=1), numbers(6, seed=2)
    bias = None if "false" in param else b
    text = layer("Convolution", f"convolution_param {{ num_output: 6 {param} }}")
    through(tmp_path, text, x, conv(x, w, bias, **options), {"one": [w] if bias is None else [w, b]})


@pytest.mark.parametrize("group", [1, 2])
def test_deconvolution(tmp_path: Path, group: int) -> None:
    x, w, b = numbers(2, 4, 3, 4), numbers(4, 6 // group, 4, 4, seed=1), numbers(6, seed=2)
    text = layer(
        "Deconvolution", f"convolution_param {{ num_output: 6 kernel_size: 4 stride: 2 pad: 1 group: {group} }}"
    )
    through(tmp_path, text, x, deconv(x, w, b, stride=2, pad=1, group=group), {"one": [w, b]})


@pytest.mark.parametrize("mean", [False, True])
@pytest.mark.parametrize("side", [5, 6, 7, 8])
@pytest.mark.parametrize(
    "kernel, stride, pad", [(2, 2, 0), (3, 2, 0), (3, 2, 1), (2, 2, 1), (3, 3, 1), (3, 1, 1), (5, 3, 2)]
)
def test_pooling(tmp_path: Path, side: int, kernel: int, stride: int, pad: int, mean: bool) -> None:
    x = numbers(1, 2, side, side + 1)
    method = "AVE" if mean else "MAX"
    for mode in ("CEIL", "FLOOR"):
        param = (
            f"pooling_param {{ pool: {method} kernel_size: {kernel} stride: {stride} pad: {pad} round_mode: {mode} }}"
        )
        wanted = pool(x, kernel=kernel, stride=stride, pad=pad, mean=mean, up=mode == "CEIL")
        through(tmp_path, layer("Pooling", param), x, wanted, {})


def test_window_larger_than_the_map_makes_one(tmp_path: Path) -> None:
    x = numbers(1, 2, 2, 5)
    for mean in (False, True):
        param = f"pooling_param {{ pool: {'AVE' if mean else 'MAX'} kernel_size: 3 stride: 2 }}"
        through(tmp_path, layer("Pooling", param), x, pool(x, kernel=3, stride=2, pad=0, mean=mean), {})


def test_window_outside_the_map_is_refused(tmp_path: Path) -> None:
    x = numbers(1, 2, 5, 5)
    text = layer("Pooling", "pooling_param { pool: MAX kernel_size: 1 stride: 3 }")
    with pytest.raises(FireforgeError, match="outside the map"):
        through(tmp_path, text, x, x, {})


@pytest.mark.parametrize("size, alpha, k", [(5, 1e-1, None), (3, 2.0, 2.0)])
def test_lrn(tmp_path: Path, size: int, alpha: float, k: float | None) -> None:
    x = numbers(2, 6, 2, 3)
    text = layer("LRN", f"lrn_param {{ local_size: {size} alpha: {alpha} beta: 0.75 {f'k: {k}' if k else ''} }}")
    through(tmp_path, text, x, lrn(x, size=size, alpha=alpha, beta=0.75, k=k or 1), {})


def column(values: np.ndarray) -> np.ndarray:
    return values.reshape(1, -1, 1, 1)


@pytest.mark.parametrize("factor", [1.0, 999.98, 0.0])
@pytest.mark.parametrize("scaled", ["", "in place", "elsewhere", "without bias", "read twice"])
def test_batch_norm_and_scale(tmp_path: Path, factor: float, scaled: str) -> None:
    x, mean, spread = numbers(2, 3, 4, 4), numbers(3, seed=1), np.abs(numbers(3, seed=2)) + 1
    gamma, beta = numbers(3, seed=3), numbers(3, seed=4)
    real = 0 if factor == 0 else 1 / factor
    normed = (x - column(mean) * real) / np.sqrt(column(spread) * real + 1e-3)
    top = "y" if scaled in ("", "in place", "without bias") else "normed"
    text = layer("BatchNorm", "batch_norm_param { eps: 1e-3 }", top=top, name="bn")
    arrays = {"bn": [mean, spread, np.asarray([factor], np.float32)]}
    wanted = normed
    if scaled:
        bias = scaled != "without bias"
        behind = "scaled" if scaled == "read twice" else "y"
        flag = str(bias).lower()
        text += layer(
            "Scale", f"scale_param {{ bias_term: {flag} }}", bottoms=f'bottom: "{top}"', top=behind, name="sc"
        )
        arrays["sc"] = [gamma, beta] if bias else [gamma]
        wanted = normed * column(gamma) + (column(beta) if bias else 0)
    if scaled == "read twice":
        text += layer("Eltwise", "", bottoms='bottom: "normed" bottom: "scaled"', name="sum")
        wanted = wanted + normed
    got = through(tmp_path, text, x.astype(np.float32), wanted, arrays)
    ops = [node.op for node in got.graph.nodes]
    assert ops.count("BatchNormalization") == 1
    assert ("Mul" in ops) == (scaled == "read twice")


@pytest.mark.parametrize(("factor", "mean"), [(1e-45, 1.0), (1e-45, 0.0), (1e-3, 3e38), (np.nan, 1.0)])
def test_a_factor_that_makes_statistics_infinite_is_refused(tmp_path: Path, factor: float, mean: float) -> None:
    """And no warning is given beside, which pytest would make an error of."""
    x = numbers(2, 3, 4, 4).astype(np.float32)
    blobs = [np.full(3, mean, np.float32), np.ones(3, np.float32), np.asarray([factor], np.float32)]
    with pytest.raises(FireforgeError, match=r"BAD_WEIGHTS: bn.running_mean: NaN or infinity"):
        through(tmp_path, layer("BatchNorm", top="y", name="bn"), x, x, {"bn": blobs})


def relu(x):
    return np.maximum(x, 0)


X = numbers(2, 4, 3, 3)
SLOPES = numbers(4, seed=5)
SIMPLE = {
    "ReLU": (layer("ReLU"), relu(X), {}),
    "ReLU leaking": (layer("ReLU", "relu_param { negative_slope: 0.1 }"), np.where(X > 0, X, X * np.float32(0.1)), {}),
    "PReLU": (layer("PReLU"), relu(X) + column(SLOPES) * np.minimum(X, 0), {"one": [SLOPES]}),
    "PReLU shared": (
        layer("PReLU", "prelu_param { channel_shared: true }"),
        relu(X) + 0.25 * np.minimum(X, 0),
        {"one": [np.asarray(0.25, np.float32)]},
    ),
    "Sigmoid": (layer("Sigmoid"), 1 / (1 + np.exp(-X)), {}),
    "TanH": (layer("TanH"), np.tanh(X), {}),
    "Swish": (layer("Swish", "swish_param { beta: 2 }"), X / (1 + np.exp(-2 * X)), {}),
    "Clip": (layer("Clip", "clip_param { min: -0.5 max: 1 }"), np.clip(X, -0.5, 1), {}),
    "Dropout": (layer("Dropout", "dropout_param { dropout_ratio: 0.4 }"), X, {}),
    "Power": (layer("Power", "power_param { scale: 2 shift: -1 }"), 2 * X - 1, {}),
    "Power 2": (layer("Power", "power_param { power: 2 scale: 3 shift: 1 }"), (3 * X + 1) ** 2, {}),
    "Scale": (
        layer("Scale", "scale_param { bias_term: true }"),
        X * column(SLOPES) + column(SLOPES),
        {"one": [SLOPES, SLOPES]},
    ),
    "Bias": (layer("Bias"), X + column(SLOPES), {"one": [SLOPES]}),
    "Eltwise sum": (
        layer("ReLU", top="r", name="r")
        + layer(
            "Eltwise",
            "eltwise_param { coeff: 0.5 coeff: -2 coeff: 1 }",
            bottoms='bottom: "r" bottom: "data"' * 1 + ' bottom: "r"',
        ),
        1.5 * relu(X) - 2 * X,
        {},
    ),
    "Eltwise difference": (
        layer("ReLU", top="r", name="r")
        + layer("Eltwise", "eltwise_param { coeff: 1 coeff: -1 }", bottoms='bottom: "r" bottom: "data"'),
        relu(X) - X,
        {},
    ),
    "Eltwise product": (
        layer("TanH", top="t", name="t")
        + layer("Eltwise", "eltwise_param { operation: PROD }", bottoms='bottom: "t" bottom: "data"'),
        np.tanh(X) * X,
        {},
    ),
    "Eltwise maximum": (
        layer("TanH", top="t", name="t")
        + layer("Eltwise", "eltwise_param { operation: MAX }", bottoms='bottom: "t" bottom: "data"'),
        np.maximum(np.tanh(X), X),
        {},
    ),
    "Slice, Concat": (
        'layer { name: "s" type: "Slice" bottom: "data" top: "a" top: "b" slice_param { axis: 1 slice_point: 1 } }\n'
        + layer("Concat", bottoms='bottom: "b" bottom: "a"'),
        np.concatenate([X[:, 1:], X[:, :1]], axis=1),
        {},
    ),
    "Slice in equal parts, by the old name": (
        'layer { name: "s" type: "Slice" bottom: "data" top: "a" top: "b" slice_param { slice_dim: 1 } }\n'
        + layer("Concat", "concat_param { concat_dim: 1 }", bottoms='bottom: "b" bottom: "a"'),
        np.concatenate([X[:, 2:], X[:, :2]], axis=1),
        {},
    ),
    "Split": (
        'layer { name: "s" type: "Split" bottom: "data" top: "a" top: "b" }\n'
        + layer("ReLU", bottoms='bottom: "a"', top="a", name="r")
        + layer("Eltwise", bottoms='bottom: "a" bottom: "b"'),
        relu(X) + X,
        {},
    ),
    "Flatten": (layer("Flatten"), X, {}),
    "Reshape": (layer("Reshape", "reshape_param { shape { dim: 0 dim: 2 dim: -1 dim: 3 } }"), X, {}),
    "Reshape with the batch of one": (layer("Reshape", "reshape_param { shape { dim: 1 dim: -1 } }"), X, {}),
    "Reduction": (
        layer("Reduction", "reduction_param { operation: MEAN axis: 2 }"),
        X.mean(axis=(2, 3)),
        {},
    ),
    "global pooling": (layer("Pooling", "pooling_param { pool: AVE global_pooling: true }"), X.mean(axis=(2, 3)), {}),
    "Softmax within": (
        layer("Softmax", top="p", name="p") + layer("Eltwise", bottoms='bottom: "p" bottom: "data"'),
        np.exp(X) / np.exp(X).sum(axis=1, keepdims=True) + X,
        {},
    ),
    "gate of each channel": (
        layer("Pooling", "pooling_param { pool: MAX global_pooling: true }", top="g", name="g")
        + 'layer { name: "f" type: "Flatten" bottom: "g" top: "f" }\n'
        + layer("Scale", "scale_param { axis: 0 }", bottoms='bottom: "data" bottom: "f"'),
        X * X.max(axis=(2, 3), keepdims=True),
        {},
    ),
    "in place": (
        layer("TanH", top="t", name="t")
        + layer("ReLU", bottoms='bottom: "t"', top="t", name="r")
        + layer("Dropout", bottoms='bottom: "t"', top="t", name="d")
        + layer("Eltwise", bottoms='bottom: "t" bottom: "data"'),
        relu(np.tanh(X)) + X,
        {},
    ),
}


@pytest.mark.parametrize("case", SIMPLE)
def test_layer(tmp_path: Path, case: str) -> None:
    text, wanted, arrays = SIMPLE[case]
    through(tmp_path, text, X, np.asarray(wanted), arrays)


@pytest.mark.parametrize("transpose", [False, True])
def test_inner_product(tmp_path: Path, transpose: bool) -> None:
    w = numbers(5, 36)
    param = f"inner_product_param {{ num_output: 5 bias_term: false transpose: {str(transpose).lower()} }}"
    got = through(tmp_path, layer("InnerProduct", param), X, X.reshape(2, 36) @ w.T, {"one": [w.T if transpose else w]})
    assert [node.name for node in got.graph.nodes][:2] == ["one/flatten", "one"]


WHOLE = (
    HEAD.format("dim: 3 dim: 11 dim: 9")
    + layer("Convolution", "convolution_param { num_output: 4 kernel_size: 3 pad: 1 }", top="c", name="conv1")
    + layer("BatchNorm", bottoms='bottom: "c"', top="c", name="bn1")
    + layer("Scale", "scale_param { bias_term: true }", bottoms='bottom: "c"', top="c", name="scale1")
    + layer("ReLU", bottoms='bottom: "c"', top="c", name="relu1")
    + layer(
        "Pooling", "pooling_param { pool: MAX kernel_size: 3 stride: 2 }", bottoms='bottom: "c"', top="p", name="pool1"
    )
    + layer("LRN", "lrn_param { local_size: 3 alpha: 0.3 beta: 0.5 }", bottoms='bottom: "p"', top="n", name="norm1")
    + layer(
        "Convolution",
        "convolution_param { num_output: 4 kernel_size: 3 pad: 2 dilation: 2 group: 2 bias_term: false }",
        bottoms='bottom: "n"',
        top="a",
        name="a",
    )
    + layer("Pooling", "pooling_param { pool: AVE kernel_size: 3 pad: 1 }", bottoms='bottom: "n"', top="b", name="b")
    + layer("Eltwise", bottoms='bottom: "a" bottom: "b"', top="e", name="sum")
    + layer("Concat", bottoms='bottom: "e" bottom: "n"', top="y", name="join")
    + layer(
        "Pooling",
        "pooling_param { pool: AVE kernel_size: 2 stride: 2 pad: 1 }",
        bottoms='bottom: "y"',
        top="y2",
        name="last",
    )
    + TAIL.replace('"y"', '"y2"')
    + layer("Softmax", bottoms='bottom: "fc"', top="prob", name="prob")
)


def test_whole_network_by_hand_in_numpy_torch_and_onnx_runtime(tmp_path: Path) -> None:
    x = numbers(2, 3, 11, 9)
    w, b, w2 = numbers(4, 3, 3, 3, seed=1), numbers(4, seed=2), numbers(4, 2, 3, 3, seed=3)
    mean, spread, gamma, beta = (
        numbers(4, seed=4),
        np.abs(numbers(4, seed=5)) + 1,
        numbers(4, seed=6),
        numbers(4, seed=7),
    )
    t = conv(x, w, b, pad=(1, 1))
    t = (t - column(mean) / 2) / np.sqrt(column(spread) / 2 + 1e-5) * column(gamma) + column(beta)
    t = lrn(pool(relu(t), kernel=3, stride=2, pad=0, mean=False), size=3, alpha=0.3, beta=0.5, k=1)
    e = conv(t, w2, None, pad=(2, 2), dilation=2, group=2) + pool(t, kernel=3, stride=1, pad=1, mean=True)
    t = pool(np.concatenate([e, t], axis=1), kernel=2, stride=2, pad=1, mean=True).reshape(2, -1)
    fc, fcb = numbers(3, t.shape[1], seed=8), numbers(3, seed=9)
    arrays = {
        "conv1": [w, b],
        "bn1": [mean, spread, np.asarray([2], np.float32)],
        "scale1": [gamma, beta],
        "a": [w2],
        "fc": [fc, fcb],
    }
    got = load(tmp_path, WHOLE, arrays)
    held = {name: form.array() for name, form in got.weights.items()}
    np.testing.assert_allclose(run(got, x), t @ fc.T + fcb, rtol=1e-4, atol=1e-4)  # float64 against float32
    torch.set_num_threads(1)
    module = GraphModule(got.graph).eval()
    load_arrays(module, held)
    with torch.no_grad():
        np.testing.assert_allclose(module(torch.from_numpy(x)).numpy(), run(got, x), **CLOSE)
    steps = ImageSteps(channels=3, resize=None, crop=(11, 9))
    card = Card(preprocess=Preprocess(image=steps), postprocess=Postprocess(), labels=("a", "b", "c"))
    session = OnnxSession(pack(Model(graph=got.graph, weights=got.weights, card=card)))
    np.testing.assert_allclose(session.run({"input": x})["logits"], run(got, x), **CLOSE)
    assert set(held) == {
        *("conv1.weight", "conv1.bias", "bn1.weight", "bn1.bias", "bn1.running_mean", "bn1.running_var"),
        *("a.weight", "fc.weight", "fc.bias"),
    }
    assert any("Softmax" in note for note in got.notes)
