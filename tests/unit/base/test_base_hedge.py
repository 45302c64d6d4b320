# SPDX-License-Identifier: Apache-2.0
"""Answers along a tree: by hand, against a naive search over bonuses, and the accuracy that is promised."""

from __future__ import annotations

import os
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fireforge.base.errors import FireforgeError
from fireforge.base.hedge import Hedge, LabelTree, fit_hedge, gains, hedge_point, hedged, right
from fireforge.base.imagenet_groups import CLASSES, GROUPS, imagenet_tree
from fireforge.base.postprocess import Classification, Postprocess, classify, softmax

# four animals and two vehicles: 6 classes
TREE = LabelTree(
    parents={"things": "", "animals": "things", "cats": "animals", "vehicles": "things"},
    members={"animals": ((2, 3),), "cats": ((0, 1),), "vehicles": ((4, 5),)},
)
FLAT = LabelTree(parents={"all": ""}, members={"all": ((0, 5),)})
NAMES = ("lion", "lynx", "dog", "cow", "car", "bus")
DATA = os.environ.get("FIREFORGE_DATA")


def rows(n: int, sharp: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Scores of 6 classes that are right more often the sharper they are, and the classes."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 6, n)
    return softmax(rng.normal(size=(n, 6)) * 2 + sharp * np.eye(6)[truth]), truth


def naive(scores: np.ndarray, tree: LabelTree, bonus: float) -> list[tuple[str, float]]:
    """The definition as it stands in the paper: every class and every group, (gain + bonus) * probability."""
    total = np.log2(tree.classes)
    nodes = {str(k): np.arange(tree.classes) == k for k in range(tree.classes)}
    nodes |= dict(zip(tree.groups, tree.holds()))
    found = []
    for row in scores:
        worth = {name: (total - np.log2(held.sum()) + bonus) * row[held].sum() for name, held in nodes.items()}
        best = max(worth, key=worth.__getitem__)
        found.append((best, row[nodes[best]].sum()))
    return found


def test_information_gain_by_hand() -> None:
    """log2 of 6/6, 6/4, 6/2 and 6/2."""
    assert gains(TREE) == pytest.approx([0, 0.5849625007, 1.5849625007, 1.5849625007])


def test_an_answer_by_hand() -> None:
    """Lion 0.3 * 2.585 = 0.7755 against cats 0.58 * 1.585 = 0.9193 against animals 0.98 * 0.585 = 0.5733; with a bonus
    of 2 animals 2.5333 beat cats 2.0793, and with 100 all things win: 100 against animals' 98.573."""
    scores = np.array([[0.30, 0.28, 0.2, 0.2, 0.01, 0.01]])
    for bonus, name, score in ((0, "cats", 0.58), (2, "animals", 0.98), (100, "things", 1.0)):
        code, sure = hedged(scores, Hedge(tree=TREE, bonus=bonus))
        assert TREE.groups[code[0] - 6] == name
        assert sure[0] == pytest.approx(score)
    code, sure = hedged(np.array([[0.02, 0.9, 0.02, 0.02, 0.02, 0.02]]), Hedge(tree=TREE))
    assert (code[0], sure[0]) == (1, 0.9)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), bonus=st.floats(0, 50))
def test_answers_are_those_of_the_definition(seed: int, bonus: float) -> None:
    scores, _ = rows(20, 2.0, seed)
    codes, sure = hedged(scores, Hedge(tree=TREE, bonus=bonus))
    said = [TREE.groups[code - 6] if code >= 6 else str(code) for code in codes]
    for i, (name, score) in enumerate(naive(scores, TREE, bonus)):
        assert said[i] == name
        assert sure[i] == pytest.approx(score, rel=1e-12)  # sums in another order


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    n=st.integers(1, 60),
    sharp=st.floats(-3, 6),
    wanted=st.sampled_from((0.5, 0.75, 0.9, 0.99, 1.0)),
    scale=st.sampled_from((1.0, 300.0)),
)
def test_the_accuracy_is_kept_where_the_bonus_was_chosen(
    seed: int, n: int, sharp: float, wanted: float, scale: float
) -> None:
    """Also over scores that are wrong and 1 in floating point (scale 300), where only the root is right."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 6, n)
    scores = softmax(scale * (rng.normal(size=(n, 6)) + sharp * np.eye(6)[truth]))
    hedge = fit_hedge(scores, truth, TREE, accuracy=wanted)
    codes, _ = hedged(scores, Hedge.from_json(hedge.to_json()))
    assert right(codes, truth, TREE).mean() >= wanted


def test_the_bonus_is_the_least_that_keeps_the_accuracy() -> None:
    """Against a search over a fine grid of bonuses."""
    scores, truth = rows(400, 4.0, 3)
    hedge = fit_hedge(scores, truth, TREE, accuracy=0.9)
    assert 4 < hedge.bonus < 5
    kept = [
        b for b in np.linspace(0, 10, 2001) if hedge_point(scores, truth, Hedge(tree=TREE, bonus=b)).accuracy >= 0.9
    ]
    assert min(kept) == pytest.approx(hedge.bonus, abs=0.006)  # the grid's step is 0.005


def test_a_tree_without_groups_gives_the_best_class() -> None:
    scores, truth = rows(200, 1.0, 5)
    codes, sure = hedged(scores, Hedge(tree=FLAT))
    assert codes.tolist() == scores.argmax(axis=1).tolist()
    assert sure.tolist() == scores.max(axis=1).tolist()
    point = hedge_point(scores, truth, Hedge(tree=FLAT))
    assert point.exact == 1
    assert point.bits == pytest.approx(point.accuracy * np.log2(6))


def test_more_accuracy_costs_bits() -> None:
    scores, truth = rows(500, 2.0, 7)
    points = [hedge_point(scores, truth, fit_hedge(scores, truth, TREE, accuracy=a)) for a in (0.7, 0.8, 0.9, 0.97, 1)]
    bits = [point.bits for point in points]
    assert bits == sorted(bits, reverse=True)
    assert points[0].exact > points[-1].exact
    assert all(point.accuracy >= point.wanted for point in points)


def test_classify_answers_with_a_group_and_keeps_the_classes() -> None:
    logits = np.log(np.float32([[0.30, 0.28, 0.2, 0.2, 0.01, 0.01], [0.9, 0.02, 0.02, 0.02, 0.02, 0.02]]))
    post = Postprocess(hedge=Hedge(tree=TREE), threshold=0.5)
    group, plain = classify({"logits": logits}, Postprocess.from_json(post.to_json()), NAMES, top=2)
    assert (group.label, group.labels) == ("cats", ("lion", "lynx"))
    assert group.score == pytest.approx(0.58)
    assert [name for name, _ in group.told] == ["cats", "lion", "lynx"]
    assert Classification.from_json(group.to_json()) == group
    assert (plain.label, plain.group) == ("lion", "")
    assert "group" not in plain.to_json()
    assert [answer.accepted for answer in (group, plain)] == [False, True]  # the best class counts, 0.30, not 0.58


@pytest.mark.parametrize("bonus", [0.0, 5.0, 1e6])
def test_none_of_these_is_as_without_a_tree(bonus: float) -> None:
    """A threshold is fitted to the scores of best classes; the greatest bonus answers with all things, whose is 1."""
    logits = np.random.default_rng(1).normal(size=(40, 6)) * 2
    plain = Postprocess(threshold=0.5)
    answers = [
        [answer.accepted for answer in classify({"logits": logits}, post, NAMES)]
        for post in (plain, plain.replace(hedge=Hedge(tree=TREE, bonus=bonus)))
    ]
    assert answers[0] == answers[1]
    assert 5 < sum(answers[0]) < 35


def test_a_file_without_a_tree_is_as_before() -> None:
    assert Postprocess.from_json({"temperature": 2.0}).hedge is None
    assert set(Postprocess().to_json()) == {"kind", "outputs", "temperature", "threshold"}


@pytest.mark.parametrize(
    ("parents", "members", "word"),
    [
        ({"a": "", "b": ""}, {"a": [[0, 1]], "b": [[2, 3]]}, "2 roots"),
        ({"a": "b", "b": "a"}, {"a": [[0, 1]]}, "0 roots"),
        ({"r": "", "a": "b", "b": "a"}, {"r": [[0, 1]], "a": [[2, 3]]}, "lies in itself"),
        ({"r": "", "a": "x"}, {"r": [[0, 1]]}, "without parent"),
        ({"r": ""}, {"r": [[0, 1]], "x": [[2, 3]]}, "without parent"),
        ({"r": "", "a": "r"}, {"r": [[0, 1]]}, "holds no class"),
        ({"r": "", "a": "r"}, {"r": [[0, 1]], "a": []}, "holds no class"),
        ({"r": "", "a": "r"}, {"r": [[0, 1]], "a": [[1, 2]]}, "is next"),
        ({"r": ""}, {"r": [[0, 1], [3, 4]]}, "2 is next"),
        ({"r": ""}, {"r": [[1, 2]]}, "0 is next"),
        ({"r": ""}, {"r": [[0, 10**18]]}, "classes"),
        ({"r": ""}, {}, "0 classes"),
        ({"": ""}, {"": [[0, 1]]}, "without a name"),
        ({"r": "", "a\x1b[31m": "r"}, {"r": [[0, 1]], "a\x1b[31m": [[2, 3]]}, "called 'a\\x1b[31m'"),
        ({"r": "", "a\n": "r"}, {"r": [[0, 1]], "a\n": [[2, 3]]}, "called 'a\\n'"),
        ({"r": "", "a\ud800": "r"}, {"r": [[0, 1]], "a\ud800": [[2, 3]]}, "called 'a\\ud800'"),
        ({"r": "", **{f"a{i}": "r" for i in range(8)}}, {"r": [[0, 3]]}, "4 classes in 9 groups"),
        ({"r": "", **{f"a{i}": "r" for i in range(4095)}}, {"r": [[0, 4095]]}, "4096 classes in 4096 groups"),
    ],
)
def test_what_is_no_tree_is_refused(parents: dict, members: dict, word: str) -> None:
    with pytest.raises(FireforgeError, match="BAD_TREE") as caught:
        LabelTree.from_json({"parents": parents, "members": members})
    assert word in str(caught.value)


def test_groups_in_groups_end_somewhere() -> None:
    """64 levels are a tree, 65 are none; 100,000 are refused at once, where a square of them takes minutes."""
    for levels, classes, said in (
        (64, 40, ""),
        (65, 40, "64 levels"),
        (4000, 2000, "64 levels"),
        (100_000, 4, "100000"),
    ):
        parents = {f"g{i}": f"g{i - 1}" if i else "" for i in reversed(range(levels))}
        members = {f"g{levels - 1}": ((0, classes - 1),)}
        begun = time.process_time()
        if said:
            with pytest.raises(FireforgeError, match=f"BAD_TREE: .*{said}"):
                LabelTree(parents=parents, members=members)
        else:
            assert len(LabelTree(parents=parents, members=members).above("g63")) == 64
        assert time.process_time() - begun < 1  # in fact 0.03 s


def test_a_tree_of_another_number_of_classes_is_refused() -> None:
    with pytest.raises(FireforgeError, match=r"BAD_TREE: .*6 classes"):
        classify({"logits": np.zeros((1, 3), np.float32)}, Postprocess(hedge=Hedge(tree=TREE)), ("a", "b", "c"))


def test_nothing_to_choose_a_bonus_with_is_refused() -> None:
    scores, truth = rows(4, 1.0, 0)
    none, odd = (scores[:0], truth[:0], 0.9), (scores * np.nan, truth, 0.9)
    for bad in (
        none,
        odd,
        (scores, truth[:2], 0.9),
        (scores, truth + 6, 0.9),
        (scores, truth, 0.0),
        (scores, truth, 1.1),
    ):
        with pytest.raises(FireforgeError, match="BAD_CALIBRATION"):
            fit_hedge(bad[0], bad[1], TREE, accuracy=bad[2])
    for bonus in (-1.0, 1e306):
        with pytest.raises(FireforgeError, match=r"BAD_TREE: hedge: bonus .*allowed: a bonus of 0 to 1e\+305 bits"):
            Hedge(tree=TREE, bonus=bonus)


def test_the_groups_of_imagenet_are_a_tree_over_its_classes() -> None:
    tree = imagenet_tree()
    assert tree.classes == CLASSES == 1000
    assert tree.holds()[0].all()
    spans = Counter(part for _, spans in GROUPS.values() for part in spans.split())
    assert max(spans.values()) == 1
    ends = [[int(end) for end in span.split("-")] for span in spans]
    assert sum(end[-1] - end[0] + 1 for end in ends) == len({p for e in ends for p in range(e[0], e[-1] + 1)})


@pytest.mark.data
@pytest.mark.skipif(not DATA, reason="FIREFORGE_DATA is not set")
@pytest.mark.parametrize(
    ("word", "group", "but"),
    [
        ("terrier", "dogs", ()),
        ("snake", "snakes", ("snakebird",)),
        ("monkey", "primates", ()),
        ("beetle", "insects", ()),
        ("shark", "fishes", ()),
        ("lizard", "lizards", ()),
        ("spider", "arachnids", ("spider web", "spider monkey")),
        ("guitar", "musical instruments", ()),
        ("ship", "vehicles", ()),
        ("bottle", "containers", ("bottlecap",)),
        ("squash", "vegetables", ()),
        ("butterfly", "insects", ()),
        ("finch", "birds", ()),
        ("telephone", "devices", ()),
        ("hat", "clothes", ()),
        ("shop", "structures", ()),
    ],
)
def test_groups_hold_the_classes_whose_names_say_so(word: str, group: str, but: tuple[str, ...]) -> None:
    """The first name of each class in the list of the competition ends in the word."""
    lines = (Path(DATA or "") / "imagenet_meta" / "synset_words.txt").read_text().splitlines()
    names = [line.split(" ", 1)[1].split(",")[0].strip() for line in lines]
    found = [k for k, name in enumerate(names) if name.split()[-1].endswith(word) and name not in but]
    tree = imagenet_tree()
    held = tree.holds()[tree.groups.index(group)]
    assert found
    assert [names[k] for k in found if not held[k]] == []
