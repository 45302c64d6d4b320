# SPDX-License-Identifier: Apache-2.0
"""From a picture to a label with one exported file."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import TypeVar, overload

import numpy as np

from fireforge.base.errors import FireforgeError
from fireforge.base.files import read_json
from fireforge.base.model import Card, Tag
from fireforge.base.pixels import Note, Picture, normalize, to_pixels
from fireforge.base.postprocess import Classification, classify, softmax
from fireforge.base.session import Session
from fireforge.runtime.given import checked
from fireforge.runtime.runtimes import FileSession, open_session

BATCH = 32  # pictures that go through the network at once
AHEAD = 2 * BATCH  # pictures that are decoded before they are asked for, at most
RESULT = "result.json"
P = TypeVar("P", bound=Picture)
A = TypeVar("A")
B = TypeVar("B")


class Predictor:
    """A session and the card that says how to feed and read it.

    Args:
      session: a network with the card's input and output.
      card: preprocessing, postprocessing and labels.
      tag: what the file says of itself, where it was read from one.
      note: is shown every picture on its way, as `fireforge.base.pixels.to_pixels` shows it.

    Raises:
      FireforgeError: BAD_MODEL_FILE, if the card names an input or output that the session does not have.
    """

    def __init__(self, session: Session, card: Card, *, tag: Tag | None = None, note: Note | None = None) -> None:
        self.session, self.card, self.tag, self._note = session, card, tag, note
        self._steps = card.preprocess.steps()
        for name, tensors in ((card.preprocess.input, session.inputs), (card.postprocess.outputs[0], session.outputs)):
            if name not in {tensor.name for tensor in tensors}:
                allowed = ", ".join(tensor.name for tensor in tensors)
                raise FireforgeError("BAD_MODEL_FILE", f"the card names {name!r}", allowed=allowed)

    @property
    def labels(self) -> tuple[str, ...]:
        """Class names in the order of the outputs."""
        return self.card.labels

    @overload
    def predict(self, picture: Picture, *, top: int = 1) -> Classification: ...

    @overload
    def predict(self, picture: list[P] | tuple[P, ...], *, top: int = 1) -> list[Classification]: ...

    def predict(
        self, picture: Picture | list[P] | tuple[P, ...], *, top: int = 1
    ) -> Classification | list[Classification]:
        """What a picture shows.

        Args:
          picture: a path, an image file's bytes, a Pillow image, or a uint8 array (H, W), (H, W, 1) or (H, W, 3); or a
            list or tuple of these.
          top: answers a picture, best first, at most as many as there are labels.

        Returns:
          A Classification, or a list of them for a list. Its `label` and `score` are the best; where `accepted` is
          False, the score lies below the file's threshold, and the picture may well show none of the classes.

        Raises:
          FireforgeError: what decoding a picture raises; BAD_PICTURE, BAD_ARRAY, BAD_TOP; BAD_OUTPUT.

        Example:
          >>> predictor = fireforge.load("runs/digits")  # doctest: +SKIP
          >>> answer = predictor.predict("five.png", top=3)  # doctest: +SKIP
          >>> answer.label, answer.score, answer.accepted  # doctest: +SKIP
          ('5', 0.998, True)
        """
        if not isinstance(picture, (list, tuple)):
            return self._classify([self.pixels(picture)], top)[0]
        answers = []
        for answer in self.stream(picture, top=top):
            if isinstance(answer, FireforgeError):
                raise answer
            answers.append(answer)
        return answers

    def stream(
        self, pictures: Iterable[Picture | FireforgeError], *, top: int = 1, workers: int = 1
    ) -> Iterator[Classification | FireforgeError]:
        """Answers in the order of the pictures; one that cannot be used has its error in place of an answer.

        Args:
          pictures: what `predict` takes, one by one; they are taken a little ahead of the answers. An error among
            them stays in its place.
          top: answers a picture.
          workers: threads that decode ahead while this one runs the network.

        Yields:
          A Classification, or why there is none.
        """
        with closing(_ahead(self._tried, pictures, workers)) as ready:
            while batch := list(islice(ready, BATCH)):
                yield from self._answers(batch, top)

    def pixels(self, picture: Picture) -> np.ndarray:
        """One picture ready to be normalized.

        Args:
          picture: what `predict` takes.

        Returns:
          uint8 (C, H, W).

        Raises:
          FireforgeError: what decoding raises; BAD_PICTURE or BAD_ARRAY.
        """
        return to_pixels(checked(picture), self._steps, note=self._note)

    def scores(self, pixels: np.ndarray) -> np.ndarray:
        """Probabilities of pictures that are ready to be normalized.

        Args:
          pixels: uint8 (N, C, H, W), as `fireforge.base.pixels.to_pixels` makes them.

        Returns:
          float64 (N, K), each row sums to 1.
        """
        post = self.card.postprocess
        parts = [self.outputs(pixels[start : start + BATCH]) for start in range(0, len(pixels), BATCH)]
        if not parts:
            return np.zeros((0, len(self.labels)))
        logits = np.concatenate([part[post.outputs[0]] for part in parts])
        return softmax(logits, temperature=post.temperature)

    def outputs(self, pixels: np.ndarray) -> dict[str, np.ndarray]:
        """The network's raw outputs for one batch.

        Args:
          pixels: uint8 (N, C, H, W).

        Returns:
          Output name to array.

        Raises:
          FireforgeError: BAD_ARRAY, if the pixels are not uint8 of the card's shape.
        """
        wanted = (self._steps.channels, *self._steps.crop)
        if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[1:] != wanted:
            got = f"{pixels.dtype} array of shape {pixels.shape}"
            raise FireforgeError("BAD_ARRAY", got, allowed=f"uint8 (N, {wanted[0]}, {wanted[1]}, {wanted[2]})")
        return self.session.run({self.card.preprocess.input: normalize(pixels, self._steps)})

    def _tried(self, picture: Picture | FireforgeError) -> np.ndarray | FireforgeError:
        try:
            return picture if isinstance(picture, FireforgeError) else self.pixels(picture)
        except FireforgeError as error:
            return error

    def _answers(self, batch: list[np.ndarray | FireforgeError], top: int) -> Iterator[Classification | FireforgeError]:
        """Answers of a batch; where the batch as a whole has none, each picture is asked about alone."""
        good = [item for item in batch if not isinstance(item, FireforgeError)]
        found: Iterator[Classification | FireforgeError] = iter(())
        try:
            found = iter(self._classify(good, top) if good else [])
        except FireforgeError as error:
            if len(good) == 1:
                found = iter([error])
            else:
                found = (answer for item in good for answer in self._answers([item], top))
        for item in batch:
            yield item if isinstance(item, FireforgeError) else next(found)

    def _classify(self, pixels: list[np.ndarray], top: int) -> list[Classification]:
        return classify(self.outputs(np.stack(pixels)), self.card.postprocess, self.labels, top=top)


def load(path: str | Path, *, threads: int = 1) -> Predictor:
    """A predictor of an exported file, or of the file that a run folder's result.json names: `fireforge.load`.

    Args:
      path: a model file, or a run folder.
      threads: that one operator may use.

    Returns:
      A Predictor.

    Raises:
      FireforgeError: NO_FILE, BAD_MODEL_FILE, or NO_CARD, if the file does not say how to feed it.
    """
    path = model_file(path)
    session = open_session(path, threads=threads)
    tag = read_tag(session, where=str(path))
    return Predictor(session, tag.card, tag=tag)


def model_file(path: str | Path) -> Path:
    """The file that a path means.

    Args:
      path: a model file, or a run folder: the file that its result.json names, or the only model in it.

    Returns:
      The file's path.

    Raises:
      FireforgeError: NO_FILE, if there is none or the choice is open; BAD_JSON, if result.json does not name one.
    """
    path = Path(path)
    if not path.is_dir():
        return path
    if not (path / RESULT).exists():
        return _only_model(path)
    result = read_json(path / RESULT)
    model = result.get("model") if isinstance(result, dict) else None
    name = model.get("path") if isinstance(model, dict) else None
    if not isinstance(name, str):
        raise FireforgeError("BAD_JSON", "names no model", where=str(path / RESULT), allowed='{"model": {"path": ...}}')
    return path / name


def _only_model(folder: Path) -> Path:
    found = sorted(p for p in folder.glob("*.onnx") if ".refused." not in p.name and p.name[0] != ".")
    if len(found) == 1:
        return found[0]
    if not found:
        raise FireforgeError("NO_FILE", "the folder holds no model", where=str(folder), do=f"fireforge export {folder}")
    names = ", ".join(file.name for file in found)
    raise FireforgeError(
        "NO_FILE", f"the folder holds {names} and no {RESULT} that chooses", where=str(folder), do="name one"
    )


def read_tag(session: FileSession, *, where: str) -> Tag:
    """What a file says of itself.

    Args:
      session: of the file.
      where: the file, for messages.

    Returns:
      The tag.

    Raises:
      FireforgeError: NO_CARD, if it says nothing; BAD_MODEL_FILE, if it cannot be read.
    """
    if session.metadata is None:
        raise FireforgeError(
            "NO_CARD",
            "the file does not say how pictures are made ready for it or what its outputs mean",
            where=where,
            do="write it with fireforge export, or run it with onnx_runtime.OnnxSession on arrays",
        )
    try:
        return Tag.from_json(json.loads(session.metadata))
    except (ValueError, RecursionError, FireforgeError) as error:
        raise FireforgeError("BAD_MODEL_FILE", f"its fireforge entry cannot be read: {error}", where=where) from error


def _ahead(function: Callable[[A], B], items: Iterable[A], workers: int) -> Generator[B, None, None]:
    """The function's values in the order of the items, worked out some ahead by threads where there are several."""
    if workers <= 1:
        yield from map(function, items)
        return
    pool = ThreadPoolExecutor(workers)
    waiting: deque[Future[B]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) >= AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
