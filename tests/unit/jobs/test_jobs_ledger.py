# SPDX-License-Identifier: Apache-2.0
"""Nothing is lost: found = used + skipped in the record of every verb that trains, file by file, step by step."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fireforge.base.budget import Budget
from fireforge.base.journal import Journal
from fireforge.base.record import RunRecord
from fireforge.base.settings import Settings, Wish
from fireforge.base.start import Start
from fireforge.jobs.build import build
from fireforge.jobs.export import export
from fireforge.jobs.finetune import finetune
from fireforge.jobs.inspect import inspect
from fireforge.jobs.train import train

EACH = 30
BAD = {  # name to the code that names it
    "a/empty.png": "IMG_EMPTY",
    "a/cut.png": "IMG_CORRUPT",
    "b/words.jpg": "IMG_NOT_IMAGE",
    "b/notes.txt": "IMG_NOT_IMAGE",
    "README.md": "IMG_NOT_IMAGE",
}
CODES = {"IMG_CORRUPT": 1, "IMG_EMPTY": 1, "IMG_NOT_IMAGE": 3}
EPOCHS, BATCH = 2, 8


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Good, cut, empty and wrongly typed files, and hidden ones, which are not looked at."""
    folder = tmp_path_factory.mktemp("ledger")
    draw = np.random.default_rng(0)
    for place, label in enumerate("ab"):
        (folder / label).mkdir()
        for number in range(EACH):
            pixels = draw.integers(0, 120, (8, 8, 3)) + 100 * place
            Image.fromarray(pixels.astype(np.uint8)).save(folder / label / f"{number:02}.png")
    whole = (folder / "a" / "00.png").read_bytes()
    (folder / "a" / "empty.png").write_bytes(b"")
    (folder / "a" / "cut.png").write_bytes(whole[:60])
    for name in ("b/words.jpg", "b/notes.txt", "README.md", ".DS_Store"):
        (folder / name).write_text("words")
    (folder / "b" / ".hidden.png").write_bytes(whole)
    return folder


def settings(net: str = "convnet-small") -> Settings:
    return Settings(net=net, epochs=EPOCHS, batch=BATCH, device="cpu")


def check(run: Path) -> RunRecord | None:
    """The sums of a run's first entry; its training, where there is one."""
    entries = Journal(run / "record.jsonl").read()
    card = Start.from_json(entries[0].value).dataset
    assert card is not None
    assert (card.found, card.used, card.skipped) == (2 * EACH + len(BAD), 2 * EACH, CODES)
    assert card.found == card.used + sum(card.skipped.values())
    assert sum(map(sum, card.counts.values())) == card.used
    assert [sum(part[label] for part in card.counts.values()) for label in range(2)] == [EACH, EACH]
    trials = [RunRecord.from_json(entry.value) for entry in entries if entry.type == "trial"]
    for record in trials:
        assert record.samples == {name: sum(card.counts[name]) for name in ("train", "val")}
    return trials[-1] if trials else None


def check_steps(record: RunRecord | None) -> None:
    """Every step of every epoch was taken or counted as left out."""
    assert record is not None
    assert record.steps == {"taken": EPOCHS * -(-record.samples["train"] // BATCH), "left_out": 0}


def test_every_file_is_used_or_named(folder: Path) -> None:
    found = inspect(str(folder))
    assert {item.name: item.code for item in found.unreadable} == BAD
    assert (found.found, found.used, found.skipped) == (2 * EACH + len(BAD), 2 * EACH, CODES)


def test_the_record_of_a_training_adds_up(folder: Path, tmp_path: Path) -> None:
    train(str(folder), settings(), out=tmp_path / "run")
    check_steps(check(tmp_path / "run"))


@pytest.mark.slow
def test_the_records_of_finetune_and_build_add_up(folder: Path, tmp_path: Path) -> None:
    train(str(folder), settings(), out=tmp_path / "first")
    export(tmp_path / "first", out=tmp_path / "model.onnx")
    finetune(tmp_path / "model.onnx", str(folder), settings(""), out=tmp_path / "second")
    check_steps(check(tmp_path / "second"))
    wish = Wish(seed=0, device="cpu")
    build(str(folder), budget=Budget(max_bytes=40_000, seconds=30.0), wish=wish, out=tmp_path / "third")
    check(tmp_path / "third")
