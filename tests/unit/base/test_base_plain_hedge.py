# SPDX-License-Identifier: Apache-2.0
"""The plain second version of answers along a tree finds what `hedged` finds; reference: each other."""

from __future__ import annotations

import numpy as np
import pytest

from fireforge.base.hedge import Hedge, LabelTree, hedged
from fireforge.base.imagenet_groups import imagenet_tree
from fireforge.base.plain_hedge import plain_answers
from fireforge.base.postprocess import softmax

TREE = LabelTree(
    parents={"cats": "animals", "animals": "things", "things": "", "vehicles": "things"},
    members={"animals": ((1, 1), (3, 3)), "cats": ((0, 0), (5, 5)), "vehicles": ((2, 2), (4, 4))},
)


@pytest.mark.parametrize("bonus", [0.0, 0.7, 3.0, 40.0, 1e6, 1e14, 1e305])
@pytest.mark.parametrize("sharp", [0.5, 3.0, 60.0])
def test_the_two_agree(bonus: float, sharp: float) -> None:
    """Scores to 1e-12: sums of six to a thousand numbers in another order."""
    rng = np.random.default_rng(3)
    for tree, n in ((TREE, 60), (imagenet_tree(), 2)):
        scores = softmax(sharp * rng.normal(size=(n, tree.classes)))
        codes, sure = hedged(scores, Hedge(tree=tree, bonus=bonus))
        due = plain_answers(scores, Hedge(tree=tree, bonus=bonus))
        for code, score, row in zip(codes, sure, due):
            name = "" if code < tree.classes else tree.groups[code - tree.classes]
            assert row[name] == pytest.approx(score, abs=1e-12)
            assert len(row) == 1 or bonus >= 1e6  # nothing is due but what is told, unless scores are 1 in a double


def test_slack_lets_near_answers_through() -> None:
    """By hand, bonus 0: cats 0.58 * 1.585 = 0.919, lion 0.3 * 2.585 = 0.776; 0.14 apart, which a slack of 0.028 gives
    (2 * 0.028 * 2.585 = 0.145) and one of 0.02 (0.103) does not."""
    scores = np.array([[0.30, 0.2, 0.01, 0.2, 0.01, 0.28]])
    hedge = Hedge(tree=TREE)
    assert list(plain_answers(scores, hedge)[0]) == ["cats"]
    assert list(plain_answers(scores, hedge, slack=0.02)[0]) == ["cats"]
    assert list(plain_answers(scores, hedge, slack=0.028)[0]) == ["", "cats"]
