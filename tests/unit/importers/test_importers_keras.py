# SPDX-License-Identifier: Apache-2.0
"""Keras' .h5: files in its layout, written here with h5py, answer as plain numpy with channels last does."""

from __future__ import annotations

import json
import os
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fireforge.base.errors import FireforgeError
from fireforge.base.reference import run_reference
from fireforge.importers import keras_h5, keras_open
from fireforge.importers.imported import Imported
from fireforge.importers.keras_config import layers_of
from fireforge.importers.keras_h5 import import_keras

h5py = pytest.importorskip("h5py")
RNG = np.random.default_rng(0)
Arrays = dict[str, dict[str, np.ndarray]]


def write(path: Path, config: Any, arrays: Arrays, *, version: str = "2.13.1") -> None:
    """A file as model.save lays it out: attributes with names, and datasets at <layer>/<layer>/<role>:0."""
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = json.dumps(config) if not isinstance(config, str) else config
        file.attrs["keras_version"] = version
        root = file.create_group("model_weights")
        root.attrs["layer_names"] = np.array([name.encode() for name in arrays] or np.zeros(0, "S1"))
        for layer, weights in arrays.items():
            group = root.create_group(layer)
            names = [f"{layer}/{role}:0" for role in weights]
            group.attrs["weight_names"] = np.array([name.encode() for name in names])
            for name, array in zip(names, weights.values()):
                group.create_dataset(name, data=array)


def layer(kind: str, name: str, **config: Any) -> dict[str, Any]:
    return {"class_name": kind, "config": {"name": name, **config}}


def sequential(*layers: dict[str, Any]) -> dict[str, Any]:
    return {"class_name": "Sequential", "config": {"name": "net", "layers": list(layers)}}


def source(shape: tuple[int, ...]) -> dict[str, Any]:
    return layer("InputLayer", "x", batch_input_shape=[None, *shape])


def imported(folder: Path, config: Any, arrays: Arrays, version: str = "2.13.1") -> Imported:
    write(folder / "m.h5", config, arrays, version=version)
    return import_keras([folder / "m.h5"], None)


def answer(found: Imported, x: np.ndarray) -> np.ndarray:
    """Logits for pictures with channels last."""
    weights = {name: form.array() for name, form in found.weights.items()}
    feeds = {"input": np.ascontiguousarray(x.transpose(0, 3, 1, 2))}
    return run_reference(found.graph, weights, feeds)["logits"]


def draw(*shape: int) -> np.ndarray:
    return RNG.uniform(-1, 1, shape).astype(np.float32)


def padded(x: np.ndarray, kernel: tuple[int, int], stride: int, value: float = 0.0) -> np.ndarray:
    """TensorFlow's SAME: ceil(size / stride) windows, the odd line at the end."""
    widths = [(0, 0)]
    for size, extent in zip(x.shape[1:3], kernel):
        total = max((-(-size // stride) - 1) * stride + extent - size, 0)
        widths.append((total // 2, total - total // 2))
    return np.pad(x.astype(np.float64), [*widths, (0, 0)], constant_values=value)


def windows(x: np.ndarray, kernel: tuple[int, int], stride: int) -> np.ndarray:
    """(N, H', W', C, R, S)."""
    return np.lib.stride_tricks.sliding_window_view(x, kernel, axis=(1, 2))[:, ::stride, ::stride]


def conv(x: np.ndarray, kernel: np.ndarray, stride: int) -> np.ndarray:
    return np.einsum("nhwcrs,rsck->nhwk", windows(x, kernel.shape[:2], stride), kernel.astype(np.float64))


def test_a_sequential_network_with_flatten(tmp_path: Path) -> None:
    """Convolution with uneven padding, uneven pooling, Flatten in Keras' order; 1e-5 for float32's rounding."""
    arrays: Arrays = {
        "c": {"kernel": draw(3, 2, 3, 4), "bias": draw(4)},
        "n": {"gamma": draw(4), "beta": draw(4), "moving_mean": draw(4), "moving_variance": np.abs(draw(4))},
        "d": {"kernel": draw(3 * 2 * 4, 5), "bias": draw(5)},
    }
    same = {"padding": "same", "data_format": "channels_last"}
    config = sequential(
        layer("Conv2D", "c", batch_input_shape=[None, 10, 7, 3], filters=4, kernel_size=[3, 2], strides=[2, 2],
              dilation_rate=[1, 1], groups=1, use_bias=True, activation="relu", **same),
        layer("BatchNormalization", "n", axis=[3], epsilon=0.01, scale=True, center=True),
        layer("MaxPooling2D", "p", pool_size=[2, 2], strides=[2, 2], **same),
        layer("Flatten", "f"),
        layer("Dropout", "o", rate=0.5),
        layer("Activation", "a", activation="tanh"),
        layer("Dense", "d", units=5, use_bias=True, activation="softmax"),
    )  # fmt: skip
    x = draw(2, 10, 7, 3)
    y = np.maximum(conv(padded(x, (3, 2), 2), arrays["c"]["kernel"], 2) + arrays["c"]["bias"], 0)
    norm = arrays["n"]
    y = norm["gamma"] * (y - norm["moving_mean"]) / np.sqrt(norm["moving_variance"] + 0.01) + norm["beta"]
    y = windows(padded(y, (2, 2), 2, -np.inf), (2, 2), 2).max((4, 5))
    assert y.shape == (2, 3, 2, 4)
    wanted = np.tanh(y.reshape(2, -1)) @ arrays["d"]["kernel"] + arrays["d"]["bias"]
    found = imported(tmp_path, config, arrays)
    np.testing.assert_allclose(answer(found, x), wanted, rtol=1e-5, atol=1e-5)
    assert "Transpose" not in {node.op for node in found.graph.nodes}


def inbound(*names: str) -> list[Any]:
    return [[[name, 0, 0, {}] for name in names]]


def inbound3(*names: str) -> list[Any]:
    tensors = [
        {"class_name": "__keras_tensor__", "config": {"shape": [None, 8, 8, 2], "keras_history": [name, 0, 0]}}
        for name in names
    ]
    return [{"args": tensors if len(names) == 1 else [tensors], "kwargs": {}}]


@pytest.mark.parametrize("version", ["2.13.1", "3.3.3"])
def test_a_functional_network_with_branches(tmp_path: Path, version: str) -> None:
    """Depthwise and separable kernels, sums, joins and gates, in the layouts of both versions of Keras."""
    reads = inbound if version < "3" else inbound3
    deep = "depthwise_kernel" if version < "3" else "kernel"
    arrays: Arrays = {
        "w": {deep: draw(3, 3, 2, 2), "bias": draw(4)},
        "s": {"depthwise_kernel": draw(3, 3, 2, 1), "pointwise_kernel": draw(1, 1, 2, 4)},
        "g": {"kernel": draw(4, 4)},
        "d": {"kernel": draw(8, 3), "bias": draw(3)},
    }
    size = {"kernel_size": [3, 3], "strides": [1, 1], "padding": "same"}
    rows = [
        (layer("Concatenate", "cat", axis=-1), ("m", "z")),
        (layer("InputLayer", "x", **{"batch_shape" if version >= "3" else "batch_input_shape": [None, 8, 8, 2]}), ()),
        (layer("DepthwiseConv2D", "w", depth_multiplier=2, use_bias=True, activation="relu6", **size), ("x",)),
        (layer("SeparableConv2D", "s", filters=4, use_bias=False, depth_multiplier=1, **size), ("x",)),
        (layer("Add", "a"), ("w", "s")),
        (layer("GlobalAveragePooling2D", "q", keepdims=True), ("a",)),
        (layer("Dense", "g", units=4, use_bias=False, activation="hard_sigmoid"), ("q",)),
        (layer("Multiply", "m"), ("a", "g")),
        (layer("ReLU", "z", negative_slope=0.25), ("a",)),
        (layer("ZeroPadding2D", "zp", padding=[[0, 1], [2, 0]]), ("cat",)),
        (layer("AveragePooling2D", "p", pool_size=[2, 2], padding="same"), ("zp",)),
        (layer("GlobalAveragePooling2D", "gap"), ("p",)),
        (layer("Dense", "d", units=3, use_bias=True), ("gap",)),
    ]
    listed = [
        {**row, "name": row["config"]["name"], "inbound_nodes": reads(*names) if names else []} for row, names in rows
    ]
    ends = ["d", 0, 0] if version >= "3" else [["d", 0, 0]]
    config = {"class_name": "Functional", "config": {"name": "net", "layers": listed, "output_layers": ends}}
    x = draw(2, 8, 8, 2)
    wide = windows(padded(x, (3, 3), 1), (3, 3), 1)
    w = np.einsum("nhwcrs,rscm->nhwcm", wide, arrays["w"][deep]).reshape(2, 8, 8, 4) + arrays["w"]["bias"]
    s = np.einsum("nhwcrs,rscm->nhwcm", wide, arrays["s"]["depthwise_kernel"])[..., 0]
    a = np.clip(w, 0, 6) + s @ arrays["s"]["pointwise_kernel"][0, 0]
    slope = 0.2 if version < "3" else 1 / 6
    gate = np.clip(slope * (a.mean((1, 2), keepdims=True) @ arrays["g"]["kernel"]) + 0.5, 0, 1)
    joined = np.concatenate([a * gate, np.where(a < 0, 0.25 * a, a)], -1)
    y = np.pad(joined, [(0, 0), (0, 1), (2, 0), (0, 0)])
    pooled = np.nanmean(windows(padded(y, (2, 2), 2, np.nan), (2, 2), 2), axis=(4, 5))
    wanted = pooled.mean((1, 2)) @ arrays["d"]["kernel"] + arrays["d"]["bias"]
    np.testing.assert_allclose(answer(imported(tmp_path, config, arrays, version), x), wanted, rtol=1e-5, atol=1e-5)


HEAD = layer("Dense", "d", units=3, use_bias=False)
GAP = layer("GlobalAveragePooling2D", "g")
NUMBERS: Arrays = {"d": {"kernel": draw(2, 3)}}
LAMBDA = layer("Lambda", "l", function=["4wEAAAAAAAAAAQ==", None, None], function_type="lambda")
CUSTOM = {**layer("Mine", "l"), "module": "__main__", "registered_name": "Package>Mine"}
ACTIVATION = layer("Activation", "l", activation={"class_name": "function", "config": "mine", "module": "builtins"})


def circle() -> dict[str, Any]:
    rows = [source((4, 4, 2)), layer("Add", "a"), layer("Add", "b"), GAP, HEAD]
    reads = [(), ("x", "b"), ("x", "a"), ("b",), ("g",)]
    listed = [{**row, "inbound_nodes": inbound(*names) if names else []} for row, names in zip(rows, reads)]
    return {"class_name": "Functional", "config": {"layers": listed, "output_layers": [["d", 0, 0]]}}


@pytest.mark.parametrize(
    ("config", "arrays", "code", "told"),
    [
        (sequential(source((4, 4, 2)), LAMBDA, GAP, HEAD), NUMBERS, "UNSAFE_FILE", "Lambda"),
        (sequential(source((4, 4, 2)), CUSTOM, GAP, HEAD), NUMBERS, "UNSAFE_FILE", "Mine"),
        (sequential(source((4, 4, 2)), ACTIVATION, GAP, HEAD), NUMBERS, "UNSAFE_FILE", "function"),
        (sequential(source((4, 4, 2)), layer("LSTM", "l"), GAP, HEAD), NUMBERS, "UNKNOWN_OPERATOR", "LSTM"),
        (sequential(source((4, 4, 2)), GAP, {**HEAD, "config": {**HEAD["config"], "activation": "gelu"}}), NUMBERS,
         "UNKNOWN_OPERATOR", "gelu"),
        (sequential(layer("InputLayer", "x", batch_shape=[None, None, 4, 2]), GAP, HEAD), NUMBERS,
         "BAD_MODEL_FILE", "shape"),
        (sequential(source((4, 4, 2)), GAP, HEAD), {}, "BAD_WEIGHTS", "kernel is missing"),
        (sequential(source((4, 4, 2)), layer("BatchNormalization", "n", scale=False, center=False), GAP, HEAD), NUMBERS,
         "BAD_WEIGHTS", "moving_mean is missing"),
        (sequential(source((4, 4, 2)), GAP, HEAD), {"d": {"kernel": draw(3, 2)}}, "BAD_WEIGHTS", "(3, 2)"),
        (sequential(source((4, 4, 2)), GAP, HEAD), {"d": {"kernel": draw(2, 3) * np.nan}}, "BAD_WEIGHTS", "NaN"),
        (sequential(source((4, 4, 2)), GAP, HEAD), {"d": {"kernel": np.full((2, 3), 1e300)}}, "BAD_WEIGHTS", "NaN"),
        (sequential(source((4, 4, 2)), layer("ReLU", "l", negative_slope=10**400), GAP, HEAD), NUMBERS,
         "UNKNOWN_OPERATOR", "within float32"),
        (sequential(source((4, 4, 2)), GAP, HEAD), {**NUMBERS, "e": {"bias": draw(3)}}, "BAD_WEIGHTS", "left over: e"),
        (sequential(source((4, 4, 2)), layer("Flatten", "f"), layer("BatchNormalization", "n"), HEAD), NUMBERS,
         "UNKNOWN_OPERATOR", "laid flat"),
        (sequential(source((4, 4, 2)), GAP, {**HEAD, "config": {**HEAD["config"], "units": 1}}),
         {"d": {"kernel": draw(2, 1)}}, "BAD_GRAPH", "yes or no"),
        (circle(), NUMBERS, "BAD_MODEL_FILE", "no layer before it makes"),
        (sequential(source((4, 4, 2)), layer("Activation", "l", activation=["relu"]), GAP, HEAD), NUMBERS,
         "UNKNOWN_OPERATOR", "['relu']"),
        ({"class_name": "Functional", "config": {"layers": [{**source((4, 4, 2)), "inbound_nodes": 7}]}}, {},
         "BAD_MODEL_FILE", "reads 7"),
        ({"class_name": "Mystery", "config": {"layers": [source((4, 4, 2))]}}, {}, "UNKNOWN_OPERATOR", "Mystery"),
        ({"class_name": "Sequential"}, {}, "BAD_MODEL_FILE", "no layers"),
        ("{" * 2000, {}, "BAD_MODEL_FILE", "no JSON"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, config: Any, arrays: Arrays, code: str, told: str
) -> None:
    """The file is opened in this process, which saves the time to start another."""
    monkeypatch.setattr(keras_open, "limit_memory", lambda size: None)
    monkeypatch.setattr(keras_h5, "in_child", lambda module, path, out: keras_open._convert(str(path), str(out)))
    with pytest.raises(FireforgeError) as error:
        imported(tmp_path, config, arrays)
    assert error.value.code == code
    assert told in error.value.line()


def test_layers_are_put_in_order_soon_and_those_of_one_round_as_the_file_has_them() -> None:
    """A chain from its end to its begin, which sorting by rounds over all layers would take a minute for."""
    chain = [{**layer("ReLU", f"r{i}"), "inbound_nodes": inbound(f"r{i - 1}" if i else "x")} for i in range(15_000)]
    twins = [{**layer("ReLU", name), "inbound_nodes": inbound("x")} for name in ("b", "a")]
    rows = [*reversed(chain), *twins, source((4, 4, 2))]
    start = time.process_time()
    config = {"class_name": "Functional", "config": {"layers": rows, "output_layers": [["a", 0, 0]]}}
    names = [found.name for found in layers_of(config, where="here")[0]]
    assert time.process_time() - start < 3
    assert names == ["x", "r0", "b", "a", *(f"r{i}" for i in range(1, 15_000))]


def good(path: Path) -> None:
    write(path, sequential(source((4, 4, 2)), GAP, HEAD), NUMBERS)


@pytest.mark.parametrize("kind", ["external link", "soft link", "external storage", "virtual"])
def test_numbers_in_other_files_are_refused(tmp_path: Path, kind: str) -> None:
    path, other = tmp_path / "m.h5", tmp_path / "other.h5"
    good(path)
    good(other)
    with h5py.File(path, "a") as file:
        group, name = file["model_weights/d/d"], "kernel:0"
        del group[name]
        if kind == "external link":
            group[name] = h5py.ExternalLink("other.h5", "/model_weights/d/d/kernel:0")
        elif kind == "soft link":
            group[name] = h5py.SoftLink("/elsewhere")
        elif kind == "external storage":
            group.create_dataset(name, (2, 3), "f4", external=[(str(other), 0, 24)])
        else:
            layout = h5py.VirtualLayout((2, 3), "f4")
            layout[:] = h5py.VirtualSource(str(other), "model_weights/d/d/kernel:0", (2, 3))
            group.create_virtual_dataset(name, layout)
    with pytest.raises(FireforgeError, match="UNSAFE_FILE"):
        import_keras([path], None)


def test_a_dataset_that_claims_more_than_the_file_is_refused(tmp_path: Path) -> None:
    good(tmp_path / "m.h5")
    with h5py.File(tmp_path / "m.h5", "a") as file:
        del file["model_weights/d/d/kernel:0"]
        file["model_weights/d/d"].create_dataset("kernel:0", (2**20, 2**20), "f4", chunks=(1024, 1024))
    with pytest.raises(FireforgeError, match=r"BAD_MODEL_FILE.*in a file of"):
        import_keras([tmp_path / "m.h5"], None)


def test_other_forms_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.h5"
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = np.zeros(0, "S1")
    with pytest.raises(FireforgeError, match=r"BAD_MODEL_FILE.*holds weights"):
        import_keras([path], None)
    with zipfile.ZipFile(tmp_path / "m.keras", "w") as archive:
        archive.writestr("config.json", "{}")
    with pytest.raises(FireforgeError, match=r"BAD_MODEL_FILE.*zip form"):
        import_keras([tmp_path / "m.keras"], None)


def test_mangled_files_are_read_or_refused(tmp_path: Path) -> None:
    """HDF5 may crash on them; the child does, and this process tells."""
    path = tmp_path / "m.h5"
    good(path)
    whole = path.read_bytes()
    rng = np.random.default_rng(1)
    cases = [whole[:100], whole[: len(whole) // 2]]
    for _ in range(int(os.environ.get("FIREFORGE_FUZZ", "3"))):
        mangled = bytearray(whole)
        for at in rng.integers(8, len(whole), 40):
            mangled[at] = rng.integers(256)
        cases.append(bytes(mangled))
    for case in cases:
        path.write_bytes(case)
        try:
            import_keras([path], None)
        except FireforgeError as error:
            assert error.code.startswith(("BAD_", "UN"))  # noqa: PT017
