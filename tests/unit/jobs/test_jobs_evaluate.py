# SPDX-License-Identifier: Apache-2.0
"""evaluate on folders of pictures, against the predictor's own answers counted by hand, and its refusals."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from fireforge.base.errors import FireforgeError
from fireforge.base.pixels import encode_png
from fireforge.base.postprocess import Postprocess
from fireforge.base.progress import Update
from fireforge.jobs.evaluate import evaluate
from fireforge.runtime.predictor import load

LABELS = ("ant", "bee", "cat", "dog")


def fill(root: Path, labels: tuple[str, ...], *, each: int = 12) -> Path:
    """Class folders of drawn pictures."""
    draw = np.random.default_rng(1)
    for label in labels:
        (root / label).mkdir(parents=True)
        for place in range(each):
            low = draw.integers(0, 200, 3)
            pixels = (low + draw.integers(0, 55, (9, 11, 3))).astype(np.uint8)
            (root / label / f"{place:02}.png").write_bytes(encode_png(pixels))
    return root


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two of the model's four classes, in another order than the model's, and a broken picture."""
    root = fill(tmp_path_factory.mktemp("evaluate") / "some", ("dog", "bee"))
    (root / "bee" / "broken.png").write_bytes(b"")
    return root


@pytest.fixture(scope="module")
def model(small_model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_model(tmp_path_factory.mktemp("model") / "model.onnx", LABELS)


def test_classes_that_are_some_of_the_models_are_counted_as_the_model_counts(
    model: Path, data: Path, tmp_path: Path
) -> None:
    told: list[Update] = []
    found = evaluate(model, str(data), wrong=tmp_path / "wrong.csv", progress=told.append)
    files = sorted(path for path in data.rglob("*.png") if path.stat().st_size)
    answers = load(model).predict(files)
    table = np.zeros((4, 4), int)
    for path, answer in zip(files, answers):
        table[LABELS.index(path.parent.name), LABELS.index(answer.label)] += 1
    assert found.confusion == tuple(map(tuple, table.tolist()))
    assert (found.n, found.part, found.labels) == (24, "all", LABELS)
    assert found.accuracy == pytest.approx(np.trace(table) / 24, abs=1e-15)
    assert found.per_class.support == (0, 12, 0, 12)
    assert found.skipped == {"IMG_EMPTY": 1}
    assert (found.threshold, found.refused, found.accuracy_accepted) == (0, 0, found.accuracy)
    assert sum(row.n for row in found.reliability) == 24
    with (tmp_path / "wrong.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    wrong = {(p.parent.name, a.label, f"{a.score:.6f}") for p, a in zip(files, answers) if p.parent.name != a.label}
    assert {(row["truth"], row["answer"], row["score"]) for row in rows} == wrong
    assert len(rows) == 24 - np.trace(table)
    assert all((data / row["file"]).is_file() for row in rows)
    assert [update.done for update in told if update.stage == "evaluate"] == [0, 24]


def test_what_the_threshold_refuses_is_counted(small_model, model: Path, data: Path, tmp_path: Path) -> None:
    files = sorted(path for path in data.rglob("*.png") if path.stat().st_size)
    answers = load(model).predict(files)
    middle = float(np.median([answer.score for answer in answers]))
    strict = small_model(tmp_path / "strict.onnx", LABELS, post=Postprocess(threshold=middle))
    found = evaluate(strict, str(data))
    kept = [path.parent.name == answer.label for path, answer in zip(files, answers) if answer.score >= middle]
    assert (found.threshold, found.refused) == (middle, 24 - len(kept))
    assert found.accuracy_accepted == pytest.approx(np.mean(kept), abs=1e-15)
    assert found.accuracy == evaluate(model, str(data)).accuracy
    none = small_model(tmp_path / "none.onnx", LABELS, post=Postprocess(threshold=1.0))
    assert (evaluate(none, str(data)).refused, evaluate(none, str(data)).accuracy_accepted) == (24, None)


def test_classes_that_the_model_lacks_are_named_beside_its_own(small_model, data: Path, tmp_path: Path) -> None:
    other = small_model(tmp_path / "other.onnx", ("bee", "cow"))
    with pytest.raises(FireforgeError) as caught:
        evaluate(other, str(data), wrong=tmp_path / "wrong.csv")
    assert caught.value.line() == (
        f"BAD_LABELS: {data}: 1 of the data's 2 classes are not the model's: 'dog'; "
        "allowed: the model's 2: 'bee', 'cow'; try: the data without them"
    )
    assert not (tmp_path / "wrong.csv").exists()
    many = small_model(tmp_path / "many.onnx", tuple(f"class {k}" for k in range(30)))
    with pytest.raises(FireforgeError, match=r"2 of the data's 2 .*'bee', 'dog'; allowed.*'class 9' and 20 more; try"):
        evaluate(many, str(data))


def test_the_data_s_own_test_part_is_taken(model: Path, tmp_path: Path) -> None:
    for part, each in (("train", 5), ("test", 3)):
        fill(tmp_path / "parts" / part, ("ant", "cat"), each=each)
    found = evaluate(model, str(tmp_path / "parts"))
    assert (found.n, found.part) == (6, "test")


def test_a_file_alone_needs_data_and_the_list_needs_a_place(model: Path, data: Path, tmp_path: Path) -> None:
    with pytest.raises(FireforgeError, match="NO_DATA"):
        evaluate(model)
    with pytest.raises(FireforgeError, match="CANNOT_WRITE"):
        evaluate(model, str(data), wrong=tmp_path / "absent" / "wrong.csv")


def test_as_the_command_prints_it(model: Path, data: Path, fireforge) -> None:
    done = fireforge("evaluate", model, data)
    lines = done.stdout.splitlines()
    assert done.returncode == 0, done.stderr
    assert " on 24 pictures (all): " in lines[0]
    assert lines[1] == "not used: 1 IMG_EMPTY; fireforge inspect lists them"
    assert lines[-6].split() == ["truth,", "answered", "as", *LABELS]
