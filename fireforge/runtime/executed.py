# SPDX-License-Identifier: Apache-2.0
"""A file as its own reader executes it, with what can be seen on the way from bytes to label: in a fresh process."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from fireforge.base.errors import FireforgeError
from fireforge.base.fresh import answer, fresh
from fireforge.base.golden import INPUTS, array_digest
from fireforge.base.model import Card
from fireforge.base.pixels import seen_as
from fireforge.base.rng import golden_bytes
from fireforge.base.session import Session
from fireforge.runtime.predictor import Predictor, load

READER = "fireforge.runtime.executed"  # the module that is run in the fresh process
PROBE = "lying.jpg"  # a picture of EXIF orientation 6 that ships with the package
Look = Callable[[Sequence[int]], list[dict[str, np.ndarray]]]


@dataclass(frozen=True, kw_only=True)
class Executed:
    """What a file's own reader made of pictures. The first is always the probe, which only goes as far as it can.

    Args:
      card: the file's.
      digests: for each picture, what `array_digest` gives of each tap: "decode", "orient", "resize" uint8 (H, W, C),
        "crop" uint8 and "normalize" float32 (C, H, W); those that were not reached are absent.
      outputs: (N, K) of all but the probe; without rows where the network could not be fed.
      scores: float64 (N, K), for each label of the card; -1 for one that was not told.
      best: the label that was told first for each.
      golden: outputs (3, K) for the golden inputs; without rows where there are none.
      error: why nothing was answered; "".
      look: gives the arrays of the taps of some of the pictures.
      groups: the group that was the answer for each, "" where a class was.
      sure: the score of the answer for each.
      accepted: whether the answer was accepted, for each.
    """

    card: Card
    digests: Sequence[Mapping[str, str]]
    outputs: np.ndarray
    scores: np.ndarray
    best: Sequence[str]
    golden: np.ndarray
    error: str
    look: Look
    groups: Sequence[str] = ()
    sure: Sequence[float] = ()
    accepted: Sequence[bool] = ()


class _Witness:
    """A session that shows what it is fed and keeps what it gives."""

    def __init__(self, session: Session, card: Card, note: Callable[[np.ndarray], None]) -> None:
        self.inputs, self.outputs = session.inputs, session.outputs
        self._session, self._card, self._note = session, card, note
        self.gave: list[np.ndarray] = []

    def run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run once, seen."""
        made = self._session.run(feeds)
        self._note(feeds[self._card.preprocess.input])
        self.gave.append(made[self._card.postprocess.outputs[0]])
        return made


def probe() -> bytes:
    """The picture that ships with the package: 24 x 16 px as stored, which EXIF orientation 6 makes 16 x 24."""
    return files("fireforge.runtime").joinpath("data", PROBE).read_bytes()


def execute(predictor: Predictor, pictures: Sequence[bytes]) -> Executed:
    """Predict in this process, and look on.

    Args:
      predictor: whose session and card are used, by a Predictor that is looked at.
      pictures: image files' bytes; the probe is put before them.

    Returns:
      What was seen.
    """
    shown = [probe(), *pictures]
    digests, made = _run(predictor, shown, array_digest)
    return Executed(
        card=predictor.card,
        digests=digests,
        look=lambda which: _run(predictor, [shown[i] for i in which], np.array)[0],
        **made,
    )


def execute_fresh(path: Path, pictures: Sequence[bytes], *, reader: str = READER) -> Executed:
    """Load a file and predict in a fresh process, and look on.

    Args:
      path: a file with a card.
      pictures: image files' bytes; the probe is put before them.
      reader: the module that does it.

    Returns:
      What was seen.

    Raises:
      FireforgeError: what loading the file raises; MEASURE_FAILED, if the process died.
    """
    found, arrays = _ask(path, pictures, reader, None)

    def look(which: Sequence[int]) -> list[dict[str, np.ndarray]]:
        taps, seen = _ask(path, pictures, reader, list(which))
        return [{tap: seen[f"{row}/{tap}"] for tap in names} for row, names in enumerate(taps)]

    given = {name: found[name] for name in ("digests", "best", "groups", "sure", "accepted", "error")}
    return Executed(card=Card.from_json(found["card"]), look=look, **given, **arrays)


def _ask(path: Path, pictures: Sequence[bytes], reader: str, which: list[int] | None) -> tuple[Any, dict[str, Any]]:
    with tempfile.TemporaryDirectory(prefix="fireforge-") as folder:
        for i, data in enumerate(pictures):
            (Path(folder) / str(i)).write_bytes(data)
        order = {"model": str(path), "folder": folder, "pictures": len(pictures), "look": which}
        found = fresh(reader, where=str(path), order=json.dumps(order))
        with np.load(Path(folder) / "seen.npz", allow_pickle=False) as seen:
            return found, dict(seen)


def _run(
    predictor: Predictor, pictures: Sequence[bytes], keep: Callable
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """What becomes of each picture at each tap, as `keep` keeps it, and what was answered for all but the first."""
    taps: list[dict[str, Any]] = []
    steps = predictor.card.preprocess.steps()
    fed: list[Any] = []

    def note(name: str, seen: Image.Image | np.ndarray) -> None:
        if name == "decode":
            taps.append({})
        array = seen_as(seen, steps)
        taps[-1][name] = keep(array if isinstance(seen, np.ndarray) else array.reshape(*array.shape[:2], -1))

    witness = _Witness(predictor.session, predictor.card, lambda batch: fed.extend(keep(row) for row in batch))
    watched = Predictor(witness, predictor.card, note=note)
    none = np.zeros((0, 0))
    made: dict[str, Any] = {
        "outputs": none,
        "scores": none,
        "golden": none,
        "best": [],
        "groups": [],
        "sure": [],
        "accepted": [],
    }
    _tried(lambda: watched.predict(pictures[0]))
    alone = len(witness.gave)
    made["error"] = _tried(lambda: made.update(_answered(watched, list(pictures[1:]))))
    for place, row in zip(range(1 - alone, len(taps)), fed):
        taps[place]["normalize"] = row
    if witness.gave[alone:] and not made["error"]:
        made["outputs"] = np.concatenate(witness.gave[alone:])
    shape = (steps.channels, *steps.crop)
    golden = np.stack([golden_bytes(i, shape) for i in range(INPUTS)])
    broken = _tried(lambda: made.update(golden=watched.outputs(golden)[predictor.card.postprocess.outputs[0]]))
    made["error"] = made["error"] or broken
    return taps, made


def _answered(watched: Predictor, pictures: list[bytes]) -> dict[str, Any]:
    labels = watched.labels
    answers = watched.predict(pictures, top=len(labels))
    scores = np.full((len(answers), len(labels)), -1.0)
    for row, told in zip(scores, answers):
        free: dict[str, list[int]] = {}
        for place in range(len(labels) - 1, -1, -1):
            free.setdefault(labels[place], []).append(place)
        for label, score in zip(told.labels, told.scores):
            if free[label]:
                row[free[label].pop()] = score
    return {
        "scores": scores,
        "best": [told.labels[0] for told in answers],
        "groups": [told.group for told in answers],
        "sure": [told.score for told in answers],
        "accepted": [told.accepted for told in answers],
    }


def _tried(act: Callable[[], object]) -> str:
    """Act; returns why it could not, "" where it could."""
    try:
        act()
    except FireforgeError as error:
        return error.line()
    return ""


def main() -> int:
    """Do what the order on stdin says; returns the exit code."""
    order = json.loads(sys.stdin.read())
    folder = Path(order["folder"])

    def work() -> Any:
        predictor = load(order["model"])
        pictures = [(folder / str(i)).read_bytes() for i in range(order["pictures"])]
        if order["look"] is not None:
            shown = [probe(), *pictures]
            taps = _run(predictor, [shown[i] for i in order["look"]], np.array)[0]
            np.savez(folder / "seen.npz", **{f"{i}/{tap}": row[tap] for i, row in enumerate(taps) for tap in row})
            return [list(row) for row in taps]
        found = execute(predictor, pictures)
        np.savez(folder / "seen.npz", outputs=found.outputs, scores=found.scores, golden=found.golden)
        told = {name: list(getattr(found, name)) for name in ("digests", "best", "groups", "sure", "accepted")}
        return {**told, "error": found.error, "card": predictor.card.to_json()}

    return answer(work)


if __name__ == "__main__":
    sys.exit(main())
