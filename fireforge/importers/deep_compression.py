# SPDX-License-Identifier: Apache-2.0
"""The published Deep Compression files: a prototxt, and codebooks with codes and gaps, which stay codebooks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fireforge.base.errors import FireforgeError
from fireforge.base.files import read_bytes
from fireforge.base.graph import Graph
from fireforge.base.tensorform import Codebook, Dense, TensorForm
from fireforge.importers.caffe_messages import NetParameter
from fireforge.importers.caffe_model import network, steps_of
from fireforge.importers.caffe_pen import Pen, Wanted
from fireforge.importers.caffe_wire import read_net
from fireforge.importers.imported import Imported

MOST_WEIGHTS = 32  # for each byte of the file, on average; an entry of a byte reaches 16 places at most
BITS = {"Conv": 8, "Gemm": 4}  # of a code, by the layer's operator
HEADS = (b"<", b"version https://git-lfs", b"PK\x03\x04", b"\x1f\x8b")  # a web page, a pointer, archives


def import_deep_compression(files: Sequence[Path], known: Graph | None) -> Imported:
    """Read a network in the layout of the Deep Compression authors' releases (SqueezeNet, AlexNet).

    The file holds a count of stored entries for each layer; then for each layer a table of shared values, the biases,
    the codes (8 bits for convolutions, 4 for inner products) and the gaps between entries (4 bits): an entry stands
    gap + 1 places behind the one before, and code 0 is a zero that only bridges a long gap.

    Args:
      files: the prototxt for deployment and the file of codes, in any order.
      known: not needed: the prototxt names the layers.

    Returns:
      The model; its weights are Codebook with the value 0 for code 0, its biases Dense.

    Raises:
      FireforgeError: NO_FILE; BAD_MODEL_FILE, if a length or a place in the file lies outside it or its weight;
        BAD_WEIGHTS, if there is no prototxt or no file of codes; what a prototxt's layers raise.

    Source:
      Han, Mao, Dally 2016 (Deep Compression), section 2 and 3; the layout of the authors' decode.py.
    """
    path, net, packed = _sorted(files)
    pen, feed, graph = network(net, path, {})
    reader = _Reader(read_bytes(packed), str(packed))
    weights = _weights(reader, pen, graph)
    notes = list(pen.notes)
    steps = steps_of(graph, feed, notes)
    source = f"Deep Compression of {net.name[:80]!r}, {packed.name}"
    return Imported(graph=graph, weights=weights, steps=steps, source=source, notes=tuple(notes))


def _sorted(files: Sequence[Path]) -> tuple[Path, NetParameter, Path]:
    """The prototxt, what it says, and the file of codes."""
    texts = [path for path in files if path.suffix.lower() in (".prototxt", ".pbtxt", ".txt")]
    others = [path for path in files if path not in texts]
    if len(texts) != 1 or len(others) != 1:
        what = f"{len(texts)} prototxt and {len(others)} files of codes"
        do = "name the .prototxt for deployment and the .net"
        raise FireforgeError("BAD_WEIGHTS", what, where=str((*files, "")[0]), allowed="one of each", do=do)
    net, is_text = read_net(texts[0])
    if not is_text:
        raise FireforgeError("BAD_MODEL_FILE", "not a prototxt", where=str(texts[0]))
    return texts[0], net, others[0]


def _weights(reader: _Reader, pen: Pen, graph: Graph) -> dict[str, TensorForm]:
    """The forms of all weights, read in the prototxt's order."""
    ops = {node.inputs[1]: node.op for node in graph.nodes if node.op in BITS}
    odd = next((name for name, blobs in pen.wanted.items() if blobs[0].name not in ops), None)
    if odd is not None:
        what, allowed = "a layer with numbers that the format has no place for", "Convolution, InnerProduct"
        raise FireforgeError("UNKNOWN_OPERATOR", what, where=odd[:80], allowed=allowed)
    reader.check_total(sum(math.prod(blobs[0].shape) for blobs in pen.wanted.values()))
    counts = reader.take("<u4", len(pen.wanted), "counts of entries")
    forms: dict[str, TensorForm] = {}
    for count, (layer, blobs) in zip(counts, pen.wanted.items()):
        bits = BITS[ops[blobs[0].name]]
        forms.update(_layer(reader, blobs, count=int(count), bits=bits, layer=layer))
    reader.end()
    return {weight.name: forms[weight.name] for weight in graph.weights}


def _layer(reader: _Reader, blobs: Sequence[Wanted], *, count: int, bits: int, layer: str) -> dict[str, TensorForm]:
    """One layer: table, biases, codes, gaps."""
    weight = blobs[0]
    places = math.prod(weight.shape)
    if count > places:
        raise reader.bad(f"{count} entries for {places} weights", layer)
    table = reader.take("<f4", 1 << bits, f"table of {layer[:80]}")
    forms: dict[str, TensorForm] = {}
    for bias in blobs[1:]:
        values = reader.take("<f4", math.prod(bias.shape), f"biases of {layer[:80]}")
        forms[bias.name] = Dense(values=_finite(values, bias.name).reshape(bias.shape))
    codes = reader.codes(count, bits, f"codes of {layer[:80]}")
    gaps = reader.codes(count, 4, f"gaps of {layer[:80]}")
    at = np.cumsum(gaps.astype(np.int64) + 1) - 1
    if count and at[-1] >= places:
        raise reader.bad(f"an entry at place {at[-1]} of {places} weights", layer)
    indices = np.zeros(places, np.uint8)
    indices[at] = codes
    table[0] = 0  # code 0 bridges gaps
    forms[weight.name] = Codebook(table=_finite(table, weight.name), indices=indices.reshape(weight.shape))
    return forms


def _finite(values: np.ndarray, name: str) -> np.ndarray:
    if not np.isfinite(values).all():
        raise FireforgeError("BAD_WEIGHTS", "NaN or infinity among the numbers", where=name[:80])
    return values


class _Reader:
    """The file's bytes in their order; each length is held against what is left before anything is made of it."""

    def __init__(self, data: bytes, where: str) -> None:
        self._data, self._where, self._at = data, where, 0
        if data.startswith(HEADS):
            raise self.bad("a web page, a pointer or an archive, not a file of codes", "first bytes")

    def take(self, dtype: str, count: int, what: str) -> np.ndarray:
        """Numbers as they stand in the file, a copy in the machine's order."""
        size = np.dtype(dtype).itemsize * count
        left = len(self._data) - self._at
        if size > left:
            raise self.bad(f"{size} bytes wanted, {left} left", what)
        values = np.frombuffer(self._data, dtype, count, self._at)
        self._at += size
        return values.astype(np.dtype(dtype).newbyteorder("="))

    def codes(self, count: int, bits: int, what: str) -> np.ndarray:
        """Codes of 8 bits, or of 4: two in a byte, the lower half first; half of the last byte may be left over."""
        if bits == 8:
            return self.take("u1", count, what)
        pairs = self.take("u1", (count + 1) // 2, what)
        return np.stack([pairs & 15, pairs >> 4], axis=1).reshape(-1)[:count]

    def check_total(self, weights: int) -> None:
        """Refuse layers of far more weights than the file can tell of; their zeros would fill the memory."""
        if weights > MOST_WEIGHTS * len(self._data) + 2**20:
            raise self.bad(f"{weights} weights for {len(self._data)} bytes", "the prototxt's layers")

    def end(self) -> None:
        """Nothing may stand behind the last layer."""
        left: Any = len(self._data) - self._at
        if left:
            raise self.bad(f"{left} bytes that no layer needs", "end of file")

    def bad(self, what: str, part: str) -> FireforgeError:
        """The error for a file that does not fit its prototxt."""
        do = "the prototxt that belongs to this file, or fetch the file again"
        return FireforgeError("BAD_MODEL_FILE", f"{part[:160]}: {what}", where=self._where, do=do)
