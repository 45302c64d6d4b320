# SPDX-License-Identifier: Apache-2.0
"""ONNX files on ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnxruntime

from fireforge.base.errors import Exit, FireforgeError
from fireforge.base.graph import Dim, TensorType
from fireforge.base.model import METADATA_KEY
from fireforge.base.onnx_walk import read_onnx, walk_onnx
from fireforge.runtime.feeds import check_feeds

CPU = "CPUExecutionProvider"
DTYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(uint8)": "uint8",
    "tensor(int8)": "int8",
    "tensor(int32)": "int32",
    "tensor(int64)": "int64",
    "tensor(bool)": "bool",
}
# optimizers that change numbers: this one quantizes float weights behind quantized inputs, by a rule of its own
DISABLED = ["WeightBiasQuantization"]
FAILURES = (
    onnxruntime.capi.onnxruntime_pybind11_state.Fail,
    onnxruntime.capi.onnxruntime_pybind11_state.InvalidArgument,
    onnxruntime.capi.onnxruntime_pybind11_state.InvalidGraph,
    onnxruntime.capi.onnxruntime_pybind11_state.InvalidProtobuf,
    onnxruntime.capi.onnxruntime_pybind11_state.NoModel,
    onnxruntime.capi.onnxruntime_pybind11_state.NotImplemented,
    onnxruntime.capi.onnxruntime_pybind11_state.RuntimeException,
)


class OnnxSession:
    """A network in an ONNX file, ready to run; a `fireforge.base.session.Session`.

    Args:
      source: path of the file, or its bytes.
      threads: that one operator may use; operators run one after the other.
      providers: ONNX Runtime's execution providers, best first; the first must be the one that is used.
      optimized: where ONNX Runtime writes the graph that it really runs; "" for nowhere.

    Raises:
      FireforgeError: NO_FILE, BAD_MODEL_FILE, NO_PROVIDER; EXTERNAL_DATA, before ONNX Runtime sees the file, if numbers
        lie in other files.
    """

    def __init__(
        self, source: str | Path | bytes, *, threads: int = 1, providers: Sequence[str] = (CPU,), optimized: str = ""
    ) -> None:
        self.where = "bytes" if isinstance(source, bytes) else str(source)
        if isinstance(source, bytes):
            walk_onnx(source, where=self.where)
        data = source if isinstance(source, bytes) else read_onnx(source)
        self._session = _open(data, session_options(threads, optimized), providers, self.where)
        self.inputs = tuple(_tensor(item, self.where) for item in self._session.get_inputs())
        self.outputs = tuple(_tensor(item, self.where) for item in self._session.get_outputs())
        stored = self._session.get_modelmeta().custom_metadata_map
        self.metadata: str | None = stored.get(METADATA_KEY)

    def run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run once.

        Args:
          feeds: input name to array; dtype and shape as in `inputs`, where a symbol stands for one size throughout.

        Returns:
          Output name to array.

        Raises:
          FireforgeError: BAD_INPUT_TENSOR, if an array is absent, unknown, or of another dtype or shape;
            RUNTIME_FAILED, if ONNX Runtime cannot run the network.
        """
        check_feeds(self.inputs, feeds)
        names = [tensor.name for tensor in self.outputs]
        try:
            arrays = self._session.run(names, dict(feeds))
        except FAILURES as error:
            raise FireforgeError("RUNTIME_FAILED", _first_line(error), where=self.where, exit_code=Exit.BUG) from None
        return dict(zip(names, arrays))


def open_onnx(path: str | Path, *, threads: int = 1) -> OnnxSession:
    """A session of an ONNX file on the CPU; see `OnnxSession`."""
    return OnnxSession(path, threads=threads)


def session_options(threads: int, optimized: str = "") -> onnxruntime.SessionOptions:
    """Options of every session here: so many threads an operator, exact sums; where the optimized file goes."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # what goes wrong is raised; nothing is printed beside it
    # exact sums where a processor's 8-bit products would saturate at 16 bits; without effect on others
    options.add_session_config_entry("session.x64quantprecision", "1")
    if optimized:
        options.optimized_model_filepath = optimized
    return options


def _open(
    data: bytes, options: onnxruntime.SessionOptions, providers: Sequence[str], where: str
) -> onnxruntime.InferenceSession:
    missing = sorted(set(providers) - set(onnxruntime.get_available_providers()))
    if missing:
        allowed = ", ".join(onnxruntime.get_available_providers())
        raise FireforgeError(
            "NO_PROVIDER", f"ONNX Runtime has no {missing[0]}", allowed=allowed, exit_code=Exit.ENVIRONMENT
        )
    try:
        session = onnxruntime.InferenceSession(data, options, providers=list(providers), disabled_optimizers=DISABLED)
    except FAILURES as error:
        raise FireforgeError(
            "BAD_MODEL_FILE",
            f"ONNX Runtime cannot load it: {_first_line(error)}",
            where=where,
            allowed="a whole ONNX file",
            do="export or copy the file again",
        ) from None
    used = session.get_providers()
    if used[0] != providers[0]:
        raise FireforgeError(
            "NO_PROVIDER", f"{providers[0]} was asked for, {used[0]} is used", exit_code=Exit.ENVIRONMENT
        )
    return session


def _tensor(item: onnxruntime.NodeArg, where: str) -> TensorType:
    if item.type not in DTYPES:
        raise FireforgeError("BAD_MODEL_FILE", f"{item.name} is a {item.type}", where=where, allowed=", ".join(DTYPES))
    shape: list[Dim] = []
    for position, size in enumerate(item.shape):
        shape.append(size if isinstance(size, int) else str(size or f"dim{position}"))
    return TensorType(name=item.name, dtype=DTYPES[item.type], shape=tuple(shape))


def _first_line(error: Exception) -> str:
    """The reason alone: without ONNX Runtime's error numbers, and its source paths."""
    text = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    parts = [part.strip() for part in text.split(" : ")]
    return parts[-1][:300]
