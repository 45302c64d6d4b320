# SPDX-License-Identifier: Apache-2.0
"""Small sources of labelled pictures, written by the libraries that users write them with."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


def png(value: int) -> bytes:
    ramp = (np.arange(6 * 5 * 3).reshape(6, 5, 3) * 3 + value * 17) % 256
    stream = io.BytesIO()
    Image.fromarray(ramp.astype(np.uint8)).save(stream, "PNG")
    return stream.getvalue()


def tar(members: Mapping[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return stream.getvalue()


def keyed(numbers: Sequence[int]) -> dict[str, bytes]:
    """Members of a WebDataset shard, with a name that goes with each class number."""
    members: dict[str, bytes] = {}
    for i in numbers:
        members |= {f"{i:04d}.png": png(i), f"{i:04d}.cls": b"%d" % (i % 2), f"{i:04d}.txt": (b"cat", b"dog")[i % 2]}
    return members


def varint(number: int) -> bytes:
    number &= 2**64 - 1
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


def datum(pixels: np.ndarray | bytes, label: int, *, order: str = "data first") -> bytes:
    """A Datum: of planes (C, H, W) uint8, or of a picture file."""
    encoded = isinstance(pixels, bytes)
    shape = (0, 0, 0) if isinstance(pixels, bytes) else pixels.shape
    data = pixels if isinstance(pixels, bytes) else pixels.tobytes()
    head = b"".join(bytes([8 * (i + 1)]) + varint(side) for i, side in enumerate(shape)) if not encoded else b""
    body, tail = b"\x22" + varint(len(data)) + data, b"\x28" + varint(label) + (b"\x38\x01" if encoded else b"")
    return head + body + tail if order == "data first" else tail + body + head


def planes(rgb: np.ndarray) -> np.ndarray:
    """(H, W, 3) in red, green, blue as Caffe stores it: (3, H, W) in blue, green, red."""
    return np.ascontiguousarray(rgb[..., ::-1].transpose(2, 0, 1))


def lmdb_of(folder: Path, records: Mapping[bytes, bytes]) -> Path:
    import lmdb

    with lmdb.open(str(folder), map_size=2**26) as env, env.begin(write=True) as turn:
        for key, value in records.items():
            turn.put(key, value)
    return folder


def leveldb_of(folder: Path, records: Mapping[bytes, bytes]) -> Path:
    import plyvel

    for half in (
        0,
        1,
    ):  # what was written before a database is opened again goes into a table, the rest stays in its log
        database = plyvel.DB(str(folder), create_if_missing=True)
        for key, value in list(records.items())[half::2]:
            database.put(key, value)
        database.close()
    return folder


def parquet_of(path: Path, rows: Sequence[Mapping[str, Any]], *, names: Sequence[str] | None = ("cat", "dog")) -> Path:
    """A file as Hugging Face's datasets writes it, of rows with "bytes" and "label"; without its metadata for None."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    features = {"image": {"_type": "Image"}, "label": {"names": list(names or ()), "_type": "ClassLabel"}}
    told = {b"huggingface": json.dumps({"info": {"features": features}}).encode()} if names else None
    label = pa.string() if any(isinstance(row["label"], str) for row in rows) else pa.int64()
    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    cells = [{"image": {"bytes": row["bytes"], "path": None}, "label": row["label"]} for row in rows]
    table = pa.Table.from_pylist(cells, schema=pa.schema([("image", image), ("label", label)], metadata=told))
    pq.write_table(table, path, row_group_size=7)
    return path
