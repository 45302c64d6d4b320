# SPDX-License-Identifier: Apache-2.0
"""predict: what pictures show, with one exported file."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from fireforge.base.errors import FireforgeError
from fireforge.base.pixels import SUFFIXES
from fireforge.base.postprocess import Classification
from fireforge.runtime.predictor import Predictor, load

__all__ = ["Predictor", "load", "predict"]


def predict(
    model: str | Path, pictures: Sequence[str], *, top: int = 1, stdin: bytes | None = None
) -> Iterator[tuple[str, Classification | FireforgeError]]:
    """Answers one by one, as they come.

    Args:
      model: an exported file or a run's folder.
      pictures: files, folders (searched through, in the order of their names), or "-" for stdin.
      top: answers a picture.
      stdin: bytes of the picture that "-" means.

    Yields:
      Name of the picture, and its answer or why there is none.

    Raises:
      FireforgeError: what opening the model raises.
    """
    predictor = load(model)
    for name in pictures:
        if name == "-":
            yield "-", _one(predictor, stdin or b"", top)
            continue
        paths = list(_files(Path(name)))
        for path in paths:
            yield str(path), _one(predictor, path, top)
        if not paths:
            yield name, FireforgeError("NO_DATA", "no pictures in this folder", where=name, allowed=", ".join(SUFFIXES))


def _one(predictor: Predictor, picture: bytes | Path, top: int) -> Classification | FireforgeError:
    try:
        return predictor.predict(picture, top=top)
    except FireforgeError as error:
        return error


def _files(path: Path) -> Iterator[Path]:
    if not path.is_dir():
        yield path
        return
    for folder, subfolders, names in os.walk(path):
        subfolders.sort()
        for name in sorted(names):
            if name.lower().endswith(SUFFIXES):
                yield Path(folder) / name
