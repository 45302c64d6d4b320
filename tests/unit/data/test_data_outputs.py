# SPDX-License-Identifier: Apache-2.0
"""Kinds of output by hand-written lists and annotations, and by two public sets of boxes."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fireforge.base.errors import Exit, FireforgeError
from fireforge.data.columns import text_of
from fireforge.data.open import open_dataset
from fireforge.data.outputs import BOXES, LABEL, LABELS, NUMBER, is_coco, is_yolo, output_of_cells, output_of_columns

VOC = "<annotation><object><name>cat</name><bndbox><xmin>1</xmin></bndbox></object></annotation>"
COCO = json.dumps({"images": [{"id": 1, "file_name": "0.png"}], "annotations": [{"image_id": 1, "bbox": [0, 0, 2, 2]}]})


def pictures(root: Path, count: int = 12) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        Image.fromarray(np.full((8, 9), 10 * i, np.uint8)).save(root / f"{i}.png")
    return root


def told(root: Path, kind: str, evidence: str) -> None:
    with pytest.raises(FireforgeError) as caught:
        open_dataset(root)
    error = caught.value
    assert (error.code, error.exit_code) == ("OUTPUT_KIND", Exit.BAD_INPUT)
    assert f"the answers are {kind}" in error.what
    assert evidence in error.what
    assert "class folders" in error.allowed
    assert error.do


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        (["a", "b", "a", "c"], LABEL),
        (["a;b", "b", "b;c", "a"], LABELS),
        (["a|b", "b", "a"], LABELS),
        (["a, b", "b", "a"], LABELS),
        ([["a", "b"], ["a"]], LABELS),
        ([[], ["a"]], LABELS),
        (['["a", "b"]', '["a"]'], LABELS),
        (["['a', 'b']", "['a']"], LABELS),
        ([["a"], ["b"]], LABEL),
        (["great white shark, white shark", "tiger shark, Galeocerdo", "hammerhead, hammerhead shark"], LABEL),
        (["shark, grey", "shark, white", "ray"], LABEL),
        (["red apple", "green apple", "red pear", "green pear"], LABEL),
        ([str(i / 7) for i in range(1, 30)], NUMBER),
        ([i * 0.37 for i in range(30)], NUMBER),
        ([f"{i}.0" for i in range(30)], LABEL),
        ([str(i) for i in range(1000)], LABEL),
        (["0.5", "1.5", "2.5"], LABEL),
        (["0", "1", "1", "0"], LABEL),
        ([True, False, True], LABEL),
        (["nan", "inf", "1"], LABEL),
        ([], LABEL),
        (["", "a", ""], LABEL),
    ],
)
def test_the_kind_of_a_column_by_hand(cells: list[object], kind: str) -> None:
    assert output_of_cells("label", cells).kind == kind


def test_a_quantity_by_its_name() -> None:
    ages = [str(i % 60) for i in range(200)]
    assert output_of_cells("age", ages).kind == NUMBER
    assert output_of_cells("class", ages).kind == LABEL


def test_columns_of_boxes_by_hand() -> None:
    def kind(**cells: list[object]) -> str:
        return output_of_columns(tuple(cells), cells).kind

    assert kind(xmin=["1"], ymin=["2"], xmax=["3"], ymax=["4.5"]) == BOXES
    assert kind(XMin=[1], YMin=[2], XMax=[3], YMax=[4]) == BOXES
    assert kind(x=["1"], y=["2"], width=["3"], height=["4"], label=["a"]) == BOXES
    assert kind(width=["3"], height=["4"], label=["a"]) == LABEL
    assert kind(x=["left"], y=["up"], width=["3"], height=["4"]) == LABEL
    assert kind(bbox=["[1, 2, 3, 4]"]) == BOXES
    assert kind(objects=[{"bbox": [[1, 2, 3, 4]]}]) == BOXES
    assert kind(box=["wooden", "paper"]) == LABEL


def test_a_cell_as_text_by_hand() -> None:
    pairs = ((3.0, "3"), ("3.0", "3"), ("-2.0", "-2"), ("007", "007"), ("1.5", "1.5"), (True, "true"), (["x"], "x"))
    assert [text_of(cell) for cell, _ in pairs] == [text for _, text in pairs]
    assert text_of(["a", "b"]) == text_of({"a": 1}) == text_of("") == ""


@pytest.mark.parametrize(
    ("column", "kind", "evidence"),
    [
        (lambda i: "ab"[i % 2] + (";c" if i % 3 else ""), LABELS, "cells such as"),
        (lambda i: str(0.1 + i * 0.03), NUMBER, "12 different numbers in the column 'label'"),
    ],
)
def test_a_list_with_another_kind_of_answers(tmp_path: Path, column: object, kind: str, evidence: str) -> None:
    lines = [f"{i}.png,{column(i)}" for i in range(12)]  # type: ignore[operator]
    (pictures(tmp_path) / "labels.csv").write_text("file,label\n" + "\n".join(lines))
    told(tmp_path, kind, evidence)
    told(tmp_path / "labels.csv", kind, evidence)


def test_a_column_for_each_of_several_labels(tmp_path: Path) -> None:
    lines = [f"{i}.png,{i % 2},{i % 3 % 2},1" for i in range(12)]
    (pictures(tmp_path) / "labels.csv").write_text("file,wet,warm,new\n" + "\n".join(lines))
    told(tmp_path, LABELS, "columns of 0 and 1 (wet, warm, new)")


def test_a_row_for_each_of_several_labels(tmp_path: Path) -> None:
    lines = [f"{i}.png,{label}" for i in range(12) for label in ("ab"[i % 2], "c")]
    (pictures(tmp_path) / "labels.csv").write_text("file,label\n" + "\n".join(lines))
    told(tmp_path, LABELS, "12 pictures have rows with different classes")


@pytest.mark.parametrize("part", ["", "train"])
@pytest.mark.parametrize(
    ("where", "name", "text", "evidence"),
    [
        ("annotations", "0.xml", VOC, "Pascal VOC XML beside the pictures, such as "),
        ("Annotations", "instances_train.json", COCO, "COCO JSON, "),
        ("labels", "0.txt", "0 0.5 0.5 0.25 0.25\n3 0.1 0.2 0.1 0.1\n", "YOLO text files beside the pictures"),
        ("images", "0.xml", VOC, "Pascal VOC XML"),
        ("", "_annotations.coco.json", COCO, "COCO JSON"),
        ("images", "0.txt", "0 0.5 0.5 0.25 0.25\n", "YOLO text files"),
    ],
)
def test_annotations_of_boxes_beside_the_pictures(
    tmp_path: Path, part: str, where: str, name: str, text: str, evidence: str
) -> None:
    pictures(tmp_path / part / "images")
    (tmp_path / part / where).mkdir(exist_ok=True)
    (tmp_path / part / where / name).write_text(text)
    told(tmp_path, BOXES, evidence)


def test_class_folders_stay_class_folders_beside_such_files(tmp_path: Path) -> None:
    for label in ("cat", "dog"):
        pictures(tmp_path / label, 3)
    (tmp_path / "0.xml").write_text(VOC)
    (tmp_path / "info.json").write_text(COCO)
    assert open_dataset(tmp_path).format == "folder"


def test_what_is_no_annotation() -> None:
    assert is_coco(COCO.encode())
    assert not is_coco(b'{"images": 3, "annotations": []}')
    assert not is_coco(b'"annotations" "images"')
    assert not is_coco(b"[" * 100_000 + b'"annotations" "images"')
    assert is_yolo(b"0 0.5 0.5 1 1\n")
    assert is_yolo(b"0 0.5 0.5 1 1 0.1 0.9\n\n")
    for text in (b"", b"a photo of a cat\n", b"0 1 2 3 4\n", b"0 0.5 0.5\n", b"\xff\xfe\x00"):
        assert not is_yolo(text)


def test_a_coco_file_as_the_source(tmp_path: Path) -> None:
    (pictures(tmp_path) / "instances.json").write_text(COCO)
    told(tmp_path / "instances.json", BOXES, "COCO JSON, instances.json")


@pytest.mark.data
@pytest.mark.skipif("FIREFORGE_DATA" not in os.environ, reason="FIREFORGE_DATA names no folder")
@pytest.mark.parametrize(
    ("name", "evidence"),
    [
        ("raccoon", "the columns xmin, ymin, xmax, ymax"),
        ("raccoon/train_labels.csv", "the columns xmin, ymin, xmax, ymax"),
        ("fruit_det", "Pascal VOC XML beside the pictures, such as test/annotations/apple_77.xml"),
        ("fruit_det/train", "Pascal VOC XML beside the pictures, such as annotations/apple_1.xml"),
    ],
)
def test_two_public_sets_of_boxes(name: str, evidence: str) -> None:
    told(Path(os.environ["FIREFORGE_DATA"]) / "detection" / name, BOXES, evidence)
