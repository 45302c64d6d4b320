# SPDX-License-Identifier: Apache-2.0
"""A build and its replay, in processes of their own: the same trials, the same weights to the bit, the same files."""

from __future__ import annotations

from pathlib import Path

import pytest

from fireforge.base.files import read_bytes, read_json
from fireforge.base.journal import Journal
from fireforge.base.record import RunRecord


def trials(folder: Path) -> dict[str, RunRecord]:
    entries = Journal(folder / "record.jsonl").read()
    records = [RunRecord.from_json(entry.value) for entry in entries if entry.type == "trial"]
    return {record.trial_digest: record for record in records}


def choices(folder: Path) -> dict[str, object]:
    entries = Journal(folder / "record.jsonl").read()
    return {entry.value["name"]: entry.value["value"] for entry in entries if entry.type == "choice"}


@pytest.mark.slow
def test_a_replay_gives_the_same_weights_and_files_to_the_bit(tmp_path: Path, fireforge) -> None:
    """The replay has no clock, so that a machine of another speed would give the same."""
    pytest.importorskip("torch")
    first, again = tmp_path / "first", tmp_path / "again"
    done = fireforge("build", "digits", "--max-size", "40KB", "--time", "35s", "--out", first)
    assert done.returncode == 0, done.stderr
    done = fireforge("build", "digits", "--replay", first, "--out", again)
    assert done.returncode == 0, done.stderr
    assert choices(again) == choices(first)
    old, new = trials(first), trials(again)
    assert list(new) != []
    assert set(new) == set(old)
    for digest, record in old.items():
        assert new[digest].weights_sha256 == record.weights_sha256, record.trial.spec
        assert new[digest].accuracy == record.accuracy
        assert new[digest].metrics == record.metrics
    files = [path.name for path in first.glob("*.onnx")]
    assert files
    for name in (*files, "weights/best.safetensors", "spec.json"):
        assert read_bytes(again / name) == read_bytes(first / name), name
    results = [read_json(folder / "result.json") for folder in (first, again)]
    assert results[0]["model"] == results[1]["model"]
    assert results[0]["test"] == results[1]["test"]
