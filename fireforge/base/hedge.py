# SPDX-License-Identifier: Apache-2.0
"""Answers along a tree of groups: as specific as the scores allow, with an accuracy that is kept."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from fireforge.base.errors import FireforgeError
from fireforge.base.value import Value

MOST_CELLS = 2**23  # groups times classes
MOST_GROUPS = 2  # for each class: a group for each and as many that hold others
MOST_LEVELS = 64  # from the root to a group, both counted
LEAST_OUTSIDE = 1e-300  # probability outside a group that does not hold every class, at least
MOST_BONUS = 1e305
HALVINGS = 60  # of the bonus' interval


@dataclass(frozen=True, kw_only=True)
class LabelTree(Value):
    """Groups of classes, and groups of groups up to one that holds every class.

    Args:
      parents: name of each group to the name of the group above it; "" above the root.
      members: name of a group to the classes directly under it, as pairs of a first and a last position.

    Raises:
      FireforgeError: BAD_TREE, if there is not one root, a name is unknown, empty or cannot be printed, groups stand in
        a circle or more than 64 deep, there are more than two for each class, a group holds no class, or a class lies
        in two groups or in none.
    """

    parents: dict[str, str]
    members: dict[str, tuple[tuple[int, int], ...]]

    def __post_init__(self) -> None:
        """Refuse what is no tree over the classes 0 to K - 1."""
        odd = next((name for name in self.parents if not name.isprintable() or not name.strip()), None)
        if odd is not None:
            what = f"a group called {odd[:80]!r}" if odd else "a group without a name"
            raise _bad(what, allowed="names of characters that can be printed")
        roots = [name for name, above in self.parents.items() if not above]
        if len(roots) != 1:
            raise _bad(f"{len(roots)} roots", allowed="one group whose parent is ''")
        named = (*(above for above in self.parents.values() if above), *self.members)
        unknown = next((name for name in named if name not in self.parents), None)
        if unknown is not None:
            raise _bad(f"a group {unknown[:80]!r} without parent")
        spans = sorted(span for spans in self.members.values() for span in spans)
        expected = 0
        for first, last in spans:
            if first != expected or last < first:
                raise _bad(f"the classes {first} to {last} where {expected} is next", allowed="each class in one group")
            expected = last + 1
        groups = len(self.parents)
        if not MOST_GROUPS * expected >= groups or expected * groups > MOST_CELLS:
            allowed = f"at most {MOST_GROUPS} groups a class, and {MOST_CELLS:,} classes times groups"
            raise _bad(f"{expected} classes in {groups} groups", allowed=allowed)
        self._check_paths()

    @property
    def classes(self) -> int:
        """K, the number of classes."""
        return 1 + max(last for spans in self.members.values() for _, last in spans)

    @property
    def groups(self) -> tuple[str, ...]:
        """Names of the groups, in the order of `holds`."""
        return tuple(self.parents)

    def above(self, name: str) -> tuple[str, ...]:
        """A group and all groups that it lies in, the root last."""
        path = [name]
        while self.parents[path[-1]]:
            path.append(self.parents[path[-1]])
        return tuple(path)

    def holds(self) -> np.ndarray:
        """Which group holds which class: bool (groups, K)."""
        place = {name: i for i, name in enumerate(self.groups)}
        table = np.zeros((len(place), self.classes), bool)
        for name, spans in self.members.items():
            rows = [place[group] for group in self.above(name)]
            for first, last in spans:
                table[rows, first : last + 1] = True
        return table

    def _check_paths(self) -> None:
        """No circle, not too deep, and a class below every group."""
        for name in self.parents:
            path = {name}
            while name := self.parents[name]:
                if name in path:
                    raise _bad(f"the group {name[:80]!r} lies in itself")
                path.add(name)
                if len(path) > MOST_LEVELS:
                    raise _bad("groups in groups too deep", allowed=f"{MOST_LEVELS} levels")
        full = {name for name, spans in self.members.items() if spans}
        for name in tuple(full):
            full.update(self.above(name))
        empty = next((name for name in self.parents if name not in full), None)
        if empty is not None:
            raise _bad(f"the group {empty[:80]!r} holds no class")


@dataclass(frozen=True, kw_only=True)
class Hedge(Value):
    """How an answer is chosen along a tree: the class or group with the greatest (information gain + bonus) * score.

    Args:
      tree: groups of the classes.
      bonus: in bits, 0 or more. With 0 the expected information gain decides; the greater it is, the more general and
        the more often right the answers are.
      accuracy: that the bonus was chosen for, on pictures that were not trained on; 0 where nobody chose it.

    Source:
      Deng, Krause, Berg, Fei-Fei, Hedging Your Bets, CVPR 2012, section 3: information gain log2(classes) -
      log2(classes in the group), and the DARTS algorithm.
    """

    tree: LabelTree
    bonus: float = 0.0
    accuracy: float = 0.0

    def __post_init__(self) -> None:
        """Refuse numbers that choose nothing."""
        if not 0 <= self.bonus <= MOST_BONUS or not 0 <= self.accuracy <= 1:
            what = f"bonus {self.bonus} bits, accuracy {self.accuracy}"
            allowed = f"a bonus of 0 to {MOST_BONUS:g} bits, an accuracy of 0 to 1"
            raise FireforgeError("BAD_TREE", what, where="hedge", allowed=allowed)


@dataclass(frozen=True, kw_only=True)
class HedgePoint(Value):
    """What one bonus does on some pictures.

    Args:
      wanted: accuracy that the bonus was chosen for.
      bonus: in bits.
      accuracy: share of answers that hold the true class.
      bits: mean information gain of the answers, those that are wrong counted as 0.
      exact: share of answers that are a class and no group.
    """

    wanted: float
    bonus: float
    accuracy: float
    bits: float
    exact: float


def gains(tree: LabelTree) -> np.ndarray:
    """Information gain of each group, in bits.

    Args:
      tree: of K classes.

    Returns:
      float64 (groups,): log2(K) - log2(classes in it); a class alone has log2(K).
    """
    return np.asarray(math.log2(tree.classes) - np.log2(tree.holds().sum(axis=1)))


def hedged(scores: np.ndarray, hedge: Hedge) -> tuple[np.ndarray, np.ndarray]:
    """The answers that a hedge chooses.

    Args:
      scores: float (N, K), each row sums to 1.
      hedge: tree and bonus.

    Returns:
      int64 (N,), k for the class k and K + g for the group g; and float64 (N,), the probability of that answer. Of
      equal answers the one with fewer classes is taken.

    Raises:
      FireforgeError: BAD_TREE, if the tree has another number of classes.
    """
    return _Field(scores, hedge.tree).answers(hedge.bonus)


def right(answers: np.ndarray, truth: np.ndarray, tree: LabelTree) -> np.ndarray:
    """Which answers hold the true class.

    Args:
      answers: int (N,) of `hedged`.
      truth: int (N,), classes.
      tree: that they were chosen along.

    Returns:
      bool (N,).
    """
    group = answers - tree.classes
    return np.asarray(np.where(group >= 0, tree.holds()[np.maximum(group, 0), truth], answers == truth))


def fit_hedge(scores: np.ndarray, truth: np.ndarray, tree: LabelTree, *, accuracy: float) -> Hedge:
    """The hedge with the most specific answers that are right often enough.

    The bonus is found by bisection. Its upper end always keeps the accuracy, so the one that comes back does, on these
    pictures; on others the accuracy is what it happens to be, as with everything that is fitted.

    Args:
      scores: float (N, K) of pictures that the network was not trained on, each row sums to 1.
      truth: int (N,), their classes.
      tree: of K classes.
      accuracy: share of right answers that must be kept, in (0, 1].

    Returns:
      The hedge.

    Raises:
      FireforgeError: BAD_TREE, if the tree does not fit; BAD_CALIBRATION, if there is no picture, the arrays do not fit
        or hold what they cannot, or the accuracy is none.

    Source:
      Deng et al. 2012, Algorithm 1 (DARTS).
    """
    field = _Field(scores, tree)
    fits = len(truth) and scores.shape[:1] == truth.shape and np.isfinite(scores).all()
    if not fits or not 0 < accuracy <= 1 or truth.min() < 0 or truth.max() >= tree.classes:
        what = f"accuracy {accuracy} on scores of shape {scores.shape} and {truth.shape} classes"
        allowed = f"finite scores, as many classes from 0 to {tree.classes - 1}, an accuracy above 0, up to 1"
        raise FireforgeError("BAD_CALIBRATION", what, allowed=allowed)

    def kept(bonus: float) -> bool:
        return bool(right(field.answers(bonus)[0], truth, tree).mean() >= accuracy)

    if kept(0.0):
        return Hedge(tree=tree, bonus=0.0, accuracy=accuracy)
    low, high = 0.0, math.log2(tree.classes) * accuracy / max(1 - accuracy, 1e-3) or 1.0
    while not kept(high):
        low, high = high, min(high * 16, MOST_BONUS)  # at MOST_BONUS every answer is the root, which is right
    for _ in range(HALVINGS):
        middle = math.sqrt(low) * math.sqrt(high) if low > 0 and high > 4 * low else (low + high) / 2
        low, high = (low, middle) if kept(middle) else (middle, high)
    return Hedge(tree=tree, bonus=high, accuracy=accuracy)


def hedge_point(scores: np.ndarray, truth: np.ndarray, hedge: Hedge) -> HedgePoint:
    """What a hedge does on some pictures, to be plotted as accuracy against bits.

    Args:
      scores: float (N, K), N at least 1.
      truth: int (N,).
      hedge: tree and bonus.

    Returns:
      Accuracy and specificity.

    Raises:
      FireforgeError: BAD_TREE, if the tree has another number of classes.
    """
    answers, _ = hedged(scores, hedge)
    good = right(answers, truth, hedge.tree)
    classes = hedge.tree.classes
    each = np.concatenate([np.full(classes, math.log2(classes)), gains(hedge.tree)])
    return HedgePoint(
        wanted=hedge.accuracy,
        bonus=hedge.bonus,
        accuracy=float(good.mean()),
        bits=float(np.where(good, each[answers], 0.0).mean()),
        exact=float((answers < classes).mean()),
    )


class _Field:
    """The answers that may win for each row: its best class, and every group, those with fewer classes first.

    (gain + bonus) * p is compared as gain * p - bonus * (1 - p), where 1 - p is summed and not subtracted: so the root,
    which is always right, wins at last also over scores that are 1 in floating point.
    """

    def __init__(self, scores: np.ndarray, tree: LabelTree) -> None:
        if scores.ndim != 2 or scores.shape[1] != tree.classes:
            raise _bad(f"a tree of {tree.classes} classes for scores of shape {scores.shape}")
        scores = scores.astype(np.float64)
        holds = tree.holds()
        sizes = holds.sum(axis=1)
        order = np.argsort(sizes, kind="stable")
        best, rows = scores.argmax(axis=1), np.arange(len(scores))
        others = scores.copy()
        others[rows, best] = 0
        inside, outside = scores @ holds[order].T, scores @ ~holds[order].T
        p = np.column_stack([scores[rows, best], inside])
        rest = np.maximum(np.column_stack([others.sum(axis=1), outside]), LEAST_OUTSIDE)
        self.rest = np.where(np.append(tree.classes == 1, sizes[order] == tree.classes), 0.0, rest)
        self.p, self.gained = p, p * np.append(math.log2(tree.classes), gains(tree)[order])
        self.codes = np.column_stack([best, np.tile(tree.classes + order, (len(scores), 1))])

    def answers(self, bonus: float) -> tuple[np.ndarray, np.ndarray]:
        """Codes and probabilities of the winners."""
        winner = np.argmax(self.gained - bonus * self.rest, axis=1)[:, None]
        codes, scores = (np.take_along_axis(table, winner, axis=1)[:, 0] for table in (self.codes, self.p))
        return codes, np.minimum(scores, 1.0)


def _bad(what: str, *, allowed: str = "") -> FireforgeError:
    return FireforgeError("BAD_TREE", what, where="tree of labels", allowed=allowed)
