# SPDX-License-Identifier: Apache-2.0
"""Small whole model files of every kind that the importers read, made here: what the fuzzing begins with."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from onnx import TensorProto, helper, numpy_helper
from unit.importers.tflite_writer import Writer

from fireforge.base.graph import Graph
from fireforge.export.onnx_file import onnx_bytes
from fireforge.importers.caffe_writer import caffemodel_bytes
from fireforge.importers.ncnn import import_ncnn
from fireforge.importers.safetensors_file import write_safetensors

Files = dict[str, bytes]  # the files of one model, by name
RNG = np.random.default_rng(0)


def numbers(*shape: int, dtype: str = "<f4") -> np.ndarray:
    return RNG.uniform(0.1, 1, shape).astype(dtype)


CAFFE_NEW = """name: "new"
input: "data" input_shape { dim: 1 dim: 3 dim: 9 dim: 9 }
layer { name: "c" type: "Convolution" bottom: "data" top: "c"
 convolution_param { num_output: 4 kernel_size: 3 pad: 1 } }
layer { name: "n" type: "BatchNorm" bottom: "c" top: "n" batch_norm_param { use_global_stats: true } }
layer { name: "s" type: "Scale" bottom: "n" top: "s" scale_param { bias_term: true } }
layer { name: "r" type: "ReLU" bottom: "s" top: "s" }
layer { name: "l" type: "LRN" bottom: "s" top: "l" lrn_param { local_size: 3 alpha: 0.1 } }
layer { name: "p" type: "Pooling" bottom: "l" top: "p" pooling_param { pool: MAX kernel_size: 3 stride: 2 pad: 1 } }
layer { name: "h" type: "Slice" bottom: "p" top: "h0" top: "h1" slice_param { slice_point: 1 } }
layer { name: "k" type: "Concat" bottom: "h1" bottom: "h0" bottom: "p" top: "k" }
layer { name: "e" type: "Eltwise" bottom: "k" bottom: "k" top: "e" eltwise_param { operation: SUM coeff: 1 coeff: 2 } }
layer { name: "w" type: "Power" bottom: "e" top: "w" power_param { scale: 0.5 shift: 1 power: 2 } }
layer { name: "u" type: "PReLU" bottom: "w" top: "u" }
layer { name: "d" type: "Dropout" bottom: "u" top: "u" dropout_param { dropout_ratio: 0.5 } include { phase: TEST } }
layer { name: "t" type: "Deconvolution" bottom: "u" top: "t"
 convolution_param { num_output: 2 kernel_size: 2 stride: 2 } }
layer { name: "v" type: "Reshape" bottom: "t" top: "v" reshape_param { shape { dim: 0 dim: -1 } } }
layer { name: "fc" type: "InnerProduct" bottom: "v" top: "fc" inner_product_param { num_output: 5 } }
layer { name: "prob" type: "Softmax" bottom: "fc" top: "prob" }
"""
CAFFE_OLD = """name: "old"
layer { name: "data" type: "Data" top: "data" top: "label" transform_param { scale: 0.5 crop_size: 8 mean_value: 104 } }
layer { name: "c" type: "Convolution" bottom: "data" top: "c"
 convolution_param { num_output: 4 kernel_h: 2 kernel_w: 3 group: 1 } }
layer { name: "a" type: "Pooling" bottom: "c" top: "a" pooling_param { pool: AVE global_pooling: true } }
layer { name: "f" type: "Flatten" bottom: "a" top: "f" }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "f" bottom: "label" top: "loss" }
"""
PACKED = """name: "small" input: "data" input_dim: 1 input_dim: 2 input_dim: 4 input_dim: 4
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" convolution_param { num_output: 3 kernel_size: 3 } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "fc" type: "InnerProduct" bottom: "conv" top: "fc" inner_product_param { num_output: 5 } }
"""


def caffe() -> list[Files]:
    new = {
        "c": [numbers(4, 3, 3, 3), numbers(4)],
        "n": [numbers(4), numbers(4), numbers(1)],
        "s": [numbers(4), numbers(4)],
        "u": [numbers(8)],
        "t": [numbers(8, 2, 2, 2), numbers(2)],
        "fc": [numbers(5, 200), numbers(5)],
    }
    old = {"c": [numbers(4, 3, 2, 3), numbers(4)]}
    made: list[Files] = []
    for text, arrays in ((CAFFE_NEW, new), (CAFFE_OLD, old)):
        raw = text.encode()
        made.append({"m.prototxt": raw, "m.caffemodel": caffemodel_bytes(raw, arrays)})
    return [*made, {"m.caffemodel": made[0]["m.caffemodel"]}]


def deep_compression() -> list[Files]:
    data = np.asarray([20, 30], "<u4").tobytes()
    for bits, biases, count in ((8, 3, 20), (4, 5, 30)):
        data += numbers(1 << bits).tobytes() + numbers(biases).tobytes()
        codes = RNG.integers(0, 256, count if bits == 8 else count // 2, np.uint8)
        data += codes.tobytes() + RNG.integers(0, 2, count // 2, np.uint8).tobytes()
    return [{"m.prototxt": PACKED.encode(), "m.net": data}]


def ncnn() -> list[Files]:
    lines = [
        "Input data 0 1 data 0=6 1=8 2=3",
        "Convolution c 1 1 data c 0=4 1=3 4=1 5=1 6=108 9=2 -23310=1,0.1",
        "BatchNorm n 1 1 c n 0=4 1=0.001",
        "Split s 1 3 n n0 n1 n2",
        "HardSwish h 1 1 n0 h 0=1.666667e-01 1=0.5",
        "ConvolutionDepthWise w 1 1 n1 w 0=4 1=3 4=-233 6=36 7=4 9=3 -23310=2,0,6",
        "BinaryOp m 2 1 h w m 0=2",
        "Scale q 1 1 n2 q 0=4 1=1",
        "Eltwise e 2 1 m q e 0=1 -23301=2,1.0,1.0",
        "Concat k 1 1 e k",
        "LRN l 1 1 k l 1=3",
        "Pooling p 1 1 l p 1=3 2=2",
        "Pooling g 1 1 p g 0=1 4=1",
        "InnerProduct f 1 1 g f 0=4 1=1 2=16",
        "Softmax prob 1 1 f prob",
    ]
    made = []
    for half in (False, True):

        def held(*shape: int, half: bool = half) -> bytes:
            return (0x01306B47 * half).to_bytes(4, "little") + numbers(*shape, dtype="<f2" if half else "<f4").tobytes()

        raw = held(108) + numbers(4).tobytes() + numbers(16).tobytes() + held(36) + numbers(8).tobytes()
        raw += held(16) + numbers(4).tobytes()
        made.append({"m.param": "\n".join(["7767517", f"{len(lines)} 20", *lines, ""]).encode(), "m.bin": raw})
    return made


def known(folder: Path) -> tuple[Graph, dict[str, np.ndarray]]:
    """A network, for kinds of files that hold numbers alone, and numbers of it."""
    paths = []
    for name, data in ncnn()[0].items():
        paths.append(folder / name)
        paths[-1].write_bytes(data)
    found = import_ncnn(paths, None)
    return found.graph, {name: np.asarray(form.array()) for name, form in found.weights.items()}


def safetensors(arrays: dict[str, np.ndarray]) -> list[Files]:
    other = {f"module.{name}": array.astype("<f2") for name, array in reversed(arrays.items())}
    return [{"m.safetensors": write_safetensors(arrays)}, {"m.safetensors": write_safetensors(other)}]


def torch_files(arrays: dict[str, np.ndarray]) -> list[Files]:
    state: dict[str, Any] = {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}
    made: list[Files] = []
    for content, new in ((state, True), ({"state_dict": state, "epoch": 3, "best": 0.5}, True), (state, False)):
        stream = io.BytesIO()
        torch.save(content, stream, _use_new_zipfile_serialization=new)
        made.append({"m.pt": stream.getvalue()})
    return made


def tflite_writers() -> list[tuple[Writer, int, int]]:
    """Files as they can be changed before they are written: the writer, the input and the output."""
    w = Writer()
    x = w.tensor((1, 9, 7, 3))
    y = w.add("PAD", [x, w.constant(np.asarray([[0, 0], [1, 2], [0, 1], [0, 0]], np.int32))], w.tensor((1, 12, 8, 3)))
    options = {0: ("b", 0), 1: ("i", 2), 2: ("i", 2), 3: ("b", 3)}
    y = w.add("CONV", [y, w.constant(numbers(4, 3, 3, 3)), w.constant(numbers(4))], w.tensor((1, 6, 4, 4)), options)
    half = w.add("DEQUANTIZE", [w.constant(numbers(1, 3, 3, 4, dtype="<f2"))], w.tensor((1, 3, 3, 4)))
    deep = {0: ("b", 0), 1: ("i", 1), 2: ("i", 1), 3: ("i", 1), 4: ("b", 1), 5: ("i", 1), 6: ("i", 2)}
    z = w.add("DEPTHWISE", [y, half, w.constant(numbers(4))], w.tensor((1, 6, 4, 4)), deep)
    y = w.add("MUL", [y, w.constant(numbers(4))], w.tensor((1, 6, 4, 4)), {0: ("b", 0)})
    y = w.add("CONCAT", [y, z], w.tensor((1, 6, 4, 8)), {0: ("i", 3)})
    pool = {0: ("b", 0), 1: ("i", 2), 2: ("i", 2), 3: ("i", 2), 4: ("i", 2)}
    y = w.add("MAX_POOL", [y], w.tensor((1, 3, 2, 8)), pool)
    y = w.add("MEAN", [y, w.constant(np.asarray([1, 2], np.int32))], w.tensor((1, 8)), {0: ("b", 0)})
    y = w.add("LINEAR", [y, w.constant(numbers(5, 8)), w.constant(numbers(5))], w.tensor((1, 5)), {0: ("b", 0)})
    made = [(w, x, w.add("SOFTMAX", [y], w.tensor((1, 5)), {0: ("f", 1.0)}))]
    w = Writer()
    x = w.tensor((1, 4, 4, 2), "int8", scale=1 / 128, zero=-1)
    kernel = w.constant(RNG.integers(-9, 9, (3, 3, 3, 2)).astype(np.int8), scale=numbers(3), axis=0)
    bias = w.constant(RNG.integers(-9, 9, 3).astype(np.int32), scale=numbers(3))
    y = w.add(
        "CONV",
        [x, kernel, bias],
        w.tensor((1, 2, 2, 3), "int8", scale=0.1, zero=-128),
        {1: ("i", 1), 2: ("i", 1), 0: ("b", 1)},
    )
    y = w.add("ADD", [y, y], w.tensor((1, 2, 2, 3), "int8", scale=0.2, zero=-9), {0: ("b", 0)})
    y = w.add("RESHAPE", [y], w.tensor((1, 12), "int8", scale=0.2, zero=-9), {0: np.asarray([1, 12], np.int32)})
    y = w.add(
        "LINEAR",
        [y, w.constant(RNG.integers(-9, 9, (4, 12)).astype(np.int8), scale=0.1), -1],
        w.tensor((1, 4), "int8", scale=0.3),
    )
    return [*made, (w, x, y)]


def tflite() -> list[Files]:
    return [{"m.tflite": w.data(x, y)} for w, x, y in tflite_writers()]


def onnx_files(graph: Graph, arrays: dict[str, np.ndarray]) -> list[Files]:
    """One that our own export wrote, and one as other tools write them."""
    held = {
        "w": numbers(6, 3, 3, 3), "b": numbers(6), "s": numbers(6), "m": numbers(4, 24), "flat": np.asarray([1, -1]),
        "low": np.asarray(0, np.float32), "pads": np.asarray([0, 0, 1, 0, 0, 0, 0, 1]), "parts": np.asarray([2, 4]),
        "from": np.asarray([1]), "to": np.asarray([6]), "axes": np.asarray([1]), "up": np.float32([1, 1, 2, 2]),
    }  # fmt: skip
    nodes = [
        helper.make_node("Pad", ["x", "pads", "low"], ["a"]),
        helper.make_node("Conv", ["a", "w", "b"], ["c"], auto_pad="SAME_UPPER", strides=[2, 2], group=1),
        helper.make_node("BatchNormalization", ["c", "s", "b", "b", "s"], ["d"], epsilon=1e-3),
        helper.make_node("Clip", ["d", "low"], ["e"]),
        helper.make_node("Split", ["e", "parts"], ["f0", "f1"], axis=1),
        helper.make_node("Concat", ["f1", "f0"], ["g"], axis=1),
        helper.make_node("Slice", ["g", "from", "to", "axes"], ["h"]),
        helper.make_node("Constant", [], ["k"], value_float=0.5),
        helper.make_node("Mul", ["h", "k"], ["i"]),
        helper.make_node("Transpose", ["i"], ["t"], perm=[0, 2, 3, 1]),
        helper.make_node("Transpose", ["t"], ["i2"], perm=[0, 3, 1, 2]),
        helper.make_node(
            "Resize", ["i2", "", "up"], ["j"], mode="nearest", coordinate_transformation_mode="asymmetric"
        ),
        helper.make_node("MaxPool", ["e"], ["l"], kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1),
        helper.make_node("Reshape", ["l", "flat"], ["n"]),
        helper.make_node("Gemm", ["n", "m"], ["o"], transB=1),
        helper.make_node("ReduceMean", ["j"], ["q"], axes=[2, 3], keepdims=0),
        helper.make_node("Softmax", ["o"], ["prob"], axis=1),
    ]
    source = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 7, 7])
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("prob", "q")]
    made = helper.make_graph(nodes, "g", [source], ends, [numpy_helper.from_array(a, n) for n, a in held.items()])
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 13)])
    return [{"m.onnx": onnx_bytes(graph, arrays)}, {"m.onnx": model.SerializeToString()}]


def row(kind: str, name: str, **config: Any) -> dict[str, Any]:
    return {"class_name": kind, "name": name, "config": {"name": name, **config}}


def keras_told() -> list[tuple[Any, dict[str, np.ndarray]]]:
    """What files of Keras say: the description, and "<layer>/<role>" to array."""
    rows = [
        row("Conv2D", "c", batch_input_shape=[None, 10, 7, 3], filters=4, kernel_size=[3, 2], strides=[2, 2],
            padding="same", dilation_rate=[1, 1], groups=1, use_bias=True, activation="relu"),
        row("BatchNormalization", "n", axis=[3], epsilon=0.01, scale=True, center=True),
        row("MaxPooling2D", "p", pool_size=[2, 2], strides=[2, 2], padding="same"),
        row("Flatten", "f"),
        row("Dropout", "o", rate=0.5),
        row("Dense", "d", units=5, use_bias=True, activation="softmax"),
    ]  # fmt: skip
    arrays = {"c/kernel": numbers(3, 2, 3, 4), "c/bias": numbers(4), "d/kernel": numbers(24, 5), "d/bias": numbers(5)}
    arrays |= {f"n/{role}": numbers(4) for role in ("gamma", "beta", "moving_mean", "moving_variance")}
    made: list[tuple[Any, dict[str, np.ndarray]]] = []
    made.append(({"class_name": "Sequential", "config": {"name": "net", "layers": rows}}, arrays))
    rows = [
        row("InputLayer", "x", batch_shape=[None, 8, 8, 2]),
        row("DepthwiseConv2D", "w", depth_multiplier=2, kernel_size=[3, 3], padding="same", activation="relu6"),
        row("SeparableConv2D", "s", filters=4, kernel_size=[3, 3], padding="same", use_bias=False),
        row("Add", "a"),
        row("GlobalAveragePooling2D", "q", keepdims=True),
        row("Dense", "g", units=4, use_bias=False, activation="hard_sigmoid"),
        row("Multiply", "m"),
        row("ReLU", "z", negative_slope=0.25),
        row("Concatenate", "k", axis=-1),
        row("ZeroPadding2D", "zp", padding=[[0, 1], [2, 0]]),
        row("AveragePooling2D", "p", pool_size=[2, 2], padding="same"),
        row("GlobalMaxPooling2D", "gap"),
        row("Reshape", "v", target_shape=[1, 1, 8]),
        row("LeakyReLU", "y", alpha=0.1),
        row("Dense", "d", units=3, use_bias=True),
        row("Activation", "t", activation="swish"),
        row("Flatten", "f"),
    ]
    reads = ("-", "x", "x", "w,s", "a", "q", "a,g", "a", "m,z", "k", "zp", "p", "gap", "v", "y", "d", "t")
    for one, names in zip(rows, reads):
        one["inbound_nodes"] = [[[name, 0, 0, {}] for name in names.split(",")]] if names != "-" else []
    arrays = {"w/kernel": numbers(3, 3, 2, 2), "w/bias": numbers(4), "s/depthwise_kernel": numbers(3, 3, 2, 1)}
    arrays |= {"s/pointwise_kernel": numbers(1, 1, 2, 4), "g/kernel": numbers(4, 4), "d/kernel": numbers(8, 3)}
    config = {"name": "net", "layers": rows, "output_layers": [["f", 0, 0]]}
    return [*made, ({"class_name": "Functional", "config": config}, {**arrays, "d/bias": numbers(3)})]


def keras() -> list[Files]:
    made: list[Files] = []
    for config, arrays in keras_told():
        stream = io.BytesIO()
        with h5py.File(stream, "w") as file:
            file.attrs["model_config"], file.attrs["keras_version"] = json.dumps(config), "2.13.1"
            root = file.create_group("model_weights")
            layers = list(dict.fromkeys(name.partition("/")[0] for name in arrays))
            root.attrs["layer_names"] = np.array([layer.encode() for layer in layers])
            for layer in layers:
                names = [f"{name}:0" for name in arrays if name.startswith(f"{layer}/")]
                group = root.create_group(layer)
                group.attrs["weight_names"] = np.array([name.encode() for name in names])
                for name in names:
                    group.create_dataset(name, data=arrays[name[:-2]])
        made.append({"m.h5": stream.getvalue()})
    return made
