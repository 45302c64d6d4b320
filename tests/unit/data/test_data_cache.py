# SPDX-License-Identifier: Apache-2.0
"""Pictures kept in a folder: those that reading gives, whatever became of the files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fireforge.base.errors import FireforgeError
from fireforge.base.preprocess import ImageSteps
from fireforge.base.trial import DataRef
from fireforge.data import cache as file
from fireforge.data.cache import Kept, PictureCache
from fireforge.data.open import open_dataset
from fireforge.data.pixels import load_pixels
from fireforge.data.split import split

STEPS = ImageSteps(channels=1, resize=(10, 10), crop=(10, 10), order="L", mean=(100.0,), std=(70.0,))


@pytest.fixture(scope="module")
def ref(tmp_path_factory: pytest.TempPathFactory) -> DataRef:
    """90 gray pictures of 12 x 12 px in 3 classes."""
    path = tmp_path_factory.mktemp("cache") / "tiny.npz"
    pixels = np.random.default_rng(1).integers(0, 256, (90, 12, 12)).astype(np.uint8)
    np.savez(path, x=pixels, y=np.arange(90) % 3)
    return DataRef(source=str(path), sha256=open_dataset(path).sha256)


def naive(ref: DataRef, parts: tuple[str, ...], steps: ImageSteps) -> Kept:
    dataset = open_dataset(ref.source)
    ids = split(dataset, ref).ids(*parts)
    return load_pixels(dataset, ids, steps), np.array([dataset.samples[i].label for i in ids]), ids


def equal(one: Kept, two: Kept) -> bool:
    return all(a.dtype == b.dtype and np.array_equal(a, b) for a, b in zip(one, two))


@pytest.fixture
def unread(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Once called, reading a picture fails."""

    def refuse() -> None:
        monkeypatch.setattr(file, "load_pixels", lambda *_: pytest.fail("pictures were read again"))

    return refuse


@pytest.mark.parametrize("parts", [("train",), ("val",), ("train", "val")])
def test_kept_pictures_are_those_that_reading_gives(
    ref: DataRef, tmp_path: Path, parts: tuple[str, ...], unread: Callable[[], None]
) -> None:
    wanted = naive(ref, parts, STEPS)
    assert equal(PictureCache(None, ref).pictures(parts, STEPS), wanted)
    first = PictureCache(tmp_path, ref).pictures(parts, STEPS)
    unread()
    again = PictureCache(tmp_path, ref).pictures(parts, STEPS)
    assert equal(first, wanted)
    assert equal(again, wanted)
    assert isinstance(again[0], np.memmap)


def test_other_data_parts_or_steps_are_kept_apart_and_mean_and_std_do_not_matter(
    ref: DataRef, tmp_path: Path, unread: Callable[[], None]
) -> None:
    cache = PictureCache(tmp_path, ref)
    first = cache.pictures(("train",), STEPS)
    small = STEPS.replace(resize=(6, 6), crop=(6, 6))
    assert cache.pictures(("train",), small)[0].shape[2:] == (6, 6)
    other = PictureCache(tmp_path, ref.replace(seed=1)).pictures(("train",), STEPS)
    assert not np.array_equal(other[2], first[2])
    assert len(list(tmp_path.glob("*.pixels.npy"))) == 3
    unread()
    assert equal(cache.pictures(("train",), STEPS.replace(mean=(0.0,), std=(1.0,))), first)


def test_without_a_folder_or_a_checksum_nothing_is_kept(ref: DataRef, tmp_path: Path) -> None:
    PictureCache(tmp_path, ref.replace(sha256="")).pictures(("val",), STEPS)
    assert list(tmp_path.iterdir()) == []


def test_no_parts_give_no_pictures(ref: DataRef, tmp_path: Path) -> None:
    pixels, labels, ids = PictureCache(tmp_path, ref).pictures((), STEPS)
    assert (pixels.shape, pixels.dtype, len(labels), len(ids)) == ((0, 1, 10, 10), np.uint8, 0, 0)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["pixels", "labels", "ids"])
@pytest.mark.parametrize("harm", ["gone", "cut", "empty", "nonsense", "other"])
def test_a_file_that_is_gone_or_damaged_is_made_again(
    ref: DataRef, tmp_path: Path, name: str, harm: str, unread: Callable[[], None]
) -> None:
    """A cut file is what a machine without power may leave; "other" is an array with another number of pictures."""
    wanted = naive(ref, ("train",), STEPS)
    PictureCache(tmp_path, ref).pictures(("train",), STEPS)
    path = next(tmp_path.glob(f"*.{name}.npy"))
    whole = path.read_bytes()
    if harm == "gone":
        path.unlink()
    elif harm == "other":
        np.save(path, np.zeros(3, np.int64))
    else:
        path.write_bytes({"cut": whole[: len(whole) - 9], "empty": b"", "nonsense": b"nonsense" * 40}[harm])
    assert equal(PictureCache(tmp_path, ref).pictures(("train",), STEPS), wanted)
    assert path.read_bytes() == whole
    unread()
    assert equal(PictureCache(tmp_path, ref).pictures(("train",), STEPS), wanted)


def test_a_half_written_file_has_no_name_that_is_read(
    ref: DataRef, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that is full after some bytes: the error names the file, and no part of it stays."""

    def full(stream: object, array: np.ndarray) -> None:
        stream.write(b"some bytes")  # type: ignore[attr-defined]
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(FireforgeError, match="CANNOT_WRITE"):
        PictureCache(tmp_path, ref).pictures(("train",), STEPS)
    assert not [path for path in tmp_path.iterdir() if path.suffix != ".lock"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_told(ref: DataRef, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(FireforgeError, match="CANNOT_WRITE"):
        PictureCache(tmp_path, ref).pictures(("train",), STEPS)


def test_what_is_read_of_the_map_can_be_changed_without_changing_the_file(ref: DataRef, tmp_path: Path) -> None:
    """torch makes tensors of these arrays, which it asks to be writable."""
    PictureCache(tmp_path, ref).pictures(("train",), STEPS)
    path = next(tmp_path.glob("*.pixels.npy"))
    before = path.read_bytes()
    pixels, _, _ = PictureCache(tmp_path, ref).pictures(("train",), STEPS)
    pixels[:] = 7
    assert path.read_bytes() == before


def test_data_that_changed_are_refused(ref: DataRef, tmp_path: Path) -> None:
    with pytest.raises(FireforgeError, match="DATA_CHANGED"):
        PictureCache(tmp_path, ref.replace(sha256="0" * 64)).pictures(("train",), STEPS)


CHILD = """
import json, sys, time
from pathlib import Path
from fireforge.data import cache as file
from fireforge.base.preprocess import ImageSteps
from fireforge.base.trial import DataRef
from fireforge.data.cache import PictureCache
ref, steps = (json.loads(text) for text in sys.argv[2:4])
cache = PictureCache(Path(sys.argv[1]), DataRef.from_json(ref))
load, reads = file.load_pixels, []
file.load_pixels = lambda *given: (reads.append(1), time.sleep(0.3), load(*given))[2]
print("ready", flush=True)
sys.stdin.readline()
for parts in (("train",), ("val",)):
    pixels, labels, ids = cache.pictures(parts, ImageSteps.from_json(steps))
    print(len(pixels), int(pixels.sum()), int(labels.sum()), int(ids.sum()), flush=True)
print(len(reads), flush=True)
"""


def test_of_processes_that_want_the_same_pictures_at_once_one_reads_them(ref: DataRef, tmp_path: Path) -> None:
    command = [sys.executable, "-c", CHILD, str(tmp_path), json.dumps(ref.to_json()), json.dumps(STEPS.to_json())]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    children = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
        for _ in range(3)
    ]
    try:
        for child in children:
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n"
        for child in children:
            assert child.stdin is not None
            child.stdin.write("go\n")
            child.stdin.flush()
        told = [child.communicate(timeout=60)[0].splitlines() for child in children]
    finally:
        for child in children:
            child.kill()
            child.wait()
    wanted = [naive(ref, parts, STEPS) for parts in (("train",), ("val",))]
    lines = [f"{len(p)} {int(p.sum())} {int(y.sum())} {int(ids.sum())}" for p, y, ids in wanted]
    assert [words[:2] for words in told] == [lines] * 3
    assert sum(int(words[2]) for words in told) == 2  # one process reads a part, and the others wait for it
    assert not list(tmp_path.glob(".part-*"))
    assert len(list(tmp_path.glob("*.npy"))) == 6
