# SPDX-License-Identifier: Apache-2.0
"""Parity: what is right passes, and each planted fault is found at the tap where it was planted."""

from __future__ import annotations

import numpy as np
import pytest

from fireforge.base.errors import FireforgeError
from fireforge.base.golden import Golden
from fireforge.base.parity import ParityReport
from fireforge.runtime.executed import execute
from fireforge.runtime.parity import APART, Reference
from fireforge.runtime.parity import verify as compare
from fireforge.runtime.predictor import Predictor, load


def verify(predictor: Predictor, reference: Reference, pictures: list[bytes], **others) -> ParityReport:
    return compare(execute(predictor, pictures), reference, pictures, **others)


def reference_of(networks, form, card) -> Reference:
    graph, arrays = networks[form]()
    return Reference(graph=graph, arrays=arrays, card=card)


def changed(card, **steps):
    return card.replace(preprocess=card.preprocess.replace(image=card.preprocess.steps().replace(**steps)))


@pytest.mark.parametrize("form", ["float32", "int8"])
def test_a_right_file_passes(form, networks, card, photos, float_file, int8_file):
    predictor = load(float_file if form == "float32" else int8_file)
    golden = Golden.from_json(predictor.tag.golden)
    report = verify(predictor, reference_of(networks, form, card), photos, golden=golden, model="it.onnx")
    assert report.passed, report
    assert (report.form, report.pictures, report.agreement, report.blame) == (form, len(photos), 1.0, "")
    extra = [] if form == "float32" else ["network mean"]
    names = ["decode", "orient", "resize", "crop", "normalize", "network", *extra, "postprocess", "post", "golden"]
    assert [tap.tap for tap in report.taps] == names
    assert ParityReport.from_json(report.to_json()) == report


@pytest.mark.parametrize(
    ("steps", "tap"),
    [
        ({"mean": (121.0, 110.0, 100.0)}, "normalize"),
        ({"std": (60.0, 61.0, 70.0)}, "normalize"),
        ({"order": "BGR"}, "crop"),
        ({"filter": "nearest"}, "resize"),
        ({"resize": (24, 20)}, "resize"),
    ],
)
def test_another_preprocessing_is_found_at_its_tap(steps, tap, networks, card, photos, float_file):
    right = load(float_file)
    wrong = Predictor(right.session, changed(card, **steps))
    report = verify(wrong, reference_of(networks, "float32", card), photos[:6])
    assert not report.passed
    assert report.blame == tap


def test_a_changed_weight_is_found_at_the_output_and_by_the_golden(networks, card, photos, float_file):
    right = load(float_file)
    golden = Golden.from_json(right.tag.golden)
    graph, arrays = networks["float32"]()
    arrays["conv.weight"][3, 1, 0, 0] += 0.05
    report = verify(right, Reference(graph=graph, arrays=arrays, card=card), photos[:6], golden=golden)
    assert report.blame == "network"
    assert next(tap for tap in report.taps if tap.tap == "golden").passed  # the file itself is as it was written


@pytest.mark.parametrize("form", ["float32", "int8"])
def test_golden_finds_a_weight_changed_in_the_file(form, networks, card, photos, write_file, tmp_path):
    graph, arrays = networks[form]()
    golden = Golden.from_json(load(write_file(tmp_path / "right.onnx", graph, arrays)).tag.golden)
    changed_arrays = {**arrays, "head.weight": arrays["head.weight"] * np.float32(1.2)}
    predictor = load(write_file(tmp_path / "wrong.onnx", graph, changed_arrays))
    reference = Reference(graph=graph, arrays=changed_arrays, card=card)
    report = verify(predictor, reference, photos[:6], golden=golden)
    assert report.blame == "golden"


def test_labels_in_another_order_are_found_as_labels(networks, card, photos, float_file):
    right = load(float_file)
    wrong = Predictor(right.session, card.replace(labels=(*card.labels[1:], card.labels[0])))
    report = verify(wrong, reference_of(networks, "float32", card), photos)
    assert report.agreement < 0.5
    assert report.blame == "post"
    int8 = verify(wrong, reference_of(networks, "int8", card), photos)
    assert int8.blame in ("network", "network mean", "post")


def test_another_size_is_reported_and_not_raised(networks, card, photos, float_file):
    right = load(float_file)
    wrong = Predictor(right.session, changed(card, crop=(10, 10)))
    report = verify(wrong, reference_of(networks, "float32", card), photos[:3])
    assert report.blame == "crop"
    assert next(tap for tap in report.taps if tap.tap == "crop").difference == APART


def test_answers_in_int8_are_held_to_the_integers_of_the_file(networks, card, photos, int8_file):
    graph, arrays = networks["int8"]()
    turned = {
        **arrays,
        "head.bias": arrays["head.bias"] + np.float32([9, 0, 0, 0]) * np.abs(arrays["head.weight"]).sum(),
    }
    for held, agrees in ((arrays, True), (turned, False)):
        reference = Reference(graph=graph, arrays=arrays, card=card, held=(graph, held))
        report = verify(load(int8_file), reference, photos)
        assert (report.passed, report.blame) == (agrees, "" if agrees else "label")


def test_no_pictures_are_refused(networks, card, float_file):
    with pytest.raises(FireforgeError, match="NO_PICTURES"):
        verify(load(float_file), reference_of(networks, "float32", card), [])


def test_seals_come_first_and_a_broken_one_is_blamed_first(networks, card, photos, float_file):
    right = load(float_file)
    reference = reference_of(networks, "float32", card)
    report = verify(right, reference, photos[:3], seals={"weights": True, "file": False})
    assert [(tap.tap, tap.difference, tap.bound, tap.passed) for tap in report.taps][:2] == [
        ("weights", 0.0, 0.0, True),
        ("file", 1.0, 0.0, False),
    ]
    assert (report.passed, report.blame) == (False, "file")
    wrong = Predictor(right.session, changed(card, order="BGR"))
    assert verify(wrong, reference, photos[:3], seals={"weights": False}).blame == "weights"


def test_golden_in_int8_finds_five_percent(networks, card, photos, write_file, tmp_path):
    graph, arrays = networks["int8"]()
    golden = Golden.from_json(load(write_file(tmp_path / "right.onnx", graph, arrays)).tag.golden)
    changed_arrays = {**arrays, "head.weight": arrays["head.weight"] * np.float32(1.05)}
    predictor = load(write_file(tmp_path / "wrong.onnx", graph, changed_arrays))
    report = verify(predictor, Reference(graph=graph, arrays=changed_arrays, card=card), photos[:6], golden=golden)
    assert report.blame == "golden"
    assert next(tap for tap in report.taps if tap.tap == "golden").bound < 0.04
