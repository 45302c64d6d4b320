# SPDX-License-Identifier: Apache-2.0
"""Caffe's files as messages: prototxt and caffemodel, every length and nesting looked at before protobuf reads them."""

from __future__ import annotations

import math
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf import text_format
from google.protobuf.message import DecodeError

from fireforge.base.errors import FireforgeError
from fireforge.base.files import read_bytes
from fireforge.base.wire import LENGTH, parts
from fireforge.importers.caffe_messages import BlobProto, NetParameter

MOST_TEXT = 4 * 2**20  # bytes of a prototxt; the largest published ones have a tenth of it
MOST_BINARY = 2**31 - 1  # bytes of a caffemodel: protobuf's own limit
MOST_FIELDS = 1_000_000  # of all messages but numbers; a message of two bytes costs a hundred in memory
MOST_DEPTH = 50  # of a prototxt's braces
# what no brace counts in: comments, and quoted text to its end or, where nobody closes it, to that of its line
PASSED_OVER = re.compile(r""""[^"\\\n]*(?:\\[^\n][^"\\\n]*)*["\\]?|'[^'\\\n]*(?:\\[^\n][^'\\\n]*)*['\\]?|#[^\n]*""")
HEAD = 65536  # bytes that are looked at to tell text from binary
CONTROL = frozenset(range(9)) | frozenset(range(14, 32))  # bytes that no text holds
DATA_TAG = b"\x2a"  # field 5 of a BlobProto, packed


def read_net(path: Path) -> tuple[Any, bool]:
    """The network of one of Caffe's files.

    Args:
      path: a prototxt or a caffemodel, by whatever name.

    Returns:
      A NetParameter, and whether the file is text.

    Raises:
      FireforgeError: NO_FILE; BAD_MODEL_FILE, if it is neither, or too large, or damaged.
    """
    if path.is_file() and path.stat().st_size > MOST_BINARY:
        raise _bad(f"{path.stat().st_size} bytes", path, allowed=f"at most {MOST_BINARY}")
    data = read_bytes(path)
    if not data.strip():
        raise _bad("the file is empty", path)
    if data.startswith(b"version https://git-lfs"):
        raise _bad("a pointer of Git LFS, not the file it points to", path, do="git lfs pull")
    if data.lstrip()[:1] == b"<":
        raise _bad("a web page, not a model", path, do="download the file itself")
    is_text = CONTROL.isdisjoint(data[:HEAD])
    return (text_net(data, path) if is_text else binary_net(data, path)), is_text


def text_net(data: bytes, where: str | Path) -> Any:
    """The message that a prototxt describes; fields that networks do not need are passed over.

    Args:
      data: the text in UTF-8.
      where: for errors.

    Returns:
      A NetParameter.

    Raises:
      FireforgeError: BAD_MODEL_FILE, naming line and column.
    """
    if len(data) > MOST_TEXT:
        raise _bad(f"{len(data)} bytes of text", where, allowed=f"at most {MOST_TEXT}")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _bad("not text in UTF-8", where) from error
    _check_depth(text, where)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of an escape that is none, which stays as it is
            net = text_format.Parse(text, NetParameter(), allow_unknown_field=True)
    except (text_format.ParseError, ValueError) as error:
        raise _bad(f"not a prototxt: {str(error)[:200]}", where) from error
    if not net.layer and not net.layers:
        raise _bad("a prototxt without layers", where, do="the prototxt of the network, not that of its solver")
    return net


def binary_net(data: bytes, where: str | Path) -> Any:
    """The message that a caffemodel holds.

    Args:
      data: all bytes.
      where: for errors.

    Returns:
      A NetParameter.

    Raises:
      FireforgeError: BAD_MODEL_FILE, if the bytes are not whole, or nest or repeat absurdly.
    """
    _check_fields(data, where)
    try:
        net = NetParameter.FromString(data)
    except DecodeError as error:
        raise _bad("not a caffemodel: its bytes cannot be decoded", where) from error
    if not net.layer and not net.layers:
        raise _bad("a caffemodel without layers", where)
    return net


def shape_of(blob: Any) -> tuple[int, ...]:
    """Sizes of a BlobProto: of its shape, or of the four old fields."""
    if blob.HasField("shape"):
        return tuple(blob.shape.dim)
    if any(blob.HasField(name) for name in ("num", "channels", "height", "width")):
        return (blob.num, blob.channels, blob.height, blob.width)
    return (max(len(blob.data), len(blob.double_data)),)


def array_of(blob: Any, where: str) -> np.ndarray:
    """The numbers of a BlobProto.

    Args:
      blob: with floats or doubles.
      where: layer, for errors.

    Returns:
      float32 array of the blob's own shape.

    Raises:
      FireforgeError: BAD_WEIGHTS, if shape and numbers do not agree.
    """
    shape = shape_of(blob)
    if blob.data:
        alone = BlobProto()
        alone.data.MergeFrom(blob.data)  # a copy within protobuf; what it writes is a tag, a length, the floats
        numbers = np.frombuffer(alone.SerializeToString(), "<f4", offset=_head(len(blob.data)))
    else:
        with np.errstate(over="ignore"):  # what becomes infinite is refused as such
            numbers = np.array(blob.double_data, np.float64).astype(np.float32)
    if len(shape) > 8 or min(shape, default=1) < 1 or math.prod(shape) != numbers.size:
        raise FireforgeError("BAD_WEIGHTS", f"{numbers.size} numbers of shape {shape[:9]}", where=where[:80])
    return numbers.reshape(shape).astype(np.float32)


def put_array(blob: Any, values: np.ndarray) -> None:
    """Give a BlobProto its shape and float32 numbers, bit by bit.

    Args:
      blob: an empty one; changed.
      values: float32.
    """
    blob.shape.dim.extend(values.shape)
    raw = values.astype("<f4").tobytes()
    blob.MergeFromString(DATA_TAG + _varint(len(raw)) + raw)


def _head(count: int) -> int:
    return len(DATA_TAG) + len(_varint(4 * count))


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


def _check_depth(text: str, where: str | Path) -> None:
    """Refuse braces that nest absurdly, which protobuf would follow until Python's stack ends."""
    depth = 0
    for brace in re.findall(r"[{}<>]", PASSED_OVER.sub("", text)):
        depth += 1 if brace in "{<" else -1
        if depth > MOST_DEPTH:
            raise _bad(f"nested deeper than {MOST_DEPTH}", where)


def _check_fields(data: bytes, where: str | Path) -> None:
    """Walk through all messages but those of numbers: lengths within their message, text in UTF-8, not too many."""
    stack = [(0, len(data), NetParameter.DESCRIPTOR)]
    count = 0
    while stack:
        at, end, kind = stack.pop()
        try:
            for part in parts(data, at, end):
                count += 1
                if count > MOST_FIELDS:
                    raise _bad(f"more than {MOST_FIELDS} fields", where)
                field = kind.fields_by_number.get(part.number)
                if part.wire == LENGTH and field is not None:
                    inner = field.message_type
                    if inner is not None and inner.name != "BlobProto":
                        stack.append((part.start, part.stop, inner))
                    elif field.type == field.TYPE_STRING:
                        _check_text(data[part.start : part.stop], where)
        except ValueError as error:
            raise _bad(str(error), where, do="fetch the file again") from error


def _check_text(raw: bytes, where: str | Path) -> None:
    try:
        raw.decode()
    except UnicodeDecodeError as error:
        raise _bad(f"a name that is not UTF-8: {raw[:40]!r}", where) from error


def _bad(what: str, where: str | Path, *, allowed: str = "", do: str = "") -> FireforgeError:
    return FireforgeError("BAD_MODEL_FILE", what, where=str(where), allowed=allowed, do=do)
