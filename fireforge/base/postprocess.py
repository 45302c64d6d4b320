# SPDX-License-Identifier: Apache-2.0
"""From a network's outputs to an answer: numpy only, stored in the artefact."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from fireforge.base.errors import FireforgeError
from fireforge.base.hedge import Hedge, hedged
from fireforge.base.value import Json, Value

NONE_OF_THESE = "none of these"  # what an answer below the threshold is called


@dataclass(frozen=True, kw_only=True)
class Postprocess(Value):
    """A tagged union like Preprocess; kind says which fields count.

    Args:
      kind: "classify": softmax over the first output.
      outputs: names of the graph outputs that are read; classification reads one, detection several.
      temperature: logits are divided by it before the softmax (Guo et al. 2017); positive.
      threshold: an answer whose best score is below it is "none of these"; in [0, 1], 0 accepts every answer.
      hedge: answers may be groups of classes, chosen along its tree; None: classes alone.
    """

    kind: Literal["classify"] = "classify"
    outputs: tuple[str, ...] = ("logits",)
    temperature: float = 1.0
    threshold: float = 0.0
    hedge: Hedge | None = None

    def __post_init__(self) -> None:
        """Refuse what no score can be computed with."""
        if not self.temperature > 0 or not 0 <= self.threshold <= 1:
            got = f"temperature {self.temperature}, threshold {self.threshold}"
            raise FireforgeError("BAD_POSTPROCESS", got, allowed="a positive temperature, a threshold of 0 to 1")

    def to_json(self) -> dict[str, Json]:
        """The value as plain JSON; without a hedge it is as it was before there were any."""
        return {name: item for name, item in super().to_json().items() if name != "hedge" or item is not None}


@dataclass(frozen=True, kw_only=True)
class Classification(Value):
    """The answer for one image, best first.

    Args:
      labels: class names.
      scores: probabilities in [0, 1] of these labels.
      accepted: whether the best label's score reaches the model's threshold; if not, the answer is "none of these", and
        the labels and the group say what comes nearest.
      group: of classes that is the answer where it is hedged; "" where the best label is.
      group_score: probability that the class is of this group.
    """

    labels: tuple[str, ...]
    scores: tuple[float, ...]
    accepted: bool = True
    group: str = ""
    group_score: float = 0.0

    @property
    def label(self) -> str:
        """The group, or the best label where there is none, also of an answer that is not accepted."""
        return self.group or self.labels[0]

    @property
    def score(self) -> float:
        """The answer's probability."""
        return self.group_score if self.group else self.scores[0]

    @property
    def told(self) -> tuple[tuple[str, float], ...]:
        """Names with their probabilities, the answer first."""
        first = ((self.group, self.group_score),) if self.group else ()
        return (*first, *zip(self.labels, self.scores))

    def to_json(self) -> dict[str, Json]:
        """The value as plain JSON, the group only where there is one."""
        hidden = () if self.group else ("group", "group_score")
        return {name: item for name, item in super().to_json().items() if name not in hidden}


def softmax(logits: np.ndarray, *, temperature: float = 1.0) -> np.ndarray:
    """Softmax over the last axis.

    Args:
      logits: float array (..., K).
      temperature: positive.

    Returns:
      float64 array of the same shape, each row sums to 1.
    """
    scaled = logits.astype(np.float64) / temperature
    power = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
    return np.asarray(power / power.sum(axis=-1, keepdims=True))


def classify(
    outputs: dict[str, np.ndarray], post: Postprocess, labels: tuple[str, ...], *, top: int = 1
) -> list[Classification]:
    """Classifications of a batch.

    Args:
      outputs: what a session returned; the named output is (N, K) float.
      post: of kind "classify".
      labels: K class names.
      top: answers an image, at most K; equal scores keep the order of classes.

    Returns:
      One Classification an image. With a hedge, its labels are still those of the best classes, and the threshold is
      still held against the score of the best one: a group that holds every class has 1 for any picture.

    Raises:
      FireforgeError: BAD_OUTPUT, if the output is absent, does not have one column a label, or is not finite;
        BAD_TOP, if top is below 1; BAD_TREE, if the hedge's tree has another number of classes.
    """
    if top < 1:
        raise FireforgeError("BAD_TOP", f"{top} answers a picture", allowed="1 or more")
    if post.outputs[0] not in outputs:
        raise FireforgeError("BAD_OUTPUT", f"no output called {post.outputs[0]!r}", allowed=", ".join(outputs))
    logits = outputs[post.outputs[0]]
    if logits.ndim != 2 or logits.shape[1] != len(labels):
        raise FireforgeError("BAD_OUTPUT", f"output of shape {logits.shape} for {len(labels)} labels")
    if not np.isfinite(logits).all():
        raise FireforgeError("BAD_OUTPUT", "the network's output holds NaN or infinity")
    scores = softmax(logits, temperature=post.temperature)
    order = np.argsort(-scores, axis=1, kind="stable")[:, :top]
    answers = [
        Classification(
            labels=tuple(labels[k] for k in row),
            scores=tuple(float(scores[i, k]) for k in row),
            accepted=bool(scores[i, row[0]] >= post.threshold),
        )
        for i, row in enumerate(order)
    ]
    return answers if post.hedge is None else _hedged(answers, scores, post.hedge)


def _hedged(answers: list[Classification], scores: np.ndarray, hedge: Hedge) -> list[Classification]:
    """The answers with the group of each that the hedge chooses."""
    codes, sure = hedged(scores, hedge)
    groups = hedge.tree.groups
    found = []
    for answer, code, score in zip(answers, codes - scores.shape[1], sure):
        if code >= 0:
            answer = answer.replace(group=groups[code], group_score=float(score))
        found.append(answer)
    return found
