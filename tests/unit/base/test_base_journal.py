# SPDX-License-Identifier: Apache-2.0
"""The journal after a crash at every byte; the reference is the list of entries written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fireforge.base.errors import FireforgeError
from fireforge.base.journal import Entry, Journal

VALUES = [{"a": 1}, [1.5, "ß\n\u2028"], None]


def written(path: Path) -> Journal:
    journal = Journal(path)
    for i, value in enumerate(VALUES):
        journal.append(f"t{i}", value)
    return journal


def entries(count: int) -> list[Entry]:
    return [Entry(type=f"t{i}", value=value) for i, value in enumerate(VALUES[:count])]


def test_entries_come_back_in_order_one_line_each(tmp_path: Path) -> None:
    journal = written(tmp_path / "r.jsonl")
    assert journal.read() == entries(3)
    lines = (tmp_path / "r.jsonl").read_bytes().split(b"\n")
    assert [json.loads(line)["type"] for line in lines[:-1]] == ["t0", "t1", "t2"]
    assert lines[-1] == b""


def test_absent_and_empty_files_have_no_entries(tmp_path: Path) -> None:
    assert Journal(tmp_path / "none").read() == []
    (tmp_path / "empty").write_bytes(b"")
    journal = Journal(tmp_path / "empty")
    assert journal.read() == []
    journal.append("t0", VALUES[0])
    assert journal.read() == entries(1)


@pytest.mark.parametrize("count", [1, 3])
def test_a_tail_torn_at_every_byte_is_dropped_and_appending_goes_on(tmp_path: Path, count: int) -> None:
    whole = b"".join((written(tmp_path / "w").path.read_bytes().splitlines(keepends=True))[:count])
    start = whole[:-1].rfind(b"\n") + 1
    path = tmp_path / "r.jsonl"
    for cut in range(start, len(whole)):
        path.write_bytes(whole[:cut])
        journal = Journal(path)
        assert journal.read() == entries(count - 1), cut
        journal.append(f"t{count - 1}", VALUES[count - 1])
        assert journal.read() == entries(count), cut
        assert path.read_bytes() == whole, cut


@pytest.mark.parametrize("damage", [b"{", b"[]", b"3", b'{"type":"x"}', b"\xff", b""])
def test_a_damaged_line_before_the_last_is_named(tmp_path: Path, damage: bytes) -> None:
    path = written(tmp_path / "r.jsonl").path
    lines = path.read_bytes().split(b"\n")
    lines[1] = damage
    path.write_bytes(b"\n".join(lines))
    with pytest.raises(FireforgeError, match="BAD_RECORD") as caught:
        Journal(path).read()
    assert caught.value.where.endswith("r.jsonl line 2")


def test_nan_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    journal = written(tmp_path / "r.jsonl")
    with pytest.raises(ValueError, match="JSON"):
        journal.append("t", float("nan"))
    assert journal.read() == entries(3)


def test_a_file_name_that_is_not_utf8_can_be_recorded(tmp_path: Path) -> None:
    name = b"caf\xe9".decode("utf-8", "surrogateescape")
    journal = Journal(tmp_path / "r.jsonl")
    journal.append("t", {"name": name})
    assert journal.read() == [Entry(type="t", value={"name": name})]
    journal.path.read_text(encoding="utf-8")


def test_a_folder_that_is_missing_is_one_error(tmp_path: Path) -> None:
    with pytest.raises(FireforgeError, match="CANNOT_WRITE"):
        Journal(tmp_path / "absent" / "r.jsonl").append("t", 1)
