# SPDX-License-Identifier: Apache-2.0
"""Writing a whole model: what the file says of itself, its self-test, and that it is written whole or not at all."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import onnx
import onnxruntime
import pytest

from fireforge.base.errors import FireforgeError
from fireforge.base.exported import Exported
from fireforge.base.golden import Golden, golden_difference, golden_inputs, weights_digest
from fireforge.base.model import METADATA_KEY, Tag
from fireforge.export.onnx_file import onnx_bytes
from fireforge.export.qdq import lower
from fireforge.export.targets import TARGETS, pack, tag_of
from fireforge.importers.onnx_file import import_onnx


@pytest.mark.parametrize(("quantized", "form", "bound"), [(False, "float32", 1e-4), (True, "int8", 0.05)])
def test_file_tells_card_and_golden_and_keeps_its_golden(quantized, form, bound, make_model, tmp_path):
    """Bounds relative to the greatest output: order of float32 sums; some steps of int8 scales."""
    model = make_model("firenet-small", quantized=quantized)
    path = tmp_path / "model.onnx"
    made = TARGETS["onnx"](model, path)
    data = path.read_bytes()
    assert made == Exported(path=str(path), form=form, bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
    assert TARGETS["onnx"](model, tmp_path / "again.onnx").sha256 == made.sha256
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    tag = Tag.from_json(json.loads(session.get_modelmeta().custom_metadata_map[METADATA_KEY]))
    assert tag.card == model.card
    outputs = session.run(["logits"], {"input": golden_inputs(model.card.preprocess.steps())})[0]
    golden = Golden.from_json(tag.golden)
    assert golden_difference(golden, outputs) <= bound
    assert golden_difference(golden, outputs * np.float32(1.2)) > bound
    assert {path.name for path in tmp_path.iterdir()} == {"model.onnx", "again.onnx"}


def test_int8_file_is_under_a_third_of_the_float_file(make_model, tmp_path):
    sizes = [
        TARGETS["onnx"](make_model("firenet-small", quantized=quantized), tmp_path / f"{quantized}.onnx").bytes
        for quantized in (False, True)
    ]
    assert sizes[1] < sizes[0] * 0.36


def test_gray_input(make_model, tmp_path):
    TARGETS["onnx"](make_model("firenet-small", quantized=True, channels=1), tmp_path / "gray.onnx")
    dims = onnx.load(tmp_path / "gray.onnx").graph.input[0].type.tensor_type.shape.dim
    assert [dim.dim_value for dim in dims][1:] == [1, 16, 16]


def test_absent_folder(make_model, tmp_path):
    with pytest.raises(FireforgeError, match="CANNOT_WRITE"):
        TARGETS["onnx"](make_model("firenet-small"), tmp_path / "none" / "model.onnx")


def digest_by_hand(arrays):
    """The layout that docs/files.md tells, in plain steps."""
    each = []
    for array in arrays:
        head = str(array.dtype).encode() + b" " + b"x".join(str(size).encode() for size in array.shape) + b"\n"
        each.append(hashlib.sha256(head + array.tobytes()).hexdigest())
    return hashlib.sha256("".join(sorted(each)).encode()).hexdigest()


@pytest.mark.parametrize("quantized", [False, True])
@pytest.mark.parametrize("network", ["firenet-small", "resnet-small", "resnet-20", "mobilenet-small"])
def test_digest_of_the_weights_survives_the_way_through_the_file(network, quantized, make_model, tmp_path):
    """Reference: the digest by hand of what ONNX's own reader finds in the file and the importer keeps."""
    TARGETS["onnx"](make_model(network, quantized=quantized), tmp_path / "model.onnx")
    graph, arrays, tag = import_onnx(tmp_path / "model.onnx")
    assert tag.weights == weights_digest(arrays.values()) == digest_by_hand(arrays.values())
    stored = {
        item.name: onnx.numpy_helper.to_array(item) for item in onnx.load(tmp_path / "model.onnx").graph.initializer
    }
    assert digest_by_hand([stored[weight.name] for weight in graph.weights]) == tag.weights


def test_digest_tells_numbers_shapes_and_dtypes_apart_and_not_names_or_order():
    a, b = np.arange(6, dtype=np.float32), np.ones((2, 3), np.float32)
    known = weights_digest([a, b])
    assert weights_digest([b, a]) == known
    others = [[a], [a, b, b], [a.reshape(2, 3), b], [a.reshape(3, 2), b], [a.view(np.int32), b], [a, b * np.float32(2)]]
    assert len({known, *map(weights_digest, others)}) == 1 + len(others)
    assert weights_digest([a.astype(">f4"), np.asfortranarray(b)]) == known


def test_digest_costs_less_than_100_bytes(make_model):
    model = make_model("firenet-small", quantized=True)
    graph, arrays = lower(model)
    tag = tag_of(graph, arrays, model.card)
    with_digest = onnx_bytes(graph, arrays, tag=tag)
    assert with_digest == pack(model)
    assert 64 < len(with_digest) - len(onnx_bytes(graph, arrays, tag=tag.replace(weights=""))) < 100
