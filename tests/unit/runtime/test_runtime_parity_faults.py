# SPDX-License-Identifier: Apache-2.0
"""Faults planted in the code that executes a file, in its fresh process, are caught and named by their tap.

Reference: the second implementation in fireforge.base.plain and the numpy meaning of the graph, in this process.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fireforge.base.errors import FireforgeError
from fireforge.base.hedge import Hedge, LabelTree
from fireforge.base.parity import ParityReport
from fireforge.base.picture.decode import decode_noted
from fireforge.runtime.executed import READER, execute_fresh, probe
from fireforge.runtime.parity import Reference, verify

MEMBERS = {"even": ((0, 0), (2, 2)), "odd": ((1, 1), (3, 3))}
BONUS = 2.0  # bits
THRESHOLD = 0.6


@pytest.fixture(scope="module")
def wide(networks, card, write_file, tmp_path_factory) -> dict:
    """Files whose pictures are resized to more than the crop, float and int8, and what they are held to."""
    steps = card.preprocess.steps().replace(resize=(17, 14))
    wider = card.replace(preprocess=card.preprocess.replace(image=steps))
    folder = tmp_path_factory.mktemp("wide")
    made = {}
    for form in ("float32", "int8"):
        graph, arrays = networks[form]()
        path = write_file(folder / f"{form}.onnx", graph, arrays, wider)
        made[form] = path, Reference(graph=graph, arrays=arrays, card=wider)
    return made


def faulty(fault: str, made: tuple, pictures: list[bytes], monkeypatch: pytest.MonkeyPatch) -> ParityReport:
    path, reference = made
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    monkeypatch.setenv("FAULT", fault)
    return verify(execute_fresh(path, pictures, reader="faulty_reader"), reference, pictures)


@pytest.mark.parametrize(
    ("fault", "tap"),
    [
        ("inverted", "decode"),
        ("exif", "orient"),
        ("bilinear", "resize"),
        ("corner", "crop"),
        ("one off", "crop"),
        ("bgr", "crop"),
        ("transposed", "crop"),
        ("mean", "normalize"),
        ("std", "normalize"),
        ("outputs", "network"),
        ("class", "post"),
        ("temperature", "post"),
    ],
)
def test_a_fault_in_the_executing_code_is_named_by_its_tap(fault, tap, wide, photos, monkeypatch) -> None:
    """The photos carry no EXIF: what ignores it is found by the picture that ships with the package."""
    report = faulty(fault, wide["float32"], photos[:4], monkeypatch)
    assert (report.passed, report.blame) == (False, tap), report
    assert report.picture


def test_an_answer_that_is_refused_without_reason_is_found(wide, photos, monkeypatch) -> None:
    """Nothing but `accepted` is another: the labels, the scores and the card are as they should be."""
    report = faulty("threshold", wide["float32"], photos[:4], monkeypatch)
    assert (report.blame, report.agreement) == ("post", 1.0)


@pytest.mark.parametrize("fault", ["none", "class"])
def test_in_int8_as_well(fault, wide, photos, monkeypatch) -> None:
    report = faulty(fault, wide["int8"], photos[:4], monkeypatch)
    assert report.blame == ("" if fault == "none" else "post")


@pytest.mark.parametrize(
    ("form", "fault"),
    [
        ("float32", "none"),
        ("float32", "bonus"),
        ("float32", "span"),
        ("float32", "group threshold"),
        pytest.param("float32", "gain", marks=pytest.mark.slow),
        pytest.param("float32", "no groups", marks=pytest.mark.slow),
        pytest.param("int8", "none", marks=pytest.mark.slow),
        pytest.param("int8", "bonus", marks=pytest.mark.slow),
    ],
)
def test_a_fault_in_the_answers_along_a_tree_is_found_behind_the_network(
    fault, form, wide, photos, monkeypatch, tmp_path, write_file
) -> None:
    """Four classes in two pairs; with this bonus two of ten photos are answered with a pair, with twice it four. The
    best classes of those two are below the threshold."""
    _, reference = wide[form]
    tree = LabelTree(parents={"all": "", "even": "all", "odd": "all"}, members=MEMBERS)
    post = reference.card.postprocess.replace(hedge=Hedge(tree=tree, bonus=BONUS), threshold=THRESHOLD)
    card = reference.card.replace(postprocess=post)
    hedged = write_file(tmp_path / "hedged.onnx", reference.graph, reference.arrays, card)
    made = hedged, Reference(graph=reference.graph, arrays=reference.arrays, card=card)
    report = faulty(fault, made, photos[:10], monkeypatch)
    assert report.blame == ("" if fault == "none" else "post"), report
    assert report.agreement == 1.0  # the best classes are right all the same


def test_a_right_file_passes_in_its_fresh_process(wide, photos) -> None:
    path, reference = wide["float32"]
    executed = execute_fresh(path, photos)
    assert len(executed.digests) == 1 + len(photos)
    assert {len(row) for row in executed.digests} == {5}
    report = verify(executed, reference, photos)
    assert (report.passed, report.picture, report.error) == (True, "", "")


def test_what_was_seen_of_chosen_pictures_is_shown(wide, photos) -> None:
    executed = execute_fresh(wide["float32"][0], photos[:3], reader=READER)
    first, third = executed.look([0, 2])
    assert first["decode"].shape == (16, 24, 3)
    assert first["orient"].shape == (24, 16, 3)
    assert third["normalize"].dtype == np.float32


def test_a_reader_that_refuses_every_picture_is_reported_with_its_words(wide, photos, monkeypatch) -> None:
    report = faulty("transposed", wide["float32"], photos[:2], monkeypatch)
    assert "BAD_ARRAY" in report.error
    assert (report.agreement, report.passed) == (0.0, False)


def test_a_file_that_cannot_be_loaded_is_refused_as_by_load(tmp_path, photos) -> None:
    (tmp_path / "bad.onnx").write_bytes(b"nothing")
    with pytest.raises(FireforgeError, match="BAD_MODEL_FILE"):
        execute_fresh(tmp_path / "bad.onnx", photos[:1])


def test_the_probe_lies_on_its_side_and_is_small() -> None:
    image, notes = decode_noted(probe())
    assert (image.size, notes, len(probe()) < 500) == ((24, 16), (), True)
    pixels = np.asarray(image).astype(int)
    turns = [np.rot90(pixels, k) for k in range(4)] + [np.rot90(pixels[:, ::-1], k) for k in range(4)]
    same = [a.shape == b.shape and np.abs(a - b).max() < 50 for i, a in enumerate(turns) for b in turns[:i]]
    assert not any(same)  # each of the eight orientations shows
