# SPDX-License-Identifier: Apache-2.0
"""Predictor: the same answer from every form of a picture, equal to the steps put together by hand."""

from __future__ import annotations

import io
import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from fireforge.base.errors import FireforgeError
from fireforge.base.pixels import taps, to_pixels
from fireforge.base.postprocess import softmax
from fireforge.base.reference import run_reference
from fireforge.runtime.predictor import BATCH, Predictor, load
from fireforge.runtime.torch_runtime import TorchSession


def test_path_bytes_array_and_image_answer_alike(float_file, photos, tmp_path):
    predictor = load(float_file)
    path = tmp_path / "photo.png"
    path.write_bytes(photos[1])
    image = Image.open(io.BytesIO(photos[1]))
    answers = [predictor.predict(p, top=4) for p in (path, str(path), photos[1], image, np.asarray(image))]
    assert all(answer == answers[0] for answer in answers)
    assert len(answers[0].labels) == 4
    assert sum(answers[0].scores) == pytest.approx(1)


def test_answer_is_that_of_the_steps_put_together_by_hand(float_file, photos, networks, card):
    graph, arrays = networks["float32"]()
    inputs = np.stack([taps(data, card.preprocess.steps())["normalize"] for data in photos])
    want = softmax(run_reference(graph, arrays, {"input": inputs})["logits"])
    predictor = load(float_file)
    answers = predictor.predict(photos, top=2)
    assert len(answers) == len(photos) > BATCH
    for answer, row in zip(answers, want):
        assert answer.label == card.labels[row.argmax()]
        assert answer.score == pytest.approx(row.max(), abs=1e-4)  # float32 logits of some tens
    pixels = np.stack([to_pixels(data, card.preprocess.steps()) for data in photos])
    np.testing.assert_allclose(predictor.scores(pixels), want, rtol=0, atol=1e-4)


def test_one_and_many_agree_and_none_is_empty(float_file, photos):
    predictor = load(float_file)
    assert predictor.predict(tuple(photos[:3])) == [predictor.predict(data) for data in photos[:3]]
    assert predictor.predict([]) == []
    assert predictor.scores(np.zeros((0, 3, 12, 10), np.uint8)).shape == (0, 4)


def test_run_folder_names_its_file(float_file, tmp_path, photos):
    (tmp_path / "model.onnx").write_bytes(float_file.read_bytes())
    (tmp_path / "result.json").write_text(json.dumps({"model": {"path": "model.onnx"}}))
    assert load(tmp_path).predict(photos[0]) == load(float_file).predict(photos[0])
    (tmp_path / "result.json").write_text(json.dumps({"model": None}))
    with pytest.raises(FireforgeError, match=r"BAD_JSON.*names no model"):
        load(tmp_path)
    (tmp_path / "result.json").unlink()
    assert load(tmp_path).predict(photos[0]) == load(float_file).predict(photos[0])  # the only model there
    (tmp_path / "other.onnx").write_bytes(float_file.read_bytes())
    with pytest.raises(FireforgeError, match=r"NO_FILE.*model\.onnx, other\.onnx and no result\.json"):
        load(tmp_path)
    (tmp_path / "other.onnx").unlink()
    (tmp_path / "model.onnx").rename(tmp_path / "model.refused.onnx")
    with pytest.raises(FireforgeError, match=r"NO_FILE.*fireforge export"):
        load(tmp_path)


def test_file_without_card_says_what_to_do(write_file, networks, tmp_path):
    path = write_file(tmp_path / "plain.onnx", *networks["float32"](), None)
    with pytest.raises(FireforgeError) as caught:
        load(path)
    assert caught.value.code == "NO_CARD"
    assert "export" in caught.value.do


def test_card_for_another_network_is_refused(networks, card):
    session = TorchSession(*networks["float32"]())
    other = card.replace(preprocess=card.preprocess.replace(input="image"))
    with pytest.raises(FireforgeError, match=r"BAD_MODEL_FILE.*'image'"):
        Predictor(session, other)
    predictor = Predictor(session, card.replace(labels=card.labels[:3]))
    with pytest.raises(FireforgeError, match="BAD_OUTPUT"):
        predictor.predict(np.zeros((12, 10, 3), np.uint8))


def test_pixels_of_another_shape_are_refused(float_file):
    with pytest.raises(FireforgeError, match=r"BAD_ARRAY.*uint8 \(N, 3, 12, 10\)"):
        load(float_file).scores(np.zeros((1, 3, 10, 12), np.uint8))


def test_another_session_gives_the_same_labels(float_file, networks, card, photos):
    by_torch = Predictor(TorchSession(*networks["float32"]()), card)
    labels = [[answer.label for answer in p.predict(photos)] for p in (by_torch, load(float_file))]
    assert labels[0] == labels[1]


def test_predicting_loads_neither_onnx_nor_torch(float_file):
    """In a fresh process; the torch-free start is what makes predict answer at once."""
    code = (
        "import sys, numpy\n"
        "from fireforge.runtime.predictor import load\n"
        f"load({str(float_file)!r}).predict(numpy.zeros((12, 10, 3), numpy.uint8))\n"
        "print(sorted({'onnx', 'torch', 'fireforge.base.reference'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
