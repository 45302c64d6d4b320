# SPDX-License-Identifier: Apache-2.0
"""Pictures made ready, kept in a run's folder: every process of a run maps the same file instead of decoding."""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from fireforge.base.errors import FireforgeError
from fireforge.base.files import cannot_write, make_folder
from fireforge.base.preprocess import ImageSteps
from fireforge.base.trial import DataRef
from fireforge.base.value import sha256_of
from fireforge.data.dataset import Dataset
from fireforge.data.formats.shards import SHARDS
from fireforge.data.open import open_ref
from fireforge.data.pixels import load_pixels, unchanged
from fireforge.data.shards.stored import Stored
from fireforge.data.split import split

Kept = tuple[np.ndarray, np.ndarray, np.ndarray]  # pixels uint8 (N, C, H, W), labels int64 (N,), sample ids int64 (N,)


class PictureCache:
    """The pictures of one data reference by part and steps.

    A file's name is a digest of the data, its parts and the steps, so a file that is there is the right one; it gets
    its name only when it is whole, and one that cannot be read is made again. The mean and the std are no part of it:
    pictures are kept before normalization. Pictures that were packed as they are wanted are handed out as they lie in
    their file: nothing is prepared.

    Args:
      folder: made where absent; None reads the data each time and keeps nothing.
      ref: of the data; where its sha256 is "", nothing is kept either.
      dataset: of the reference where the caller has it open; it is opened only when a picture must be read.
    """

    def __init__(self, folder: Path | None, ref: DataRef, dataset: Dataset | None = None) -> None:
        self._folder = folder if ref.sha256 else None
        self._ref = ref
        self._dataset = dataset

    def pictures(self, parts: tuple[str, ...], steps: ImageSteps) -> Kept:
        """Pictures of some parts together.

        Args:
          parts: of "train", "val" and "test"; none for no pictures.
          steps: how they are made ready.

        Returns:
          Pixels uint8 (N, C, H, W), labels int64 (N,), ids int64 (N,), by rising id.

        Raises:
          FireforgeError: DATA_CHANGED, a picture's own error, or CANNOT_WRITE.
        """
        if not parts:
            shape = (0, steps.channels, *steps.crop)
            return np.empty(shape, np.uint8), np.array([], np.int64), np.array([], np.int64)
        straight = self._packed(parts, steps)
        if straight is not None:
            return straight
        if self._folder is None:
            return self._read(parts, steps)
        plain = steps.replace(mean=(0.0,) * steps.channels, std=(1.0,) * steps.channels)
        stem = sha256_of([self._ref.to_json(), list(parts), plain.to_json()])[:20]
        paths = [make_folder(self._folder) / f"{stem}.{name}.npy" for name in ("pixels", "labels", "ids")]
        kept = _kept(paths)
        if kept is None:
            with _alone(self._folder / f"{stem}.lock"):
                kept = _kept(paths)  # another process may have made them meanwhile
                if kept is None:
                    for path, array in zip(paths, self._read(parts, steps)):
                        _write(path, array)
                    kept = _kept(paths)
        if kept is None:
            raise FireforgeError("CANNOT_WRITE", "the pictures that were kept cannot be read", where=str(self._folder))
        return kept

    def _packed(self, parts: tuple[str, ...], steps: ImageSteps) -> Kept | None:
        """The map of a packed dataset, where its pictures are as the steps would make them and lie in a row."""
        if self._dataset is None and not SHARDS.recognise(self._ref.source):
            return None
        dataset = self._open()
        stored = dataset.reader
        if not isinstance(stored, Stored) or not unchanged(stored.shape, steps):
            return None
        ids = split(dataset, self._ref).ids(*parts)
        if not len(ids) or not np.array_equal(ids, np.arange(ids[0], ids[0] + len(ids))):
            return None
        pixels = stored.block(int(ids[0]), int(ids[-1]) + 1)
        return None if pixels is None else (pixels.transpose(0, 3, 1, 2), dataset.targets[ids], ids)

    def where(self, sample_id: int) -> str:
        """The place of a sample, for messages.

        Args:
          sample_id: as in the ids of `pictures`.

        Returns:
          Source and name.
        """
        return self._open().where(sample_id)

    def _open(self) -> Dataset:
        if self._dataset is None:
            self._dataset = open_ref(self._ref)
        return self._dataset

    def samples(self, parts: tuple[str, ...]) -> tuple[Dataset, np.ndarray]:
        """The data itself, for who reads the pictures anew each time.

        Args:
          parts: of "train", "val" and "test"; none for no pictures.

        Returns:
          The dataset, and the ids of the parts' samples, int64 (N,), rising.

        Raises:
          FireforgeError: DATA_CHANGED.
        """
        dataset = self._open()
        return dataset, split(dataset, self._ref).ids(*parts) if parts else np.array([], np.int64)

    def _read(self, parts: tuple[str, ...], steps: ImageSteps) -> Kept:
        dataset, ids = self.samples(parts)
        return load_pixels(dataset, ids, steps), dataset.targets[ids], ids


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """While this lasts no other process is in here; the system gives the lock back when this one ends."""
    try:
        handle = os.open(path, os.O_CREAT | os.O_RDWR)
    except OSError as error:
        raise cannot_write(path, error) from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _kept(paths: list[Path]) -> Kept | None:
    """Pixels, labels and ids as they were kept; None where a file is absent or not whole."""
    try:
        pixels, labels, ids = (np.load(path, mmap_mode="c") for path in paths)
    except (OSError, ValueError, EOFError):
        return None
    return (pixels, np.array(labels), np.array(ids)) if len(pixels) == len(labels) == len(ids) else None


def _write(path: Path, array: np.ndarray) -> None:
    """Write an array under its name only when it is whole; two processes may do the same at once."""
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".part-", delete=False) as stream:
            try:
                np.save(stream, array)
            except OSError:
                os.unlink(stream.name)  # such as a full disk, which this would keep full
                raise
        os.replace(stream.name, path)
    except OSError as error:
        raise cannot_write(path, error) from error
