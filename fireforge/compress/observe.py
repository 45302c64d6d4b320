# SPDX-License-Identifier: Apache-2.0
"""What a network's tensors hold on calibration pictures: ends, channel means, histograms."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fireforge.base.deadline import Deadline
from fireforge.base.errors import FireforgeError
from fireforge.base.infer import infer
from fireforge.base.model import Model
from fireforge.export.onnx_file import onnx_bytes
from fireforge.runtime.onnx_runtime import OnnxSession

BINS = 2048  # of a histogram: 8 for each step of 8-bit integers
MOST_BYTES = 256 * 2**20  # of all observed tensors of one batch
MOST_BATCH = 64


@dataclass(frozen=True, kw_only=True)
class Ends:
    """What one tensor held over all pictures.

    Args:
      low: least number.
      high: greatest number.
      means: float64 (C,), mean of each index along axis 1.
    """

    low: float
    high: float
    means: np.ndarray


def check_pictures(model: Model, pictures: np.ndarray) -> None:
    """Whether pictures can calibrate a model.

    Args:
      model: with one input.
      pictures: float32 (N, C, H, W).

    Raises:
      FireforgeError: BAD_CALIBRATION, if there are none, their shape or dtype is another, or one holds NaN or infinity.
    """
    if len(model.graph.inputs) != 1:
        raise FireforgeError("BAD_CALIBRATION", f"a network of {len(model.graph.inputs)} inputs", allowed="one input")
    shape = model.graph.inputs[0].shape[1:]
    fits = pictures.ndim == len(shape) + 1 and pictures.dtype == np.float32
    fits = fits and all(isinstance(want, str) or want == got for want, got in zip(shape, pictures.shape[1:]))
    if not fits:
        allowed = f"float32 (N, {', '.join(str(size) for size in shape)})"
        raise FireforgeError("BAD_CALIBRATION", f"{pictures.dtype} array of {pictures.shape}", allowed=allowed)
    if not len(pictures):
        raise FireforgeError("BAD_CALIBRATION", "no calibration pictures", do="at least 32 training pictures")
    good = np.isfinite(pictures).reshape(len(pictures), -1).all(axis=1)
    if not good.all():
        raise FireforgeError("BAD_CALIBRATION", "holds NaN or infinity", where=f"picture {int(good.argmin())}")


def observe(model: Model, pictures: np.ndarray, names: Sequence[str], *, deadline: Deadline) -> dict[str, Ends]:
    """Ends and channel means of tensors.

    Args:
      model: float.
      pictures: float32 (N, C, H, W), what `check_pictures` accepts.
      names: tensors of the graph.
      deadline: when it is over, the pictures so far must do; the first batch always runs.

    Returns:
      Tensor name to what it held.

    Raises:
      FireforgeError: BAD_CALIBRATION, if a tensor holds NaN or infinity.
    """
    found: dict[str, Ends] = {}
    seen = 0
    for arrays in _batches(model, pictures, names):
        count = len(next(iter(arrays.values())))
        for name, array in arrays.items():
            found[name] = _merged(found.get(name), _ends(name, array), count / (seen + count))
        seen += count
        if deadline.over():
            break
    return found


def histograms(
    model: Model, pictures: np.ndarray, ends: Mapping[str, tuple[float, float]], *, deadline: Deadline
) -> dict[str, np.ndarray]:
    """How often each number comes, exact zeros not counted, because integers hold them exactly.

    Args:
      model: float.
      pictures: float32 (N, C, H, W).
      ends: tensor name to the ends of its histogram.
      deadline: when it is over, the pictures so far must do; the first batch always runs.

    Returns:
      Tensor name to int64 (BINS,).
    """
    counts = {name: np.zeros(BINS, np.int64) for name in ends}
    for arrays in _batches(model, pictures, tuple(ends)):
        for name, array in arrays.items():
            low, high = ends[name]
            if high > low:
                counts[name] += np.histogram(array[array != 0], bins=BINS, range=(low, high))[0]
        if deadline.over():
            break
    return counts


def run_batches(
    data: bytes, pictures: np.ndarray, outputs: Sequence[str], *, batch: int
) -> Iterator[dict[str, np.ndarray]]:
    """Outputs of an ONNX file batch by batch.

    Args:
      data: the file's bytes; one input.
      pictures: float32 (N, C, H, W).
      outputs: names of those that are wanted.
      batch: pictures at once.

    Yields:
      Output name to array of one batch.
    """
    session = OnnxSession(data)
    name = session.inputs[0].name
    for start in range(0, len(pictures), batch):
        made = session.run({name: np.ascontiguousarray(pictures[start : start + batch])})
        yield {output: made[output] for output in outputs}


def batch_for(model: Model, names: Sequence[str]) -> int:
    """Pictures at once, so that the named tensors together stay below MOST_BYTES."""
    types = infer(model.graph)
    sizes = [int(np.prod([size for size in types[name].shape if not isinstance(size, str)])) for name in names]
    return max(1, min(MOST_BATCH, MOST_BYTES // max(4 * sum(sizes), 1)))


def _ends(name: str, array: np.ndarray) -> Ends:
    low, high = float(array.min()), float(array.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        raise FireforgeError("BAD_CALIBRATION", "the network makes NaN or infinity here", where=name)
    axes = tuple(axis for axis in range(array.ndim) if axis != 1)
    return Ends(low=low, high=high, means=array.mean(axis=axes, dtype=np.float64))


def _merged(old: Ends | None, new: Ends, share: float) -> Ends:
    """Both together, where the new one stands for a share of all pictures."""
    if old is None:
        return new
    means = old.means + (new.means - old.means) * share
    return Ends(low=min(old.low, new.low), high=max(old.high, new.high), means=means)


def _batches(model: Model, pictures: np.ndarray, names: Sequence[str]) -> Iterator[dict[str, np.ndarray]]:
    """The named tensors, batch by batch, of the float network with all of them as outputs."""
    inputs = {tensor.name for tensor in model.graph.inputs}
    inner = [name for name in names if name not in inputs]
    outputs = tuple(dict.fromkeys((*model.graph.outputs, *inner)))
    data = onnx_bytes(model.graph.replace(outputs=outputs), model.arrays())
    batch = batch_for(model, outputs)
    for i, arrays in enumerate(run_batches(data, pictures, inner, batch=batch)):
        part = pictures[i * batch : (i + 1) * batch]
        yield {name: arrays.get(name, part) for name in names}
