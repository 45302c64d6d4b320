# SPDX-License-Identifier: Apache-2.0
"""ONNX Runtime sessions: numbers against the numpy reference, and one clear line for whatever is wrong."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper

from fireforge.base.errors import FireforgeError
from fireforge.base.reference import run_reference
from fireforge.runtime.onnx_runtime import OnnxSession
from fireforge.runtime.runtimes import RUNTIMES, SUFFIXES, open_session
from fireforge.runtime.torch_runtime import TorchSession

X = np.random.default_rng(0).normal(size=(3, 3, 12, 10)).astype(np.float32)


@pytest.mark.parametrize("form", ["float32", "int8"])
def test_session_gives_the_numbers_of_the_reference(form, networks, float_file, int8_file):
    """Tolerance 1e-5 in float (order of sums); 2 % in int8, where a rounding may fall otherwise."""
    graph, arrays = networks[form]()
    path = float_file if form == "float32" else int8_file
    want = run_reference(graph, arrays, {"input": X})["logits"]
    for source in (path, str(path), path.read_bytes()):
        got = OnnxSession(source).run({"input": X})
        assert list(got) == ["logits"]
        assert np.abs(got["logits"] - want).max() <= (1e-5 if form == "float32" else 0.02) * np.abs(want).max()


def test_session_tells_its_inputs_and_outputs(float_file):
    session = OnnxSession(float_file)
    assert [(t.name, t.dtype, t.shape) for t in session.inputs] == [("input", "float32", ("N", 3, 12, 10))]
    assert [(t.name, t.shape) for t in session.outputs] == [("logits", ("N", 4))]
    assert session.metadata.startswith("{")


def test_threads_change_no_number(float_file):
    one, two = (OnnxSession(float_file, threads=n).run({"input": X})["logits"] for n in (1, 2))
    np.testing.assert_allclose(one, two, rtol=0, atol=1e-5)


@pytest.mark.parametrize("damage", ["empty", "garbage", "text", "half", "head", "zip"])
def test_a_broken_file_is_one_line(damage, float_file, tmp_path, capfd):
    whole = float_file.read_bytes()
    data = {
        "empty": b"",
        "garbage": bytes(range(256)) * 8,
        "text": b"<!doctype html><html></html>",
        "half": whole[: len(whole) // 2],
        "head": whole[:20],
        "zip": b"PK\x03\x04" + whole,
    }[damage]
    path = tmp_path / "broken.onnx"
    path.write_bytes(data)
    with pytest.raises(FireforgeError) as caught:
        OnnxSession(path)
    assert caught.value.code == "BAD_MODEL_FILE"
    assert caught.value.where == str(path)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr().err == ""


def test_absent_file_and_unknown_suffix(tmp_path):
    with pytest.raises(FireforgeError, match="NO_FILE"):
        OnnxSession(tmp_path / "none.onnx")
    with pytest.raises(FireforgeError, match=r"UNKNOWN_NAME.*\.onnx"):
        open_session(tmp_path / "model.pth")


def test_unknown_operator_is_named():
    node = helper.make_node("Frobnicate", ["x"], ["y"], domain="elsewhere")
    kinds = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy"]
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("elsewhere", 1)]
    model = helper.make_model(helper.make_graph([node], "g", kinds[:1], kinds[1:]), opset_imports=imports, ir_version=8)
    with pytest.raises(FireforgeError, match=r"BAD_MODEL_FILE.*Frobnicate"):
        OnnxSession(model.SerializeToString())


@pytest.mark.parametrize(
    ("feeds", "where"),
    [
        ({}, "input"),
        ({"image": X}, "image"),
        ({"input": X, "more": X}, "more"),
        ({"input": X.astype(np.float64)}, "input"),
        ({"input": X[0]}, "input"),
        ({"input": X[:, :2]}, "input"),
        ({"input": X[:, :, :11]}, "input"),
        ({"input": X[:0]}, "input"),
    ],
)
def test_wrong_feeds_are_refused_by_both_runtimes(feeds, where, networks, float_file):
    for session in (OnnxSession(float_file), TorchSession(*networks["float32"]())):
        with pytest.raises(FireforgeError) as caught:
            session.run(feeds)
        assert caught.value.code == "BAD_INPUT_TENSOR"
        assert caught.value.where == where
        assert caught.value.allowed


def test_provider_that_is_not_there_is_refused(float_file):
    with pytest.raises(FireforgeError, match=r"NO_PROVIDER.*CPUExecutionProvider"):
        OnnxSession(float_file, providers=("NoSuchProvider",))


def test_torch_session_gives_the_numbers_of_the_reference(networks):
    """Tolerance 1e-5: float32 sums in another order."""
    graph, arrays = networks["float32"]()
    want = run_reference(graph, arrays, {"input": X})["logits"]
    session = TorchSession(graph, arrays)
    assert [t.shape for t in session.outputs] == [("N", 4)]
    np.testing.assert_allclose(session.run({"input": X})["logits"], want, rtol=0, atol=1e-5 * np.abs(want).max())


def test_torch_session_refuses_an_unknown_device(networks):
    with pytest.raises(FireforgeError, match="NO_DEVICE"):
        TorchSession(*networks["float32"](), device="nowhere")


def test_every_suffix_has_a_runtime():
    assert set(SUFFIXES.values()) <= set(RUNTIMES)
