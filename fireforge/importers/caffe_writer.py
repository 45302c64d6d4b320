# SPDX-License-Identifier: Apache-2.0
"""Writing a caffemodel: a prototxt's layers, each with its numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from fireforge.base.errors import FireforgeError
from fireforge.importers.caffe_messages import NetParameter
from fireforge.importers.caffe_wire import array_of, binary_net, put_array, text_net

Arrays = Mapping[str, Sequence[np.ndarray]]


def caffemodel_bytes(prototxt: bytes, arrays: Arrays, *, where: str | Path = "prototxt") -> bytes:
    """A caffemodel with the layers of a prototxt.

    Args:
      prototxt: the text, with layers of V2.
      arrays: layer name to its blobs, float32, in Caffe's order and shapes.
      where: for errors.

    Returns:
      The same bytes for the same layers and numbers.

    Raises:
      FireforgeError: BAD_MODEL_FILE, if the text is no prototxt of V2; BAD_WEIGHTS, if an array is of another dtype, or
        of a layer that is not there.
    """
    net = text_net(prototxt, where)
    if net.layers:
        do = "Caffe's upgrade_net_proto_text"
        raise FireforgeError("BAD_MODEL_FILE", "layers of an old prototxt (V1)", where=str(where), do=do)
    for name in sorted(arrays.keys() - {layer.name for layer in net.layer}):
        raise FireforgeError("BAD_WEIGHTS", "the prototxt has no such layer", where=name[:80])
    return _written(net, arrays)


def rewritten(caffemodel: bytes, *, where: str | Path = "caffemodel") -> bytes:
    """The same caffemodel, read and written again: its layers, and its numbers as arrays.

    Args:
      caffemodel: all bytes.
      where: for errors.

    Returns:
      The bytes that `caffemodel_bytes` would write.

    Raises:
      FireforgeError: BAD_MODEL_FILE or BAD_WEIGHTS.
    """
    net = binary_net(caffemodel, where)
    arrays = {layer.name: [array_of(blob, layer.name) for blob in layer.blobs] for layer in net.layer if layer.blobs}
    for layer in net.layer:
        layer.ClearField("blobs")
    return _written(net, arrays)


def _written(net: NetParameter, arrays: Arrays) -> bytes:
    for layer in net.layer:
        for values in arrays.get(layer.name, ()):
            if values.dtype != np.float32:
                raise FireforgeError("BAD_WEIGHTS", f"{values.dtype} numbers", where=layer.name[:80], allowed="float32")
            put_array(layer.blobs.add(), values)
    return bytes(net.SerializeToString(deterministic=True))
