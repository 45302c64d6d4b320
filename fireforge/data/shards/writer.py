# SPDX-License-Identifier: Apache-2.0
"""Writing a dataset as shards: pictures end to end in files, then the index that makes them a dataset."""

from __future__ import annotations

import contextlib
import io
import math
import os
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image

from fireforge.base.errors import FireforgeError
from fireforge.base.files import cannot_write
from fireforge.base.pixels import encode_png, open_picture, resize, to_channels
from fireforge.base.progress import Progress, silent
from fireforge.data.check import GRAY_MODES, each, is_gray, look
from fireforge.data.dataset import PARTS, Content, Dataset, SampleDigest, content_digest
from fireforge.data.pack import COLOUR, GRAY
from fireforge.data.pixels import ready
from fireforge.data.samples import OWNERS, Digests, Samples
from fireforge.data.shards.index import Index, write_index
from fireforge.data.shards.layout import DECODED, DIGEST, ENCODED, MAX_SHARDS, MAX_SIDE_PX, SHARD, Head
from fireforge.data.shards.place import check_room, packing_into
from fireforge.data.shards.stored import Stored
from fireforge.data.split import Parts

SHARD_BYTES = 1 << 28  # of a shard, unless there would be more than MOST_SHARDS
MOST_SHARDS = 256  # so that a process can hold them all open
ASKED = 256  # pictures, at most, whose mean length foretells that of all
ROW_BYTES = 128  # about what the index takes a picture
PAGES = (1 << 16, 1 << 12)  # bytes, of most machines
QUALITY = 95  # of JPEG files that are made anew


@dataclass(frozen=True, kw_only=True)
class Packing:
    """How pictures are packed.

    Args:
      size: of decoded pictures the side: the shorter side is resized to it and the centre square is cut out. Of encoded
        ones the greatest shorter side. None for the size that they have.
      encoded: keep files as they are instead of pixels.
      shard_bytes: greatest length of a shard, unless one picture is longer or there would be more than 256.
    """

    size: int | None = None
    encoded: bool = False
    shard_bytes: int = SHARD_BYTES


@dataclass(kw_only=True)
class Packed:
    """What was packed.

    Args:
      stored: the pictures, opened.
      made: number of pictures by what became of them ("decoded", "kept as stored", ...).
      bytes: of all files together.
    """

    stored: Stored
    made: dict[str, int] = field(default_factory=dict)
    bytes: int = 0


def write_shards(
    dataset: Dataset, folder: str | Path, *, parts: Parts, packing: Packing, progress: Progress = silent
) -> Packed:
    """Pack a dataset: training pictures first, then those of validation and test, each by rising id.

    The same dataset, parts and packing give the same bytes.

    Args:
      dataset: every picture must decode; see `fireforge.data.check.drop_broken`.
      folder: new, empty, or left by a packing that was killed.
      parts: the split that is written down.
      packing: how.
      progress: told how many are done.

    Returns:
      What was packed.

    Raises:
      FireforgeError: BAD_SIZE, UNEQUAL_SIZES, OUT_TAKEN, NO_ROOM, CANNOT_WRITE, or a picture's own error.
    """
    folder = Path(folder)
    if packing.size is not None and not 1 <= packing.size <= MAX_SIDE_PX:
        raise FireforgeError("BAD_SIZE", f"a size of {packing.size} px", allowed=f"1 to {MAX_SIDE_PX}")
    ids = np.concatenate([getattr(parts, name) for name in PARTS])
    if not len(ids):
        raise FireforgeError("NO_DATA", "no pictures to pack", where=dataset.source)
    maker = _Encoder(dataset, ids, packing.size) if packing.encoded else _Decoder(dataset, ids, packing.size)
    with packing_into(folder):
        check_room(folder, len(ids) * (maker.each_bytes + ROW_BYTES))
        index = _write(
            dataset, ids, parts, maker=maker, shards=_Shards(folder, len(ids), packing, maker), told=progress
        )
        write_index(folder, index)
    stored = Stored(str(folder))
    sizes = int(stored.index.shards[:, 1].sum()) + stored.index.head.total
    return Packed(stored=stored, made=maker.made, bytes=sizes)


def _write(dataset: Dataset, ids: np.ndarray, parts: Parts, *, maker: _Maker, shards: _Shards, told: Progress) -> Index:
    """Write every picture, and gather what the index says of them."""
    labels = dataset.targets[ids].astype(np.int32)
    counts = [len(getattr(parts, name)) for name in PARTS]
    owners = np.repeat(np.array([OWNERS.index(name) for name in PARTS], np.uint8), counts)
    crcs, digests = np.zeros(len(ids), np.uint32), np.zeros((len(ids), DIGEST), np.uint8)
    samples = Samples(labels, owners, tuple(dataset.samples[int(i)].name for i in ids))
    total = SampleDigest(dataset.labels)
    with contextlib.closing(shards):
        for row, sample_id in enumerate(each(ids, stage="pack", progress=told)):
            data, content = maker.make(sample_id)
            digest = content_digest(content)
            total.add(samples[row], digest)
            crcs[row], digests[row] = zlib.crc32(data), np.frombuffer(digest, np.uint8)
            shards.add(data)
        shards.end()
    head = Head(
        total=0,
        count=len(ids),
        name_bytes=0,
        json_bytes=0,
        classes=len(dataset.labels),
        shards=len(shards.table),
        each=shards.each,
        height_px=maker.shape[0],
        width_px=maker.shape[1],
        kind=maker.kind,
        channels=maker.shape[2],
        sha256=bytes.fromhex(total.hexdigest()),
    )
    return Index(
        head=head,
        labels=dataset.labels,
        skipped=dataset.skipped,
        notes=dataset.notes,
        samples=samples,
        digests=Digests(digests),
        crcs=crcs,
        shards=np.array(shards.table, np.uint64),
        ends=np.array(shards.ends, np.uint64),
    )


class _Decoder:
    """Pictures as pixels, all of one shape."""

    kind = DECODED

    def __init__(self, dataset: Dataset, ids: np.ndarray, size: int | None) -> None:
        self._dataset = dataset
        gray = all(_gray(dataset, int(i)) for i in ids)
        first = look(dataset.read(int(ids[0])), where=dataset.where(int(ids[0])), full=False)
        self._first, self._fixed = int(ids[0]), size is None
        high, wide = (first.height_px, first.width_px) if size is None else (size, size)
        if max(high, wide) > MAX_SIDE_PX:
            raise FireforgeError("BAD_SIZE", f"{high} x {wide} px", allowed=f"up to {MAX_SIDE_PX}", do="--size")
        self._steps = (GRAY if gray else COLOUR).replace(resize=size, crop=(high, wide))
        self.shape = (high, wide, self._steps.channels)
        self.each_bytes = high * wide * self._steps.channels
        self.made: dict[str, int] = {}

    def make(self, sample_id: int) -> tuple[bytes, Content]:
        """The bytes that are stored, and the content that a dataset's reader will give."""
        content, where = self._dataset.read(sample_id), self._dataset.where(sample_id)
        if self._fixed:
            found = look(content, where=where, full=False)
            if (found.height_px, found.width_px) != self.shape[:2]:
                raise self._unequal(sample_id, found.height_px, found.width_px)
        pixels = np.ascontiguousarray(ready(content, self._steps, where).transpose(1, 2, 0))
        self.made["decoded"] = self.made.get("decoded", 0) + 1
        return pixels.tobytes(), pixels[:, :, 0] if self.shape[2] == 1 else pixels

    def _unequal(self, sample_id: int, high: int, wide: int) -> FireforgeError:
        names = [self._dataset.samples[i].name for i in (self._first, sample_id)]
        return FireforgeError(
            "UNEQUAL_SIZES",
            f"{names[0]} is {self.shape[0]} x {self.shape[1]} px, {names[1]} is {high} x {wide} px",
            where=self._dataset.source,
            allowed="pictures of one size",
            do="--size 128, or --jpeg",
        )


class _Encoder:
    """Pictures as image files: as they are stored, or shrunk and made anew."""

    kind = ENCODED
    shape = (0, 0, 0)

    def __init__(self, dataset: Dataset, ids: np.ndarray, size: int | None) -> None:
        self._dataset, self._size = dataset, size
        some = ids[np.linspace(0, len(ids) - 1, min(ASKED, len(ids))).astype(int)]
        contents = [dataset.read(int(i)) for i in some]
        total = sum(len(item) if isinstance(item, bytes) else item.nbytes for item in contents)
        self.each_bytes = -(-total // len(some))
        self.made: dict[str, int] = {}

    def make(self, sample_id: int) -> tuple[bytes, Content]:
        """The bytes that are stored, twice."""
        content, where = self._dataset.read(sample_id), self._dataset.where(sample_id)
        found = look(content, where=where, full=False)
        if self._size is not None and min(found.height_px, found.width_px) > self._size:
            gray = found.mode in GRAY_MODES
            data, what = _shrunk(content, self._size, gray=gray), f"shrunk to {self._size} px as JPEG"
        elif isinstance(content, bytes):
            data, what = content, "kept as stored"
        else:
            data, what = encode_png(content), "written as PNG"
        self.made[what] = self.made.get(what, 0) + 1
        return data, data


_Maker = _Decoder | _Encoder


def _gray(dataset: Dataset, sample_id: int) -> bool:
    content = dataset.read(sample_id)
    return is_gray(content, look(content, where=dataset.where(sample_id), full=False).mode)


def _shrunk(content: Content, size: int, *, gray: bool) -> bytes:
    """A JPEG file of the upright picture, its shorter side resized; transparency stands on white."""
    steps = (GRAY if gray else COLOUR).replace(resize=size)
    stream = io.BytesIO()
    image: Image.Image = resize(to_channels(open_picture(content), steps), steps)
    image.save(stream, "JPEG", quality=QUALITY)
    return stream.getvalue()


def _whole_pages(most: int, size: int) -> int:
    """Pictures of a shard, so that it is a whole number of pages where that can be: shards then map as one array."""
    for page in PAGES:
        unit = page // math.gcd(page, size)
        if unit <= most:
            return most - most % unit
    return most


class _Shards:
    """Files of bounded length, one after the other; each is flushed to disk when it is full."""

    def __init__(self, folder: Path, count: int, packing: Packing, maker: _Maker) -> None:
        self._folder, self._maker = folder, maker
        size = maker.each_bytes
        self._most = max(packing.shard_bytes, -(-size * count // MOST_SHARDS))
        self.each = _whole_pages(max(1, self._most // size), size) if maker.kind == DECODED else 0
        self.table: list[tuple[int, int]] = []
        self.ends: list[int] = []
        self._done = self._inside = 0
        self._stream: BinaryIO | None = None

    def add(self, data: bytes) -> None:
        """Write a picture, into a new shard where this one is full."""
        first, size = self.table[-1] if self.table else (0, 0)
        full = self._inside == self.each if self.each else size + len(data) > self._most
        if self._stream is None or (full and self._inside):
            self.end()
            first, size, self._inside = self._done, 0, 0
            self._guard(self._begin)
            self.table.append((first, 0))
        self._guard(lambda: self._put(data))
        self.table[-1] = first, size + len(data)
        self._done, self._inside = self._done + 1, self._inside + 1
        if not self.each:
            self.ends.append((self.ends[-1] if self.ends else 0) + len(data))

    def end(self) -> None:
        """Flush the last shard to disk."""
        if self._stream is not None:
            self._guard(self._flush)

    def close(self) -> None:
        """Close the last shard, whatever became of it."""
        if self._stream is not None:
            with contextlib.suppress(OSError):
                self._stream.close()

    def _begin(self) -> None:
        if len(self.table) >= MAX_SHARDS:
            raise FireforgeError("BAD_SIZE", f"more than {MAX_SHARDS} shards", where=str(self._folder))
        self._stream = open(self._folder / SHARD.format(len(self.table)), "xb")  # noqa: SIM115, closed by end or close

    def _put(self, data: bytes) -> None:
        assert self._stream is not None
        self._stream.write(data)

    def _flush(self) -> None:
        assert self._stream is not None
        self._stream.flush()
        os.fsync(self._stream.fileno())
        self._stream.close()
        self._stream = None

    def _guard(self, work: Callable[[], None]) -> None:
        try:
            work()
        except OSError as error:
            raise cannot_write(self._folder / SHARD.format(max(0, len(self.table) - 1)), error) from error
