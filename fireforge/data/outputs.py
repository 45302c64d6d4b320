# SPDX-License-Identifier: Apache-2.0
"""What the answer to a picture is: one label is built; several labels, a number and boxes are told apart and named."""

from __future__ import annotations

import json
import math
import posixpath
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fireforge.base.errors import FireforgeError
from fireforge.base.pixels import SUFFIXES
from fireforge.base.value import Json
from fireforge.data.tree import Tree

LABEL, LABELS, NUMBER, BOXES = "one label", "several labels", "a number", "boxes"
ALLOWED = "one label a picture: class folders, a list with one class a row, npz, idx or CIFAR files"
SPLITS = {
    LABELS: "one class a picture, or a list for each label with yes and no",
    NUMBER: "ranges of the number as classes",
    BOXES: "class folders of the cut-out boxes, or a list without the box columns",
}
BOX_COLUMNS = (
    ("xmin", "ymin", "xmax", "ymax"),
    ("x_min", "y_min", "x_max", "y_max"),
    ("x1", "y1", "x2", "y2"),
    ("x0", "y0", "x1", "y1"),
    ("left", "top", "right", "bottom"),
    ("roi.x1", "roi.y1", "roi.x2", "roi.y2"),
    ("x", "y", "width", "height"),
    ("x", "y", "w", "h"),
)
BOX_NAMES = ("bbox", "bboxes", "boxes", "box", "bounding_box", "objects", "annotations", "segmentation", "polygon")
NUMBER_NAMES = ("age", "angle", "price", "score", "count", "weight", "rating", "temperature", "value", "number")
SEPARATORS = (";", "|", ",")
MANY = 10  # distinct values from which numbers are quantities and no class numbers
LOOKED_AT = 20  # annotation files that are opened


@dataclass(frozen=True)
class Output:
    """What the answer to a picture is.

    Args:
      kind: LABEL, LABELS, NUMBER or BOXES.
      evidence: what shows it, in words; "" for LABEL.
    """

    kind: str = LABEL
    evidence: str = ""


def refusal(output: Output, *, where: str) -> FireforgeError:
    """The error for an output that is recognised and not built.

    Args:
      output: any but LABEL.
      where: the source.

    Returns:
      OUTPUT_KIND, naming the kind and what shows it.
    """
    what = f"the answers are {output.kind} ({output.evidence}), which is not yet built"
    return FireforgeError("OUTPUT_KIND", what, where=where, allowed=ALLOWED, do=SPLITS[output.kind])


def output_of_columns(columns: Sequence[str], cells: dict[str, list[Json]]) -> Output:
    """What the columns of a list hold, before one of them is taken for the label.

    Args:
      columns: names of all columns.
      cells: the cells of each.

    Returns:
      BOXES where four columns or one are those of boxes, otherwise LABEL.
    """
    lower = {name.lower(): name for name in columns}
    for names in BOX_COLUMNS:
        if all(name in lower and _numbers(cells[lower[name]]) for name in names):
            return Output(BOXES, f"the columns {', '.join(lower[name] for name in names)}")
    for name in BOX_NAMES:
        if name in lower and any(_holds_box(cell) for cell in cells[lower[name]]):
            return Output(BOXES, f"the column {lower[name]!r}")
    return Output()


def output_of_cells(name: str, cells: Sequence[Json]) -> Output:
    """What one column of answers holds.

    Args:
      name: of the column.
      cells: an answer a row: text, a number, or a list.

    Returns:
      LABELS where cells are lists, or texts such as "a;b" whose pieces recur; NUMBER where they are quantities.
    """
    lists = [cell for cell in map(_as_list, cells) if cell is not None]
    if any(len(cell) != 1 for cell in lists):
        return Output(LABELS, f"lists in the column {name!r}")
    texts = {cell for cell in cells if isinstance(cell, str)}
    for separator in SEPARATORS:
        joined = [cell for cell in texts if separator in cell]
        if joined and _pieces_recur(joined, texts, separator):
            return Output(LABELS, f"cells such as {sorted(joined)[0][:40]!r} in the column {name!r}")
    given = [cell for cell in cells if cell != ""]
    if given and _numbers(given):
        values = {float(cell) for cell in given}
        broken = any(not value.is_integer() for value in values)
        if len(values) >= MANY and (broken or name.lower() in NUMBER_NAMES):
            return Output(NUMBER, f"{len(values):,} different numbers in the column {name!r}")
    return Output()


def boxes_beside(tree: Tree, names: Iterable[str]) -> Output:
    """Annotation files of boxes: COCO JSON, Pascal VOC XML or YOLO text.

    Args:
      tree: where they lie.
      names: the files to consider, such as those of `fireforge.data.sidefiles.side_names`.

    Returns:
      BOXES with the format's name, or LABEL where there are none.
    """
    by_suffix: dict[str, list[str]] = {".json": [], ".xml": [], ".txt": []}
    pictures = set()
    for name in names:
        stem, suffix = posixpath.splitext(name)
        if suffix.lower() in by_suffix:
            by_suffix[suffix.lower()].append(name)
        elif suffix.lower() in SUFFIXES:
            pictures.add(posixpath.basename(stem))
    for name in by_suffix[".json"][:LOOKED_AT]:
        if is_coco(tree.read(name)):
            return Output(BOXES, f"COCO JSON, {name}")
    for name in by_suffix[".xml"][:LOOKED_AT]:
        content = tree.read(name)
        if b"<annotation" in content and b"<bndbox" in content:
            return Output(BOXES, f"Pascal VOC XML beside the pictures, such as {name}")
    for name in by_suffix[".txt"][:LOOKED_AT]:
        beside = posixpath.splitext(posixpath.basename(name))[0] in pictures
        if (beside or "labels" in name.lower().split("/")[:-1]) and is_yolo(tree.read(name)):
            return Output(BOXES, f"YOLO text files beside the pictures, such as {name}")
    return Output()


def is_coco(data: bytes) -> bool:
    """Whether JSON bytes hold COCO's lists of images and annotations."""
    if b'"annotations"' not in data or b'"images"' not in data:
        return False
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        return False
    return isinstance(found, dict) and all(isinstance(found.get(key), list) for key in ("images", "annotations"))


def is_yolo(data: bytes) -> bool:
    """Whether each line holds a class number and four numbers or more within 0 to 1."""
    rows = [line.split() for line in data[:10_000].decode("utf-8", "replace").splitlines()[:LOOKED_AT] if line.strip()]
    return bool(rows) and all(_is_yolo_row(row) for row in rows)


def _is_yolo_row(row: list[str]) -> bool:
    return len(row) >= 5 and row[0].isdecimal() and _numbers(row) and all(0 <= float(cell) <= 1 for cell in row[1:5])


def _holds_box(cell: Json) -> bool:
    found = _as_list(cell)
    return isinstance(cell, dict) or (found is not None and (len(found) == 4 or any(map(_holds_box, found))))


def _as_list(cell: Json) -> list[Json] | None:
    """A list, or the list that a text spells as JSON; None for anything else."""
    if isinstance(cell, list):
        return cell
    if isinstance(cell, str) and cell.startswith("[") and cell.endswith("]"):
        try:
            found = json.loads(cell.replace("'", '"'))
        except (ValueError, RecursionError):
            return None
        return found if isinstance(found, list) else None
    return None


def _pieces_recur(joined: Sequence[str], texts: set[str], separator: str) -> bool:
    """Whether at least half of the pieces of joined cells stand in another cell too: "a;b" and "b;c", not "x, an x"."""
    cells = [{piece.strip() for piece in text.split(separator)} for text in texts]
    count = Counter(piece for cell in cells for piece in cell)
    pieces = {piece.strip() for text in joined for piece in text.split(separator)}
    return sum(count[piece] > 1 for piece in pieces) >= len(pieces) / 2


def _numbers(cells: Iterable[Json]) -> bool:
    """Whether every cell is a finite number or spells one; absent ones count as such."""
    return all(cell == "" or _is_number(cell) for cell in cells)


def _is_number(cell: Json) -> bool:
    if isinstance(cell, bool) or not isinstance(cell, str | int | float):
        return False
    try:
        return math.isfinite(float(cell))
    except (ValueError, OverflowError):
        return False
