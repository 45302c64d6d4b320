# SPDX-License-Identifier: Apache-2.0
"""Whether a file answers as its model should, from image bytes to label, and at which stage it does not.

The reference is slow and plain: the steps of `fireforge.base.pixels` by the model's card, the numpy meaning of the
graph, softmax and labels by the model's card. What is compared is what the file's own card and session make of the
same bytes.

In float, outputs agree to the rounding of sums in another order. In int8 a runtime sums integers and rounds once, where
the reference rounds products of floats; a sum that falls between two steps of a scale may come out one step apart, and
later layers carry that on. So single int8 outputs may differ by some steps, their mean hardly, the answers rarely.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fireforge.base.errors import FireforgeError
from fireforge.base.golden import Golden, golden_difference, golden_inputs
from fireforge.base.graph import Graph
from fireforge.base.model import Card
from fireforge.base.parity import ParityReport, Tap
from fireforge.base.pixels import taps
from fireforge.base.postprocess import softmax
from fireforge.base.reference import run_reference
from fireforge.runtime.predictor import Predictor

BATCH = 25  # pictures that the reference holds at once
PIXEL_TAPS = ("decode", "orient", "resize", "crop")
APART = 3.4e38  # the difference of arrays that cannot be compared: another shape, or no finite numbers
# pixels must be equal; outputs and inputs are compared relative to the reference's greatest magnitude
NORMALIZE_BOUND = 1e-6
FLOAT_BOUND = 1e-4
INT8_BOUND = 0.15
# twice the worst that ONNX Runtime differed from numpy on the golden inputs: 0.017, of 84 networks of all families with
# random weights, three in four of them within 0.006
GOLDEN_INT8_BOUND = 0.034
INT8_MEAN_BOUND = 0.01
FLOAT_AGREEMENT = 1.0
INT8_AGREEMENT = 0.995


@dataclass(frozen=True, kw_only=True)
class Reference:
    """What a file is held to.

    Args:
      graph: the model's own, or as it stands in the file.
      arrays: an array for each of its weights.
      card: the model's.
    """

    graph: Graph
    arrays: Mapping[str, np.ndarray]
    card: Card

    @property
    def quantized(self) -> bool:
        """Whether the graph computes with small integers."""
        return any(node.op == "QuantizeLinear" for node in self.graph.nodes)


def verify(
    predictor: Predictor,
    reference: Reference,
    pictures: Sequence[bytes],
    *,
    golden: Golden | None = None,
    seals: Mapping[str, bool] | None = None,
    model: str = "",
) -> ParityReport:
    """Compare a file with its reference, tap by tap.

    Args:
      predictor: of the file.
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
    agreed = 0
    for start in range(0, len(pictures), BATCH):
        agreed += _compare(pictures[start : start + BATCH], predictor, reference, found)
    if golden is not None:
        found.note("golden", _golden(golden, predictor), GOLDEN_INT8_BOUND if reference.quantized else FLOAT_BOUND)
    agreement = agreed / len(pictures)
    least = INT8_AGREEMENT if reference.quantized else FLOAT_AGREEMENT
    table = found.taps()
    failed = [tap.tap for tap in table if not tap.passed] + ["label"] * (agreement < least)
    return ParityReport(
        passed=not failed,
        pictures=len(pictures),
        taps=table,
        agreement=agreement,
        least_agreement=least,
        form="int8" if reference.quantized else "float32",
        blame=failed[0] if failed else "",
        model=model,
    )


class _Differences:
    """The greatest difference at each tap, in the order they were first met."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[float, float]] = {}

    def note(self, tap: str, difference: float, bound: float) -> None:
        self._found[tap] = (max(difference, self._found.get(tap, (0.0, bound))[0]), bound)

    def taps(self) -> tuple[Tap, ...]:
        return tuple(
            Tap(tap=tap, difference=difference, bound=bound, passed=difference <= bound)
            for tap, (difference, bound) in self._found.items()
        )


def _compare(batch: Sequence[bytes], predictor: Predictor, reference: Reference, found: _Differences) -> int:
    """Note the differences of one batch; returns how many best labels agree."""
    wanted, given = _inputs(batch, predictor.card, reference.card, found)
    if wanted.shape != given.shape:
        return 0  # the tap where the shapes part is noted; the network cannot be fed
    card = reference.card
    name = card.postprocess.outputs[0]
    feeds = {card.preprocess.input: wanted}
    want = run_reference(reference.graph, reference.arrays, feeds, wanted=(name,))[name]
    got = predictor.session.run({predictor.card.preprocess.input: given})[predictor.card.postprocess.outputs[0]]
    found.note("output", _relative(want, got), INT8_BOUND if reference.quantized else FLOAT_BOUND)
    if reference.quantized:
        found.note("output mean", _relative(want, got, mean=True), INT8_MEAN_BOUND)
    found.note("postprocess", float(predictor.card.postprocess != card.postprocess), 0.0)
    scores = softmax(want, temperature=card.postprocess.temperature)
    answers = predictor.predict(list(batch), top=len(predictor.labels))
    told = [dict(zip(answer.labels, answer.scores)) for answer in answers]
    theirs = np.asarray([[row.get(label, -1.0) for label in card.labels] for row in told])
    if not reference.quantized:
        # softmax multiplies a difference of logits by at most 1/2 of it, and logits may be as large as they like
        spread = max(1.0, float(np.abs(want).max()) / card.postprocess.temperature)
        found.note("scores", _absolute(scores, theirs), FLOAT_BOUND * spread)
    margin = 0.0 if reference.quantized else FLOAT_BOUND
    tied = want >= want.max(axis=1, keepdims=True) - margin * np.abs(want).max()
    best = [{card.labels[k] for k in np.flatnonzero(row)} for row in tied]
    return sum(answer.label in labels for answer, labels in zip(answers, best))


def _inputs(batch: Sequence[bytes], given: Card, wanted: Card, found: _Differences) -> tuple[np.ndarray, np.ndarray]:
    """The network's inputs by the model's card and by the file's, float32 (N, C, H, W); differences are noted."""
    ours, theirs = [], []
    for i, data in enumerate(batch):
        want = taps(data, wanted.preprocess.steps(), where=f"picture {i}")
        got = taps(data, given.preprocess.steps(), where=f"picture {i}")
        for tap in PIXEL_TAPS:
            found.note(tap, _absolute(want[tap], got[tap]), 0.0)
        found.note("normalize", _relative(want["normalize"], got["normalize"]), NORMALIZE_BOUND)
        ours.append(want["normalize"])
        theirs.append(got["normalize"])
    return np.stack(ours), np.stack(theirs)


def _golden(golden: Golden, predictor: Predictor) -> float:
    card = predictor.card
    inputs = golden_inputs(card.preprocess.steps())
    outputs = predictor.session.run({card.preprocess.input: inputs})[card.postprocess.outputs[0]]
    difference = golden_difference(golden, outputs)
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
