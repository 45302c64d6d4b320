# SPDX-License-Identifier: Apache-2.0
"""Predictor: the same answer from every form of a picture, equal to the steps put together by hand."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import threading
import time

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


def test_a_stream_is_the_answers_one_by_one_with_errors_in_their_places(float_file, photos):
    """200 pictures, every seventh of them broken, by one thread and by several."""
    predictor = load(float_file)
    given = [b"<html>" if i % 7 == 3 else photos[i % len(photos)] for i in range(200)]
    for workers in (1, 4):
        answers = list(predictor.stream(iter(given), top=2, workers=workers))
        assert len(answers) == 200
        for i, answer in enumerate(answers):
            if i % 7 == 3:
                assert isinstance(answer, FireforgeError)
                assert answer.code == "IMG_NOT_IMAGE"
            else:
                assert answer == predictor.predict(photos[i % len(photos)], top=2)
    with pytest.raises(FireforgeError, match="IMG_NOT_IMAGE"):
        predictor.predict(given)
    error = FireforgeError("NO_FILE", "mine")
    assert next(iter(predictor.stream([error]))) is error
    assert list(predictor.stream([], workers=4)) == []


def test_a_stream_takes_pictures_only_a_little_ahead_and_ends_its_threads(float_file, photos):
    taken = []

    def endless():
        while True:
            taken.append(0)
            yield photos[0]

    before = threading.active_count()
    stream = load(float_file).stream(endless(), workers=3)
    for _ in range(100):
        next(stream)
    assert 100 <= len(taken) <= 128 + 64 + 1  # four batches, and what may be ahead of them
    stream.close()
    deadline = time.monotonic() + 10
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() == before


def test_a_picture_whose_output_is_not_finite_spoils_no_other(networks, card, photos):
    """A session that answers black pictures with NaN."""

    class Fragile(TorchSession):
        def run(self, feeds):
            outputs = super().run(feeds)
            black = feeds["input"].mean(axis=(1, 2, 3)) < -1.5
            return {name: np.where(black[:, None], np.nan, array) for name, array in outputs.items()}

    predictor = Predictor(Fragile(*networks["float32"]()), card)
    black = np.zeros((12, 10, 3), np.uint8)
    answers = list(predictor.stream([photos[1], black, photos[3]]))
    assert [getattr(answer, "code", "") for answer in answers] == ["", "BAD_OUTPUT", ""]
    assert answers[2] == predictor.predict(photos[3])
    with pytest.raises(FireforgeError, match="BAD_OUTPUT"):
        predictor.predict([photos[1], black])


def test_the_threshold_in_the_file_decides_what_is_accepted(write_file, networks, card, photos, tmp_path):
    best = load(write_file(tmp_path / "all.onnx", *networks["float32"](), card)).predict(photos, top=4)
    assert all(answer.accepted for answer in best)
    middle = float(np.median([answer.score for answer in best]))
    strict = card.replace(postprocess=card.postprocess.replace(threshold=middle))
    answers = load(write_file(tmp_path / "some.onnx", *networks["float32"](), strict)).predict(photos, top=4)
    assert [answer.labels for answer in answers] == [answer.labels for answer in best]
    assert [answer.accepted for answer in answers] == [answer.score >= middle for answer in best]
    assert {answer.accepted for answer in answers} == {True, False}
