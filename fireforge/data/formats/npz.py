# SPDX-License-Identifier: Apache-2.0
"""Pictures in one npz file of numpy arrays, as pixels or as JPEG bytes laid end to end."""

from __future__ import annotations

import functools
import os
import zipfile
import zlib
from dataclasses import dataclass

import numpy as np

from fireforge.base.errors import FireforgeError
from fireforge.base.sample import Sample
from fireforge.data.dataset import Dataset, check_classes
from fireforge.data.formats.folder import natural
from fireforge.data.formats.format import Format

ACCEPTS = (
    "an npz file with x_train and y_train (and x_val, y_val, x_test, y_test), or x and y, or images and labels; "
    "or jpeg_train, offsets_train and y_train; classes may name the classes"
)
SPELLINGS = {"train": "train", "val": "val", "valid": "val", "test": "test"}
CLASS_KEYS = ("classes", "class_names", "labels")


@dataclass(frozen=True)
class _Block:
    """One part of the file: pixels (N, H, W[, 3]), or JPEG bytes with their N + 1 offsets."""

    key: str
    part: str
    targets: np.ndarray
    pixels: np.ndarray
    offsets: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.pixels) if self.offsets is None else len(self.offsets) - 1


def open_npz(source: str) -> Dataset:
    """The pictures of an npz file; part by part in the order train, val, test.

    Pixels are (N, H, W), (N, H, W, 1 or 3) or (N, 1 or 3, H, W); the last axis wins where both fit. Types: uint8;
    other integers within 0 to 255; bool, as 0 and 255; floats within [0, 1], as round(value * 255); floats within
    [0, 255] that are whole numbers. The rule is chosen once for the whole file. Labels are class numbers or names.

    Args:
      source: the file.

    Returns:
      The dataset; sample names are key[row].

    Raises:
      FireforgeError: BAD_NPZ, BAD_LAYOUT, BAD_ARRAY, BAD_LABELS or ONE_CLASS.
    """
    arrays = _load(source)
    blocks = _blocks(arrays, source)
    used = {"labels"} if any(block.key == "images" for block in blocks) else set()
    names = next((arrays[key] for key in CLASS_KEYS if key in arrays and key not in used), None)
    labels, numbers = _labels(blocks, names, source)
    check_classes(labels, where=source)
    rows = [(block, row) for block in blocks for row in range(len(block))]
    samples = tuple(
        Sample(id=i, label=int(number), name=f"{block.key}[{row}]", part=block.part)
        for i, ((block, row), number) in enumerate(zip(rows, numbers))
    )
    return Dataset(
        format="npz", source=source, labels=labels, samples=samples, reader=functools.partial(_read, tuple(blocks))
    )


def _load(source: str) -> dict[str, np.ndarray]:
    try:
        with open(os.path.expanduser(source), "rb") as stream:
            file = np.load(stream, allow_pickle=False)
            if isinstance(file, np.ndarray):
                raise ValueError("it is a single array, not an npz")
            return {key.lower(): file[key] for key in file.files}
    except OSError as error:
        raise FireforgeError("NO_FILE", error.strerror or "cannot be read", where=source) from error
    except (ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
        raise FireforgeError("BAD_NPZ", f"cannot be read: {error}", where=source, allowed=ACCEPTS) from error


def _blocks(arrays: dict[str, np.ndarray], source: str) -> list[_Block]:
    """The parts that the file's keys name."""
    found = []
    for spelling, part in SPELLINGS.items():
        found.append((f"x_{spelling}", f"y_{spelling}", "", part))
        found.append((f"{spelling}_images", f"{spelling}_labels", "", part))
        found.append((f"jpeg_{spelling}", f"y_{spelling}", f"offsets_{spelling}", part))
    found += [("x", "y", "", ""), ("images", "labels", "", ""), ("jpeg", "y", "offsets", "")]
    blocks = []
    for key, target, offset, part in found:
        if key in arrays:
            for other in filter(None, (target, offset)):
                if other not in arrays:
                    raise FireforgeError("BAD_LAYOUT", f"there is {key} but no {other}", where=source, allowed=ACCEPTS)
            blocks.append(_Block(key, part, arrays[target], arrays[key], arrays[offset] if offset else None))
    if not blocks:
        keys = ", ".join(sorted(arrays)) or "none"
        raise FireforgeError("BAD_LAYOUT", f"keys found: {keys}", where=source, allowed=ACCEPTS)
    parts = [block.part for block in blocks]
    if len(set(parts)) < len(parts) or ("" in parts and len(parts) > 1):
        keys = ", ".join(block.key for block in blocks)
        raise FireforgeError("BAD_LAYOUT", f"several arrays for the same part: {keys}", where=source, allowed=ACCEPTS)
    return _checked(blocks, source)


def _checked(blocks: list[_Block], source: str) -> list[_Block]:
    pixels = [block for block in blocks if block.offsets is None]
    rule = _scale_rule([block.pixels for block in pixels], source)
    done = []
    for block in blocks:
        if block.offsets is None:
            array = _channels_last(block.pixels, f"{source}: {block.key}")
            array = array if array.dtype == np.uint8 else np.rint(array * rule).astype(np.uint8)
            block = _Block(block.key, block.part, block.targets, array)
        else:
            _check_offsets(block, source)
        targets = block.targets.reshape(-1) if block.targets.shape == (len(block), 1) else block.targets
        if targets.shape != (len(block),):
            raise FireforgeError(
                "BAD_LABELS",
                f"labels of shape {targets.shape} for {len(block)} pictures of {block.key}",
                where=source,
                allowed="one class number or name for each picture",
            )
        done.append(_Block(block.key, block.part, targets, block.pixels, block.offsets))
    return done


def _scale_rule(arrays: list[np.ndarray], source: str) -> float:
    """What pixel values are multiplied by to lie in 0 to 255; looks at all arrays together."""
    others = [array for array in arrays if array.dtype != np.uint8 and array.size]
    if not others:
        return 1.0
    if any(array.dtype.kind not in "biuf" for array in others):
        raise FireforgeError("BAD_ARRAY", f"pixels of type {others[0].dtype}", where=source, allowed="uint8")
    low, high = min(float(array.min()) for array in others), max(float(array.max()) for array in others)
    floats = any(array.dtype.kind in "fb" for array in others)
    if floats and low >= 0 and high <= 1:
        return 255.0
    whole = all(array.dtype.kind != "f" or bool(np.all(array == np.rint(array))) for array in others)
    if not (low >= 0 and high <= 255 and whole):
        raise FireforgeError(
            "BAD_ARRAY",
            f"pixels of type {others[0].dtype} from {low:g} to {high:g}",
            where=source,
            allowed="uint8; whole numbers 0 to 255; floats in [0, 1]",
        )
    return 1.0


def _channels_last(array: np.ndarray, where: str) -> np.ndarray:
    """(N, H, W) or (N, H, W, 3) of any accepted layout."""
    if array.ndim == 4 and array.shape[3] in (1, 3):
        array = array[..., 0] if array.shape[3] == 1 else array
    elif array.ndim == 4 and array.shape[1] in (1, 3):
        array = array[:, 0] if array.shape[1] == 1 else array.transpose(0, 2, 3, 1)
    elif array.ndim != 3:
        raise FireforgeError(
            "BAD_ARRAY",
            f"pixels of shape {array.shape}",
            where=where,
            allowed="(N, H, W), (N, H, W, 1 or 3), (N, 1 or 3, H, W)",
        )
    if not array.size:
        raise FireforgeError("NO_DATA", f"pixels of shape {array.shape}", where=where, allowed="at least one picture")
    return array


def _check_offsets(block: _Block, source: str) -> None:
    offsets, data = block.offsets, block.pixels
    good = (
        offsets is not None
        and offsets.ndim == data.ndim == 1
        and data.dtype == np.uint8
        and offsets.dtype.kind in "iu"
        and len(offsets) > 1
        and int(offsets[0]) == 0
        and int(offsets[-1]) == len(data)
        and bool(np.all(np.diff(offsets.astype(np.int64)) >= 0))
    )
    if not good:
        raise FireforgeError(
            "BAD_ARRAY",
            f"offsets of {block.key} do not fit its bytes",
            where=source,
            allowed="uint8 bytes (B,); N + 1 rising whole numbers from 0 to B",
        )


def _labels(blocks: list[_Block], names: np.ndarray | None, source: str) -> tuple[tuple[str, ...], np.ndarray]:
    """Class names and the class number of every picture."""
    targets = np.concatenate([block.targets for block in blocks])
    if targets.dtype.kind == "f" and np.all(targets == np.rint(targets)):
        targets = targets.astype(np.int64)
    if targets.dtype.kind not in "biuU":
        raise FireforgeError("BAD_LABELS", f"labels of type {targets.dtype}", where=source, allowed="int or str")
    given = None if names is None else tuple(str(name) for name in names.reshape(-1))
    if targets.dtype.kind == "U":
        labels = given or tuple(sorted({str(name) for name in targets}, key=natural))
        number = {label: index for index, label in enumerate(labels)}
        unknown = sorted({str(name) for name in targets} - set(number))
        if unknown:
            raise FireforgeError("BAD_LABELS", f"label {unknown[0]!r}", where=source, allowed=", ".join(labels))
        return labels, np.array([number[str(name)] for name in targets], np.int64)
    targets = targets.astype(np.int64)
    if given is None:
        values, numbers = np.unique(targets, return_inverse=True)
        return tuple(str(value) for value in values), numbers.reshape(-1)
    if int(targets.min()) < 0 or int(targets.max()) >= len(given):
        raise FireforgeError(
            "BAD_LABELS",
            f"labels from {targets.min()} to {targets.max()} with {len(given)} class names",
            where=source,
            allowed=f"0 to {len(given) - 1}",
        )
    return given, targets


def _read(blocks: tuple[_Block, ...], sample_id: int) -> bytes | np.ndarray:
    for block in blocks:
        if sample_id < len(block):
            if block.offsets is None:
                return np.ascontiguousarray(block.pixels[sample_id])
            first, last = int(block.offsets[sample_id]), int(block.offsets[sample_id + 1])
            return block.pixels[first:last].tobytes()
        sample_id -= len(block)
    raise FireforgeError("NO_SAMPLE", "past the last picture")


def _recognise(source: str) -> bool:
    path = os.path.expanduser(source)
    return os.path.isfile(path) and path.lower().endswith(".npz")


NPZ = Format(name="npz", accepts=ACCEPTS, recognise=_recognise, open=open_npz)
