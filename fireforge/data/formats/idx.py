# SPDX-License-Identifier: Apache-2.0
"""Pictures and labels in the idx files of MNIST and those made like it, plain or gzipped."""

from __future__ import annotations

import functools
import math
import os
import posixpath
import re
import struct
import zlib
from dataclasses import dataclass

import numpy as np

from fireforge.base.errors import FireforgeError
from fireforge.base.sample import Sample
from fireforge.data.blocks import Block, read_block
from fireforge.data.dataset import PARTS, Dataset, check_classes
from fireforge.data.formats.folder import PART_NAMES
from fireforge.data.formats.format import Format
from fireforge.data.sidefiles import side_names
from fireforge.data.tree import FolderTree, Tree

ACCEPTS = "idx files of pictures and labels side by side, such as train-images-idx3-ubyte and train-labels-idx1-ubyte"
IMAGES = re.compile(r"(?P<stem>.*?)-?images?[-.]idx3(-ubyte)?(\.gz)?", re.IGNORECASE)
LABELS = re.compile(r"(?P<stem>.*?)-?labels?[-.]idx1(-ubyte)?(\.gz)?", re.IGNORECASE)
UBYTE = 8  # code of the element type
MAX_RATIO = 200  # a gzip file of more than 1 MiB unpacked that shrinks more is an attack
FREE_BYTES = 1 << 20


@dataclass(frozen=True)
class _Pair:
    """The files of one part."""

    images: str
    labels: str
    part: str


def open_idx(tree: Tree, name: str = "", *, source: str = "") -> Dataset:
    """The pictures of idx files, gray (H, W), part by part in the order train, val, test.

    Args:
      tree: the files.
      name: one file of pictures or labels; "" takes all beside the pictures.
      source: kept in the dataset; "" is the tree's.

    Returns:
      The dataset; classes are the label numbers that occur, sample names are file[row].

    Raises:
      FireforgeError: BAD_IDX, BAD_LAYOUT, BAD_LABELS, NO_DATA or ONE_CLASS.
    """
    source = source or tree.source
    pairs = _pairs(side_names(tree), source)
    if name:
        pairs = [pair for pair in pairs if name in (pair.images, pair.labels)]
    if not pairs:
        raise FireforgeError("NO_DATA", "no idx file of pictures with its labels", where=source, allowed=ACCEPTS)
    parts = [pair.part for pair in pairs]
    if len(set(parts)) < len(parts) or ("" in parts and len(parts) > 1):
        several = ", ".join(pair.images for pair in pairs)
        raise FireforgeError("BAD_LAYOUT", f"several files for one part: {several}", where=source, allowed=ACCEPTS)
    blocks, targets = [], []
    for pair in pairs:
        pixels, numbers = _array(tree, pair.images, 3), _array(tree, pair.labels, 1)
        if len(pixels) != len(numbers):
            what = f"{len(numbers):,} labels for {len(pixels):,} pictures of {pair.images}"
            raise FireforgeError("BAD_LABELS", what, where=f"{source}/{pair.labels}", allowed="one for each picture")
        blocks.append(Block(pair.images, pixels))
        targets.append(numbers)
    values = np.unique(np.concatenate(targets))
    labels = tuple(map(str, values.tolist()))
    check_classes(labels, where=source)
    rows = [(pair, row, label) for pair, found in zip(pairs, targets) for row, label in enumerate(found)]
    samples = tuple(
        Sample(id=i, label=int(np.searchsorted(values, label)), name=f"{pair.images}[{row}]", part=pair.part)
        for i, (pair, row, label) in enumerate(rows)
    )
    reader = functools.partial(read_block, tuple(blocks))
    return Dataset(format="idx", source=source, labels=labels, samples=samples, reader=reader)


def is_idx(tree: Tree) -> bool:
    """Whether idx files of pictures lie in a tree, not among class folders."""
    return any(IMAGES.fullmatch(posixpath.basename(name)) for name in side_names(tree))


def parse_idx(data: bytes, axes: int, *, where: str) -> np.ndarray:
    """The array of an idx file.

    Args:
      data: the file's bytes, gzipped or not.
      axes: how many it must have.
      where: named in errors.

    Returns:
      uint8 array.

    Raises:
      FireforgeError: BAD_IDX.

    Source:
      LeCun, Cortes and Burges, the file format of the MNIST page: two zero bytes, type, number of axes, big-endian
      sizes, elements with the last axis fastest.
    """
    packed = data[:2] == b"\x1f\x8b"
    head = _unpacked(data, 4 + 4 * axes, where) if packed else data[: 4 + 4 * axes]
    if len(head) < 4 + 4 * axes or head[:2] != b"\0\0" or head[2] != UBYTE or head[3] != axes:
        raise FireforgeError(
            "BAD_IDX",
            f"begins with {head[:4].hex(' ')}",
            where=where,
            allowed=f"00 00 08 0{axes}: bytes in {axes} axes",
        )
    shape = struct.unpack(f">{axes}I", head[4:])
    size = len(head) + math.prod(shape)
    if packed and size > MAX_RATIO * len(data) + FREE_BYTES:
        raise FireforgeError(
            "BAD_IDX", f"{len(data):,} bytes that claim {size:,} unpacked", where=where, allowed=f"{MAX_RATIO}:1"
        )
    whole = _unpacked(data, size + 1, where) if packed else data
    if len(whole) != size:
        more = "more than " if packed and len(whole) > size else ""
        what = f"{more}{min(len(whole), size) if more else len(whole):,} bytes, where its head says {size:,}"
        raise FireforgeError("BAD_IDX", what, where=where, allowed="the whole file")
    if 0 in shape:
        raise FireforgeError("NO_DATA", f"an array of shape {shape}", where=where, allowed="at least one picture")
    return np.frombuffer(whole, np.uint8, offset=len(head)).reshape(shape)


def _unpacked(data: bytes, most: int, where: str) -> bytes:
    """The first bytes of a gzip file, of all its members; the checksum counts where the end is reached."""
    done = bytearray()
    try:
        while data and len(done) < most:
            stream = zlib.decompressobj(wbits=31)
            done += stream.decompress(data, most - len(done))
            if not stream.eof and len(done) < most:
                raise FireforgeError("BAD_IDX", "the gzip file is cut off", where=where)
            data = stream.unused_data if stream.unused_data.startswith(b"\x1f\x8b") else b""
    except zlib.error as error:
        raise FireforgeError("BAD_IDX", f"a damaged gzip file: {error}", where=where) from error
    return bytes(done)


def _array(tree: Tree, name: str, axes: int) -> np.ndarray:
    return parse_idx(tree.read(name), axes, where=f"{tree.source.rstrip('/')}/{name}")


def _pairs(names: list[str], source: str) -> list[_Pair]:
    """Files of pictures with those of their labels; a plain file wins over its gzipped twin."""
    images, labels = _by_stem(names, IMAGES), _by_stem(names, LABELS)
    for stem in images:
        if stem not in labels:
            raise FireforgeError(
                "BAD_LAYOUT", f"there is {images[stem]} but no file of its labels", where=source, allowed=ACCEPTS
            )
    pairs = [_Pair(images[stem], labels[stem], _part(stem)) for stem in images]
    return sorted(pairs, key=lambda pair: PARTS.index(pair.part) if pair.part else 0)


def _by_stem(names: list[str], pattern: re.Pattern[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name in sorted(names, key=lambda name: name.lower().endswith(".gz")):
        match = pattern.fullmatch(posixpath.basename(name))
        if match:
            found.setdefault(posixpath.join(posixpath.dirname(name), match["stem"].lower()), name)
    return found


def _part(stem: str) -> str:
    last = re.split(r"[-_./]", stem)[-1]
    return "test" if last == "t10k" else PART_NAMES.get(last, "")


def _recognise(source: str) -> bool:
    if os.path.isdir(os.path.expanduser(source)):
        return is_idx(FolderTree(source))
    name = os.path.basename(source)
    return any(p.fullmatch(name) for p in (IMAGES, LABELS)) and os.path.isfile(os.path.expanduser(source))


def _open(source: str) -> Dataset:
    if os.path.isdir(os.path.expanduser(source)):
        return open_idx(FolderTree(source))
    return open_idx(FolderTree(os.path.dirname(source) or "."), os.path.basename(source), source=source)


IDX = Format(name="idx", accepts=ACCEPTS, recognise=_recognise, open=_open)
