# SPDX-License-Identifier: Apache-2.0
"""The house's own rules: sizes, first lines, imports. The rules are those of CONTRIBUTING.md."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "fireforge").rglob("*.py"))
MOST_LINES = 400
MOST_FUNCTION_LINES = 90
MOST_ARGUMENTS = 8
IN_ROOM = {"aten.py", "torch_module.py", "markup.py"}  # attributes of a node or an element, never across a room
LAZY = [p for p in FILES if p.parent.name == "cli" or p.name == "__init__.py"]  # they import where a verb asks


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node


def test_there_are_files() -> None:
    assert len(FILES) > 50


@pytest.mark.parametrize("path", FILES, ids=name)
def test_file_is_small_and_says_what_it_holds(path: Path) -> None:
    text = path.read_text()
    lines = text.splitlines()
    assert lines[0] == "# SPDX-License-Identifier: Apache-2.0"
    assert len(lines) <= MOST_LINES
    assert ast.get_docstring(ast.parse(text)), "no module docstring"


@pytest.mark.parametrize("path", FILES, ids=name)
def test_functions_are_small(path: Path) -> None:
    for node in functions(path):
        length = (node.end_lineno or node.lineno) - node.lineno + 1
        assert length <= MOST_FUNCTION_LINES, f"{node.name} has {length} lines"


@pytest.mark.parametrize("path", [p for p in FILES if p.parent.name != "cli"], ids=name)
def test_public_functions_take_few_arguments_and_no_kwargs(path: Path) -> None:
    for node in functions(path):
        given = [a for a in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs) if a.arg != "self"]
        assert len(given) <= MOST_ARGUMENTS, f"{node.name} takes {len(given)} arguments"
        if not node.name.startswith("_") and node.name != "replace" and path.name not in IN_ROOM:
            assert node.args.kwarg is None, f"{node.name} takes **{node.args.kwarg.arg if node.args.kwarg else ''}"


@pytest.mark.parametrize("path", [p for p in FILES if p not in LAZY], ids=name)
def test_fireforge_is_imported_at_the_top_only(path: Path) -> None:
    for function in functions(path):
        for node in ast.walk(function):
            if isinstance(node, ast.ImportFrom):
                assert not (node.module or "").startswith("fireforge"), f"{function.name} imports {node.module}"


@pytest.mark.parametrize("path", FILES, ids=name)
def test_no_face_is_imported_from_within(path: Path) -> None:
    rooms = {p.parent.name for p in FILES if p.name == "__init__.py"}
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("fireforge"):
            parts = (node.module or "").split(".")
            is_face = len(parts) == 1 or (len(parts) == 2 and parts[1] in rooms)
            only_files = all((ROOT / Path(*parts) / f"{alias.name}.py").exists() for alias in node.names)
            assert not is_face or only_files, f"imports the face {node.module}"


@pytest.mark.parametrize("path", FILES, ids=name)
def test_nothing_is_swallowed(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ExceptHandler):
            assert node.type is not None, f"line {node.lineno}: bare except"
            broad = isinstance(node.type, ast.Name) and node.type.id in ("Exception", "BaseException")
            silent = all(isinstance(statement, ast.Pass) for statement in node.body)
            assert not (broad and silent), f"line {node.lineno}: swallows everything"
