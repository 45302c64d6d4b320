# SPDX-License-Identifier: Apache-2.0
"""A network's card gets its temperature and threshold, the record tells, and the file answers by them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fireforge.base.calibration import Calibration, calibrate
from fireforge.base.journal import Journal
from fireforge.base.model import Model, dense
from fireforge.base.postprocess import Postprocess
from fireforge.base.value import canonical_json
from fireforge.compress.fold import folded
from fireforge.export.lean import lean_json
from fireforge.export.targets import write_onnx
from fireforge.importers.onnx_file import import_onnx
from fireforge.jobs.calibrate import calibrate_card, calibrated, logits_of, longest_card, other_pictures
from fireforge.jobs.evaluate import evaluate_ids
from fireforge.jobs.folder import RunFolder
from fireforge.jobs.scene import Scene, encoded, look
from fireforge.jobs.verify import Source, verify_file
from fireforge.runtime.predictor import load


@pytest.fixture(scope="module")
def scene() -> Scene:
    pytest.importorskip("sklearn")
    return look("digits", seed=0)


@pytest.fixture(scope="module")
def model(scene: Scene, small_model, tmp_path_factory: pytest.TempPathFactory) -> Model:
    """A drawn network whose last layer is the least-squares fit of its own features to the training part's classes.

    Its logits are far too small: the fit aims at 0 and 1.
    """
    path = small_model(tmp_path_factory.mktemp("model") / "model.onnx", scene.dataset.labels, channels=1)
    graph, arrays, tag = import_onnx(path)
    assert tag is not None
    card = tag.card.replace(preprocess=scene.preprocess)
    head = graph.nodes[-1]
    arrays = dict(arrays)
    kernel, bias = head.inputs[1], head.inputs[2]
    width = arrays[kernel].shape[1]
    features = []
    for place in range(width):  # the features one by one, through a head that passes one of them on
        arrays[kernel] = np.zeros_like(arrays[kernel])
        arrays[kernel][0, place] = 1
        arrays[bias] = np.zeros_like(arrays[bias])
        write_onnx(Model(graph=graph, weights=dense(arrays), card=card), path)
        features.append(logits_of(load(path).session, scene.pixels["train"], card)[:, 0])
    rows = np.stack([*features, np.ones_like(features[0])], axis=1)
    wanted = np.eye(10)[scene.truth[scene.part("train")]]
    solution = np.linalg.lstsq(rows, wanted, rcond=None)[0].astype(np.float32)
    arrays[kernel], arrays[bias] = np.ascontiguousarray(solution[:width].T), solution[width]
    return Model(graph=graph, weights=dense(arrays), card=card)


def test_the_file_answers_by_what_the_record_tells(scene: Scene, model: Model, tmp_path: Path) -> None:
    with RunFolder(tmp_path / "run") as run:
        made = calibrated(model, scene, run)
    [entry] = [e for e in Journal(tmp_path / "run" / "record.jsonl").read() if e.type == "calibration"]
    found = Calibration.from_json(entry.value)
    post = made.card.postprocess
    assert (post.temperature, post.threshold) == (found.temperature, found.threshold)
    assert post.temperature < 0.5  # the logits are too small
    assert found.n == len(scene.part("val"))
    assert found.nll_after < found.nll_before
    assert set(found.refused) == {"uniform noise", "shuffled patches"}
    assert made.card.replace(postprocess=Postprocess()) == model.card
    path = tmp_path / "model.onnx"
    write_onnx(folded(made)[0], path)
    on_val = evaluate_ids(load(path), scene.dataset, scene.part("val"), part="val", name="model.onnx")
    assert on_val.accuracy == pytest.approx(found.accuracy, abs=1e-12)
    assert on_val.ece == pytest.approx(found.ece_after, abs=1e-4)  # float32 sums in another order once folded
    assert (on_val.threshold, on_val.refused) == (found.threshold, round((1 - found.coverage) * found.n))
    on_test = evaluate_ids(load(path), scene.dataset, scene.part("test"), part="test", name="model.onnx")
    plain = load(path)
    plain.card = model.card
    before = evaluate_ids(plain, scene.dataset, scene.part("test"), part="test", name="model.onnx")
    assert on_test.accuracy == before.accuracy
    assert on_test.ece < before.ece / 2
    assert on_test.accuracy_accepted > on_test.accuracy


def test_a_calibrated_file_passes_parity_and_one_of_another_temperature_does_not(
    scene: Scene, model: Model, tmp_path: Path
) -> None:
    with RunFolder(tmp_path / "run") as run:
        made = calibrated(model, scene, run)
    write_onnx(made, tmp_path / "good.onnx")
    pictures = [encoded(scene.dataset, int(i)) for i in scene.part("val")[:5]]
    source = Source(trained=made, model=made)
    assert verify_file(tmp_path / "good.onnx", pictures, source=source).passed
    write_onnx(model, tmp_path / "bad.onnx")
    report = verify_file(tmp_path / "bad.onnx", pictures, source=source)
    assert (report.passed, report.blame) == (False, "postprocess")


def test_a_card_keeps_all_but_the_two_numbers(model: Model) -> None:
    logits = np.random.default_rng(0).normal(size=(50, 10))
    truth = logits.argmax(axis=1)
    card, found = calibrate_card(model.card, logits, truth)
    assert found == calibrate(logits, truth)
    assert card.labels == model.card.labels
    assert card.preprocess == model.card.preprocess
    assert card.postprocess == Postprocess(temperature=found.temperature, threshold=found.threshold)


def test_no_fit_makes_a_card_longer_than_it_is_planned(model: Model) -> None:
    """In the letters that a file holds; the greatest temperature has one more before the point."""
    planned = len(canonical_json(lean_json(longest_card(model.card))))
    for temperature, threshold in ((0.5806, 0.973), (1.0, 0.0), (10.1234, 1.0), (99.9999, 0.9999)):
        post = model.card.postprocess.replace(temperature=temperature, threshold=threshold)
        assert len(canonical_json(lean_json(model.card.replace(postprocess=post)))) <= planned


def test_other_pictures_are_noise_and_the_same_patches_elsewhere() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (300, 3, 10, 9)).astype(np.uint8)
    made = other_pictures(pixels)
    noise, patches = made["uniform noise"], made["shuffled patches"]
    assert noise.shape == patches.shape == (200, 3, 10, 9)
    assert noise.dtype == patches.dtype == np.uint8
    assert abs(noise.mean() - 127.5) < 1  # 162,000 values of deviation 74: a mean of deviation 0.18
    shown = pixels[np.linspace(0, 299, 200).astype(int)]
    assert np.array_equal(np.sort(patches.reshape(200, 3, -1)), np.sort(shown.reshape(200, 3, -1)))
    assert np.array_equal(patches[:, :, 8:], shown[:, :, 8:])  # what the grid of 2 x 2 px patches leaves over
    assert (patches[:, :, :8, :8] != shown[:, :, :8, :8]).any(axis=(1, 2, 3)).all()
    again = other_pictures(pixels)
    assert all(np.array_equal(made[kind], again[kind]) for kind in made)
    tiny = other_pictures(np.zeros((3, 1, 2, 2), np.uint8))
    assert tiny["shuffled patches"].shape == (3, 1, 2, 2)
