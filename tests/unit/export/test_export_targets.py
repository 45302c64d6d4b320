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
from fireforge.base.golden import Golden, golden_difference, golden_inputs
from fireforge.base.model import Tag
from fireforge.export.onnx_file import METADATA_KEY
from fireforge.export.targets import TARGETS, Exported


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
