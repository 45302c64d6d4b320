# SPDX-License-Identifier: Apache-2.0
"""Event files as TensorBoard's own reader sees them."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from fireforge.base.errors import Exit, FireforgeError
from fireforge.base.gradients import Gradients, Look
from fireforge.base.journal import Entry
from fireforge.base.progress import Update, silent
from fireforge.base.record import RunRecord
from fireforge.report import tensorboard
from fireforge.report.tensorboard import Events

Scalars = dict[str, list[tuple[int, float]]]


@pytest.fixture
def record(entries: list[Entry]) -> RunRecord:
    """Five epochs, the last one cut, with two looks at two layers, a number of which was not finite."""
    looks = (
        Look(epoch=0, outputs=(0.5, 0.25), weights=(1.0, 1.0), relative=(1.0, 1.0)),
        Look(epoch=3, outputs=(0.125, None), weights=(1.0, 1.0), relative=(1.0, 1.0)),
    )
    trial = next(entry.value for entry in entries if entry.type == "trial")
    return RunRecord.from_json(trial).replace(
        metrics={
            "train/loss": (5.0, 4.0, 3.0, 2.0, 1.0),
            "train/epoch": (1.0, 2.0, 3.0, 4.0, 4.25),
            "val/accuracy": (0.5, 0.75),
            "val/epoch": (2.0, 4.25),
            "lr": (1.0, 0.5, 0.25, 0.125, 0.0625),
        },
        gradients=Gradients(layers=("stem", "classifier"), looks=looks),
        stages={"forward": 2.0, "backward": 4.0},
    )


def scalars(folder: Path) -> Scalars:
    """What TensorBoard shows of a run's folder."""
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    found = reader.EventAccumulator(str(folder / "tensorboard"))
    found.Reload()
    return {tag: [(e.step, e.value) for e in found.Scalars(tag)] for tag in found.Tags()["scalars"]}


def tell(events: Events, epochs: range) -> None:
    for epoch in epochs:
        events(Update(stage="train", done=epoch - 0.5, total=9))  # within an epoch: has no numbers
        events(Update(stage="train", done=epoch, total=9, numbers={"train/loss": 10.0 - epoch}))


def test_events_come_as_the_epochs_do(tmp_path: Path) -> None:
    seen: list[Update] = []
    events = Events(tmp_path, seen.append)
    assert not (tmp_path / "tensorboard").exists()
    for epoch in (1, 2, 3):
        tell(events, range(epoch, epoch + 1))
        assert scalars(tmp_path) == {"train/loss": [(e, 10.0 - e) for e in range(1, epoch + 1)]}
    assert [update.done for update in seen] == [0.5, 1, 1.5, 2, 2.5, 3]


def test_no_step_stands_twice_after_a_resume(tmp_path: Path) -> None:
    tell(Events(tmp_path, silent), range(1, 6))
    tell(Events(tmp_path, silent), range(4, 8))  # the state of epoch 3 was taken up
    assert scalars(tmp_path) == {"train/loss": [(e, 10.0 - e) for e in range(1, 8)]}


def test_at_the_end_the_record_stands_there_whole(record: RunRecord, tmp_path: Path) -> None:
    events = Events(tmp_path, silent)
    tell(events, range(3, 6))  # epochs 1 and 2 were trained without events
    events.end(record)
    assert scalars(tmp_path) == {
        "train/loss": [(1, 5.0), (2, 4.0), (3, 3.0), (4, 2.0), (5, 1.0)],
        "val/accuracy": [(2, 0.5), (5, 0.75)],
        "lr": [(1, 1.0), (2, 0.5), (3, 0.25), (4, 0.125), (5, 0.0625)],
        "gradient/1 stem": [(0, 0.5), (3, 0.125)],
        "gradient/2 classifier": [(0, 0.25)],
        "seconds/forward": [(5, 2.0)],
        "seconds/backward": [(5, 4.0)],
    }


def test_a_training_that_had_ended_is_written_once(record: RunRecord, tmp_path: Path) -> None:
    for _ in range(3):
        Events(tmp_path, silent).end(record)
    assert len(list((tmp_path / "tensorboard").glob("events.*"))) == 1
    assert scalars(tmp_path)["lr"][-1] == (5, 0.0625)


def test_what_a_kill_left_half_is_written_whole(record: RunRecord, tmp_path: Path) -> None:
    """Epochs of a training that ended before its last file, and those of one that went on without events."""
    tell(Events(tmp_path, silent), range(1, 2))
    Events(tmp_path, silent).end(record)
    assert scalars(tmp_path)["lr"][-1] == (5, 0.0625)


def test_a_full_disk_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events = Events(tmp_path, silent)
    tell(events, range(1, 2))

    def full() -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    assert events._file is not None
    monkeypatch.setattr(events._file._writer, "flush", full)
    with pytest.raises(FireforgeError, match=r"CANNOT_WRITE.*No space left"):
        tell(events, range(2, 3))


def test_without_the_package_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(tensorboard.importlib, "import_module", absent)
    with pytest.raises(FireforgeError) as told:
        Events(tmp_path, silent)
    assert (told.value.code, told.value.exit_code) == ("NO_PACKAGE", Exit.ENVIRONMENT)
    assert 'pip install "fireforge[tensorboard]"' in told.value.line()


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "tensorboard").write_text("a file")
    with pytest.raises(FireforgeError) as told:
        Events(tmp_path, silent).prove()
    assert told.value.code == "CANNOT_WRITE"
