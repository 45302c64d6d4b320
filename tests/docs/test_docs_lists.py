# SPDX-License-Identifier: Apache-2.0
"""Pages that list what the code has are held to the code both ways: nothing is missing, nothing is made up."""

from __future__ import annotations

import ast
import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path

import fireforge
from fireforge.base.answer import Answer
from fireforge.base.errors import Exit
from fireforge.base.ops.table import OPERATORS
from fireforge.compress.stages import STAGES
from fireforge.cost.count import count
from fireforge.data.formats.archive import REASONS as ARCHIVE_REASONS
from fireforge.data.formats.folder import REASONS
from fireforge.data.formats.table import FORMATS
from fireforge.export.constants import CONSTANTS
from fireforge.nets.families import FAMILIES, NETWORKS, build_graph
from fireforge.nets.published import PUBLISHED

PACKAGE = Path(fireforge.__file__).parent
DOCS = PACKAGE.parent / "docs"


def rows(page: str, title: str) -> list[list[str]]:
    """Cells of the table under a heading, without its head."""
    text = f"\n{(DOCS / page).read_text()}"
    part = re.split(r"\n## ", text.partition(f"\n{title}\n")[2])[0]
    lines = [line for line in part.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def calls() -> Iterator[ast.Call]:
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                yield node


def texts(node: ast.AST) -> set[str]:
    """Codes in an expression: capitals and underscores."""
    found = {part.value for part in ast.walk(node) if isinstance(part, ast.Constant) and isinstance(part.value, str)}
    return {text for text in found if re.fullmatch(r"[A-Z]+(_[A-Z]+)*", text)}


def raised() -> set[str]:
    """Codes of every FireforgeError( in the code; where a variable stands for it, what the variable is given."""
    codes: set[str] = set()
    for call in calls():
        if getattr(call.func, "id", "") == "FireforgeError" and call.args:
            codes |= texts(call.args[0])
    tree = ast.parse((PACKAGE / "base" / "pixels.py").read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "code":
            codes |= texts(node.value)
    return codes


def test_every_code_is_on_the_page_and_no_other() -> None:
    listed = [row[0] for row in rows("errors.md", "## Codes")]
    assert len(raised()) > 50
    assert set(listed) == raised()
    assert listed == sorted(set(listed))


def test_exit_codes_are_those_of_the_code() -> None:
    assert [(int(row[0]), row[1]) for row in rows("errors.md", "## Exit codes")] == [(int(e), e.name) for e in Exit]


def test_a_code_of_another_exit_than_2_says_so() -> None:
    exits: dict[str, set[int]] = {}
    for call in calls():
        if getattr(call.func, "id", "") == "FireforgeError" and call.args:
            given = [k.value for k in call.keywords if k.arg == "exit_code"]
            named = [
                int(Exit[value.attr])
                for value in given
                if isinstance(value, ast.Attribute) and value.attr in Exit.__members__
            ]
            if given and not named:
                continue  # an error handed on with the exit code it had
            for code in texts(call.args[0]):
                exits.setdefault(code, set()).update(named or [2])
    told = {row[0]: {int(x) for x in re.findall(r"exit (\d+)", row[1])} for row in rows("errors.md", "## Codes")}
    for code, found in exits.items():
        assert told[code] == found - {2}, code


def test_codes_of_skipped_files_are_those_of_the_code() -> None:
    listed = {row[0] for row in rows("errors.md", "## Files that are skipped")}
    own = {code for code in REASONS if not code.startswith("IMG_")}
    for call in calls():
        if getattr(call.func, "attr", "") == "skip" and len(call.args) == 3:
            own |= texts(call.args[1])
        if getattr(call.func, "id", "") == "Skipped":
            own |= {code for keyword in call.keywords if keyword.arg == "code" for code in texts(keyword.value)}
    assert listed == own | set(ARCHIVE_REASONS)


def test_operators_are_those_of_the_closed_list() -> None:
    table = rows("operators.md", "# Operators")
    assert [row[0] for row in table] == list(OPERATORS)
    for name, what, inputs, required, defaults, constants in table:
        operator = OPERATORS[name]
        least, most = operator.inputs
        count = str(least) if least == most else f"{least} or more" if most < 0 else f"{least} to {most}"
        assert what
        assert inputs == count, name
        assert re.findall(r"`(\w+)`", required) == list(operator.required), name
        assert re.findall(r"`(\w+)`", defaults) == sorted(operator.defaults), name
        assert re.findall(r"`(\w+)`", constants) == list(CONSTANTS[name][0] if name in CONSTANTS else ()), name
        assert operator.outputs == (-1 if name == "Split" else 1), name
    assert f"these {len(OPERATORS)} operators" in (DOCS / "operators.md").read_text()


def test_types_of_record_entries_are_those_that_are_written() -> None:
    written: set[str] = set()
    for call in calls():
        owner = getattr(call.func, "value", None)
        kept = getattr(call.func, "attr", "") == "append" and getattr(owner, "attr", "") == "journal"
        if (kept or getattr(call.func, "attr", "") == "once") and call.args and isinstance(call.args[0], ast.Constant):
            written.add(str(call.args[0].value))
    assert {row[0] for row in rows("files.md", "## record.jsonl")} == written


def test_fields_of_result_json_are_those_of_the_answer() -> None:
    listed = [name for row in rows("files.md", "## result.json") for name in re.findall(r"`(\w+)`", row[0])]
    assert sorted(listed) == sorted(field.name for field in dataclasses.fields(Answer))


def test_members_are_named_on_their_room_s_page() -> None:
    assert [row[0] for row in rows("data.md", "# data")] == list(FORMATS)
    assert [row[0] for row in rows("compress.md", "# compress")] == list(STAGES)
    assert f"FAMILIES`: {', '.join(FAMILIES)})" in " ".join((DOCS / "nets.md").read_text().split())


def test_networks_are_listed_with_what_is_counted_and_printed() -> None:
    table = rows("nets.md", "## Networks")
    assert [row[0] for row in table] == [f"`{name}`" for name in NETWORKS]
    assert f"\n{len(NETWORKS)} networks by name" in (DOCS.parent / "README.md").read_text()
    for (name, preset), (_, shape, classes, params, gmacs, shares) in zip(NETWORKS.items(), table):
        spec, printed = preset(), PUBLISHED.get(name)
        cost = count(build_graph(spec))
        assert shape == " x ".join(map(str, spec.input_shape)), name
        assert int(classes) == spec.classes, name
        assert params == f"{cost.params:,}", name
        assert gmacs == f"{cost.macs / 1e9:.4f}", name
        five = "–" if printed is None or printed.top5 is None else printed.top5
        assert shares == (f"{printed.top1} / {five}" if printed and printed.top1 else ""), name
