# SPDX-License-Identifier: Apache-2.0
"""The pictures of a packed dataset, read by number: decoded ones from the map, encoded ones from their file."""

from __future__ import annotations

import bisect
import mmap
import os
import weakref
import zlib
from pathlib import Path

import numpy as np

from fireforge.base.errors import FireforgeError
from fireforge.data.shards.index import Index, read_index
from fireforge.data.shards.joined import join
from fireforge.data.shards.layout import DECODED, SHARD


class Stored:
    """Pictures by number, each checked against its crc32 when it is first read here; a dataset's reader.

    It is picklable: a copy opens the folder anew, and refuses another index than the first one's.

    Args:
      folder: of the packed dataset.
      sha256: of the index that is expected; "" for any.

    Raises:
      FireforgeError: what `fireforge.data.shards.index.read_index` raises; BAD_SHARD, naming a shard that is absent or
        of another length; DATA_CHANGED for another index.
    """

    def __init__(self, folder: str, sha256: str = "") -> None:
        self.folder = folder
        self.index: Index = read_index(os.path.expanduser(folder))
        if sha256 not in ("", self.index.sha256):
            raise FireforgeError("DATA_CHANGED", "it was packed anew", where=folder)
        head = self.index.head
        self.shape: tuple[int, int, int] | None = head.shape if head.kind == DECODED else None
        self._firsts = self.index.shards[:, 0].astype(np.int64)
        self._begins: list[int] = self._firsts.tolist()
        self._files = [
            _File(Path(os.path.expanduser(folder), SHARD.format(i)), int(size))
            for i, size in enumerate(self.index.shards[:, 1])
        ]
        for file in self._files:
            file.look()
        self._joined: np.ndarray | None = None
        self._seen = np.zeros(head.count, bool)  # pictures whose crc32 was found right

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle support: folder and index, no picture."""
        return Stored, (self.folder, self.index.sha256)

    def __len__(self) -> int:
        """Number of pictures."""
        return self.index.head.count

    def __call__(self, sample_id: int) -> bytes | np.ndarray:
        """A picture as a dataset's reader gives it: bytes, or a uint8 array (H, W) or (H, W, 3)."""
        if self.shape is None:
            return self.encoded(sample_id)
        picture = self.picture(sample_id).copy()
        return picture[:, :, 0] if picture.shape[2] == 1 else picture

    def encoded(self, sample_id: int) -> bytes:
        """The bytes of an encoded picture.

        Args:
          sample_id: 0 to the number of pictures - 1.

        Returns:
          An image file.

        Raises:
          FireforgeError: NO_SAMPLE, or BAD_SHARD where the bytes are not those that were packed.
        """
        shard = self._shard_of(sample_id)
        ends = self.index.ends
        start = int(ends[sample_id - 1]) if sample_id else 0
        base = int(ends[self._begins[shard] - 1]) if shard else 0
        data = self._files[shard].read(start - base, int(ends[sample_id]) - start)
        self._check(sample_id, data)
        return data

    def picture(self, sample_id: int) -> np.ndarray:
        """A decoded picture as it lies in the map.

        Args:
          sample_id: 0 to the number of pictures - 1.

        Returns:
          uint8 (H, W, C), no copy; what is written to it stays in this process.

        Raises:
          FireforgeError: NO_SAMPLE, or BAD_SHARD where the bytes are not those that were packed.
        """
        shard = self._shard_of(sample_id)
        picture: np.ndarray = self._map(shard)[sample_id - self._begins[shard]]
        if not self._seen[sample_id]:
            self._check(sample_id, picture.data)
        return picture

    def read_rows(self, rows: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Decoded pictures, copied out of the map.

        Args:
          rows: sample ids, integer (n,), in any order.
          out: uint8 (n, H, W, C) that is filled; None for a new array.

        Returns:
          uint8 (n, H, W, C).

        Raises:
          FireforgeError: NO_SAMPLE, or BAD_SHARD where a picture's bytes are not those that were packed.
        """
        rows = np.asarray(rows, np.int64)
        if len(rows) and not 0 <= rows.min() <= rows.max() < len(self):
            raise self._no_sample(int(rows.max() if rows.min() >= 0 else rows.min()))
        if out is None:
            out = np.empty((len(rows), *self._decoded()), np.uint8)
        shards = np.searchsorted(self._firsts, rows, side="right") - 1
        for shard in np.unique(shards):
            mine = np.flatnonzero(shards == shard)
            pixels, inside = self._map(int(shard)), rows[mine] - self._firsts[shard]
            for row in inside[~self._seen[rows[mine]]]:
                self._check(int(row + self._firsts[shard]), pixels[row].data)
            if len(mine) == len(rows):
                np.take(pixels, inside, axis=0, out=out, mode="clip")
            else:
                out[mine] = pixels[inside]
        return out

    def block(self, first: int, last: int) -> np.ndarray | None:
        """Decoded pictures in a row as they lie in the map, each checked now where it was not before.

        Args:
          first: id of the first picture.
          last: id behind the last one.

        Returns:
          uint8 (n, H, W, C), no copy; what is written to it stays in this process. None where several shards cannot be
          mapped as one.

        Raises:
          FireforgeError: NO_SAMPLE, or BAD_SHARD where a picture's bytes are not those that were packed.
        """
        shard = self._shard_of(first)
        start = self._begins[shard]
        pixels = self._map(shard)[first - start : last - start]
        if self._shard_of(last - 1) != shard:
            joined = self._join()
            if joined is None:
                return None
            pixels = joined[first:last]
        for row in np.flatnonzero(~self._seen[first:last]):
            self._check(first + int(row), pixels[row].data)
        return pixels

    def _join(self) -> np.ndarray | None:
        """All pictures as one array, uint8 (N, H, W, C)."""
        if self._joined is None:
            found = join([file.whole() for file in self._files])
            self._joined = None if found is None else found.reshape(-1, *self._decoded())
        return self._joined

    def _decoded(self) -> tuple[int, int, int]:
        if self.shape is None:
            raise FireforgeError("BAD_ARRAY", "encoded pictures have no map", where=self.folder, do="encoded()")
        return self.shape

    def _map(self, shard: int) -> np.ndarray:
        return self._files[shard].pixels(self._decoded())

    def _shard_of(self, sample_id: int) -> int:
        if not 0 <= sample_id < len(self):
            raise self._no_sample(sample_id)
        return bisect.bisect_right(self._begins, sample_id) - 1

    def _check(self, sample_id: int, data: bytes | memoryview) -> None:
        """Hold a picture to its crc32."""
        if zlib.crc32(data) != int(self.index.crcs[sample_id]):
            raise FireforgeError(
                "BAD_SHARD",
                f"picture {sample_id} ({self.index.samples.names[sample_id]}) is not what was packed",
                where=str(self._files[self._shard_of(sample_id)].path),
                do="fireforge pack once more, from the original data",
            )
        self._seen[sample_id] = True

    def _no_sample(self, sample_id: int) -> FireforgeError:
        return FireforgeError("NO_SAMPLE", f"no sample {sample_id}", where=self.folder, allowed=f"0 to {len(self) - 1}")


class _File:
    """One shard; opened when it is first read, and held to its length each time."""

    def __init__(self, path: Path, size: int) -> None:
        self.path, self._size = path, size
        self._handle: int | None = None
        self._pixels: np.ndarray | None = None
        self._stamp = 0

    def look(self) -> None:
        """Whether the shard is there, with its length."""
        try:
            state = os.stat(self.path)
        except OSError as error:
            raise self._bad(error.strerror or "cannot be read") from error
        self._fits(state)
        self._stamp = state.st_mtime_ns

    def read(self, start: int, size: int) -> bytes:
        """Some of its bytes."""
        try:
            data = os.pread(self._open(), size, start)
        except OSError as error:
            raise self._bad(error.strerror or "cannot be read") from error
        if len(data) != size:
            raise self._bad("it ends too early")
        return data

    def pixels(self, shape: tuple[int, int, int]) -> np.ndarray:
        """The mapped pictures, uint8 (n, H, W, C)."""
        handle = self.whole()
        if self._pixels is None:
            try:
                area = mmap.mmap(handle, self._size, access=mmap.ACCESS_COPY)
            except (OSError, ValueError) as error:
                raise self._bad(str(error)) from error
            self._pixels = np.frombuffer(area, np.uint8).reshape(-1, *shape)
        return self._pixels

    def whole(self) -> int:
        """The open file, found as it was when the index was read."""
        handle = self._open()
        state = os.fstat(handle)
        self._fits(state)
        if state.st_mtime_ns != self._stamp:
            raise FireforgeError("DATA_CHANGED", "it changed since it was opened", where=str(self.path))
        return handle

    def _open(self) -> int:
        if self._handle is None:
            try:
                self._handle = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
            except OSError as error:
                raise self._bad(error.strerror or "cannot be read") from error
            weakref.finalize(self, os.close, self._handle)  # a map stays as long as an array of it
        return self._handle

    def _fits(self, state: os.stat_result) -> None:
        if state.st_size != self._size:
            raise self._bad(f"{state.st_size:,} bytes", f"{self._size:,} bytes, as the index says")

    def _bad(self, what: str, allowed: str = "") -> FireforgeError:
        return FireforgeError(
            "BAD_SHARD",
            what,
            where=str(self.path),
            allowed=allowed,
            do="fireforge pack once more, from the original data",
        )
