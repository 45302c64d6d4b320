# SPDX-License-Identifier: Apache-2.0
"""predict: what pictures show, with one exported file."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from fireforge.base.errors import FireforgeError
from fireforge.base.machine import usable_cores
from fireforge.base.pixels import SUFFIXES, Picture
from fireforge.base.postprocess import Classification
from fireforge.base.progress import Progress, Update, silent
from fireforge.runtime.predictor import Predictor, load

__all__ = ["Predictor", "load", "predict"]

STDIN = "-"
EVERY = 64  # pictures between two updates


def predict(
    model: str | Path,
    pictures: Sequence[str],
    *,
    top: int = 1,
    stdin: bytes | None = None,
    progress: Progress = silent,
) -> Iterator[tuple[str, Classification | FireforgeError]]:
    """Answers in the order of the pictures, as they come.

    Args:
      model: an exported file or a run's folder.
      pictures: files, folders (searched through, in the order of their names), or "-" for the picture on stdin.
      top: answers a picture.
      stdin: bytes of the picture that "-" means.
      progress: told how many are done.

    Yields:
      Name of the picture, and its answer or why there is none.

    Raises:
      FireforgeError: what opening the model raises.
    """
    predictor = load(model)
    named = _named(pictures, stdin)
    if len(named) == 1:
        name, picture = named[0]
        yield name, _told(name, _alone(predictor, picture, top))
        return
    answers = predictor.stream((picture for _, picture in named), top=top, workers=usable_cores())
    for done, ((name, _), answer) in enumerate(zip(named, answers)):
        if done % EVERY == 0:
            progress(Update(stage="predict", done=done, total=len(named), unit="image"))
        yield name, _told(name, answer)
    progress(Update(stage="predict", done=len(named), total=len(named), unit="image"))


def _alone(predictor: Predictor, picture: Picture | FireforgeError, top: int) -> Classification | FireforgeError:
    try:
        return picture if isinstance(picture, FireforgeError) else predictor.predict(picture, top=top)
    except FireforgeError as error:
        return error


def _told(name: str, answer: Classification | FireforgeError) -> Classification | FireforgeError:
    """The answer; an error of the picture on stdin says so, because its bytes have no name."""
    if name != STDIN or not isinstance(answer, FireforgeError):
        return answer
    return FireforgeError(
        answer.code, answer.what, where="stdin", allowed=answer.allowed, do=answer.do, exit_code=answer.exit_code
    )


def _named(pictures: Sequence[str], stdin: bytes | None) -> list[tuple[str, Picture | FireforgeError]]:
    """Name and picture of all that was asked for; what cannot be opened has its error in place of a picture."""
    found: list[tuple[str, Picture | FireforgeError]] = []
    for place, name in enumerate(pictures):
        if name == STDIN and STDIN in pictures[:place]:
            found.append((name, FireforgeError("BAD_PICTURE", "stdin holds one picture and was named before")))
        elif name == STDIN:
            found.append((name, stdin or b""))
        elif os.path.isdir(name):
            found += _in_folder(name)
        else:
            found.append((name, name))
    return found


def _in_folder(root: str) -> list[tuple[str, Picture | FireforgeError]]:
    """The pictures of a folder and those below it; links to folders are not followed."""
    found: list[tuple[str, Picture | FireforgeError]] = []

    def closed(error: OSError) -> None:
        path = str(error.filename)
        found.append((path, FireforgeError("NO_FILE", error.strerror or "cannot be read", where=path)))

    for folder, subfolders, names in os.walk(root, onerror=closed):
        subfolders.sort()
        found += [_in(os.path.join(folder, name)) for name in sorted(names) if name.lower().endswith(SUFFIXES)]
    if not found:
        none = FireforgeError("NO_DATA", "no pictures in this folder", where=root, allowed=", ".join(SUFFIXES))
        found.append((root, none))
    return found


def _in(path: str) -> tuple[str, Picture | FireforgeError]:
    """A file of a folder; reading what is no file, such as a pipe, could wait for ever."""
    if os.path.exists(path) and not os.path.isfile(path):
        return path, FireforgeError("NO_FILE", "neither a file nor a folder", where=path)
    return path, path
