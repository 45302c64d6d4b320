# SPDX-License-Identifier: Apache-2.0
"""Whether a file answers as its model should, from image bytes to label, and at which stage it does not.

Two executions that share no code after the file's bytes have become pixels. The file is executed by its own reader, the
predictor as users run it (`fireforge.runtime.executed`). The reference is slow and plain: the steps written a second
time (`fireforge.base.plain`), the numpy meaning of the graph, softmax, labels and groups by the model's card.

In float, outputs agree to the rounding of sums in another order. In int8 a runtime sums integers and rounds once, where
the reference rounds products of floats; a sum that falls between two steps of a scale may come out one step apart, and
later layers carry that on. So single int8 outputs may differ by some steps, their mean hardly, the answers rarely. The
answers are held to the file's own graph run in integers (`fireforge.base.gemmlowp`), on 99.5 % of the pictures.
What an int8 file loses against float is judged by accuracy and the tolerance when it is compressed, not here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fireforge.base.errors import FireforgeError
from fireforge.base.gemmlowp import run_integers
from fireforge.base.golden import Golden, array_digest, golden_difference
from fireforge.base.graph import Graph
from fireforge.base.model import Card
from fireforge.base.parity import ParityReport, Tap
from fireforge.base.plain import plain_scores, plain_taps
from fireforge.base.plain_hedge import plain_answers
from fireforge.base.postprocess import Postprocess
from fireforge.base.reference import run_reference
from fireforge.runtime.difference import difference_png
from fireforge.runtime.executed import Executed, probe

BATCH = 25  # pictures that the reference holds at once
PIXEL_TAPS = ("decode", "orient", "resize", "crop", "normalize")
LOOKS = 8  # pictures whose pixels differ that are looked at
APART = 3.4e38  # the difference of arrays that cannot be compared: another shape, or no finite numbers
# pixels must be equal; outputs and inputs are compared relative to the reference's greatest magnitude
NORMALIZE_BOUND = 1e-6
FLOAT_BOUND = 1e-4
INT8_BOUND = 0.15
# twice the worst that ONNX Runtime differed from numpy on the golden inputs: 0.017, of 84 networks of all families with
# random weights, three in four of them within 0.006
GOLDEN_INT8_BOUND = 0.034
INT8_MEAN_BOUND = 0.01
POST_BOUND = 1e-6  # of probabilities, from the same outputs
FLOAT_AGREEMENT = 1.0
INT8_AGREEMENT = 0.995
# outputs this near to the best are as good in int8; of SqueezeNet 1.1 on 200 photos one answer differs from the
# integers and four from rounded floats, all by less than 0.002
INT8_TIE = 0.005


@dataclass(frozen=True, kw_only=True)
class Reference:
    """What a file is held to.

    Args:
      graph: the model's own, or as it stands in the file.
      arrays: an array for each of its weights.
      card: the model's.
      held: graph and arrays as they stand in the file, whose answers in integers are asked for where it is quantized;
        None to leave that out.
    """

    graph: Graph
    arrays: Mapping[str, np.ndarray]
    card: Card
    held: tuple[Graph, Mapping[str, np.ndarray]] | None = None

    @property
    def quantized(self) -> bool:
        """Whether the graph computes with small integers."""
        return any(node.op == "QuantizeLinear" for node in self.graph.nodes)


def verify(
    executed: Executed,
    reference: Reference,
    pictures: Sequence[bytes],
    *,
    golden: Golden | None = None,
    seals: Mapping[str, bool] | None = None,
    model: str = "",
) -> ParityReport:
    """Compare a file with its reference, tap by tap.

    Args:
      executed: what the file's reader made of these very pictures.
      reference: what it is held to.
      pictures: image files' bytes, at least one.
      golden: stored outputs that the file must give for the golden inputs; None to leave that out.
      seals: exact checks that the caller made of the file, by name, and whether each holds; they come first.
      model: the file's name, for the report.

    Returns:
      The report; it does not raise where the two differ.

    Raises:
      FireforgeError: NO_PICTURES; what decoding a picture raises.
    """
    if not pictures:
        raise FireforgeError("NO_PICTURES", "parity needs at least one picture")
    found = _Differences()
    for name, whole in (seals or {}).items():
        found.note(name, 0.0 if whole else 1.0, 0.0)
    steps = reference.card.preprocess.steps()
    for tap in PIXEL_TAPS:
        found.note(tap, 0.0, NORMALIZE_BOUND if tap == "normalize" else 0.0)
    _look({0: plain_taps(probe(), steps)}, executed, found)
    agreed = 0
    for start in range(0, len(pictures), BATCH):
        taps = [plain_taps(data, steps) for data in pictures[start : start + BATCH]]
        _look({1 + start + i: row for i, row in enumerate(taps)}, executed, found)
        agreed += _compare(taps, start, executed, reference, found)
    if golden is not None:
        found.note("golden", _golden(golden, executed), GOLDEN_INT8_BOUND if reference.quantized else FLOAT_BOUND)
    agreement = agreed / len(pictures)
    least = INT8_AGREEMENT if reference.quantized else FLOAT_AGREEMENT
    table = found.taps()
    failed = [tap.tap for tap in table if not tap.passed] + ["label"] * (agreement < least)
    blame = failed[0] if failed else ""
    return ParityReport(
        passed=not failed,
        pictures=len(pictures),
        taps=table,
        agreement=agreement,
        least_agreement=least,
        form="int8" if reference.quantized else "float32",
        blame=blame,
        model=model,
        picture=difference_png(*found.seen[blame]) if blame in found.seen else "",
        error=executed.error,
    )


class _Differences:
    """The greatest difference at each tap, and both sides where it was met."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[float, float]] = {}
        self.seen: dict[str, tuple[np.ndarray, np.ndarray]] = {}

    def note(
        self, tap: str, difference: float, bound: float, sides: tuple[np.ndarray, np.ndarray] | None = None
    ) -> None:
        known = self._found.get(tap, (0.0, bound))[0]
        self._found[tap] = (max(difference, known), bound)
        if sides is not None and difference > known:
            self.seen[tap] = sides

    def taps(self) -> tuple[Tap, ...]:
        """In the order in which they were first noted."""
        return tuple(
            Tap(tap=tap, difference=difference, bound=bound, passed=difference <= bound)
            for tap, (difference, bound) in self._found.items()
        )


def _same(want: Mapping[str, np.ndarray], digests: Mapping[str, str], taps: Sequence[str] = PIXEL_TAPS) -> bool:
    """Whether these taps of a picture are the same in every bit, or were not reached on both sides."""
    return all(digests.get(tap, "") == (array_digest(want[tap]) if tap in want else "") for tap in taps)


def _look(batch: Mapping[int, Mapping[str, np.ndarray]], executed: Executed, found: _Differences) -> None:
    """Note by how much pictures differ that are not the same: of a few where pixels do, of all where only inputs do."""
    pixels = [i for i, want in batch.items() if not _same(want, executed.digests[i], PIXEL_TAPS[:-1])][:LOOKS]
    which = pixels or [i for i, want in batch.items() if not _same(want, executed.digests[i])]
    for i, got in zip(which, executed.look(which) if which else ()):
        want = batch[i]
        for tap in PIXEL_TAPS:
            measure, bound = (_relative, NORMALIZE_BOUND) if tap == "normalize" else (_absolute, 0.0)
            if tap in want and tap in got:
                found.note(tap, measure(want[tap], got[tap]), bound, (want[tap], got[tap]))
            elif tap in want or tap in got:
                found.note(tap, APART, bound)


def _compare(
    taps: Sequence[Mapping[str, np.ndarray]],
    start: int,
    executed: Executed,
    reference: Reference,
    found: _Differences,
) -> int:
    """Note the differences of the outputs of one batch of pictures; returns how many best labels agree."""
    card = reference.card
    name, bound = card.postprocess.outputs[0], INT8_BOUND if reference.quantized else FLOAT_BOUND
    if any("normalize" not in row for row in taps):
        raise FireforgeError("IMG_SHAPE", "a picture for parity is smaller than the crop")
    feeds = {card.preprocess.input: np.stack([row["normalize"] for row in taps])}
    want = run_reference(reference.graph, reference.arrays, feeds, wanted=(name,))[name]
    got = executed.outputs[start : start + len(taps)]
    found.note("network", _relative(want, got), bound, (want, got))
    if reference.quantized:
        found.note("network mean", _relative(want, got, mean=True), INT8_MEAN_BOUND, (want, got))
    found.note("postprocess", float(executed.card.postprocess != card.postprocess), 0.0)
    if want.shape != got.shape:
        return 0
    scores = plain_scores(got, card.postprocess.temperature)
    told = _by_label(executed.scores[start : start + len(taps)], executed.card.labels, card.labels)
    found.note("post", _absolute(_by_label(scores, card.labels, card.labels), told), POST_BOUND, (scores, told))
    found.note("post", _answers_apart(scores, start, executed, card.postprocess), POST_BOUND)
    if reference.quantized and reference.held is not None:
        want = run_integers(*reference.held, {executed.card.preprocess.input: feeds[card.preprocess.input]})[name]
    margin = (INT8_TIE if reference.quantized else FLOAT_BOUND) * float(np.abs(want).max())
    tied = want >= want.max(axis=1, keepdims=True) - margin
    best = [{card.labels[int(k)] for k in np.flatnonzero(row)} for row in tied]
    return sum(label in labels for label, labels in zip(executed.best[start : start + len(want)], best))


def _by_label(scores: np.ndarray, labels: Sequence[str], wanted: Sequence[str]) -> np.ndarray:
    """Columns in the order of the wanted labels, -1 for an absent one; classes of one name give their scores sorted."""
    if tuple(labels) == tuple(wanted) and len(set(labels)) == len(labels):
        return scores
    columns: dict[str, list[int]] = {}
    for column, label in enumerate(labels):
        columns.setdefault(label, []).append(column)
    out = np.full((len(scores), len(wanted)), -1.0)
    for label in dict.fromkeys(wanted):
        places = [place for place, other in enumerate(wanted) if other == label]
        given = -np.sort(-scores[:, columns.get(label, [])], axis=1)[:, : len(places)]
        out[:, places[: given.shape[1]]] = given
    return out


def _answers_apart(scores: np.ndarray, start: int, executed: Executed, post: Postprocess) -> float:
    """The greatest difference of answers' probabilities from those due; 1 for a wrong group, or one wrongly refused."""
    told = list(zip(executed.groups, executed.sure, executed.accepted))[start : start + len(scores)]
    if len(told) < len(scores):
        return 1.0
    classes = [{"": float(row.max())} for row in scores]
    due = classes if post.hedge is None else plain_answers(scores, post.hedge)
    found = [abs(sure - row[group]) if group in row else 1.0 for (group, sure, _), row in zip(told, due)]
    clear = [
        (row.max() >= post.threshold, accepted)
        for (_, _, accepted), row in zip(told, scores)
        if abs(row.max() - post.threshold) > POST_BOUND
    ]
    return max(*found, *(float(wanted != got) for wanted, got in clear), 0.0)


def _golden(golden: Golden, executed: Executed) -> float:
    if not len(executed.golden):
        return APART
    difference = golden_difference(golden, executed.golden)
    return difference if np.isfinite(difference) else APART


def _absolute(want: np.ndarray, got: np.ndarray) -> float:
    if want.shape != got.shape:
        return APART
    difference = float(np.abs(want.astype(np.float64) - got.astype(np.float64)).max(initial=0.0))
    return difference if np.isfinite(difference) else APART


def _relative(want: np.ndarray, got: np.ndarray, *, mean: bool = False) -> float:
    """Greatest or mean difference, relative to the greatest magnitude of the reference."""
    if want.shape != got.shape or not (np.isfinite(want).all() and np.isfinite(got).all()):
        return APART
    difference = np.abs(want.astype(np.float64) - got.astype(np.float64))
    return float((difference.mean() if mean else difference.max()) / max(float(np.abs(want).max()), 1e-12))
