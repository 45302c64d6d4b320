# SPDX-License-Identifier: Apache-2.0
"""docs/house.md: every function that it names exists, and the way of one image is the way that a picture goes."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path
from types import FrameType

import numpy as np
import pytest
from PIL import Image

import fireforge
from fireforge.base.model import Card, Model, dense
from fireforge.base.postprocess import Postprocess
from fireforge.base.preprocess import ImageSteps, Preprocess
from fireforge.base.spec import NetSpec
from fireforge.export.targets import write_onnx
from fireforge.jobs.predict import predict
from fireforge.nets.families import build_graph

PACKAGE = Path(fireforge.__file__).parent
ROOT = PACKAGE.parent
STEP = re.compile(r"`([\w/]+\.py):\s([\w.]+)`")


def names_of(path: Path) -> set[str]:
    """Functions, classes, methods as Class.method, and values at the top of a file."""
    found: set[str] = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}.{inner.name}" for inner in node.body if isinstance(inner, ast.FunctionDef)}
        if isinstance(node, ast.Assign):
            found |= {target.id for target in node.targets if isinstance(target, ast.Name)}
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found.add(node.target.id)
    return found


def steps_of(title: str) -> list[tuple[str, str]]:
    """(file, function) in the order in which a section names them, each once."""
    text = (ROOT / "docs" / "house.md").read_text()
    part = text.partition(f"\n## {title}\n")[2].partition("\n## ")[0] if title else text
    return list(dict.fromkeys(STEP.findall(part)))


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.md")), ids=lambda page: page.name)
def test_every_file_and_function_named_exists(page: Path) -> None:
    for file, name in STEP.findall(page.read_text()):
        assert (PACKAGE / file).is_file(), file
        assert name in names_of(PACKAGE / file), f"{file}: {name}"


def test_every_room_is_in_the_table() -> None:
    text = (ROOT / "docs" / "house.md").read_text()
    for room in sorted(p.parent.name for p in PACKAGE.glob("*/__init__.py")):
        assert f"[{room}]({room}.md)" in text, room
        assert (ROOT / "docs" / f"{room}.md").is_file(), room


def test_the_way_of_one_image_is_the_way_that_a_picture_goes(tmp_path: Path) -> None:
    """A picture is predicted under a profiler: all functions named are called, the main ones in the page's order."""
    path = tmp_path / "model.onnx"
    graph = build_graph(NetSpec(family="resnet", params={"blocks": 1, "width": 4}, classes=3, input_shape=(3, 8, 8)))
    arrays = {weight.name: np.ones(tuple(map(int, weight.shape)), np.float32) for weight in graph.weights}
    steps = ImageSteps(channels=3, resize=(8, 8), crop=(8, 8))
    card = Card(preprocess=Preprocess(image=steps), postprocess=Postprocess(), labels=("a", "b", "c"))
    write_onnx(Model(graph=graph, weights=dense(arrays), card=card), path)
    Image.fromarray(np.zeros((20, 10, 3), np.uint8)).save(tmp_path / "picture.png")
    called: dict[tuple[str, str], int] = {}

    def watch(frame: FrameType, event: str, _: object) -> None:
        file = frame.f_code.co_filename
        if event == "call" and file.startswith(str(PACKAGE)):
            called.setdefault((Path(file).relative_to(PACKAGE).as_posix(), frame.f_code.co_qualname), len(called))

    sys.setprofile(watch)
    try:
        answers = list(predict(path, [str(tmp_path / "picture.png")]))
    finally:
        sys.setprofile(None)
    assert len(answers) == 1
    beside = (("jobs/tell.py", "predictions"), ("runtime/parity.py", "verify"))
    named = [step for step in steps_of("The way of one image") if step not in beside]
    assert len(named) >= 15
    assert [step for step in named if step not in called] == []
    marks = [("runtime/predictor.py", "load"), ("runtime/predictor.py", "Predictor.predict")]
    marks += [("base/pixels.py", name) for name in ("decode", "orient", "to_channels", "resize", "crop", "normalize")]
    marks += [("runtime/onnx_runtime.py", "OnnxSession.run"), ("base/postprocess.py", "classify")]
    assert [step for step in named if step in marks] == marks
    assert sorted(marks, key=called.__getitem__) == marks
