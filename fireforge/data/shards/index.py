# SPDX-License-Identifier: Apache-2.0
"""The index of a packed dataset: written whole, checked whole before anything in it is used."""

from __future__ import annotations

import hashlib
import itertools
import json
import mmap
import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from fireforge.base.errors import FireforgeError
from fireforge.base.files import write_bytes
from fireforge.base.picture.sniff import MAX_FILE_BYTES
from fireforge.base.sample import Noted, Skipped
from fireforge.base.value import Json, canonical_json
from fireforge.data.samples import OWNERS, Digests, Samples, Texts
from fireforge.data.shards.layout import (
    DECODED,
    DIGEST,
    HEAD,
    INDEX,
    MAX_JSON_BYTES,
    MAX_TEXT_BYTES,
    Head,
    aligned,
    bad,
    nbytes,
    places,
    whole_bytes,
)
from fireforge.data.tree import printable

PIECE = 1 << 20  # bytes read at a time


@dataclass(frozen=True, kw_only=True, eq=False)
class Index:
    """What an index holds; the arrays are views of the mapped file.

    Args:
      head: sizes and kind.
      labels: class names.
      skipped: what was found and not packed.
      notes: remarks about pictures that were.
      samples: labels, parts and names.
      digests: of each picture, as `fireforge.data.dataset.content_digest` gives it.
      crcs: crc32 of each picture's bytes, uint32 (N,).
      shards: first picture and bytes of each shard, uint64 (S, 2).
      ends: where each encoded picture ends, uint64 (N,), all shards end to end; empty for decoded ones.
      sha256: of the index itself, 64 hex digits.
    """

    head: Head
    labels: tuple[str, ...]
    skipped: tuple[Skipped, ...] = ()
    notes: tuple[Noted, ...] = ()
    samples: Samples
    digests: Digests
    crcs: np.ndarray
    shards: np.ndarray
    ends: np.ndarray
    sha256: str = field(default="")


def write_index(folder: Path, index: Index) -> str:
    """Write an index under its name, only when it is whole.

    Args:
      folder: of the packed dataset.
      index: what it holds; the head's three lengths of bytes are filled in here.

    Returns:
      Its sha256, 64 hex digits.

    Raises:
      FireforgeError: BAD_SHARDS, where names or classes are too long; CANNOT_WRITE.
    """
    names = [name.encode("utf-8") for name in index.samples.names]
    facts = {
        "classes": list(map(printable, index.labels)),
        "skipped": [[item.name, item.code, item.reason] for item in index.skipped],
        "notes": [[item.name, item.code] for item in index.notes],
    }
    text = canonical_json(facts).encode("utf-8")
    blob = b"".join(names)
    if len(blob) > MAX_TEXT_BYTES or len(text) > MAX_JSON_BYTES:
        raise bad(f"{len(blob):,} bytes of names, {len(text):,} of classes and losses", str(folder / INDEX))
    arrays = {
        "shards": index.shards,
        "labels": index.samples.labels,
        "owners": index.samples.owners,
        "crcs": index.crcs,
        "digests": index.digests.table,
        "ends": index.ends,
        "name_ends": np.cumsum([len(name) for name in names], dtype=np.int64),
        "names": np.frombuffer(blob, np.uint8),
        "json": np.frombuffer(text, np.uint8),
    }
    fields = {**vars(index.head), "name_bytes": len(blob), "json_bytes": len(text)}
    head = Head(**{**fields, "total": whole_bytes(Head(**fields))})
    data = bytearray(head.pack())
    for name, (at, dtype, shape) in places(head).items():
        data += bytes(at - len(data)) + np.ascontiguousarray(arrays[name], dtype).reshape(shape).tobytes()
    data += bytes(aligned(len(data)) - len(data))
    digest = hashlib.sha256(data).digest()
    write_bytes(folder / INDEX, bytes(data) + digest)
    return digest.hex()


def read_index(folder: str | Path) -> Index:
    """Open an index: lengths, sums and the sha256 of the whole are checked, then each column.

    Args:
      folder: of the packed dataset.

    Returns:
      What it holds, mapped; no picture is read.

    Raises:
      FireforgeError: NO_FILE, or BAD_SHARDS, saying what is wrong.
    """
    path = Path(folder, INDEX)
    where = str(path)
    if not path.is_file():  # a pipe would wait for ever
        raise FireforgeError("NO_FILE", "there is no such file", where=where)
    try:
        with open(path, "rb") as stream:
            head = Head.parse(stream.read(HEAD.size), where=where)
            size = os.fstat(stream.fileno()).st_size
            if size != head.total:
                raise bad(f"{size:,} bytes", where, f"{head.total:,} bytes, as its head says")
            stream.seek(0)
            total, left = hashlib.sha256(), size - DIGEST
            while left and (piece := stream.read(min(left, PIECE))):
                total.update(piece)
                left -= len(piece)
            if stream.read() != total.digest():
                raise bad("its sha256 is another than the one that it ends with: it is damaged", where)
            data = np.frombuffer(mmap.mmap(stream.fileno(), size, access=mmap.ACCESS_READ), np.uint8)
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else "") or "cannot be read"
        raise FireforgeError("NO_FILE", reason, where=where) from error
    return _parse(data, head, total.hexdigest(), where)


def _parse(data: np.ndarray, head: Head, sha256: str, where: str) -> Index:
    arrays, before = {}, HEAD.size
    for name, (at, dtype, shape) in places(head).items():
        end = at + nbytes(dtype, shape)
        if data[before:at].any():
            raise bad(f"bytes other than 0 before {name}", where)
        arrays[name], before = data[at:end].view(dtype).reshape(shape), end
    if data[before : head.total - DIGEST].any():
        raise bad("bytes other than 0 before the sha256", where)
    _check_shards(arrays["shards"], arrays["ends"], head, where)
    labels, skipped, notes = _facts(arrays["json"].tobytes(), head.classes, where)
    if int(arrays["labels"].min()) < 0 or int(arrays["labels"].max()) >= head.classes:
        raise bad("a label outside the classes", where, f"0 to {head.classes - 1}")
    if int(arrays["owners"].max()) >= len(OWNERS):
        raise bad(f"part {arrays['owners'].max()}", where, f"0 to {len(OWNERS) - 1}")
    return Index(
        head=head,
        labels=labels,
        skipped=skipped,
        notes=notes,
        samples=Samples(arrays["labels"], arrays["owners"], _names(arrays["names"], arrays["name_ends"], where)),
        digests=Digests(arrays["digests"]),
        crcs=arrays["crcs"],
        shards=arrays["shards"],
        ends=arrays["ends"],
        sha256=sha256,
    )


def _check_shards(table: np.ndarray, ends: np.ndarray, head: Head, where: str) -> None:
    """Shards begin at rising pictures, and hold as many bytes as their pictures."""
    firsts = [*(int(first) for first in table[:, 0]), head.count]
    sizes = [int(size) for size in table[:, 1]]
    if firsts[0] != 0 or any(first >= later for first, later in itertools.pairwise(firsts)):
        raise bad("shards that do not begin at rising pictures", where)
    if head.kind == DECODED:
        if firsts[:-1] != [head.each * i for i in range(head.shards)] or firsts[-1] - firsts[-2] > head.each:
            raise bad(f"shards of other lengths than {head.each:,} pictures", where)
        want = [(later - first) * head.picture_bytes for first, later in itertools.pairwise(firsts)]
    else:
        if not int(ends[0]) or not bool((ends[1:] > ends[:-1]).all()):
            raise bad("pictures that do not end behind each other", where)
        if max(int(ends[0]), int(np.diff(ends).max(initial=0))) > MAX_FILE_BYTES:
            raise bad("a picture that is too long", where, f"up to {MAX_FILE_BYTES:,} bytes")
        reached = [0, *(int(ends[later - 1]) for later in firsts[1:])]
        want = [end - start for start, end in itertools.pairwise(reached)]
    if sizes != want:
        raise bad("shards of other sizes than their pictures", where)


def _names(blob: np.ndarray, ends: np.ndarray, where: str) -> Texts:
    if int(ends[-1]) != len(blob) or not bool((ends[1:] >= ends[:-1]).all()):
        raise bad("names that do not end behind each other", where)
    return Texts(blob, ends)


def _facts(text: bytes, classes: int, where: str) -> tuple[tuple[str, ...], tuple[Skipped, ...], tuple[Noted, ...]]:
    """Class names, what was left out, and notes."""
    try:
        data: Json = json.loads(text.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise bad("a text of classes that is not JSON", where) from error
    if not isinstance(data, dict) or set(data) != {"classes", "skipped", "notes"}:
        raise bad("a text without classes, skipped and notes", where)
    labels = data["classes"]
    if not (_texts(labels, classes) and len(set(labels)) == classes and all(map(str.isprintable, labels))):
        raise bad("class names that are not printable, each another", where, f"{classes:,} names")
    for key, size in (("skipped", 3), ("notes", 2)):
        if not (isinstance(data[key], list) and all(_texts(row, size) for row in data[key])):
            raise bad(f"{key} that are not rows of {size} texts", where)
    skipped = tuple(Skipped(name=name, code=code, reason=why) for name, code, why in _rows(data["skipped"]))
    return tuple(labels), skipped, tuple(Noted(name=name, code=code) for name, code in _rows(data["notes"]))


def _rows(rows: list[list[str]]) -> list[list[str]]:
    return [list(map(printable, row)) for row in rows]


def _texts(row: Json, size: int) -> bool:
    return isinstance(row, list) and len(row) == size and all(isinstance(text, str) for text in row)
