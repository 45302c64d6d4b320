# SPDX-License-Identifier: Apache-2.0
"""Baselines against scikit-learn and hand values."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import numpy as np
import pytest
from sklearn.cluster import MiniBatchKMeans
from sklearn.datasets import load_digits
from sklearn.dummy import DummyClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier, NearestNeighbors
from sklearn.neural_network import MLPClassifier
from sklearn.svm import LinearSVC

from fireforge.base.baseline import BaselineResult
from fireforge.base.metrics import wilson
from fireforge.base.trial import DataRef
from fireforge.baseline.baselines import BASELINES
from fireforge.baseline.clusters import clusters
from fireforge.baseline.hog import hog
from fireforge.baseline.lesson import Fitted, Lesson
from fireforge.baseline.linear import linear
from fireforge.baseline.mlp import mlp
from fireforge.baseline.neighbours import Index, choose_k, neighbours, vote
from fireforge.baseline.result import label_bytes, left_out, memory_of, one_answer_ms
from fireforge.baseline.scikit import one_thread
from fireforge.baseline.shrink import shrink
from fireforge.baseline.svm import cell_of, hog_svm
from fireforge.data.open import open_dataset
from fireforge.data.pixels import choose_steps, load_pixels
from fireforge.data.split import split

Digits = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


@pytest.fixture(autouse=True)
def single() -> Iterator[None]:
    """One thread for the references too, so that all round alike and nobody waits for a core."""
    with one_thread():
        yield


@pytest.fixture(scope="module")
def digits() -> Digits:
    dataset = open_dataset("digits")
    parts = split(dataset, DataRef(source="digits"))
    steps = choose_steps(dataset, parts.train)
    y = dataset.targets
    train, test = load_pixels(dataset, parts.train, steps), load_pixels(dataset, parts.test, steps)
    return train, y[parts.train], test, y[parts.test]


@pytest.fixture(scope="module")
def lesson(digits: Digits) -> Lesson:
    return Lesson(pixels=digits[0], labels=digits[1], classes=10)


def flat(pictures: np.ndarray) -> np.ndarray:
    return pictures.reshape(len(pictures), -1).astype(np.float64)


@pytest.mark.parametrize("k", [1, 3, 5])
def test_predictions_equal_scikit_learn_on_digits(digits: Digits, k: int) -> None:
    """Where two neighbours are equally far, scikit-learn takes any of them, so such questions may differ.

    These are left out of the exact comparison; over all questions the accuracy agrees to 0.3 point (1 of 359).
    """
    train, y, test, truth = digits
    theirs = KNeighborsClassifier(k, algorithm="brute").fit(flat(train), y).predict(flat(test))
    mine = vote(Index(train).ask(test, k=k), y, 10)
    distance, _ = NearestNeighbors(n_neighbors=k + 1, algorithm="brute").fit(flat(train)).kneighbors(flat(test))
    clear = distance[:, k] > distance[:, k - 1]
    assert clear.mean() > 0.9
    np.testing.assert_array_equal(mine[clear], theirs[clear])
    assert np.mean(mine == truth) == pytest.approx(np.mean(theirs == truth), abs=0.003)


@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 12, 11), (3, 20, 20), (1, 190, 190)])
def test_neighbours_equal_a_naive_version(shape: tuple[int, ...]) -> None:
    """Whole-number distances, the earlier first where equal; one product, several, and sums that need 64 bits."""
    draw = np.random.default_rng(1)
    known = draw.choice(np.array([0, 255], np.uint8), (50, *shape))
    known[20:30] = known[:10]
    asked = np.concatenate(
        [
            known[5 : 15 if shape[1] < 100 else 7],
            draw.integers(0, 256, (290 if shape[1] < 100 else 2, *shape), np.uint8),
        ]
    )
    got, wide = Index(known).ask(asked, k=5), known.astype(np.int64)
    for row, picture in enumerate(asked):
        distance = ((wide - picture) ** 2).reshape(50, -1).sum(axis=1)
        assert got[row].tolist() == sorted(range(50), key=lambda i: (distance[i], i))[:5]


def test_votes_by_hand() -> None:
    targets = np.array([2, 1, 1, 0, 2])
    assert vote(np.array([[0, 1, 2], [3, 4, 1], [0, 4, 3]]), targets, 3).tolist() == [1, 0, 2]
    assert Index(np.zeros((2, 4), np.uint8)).ask(np.zeros((1, 4), np.uint8), k=5).tolist() == [[0, 1]]


def test_k_is_chosen_where_it_helps() -> None:
    """Two bands of gray with one label in six wrong: a single neighbour copies the wrong ones."""
    draw = np.random.default_rng(0)
    y = np.arange(600) % 2
    known = (y * 150 + draw.integers(0, 60, 600)).astype(np.uint8).reshape(-1, 1, 1, 1)
    wrong = np.where(draw.random(600) < 1 / 6, 1 - y, y)
    assert choose_k(known, wrong, 2) == 5
    assert choose_k(known, y, 2) == 1
    assert choose_k(known[:3], y[:3], 2) == 1


def test_result_of_neighbours_on_digits(digits: Digits) -> None:
    """Published for this dataset: about 98 % by nearest neighbours; bytes by hand: 64 pixels and a label each."""
    train, y, test, truth = digits
    result = BASELINES["neighbours"](train, y, test, truth, 10)
    assert result.accuracy > 0.97
    assert result.bytes == len(train) * 65
    assert result.samples == len(test)
    assert result.trained_on == len(train)
    assert result.interval == wilson(round(result.accuracy * len(test)), len(test))
    assert BaselineResult.from_json(result.to_json()) == result


def test_majority_equals_scikit_learns_dummy() -> None:
    y, asked = np.array([2, 1, 1, 0, 1]), np.array([1, 1, 2, 0])
    blank = np.zeros((5, 1, 1, 1), np.uint8)
    result = BASELINES["majority"](blank, y, blank[:4], asked, 3)
    dummy = DummyClassifier(strategy="most_frequent").fit(blank.reshape(5, 1), y)
    assert result.accuracy == dummy.score(blank[:4].reshape(4, 1), asked) == 0.5
    assert result.bytes == 1


def test_clusters_answer_as_scikit_learns_centres_labelled_by_a_naive_loop(digits: Digits, lesson: Lesson) -> None:
    """The centres are rounded to whole pixels before they are compared; so the naive version rounds them too."""
    train, y, test, _ = digits
    fitted = clusters(lesson)
    model = MiniBatchKMeans(100, batch_size=1024, n_init=1, random_state=0).fit(flat(train).astype(np.float32))
    centres = np.rint(model.cluster_centers_)

    def nearest(picture: np.ndarray) -> int:
        return int(((centres - picture) ** 2).sum(axis=1).argmin())

    owners = [nearest(picture) for picture in flat(train)]
    votes = {owner: np.bincount([c for o, c in zip(owners, y) if o == owner]).argmax() for owner in set(owners)}
    mine, naive = fitted.answer(test), [votes.get(nearest(picture), -1) for picture in flat(test)]
    assert np.mean(mine == naive) > 0.99  # an empty cluster is dropped here, not in the naive version
    assert fitted.bytes == len(votes) * 65


def test_svm_answers_as_scikit_learn_does(digits: Digits, lesson: Lesson) -> None:
    """Exact but where two classes tie in float32: at most one of 359."""
    train, y, test, _ = digits
    fitted = hog_svm(lesson)
    model = LinearSVC(C=0.03, random_state=0, dual="auto", tol=1e-3).fit(hog(train, cell_px=2), y)
    assert (fitted.answer(test) != model.predict(hog(test, cell_px=2))).sum() <= 1
    assert fitted.bytes == 4 * 10 * (3 * 3 * 36 + 1)


def test_linear_answers_as_scikit_learn_does(digits: Digits, lesson: Lesson) -> None:
    """The layer takes raw pixels although it was fitted to centred ones; exact but for ties in float32."""
    train, y, test, _ = digits
    mean = flat(train).mean(axis=0)
    model = LogisticRegression(C=0.1).fit(((flat(train) - mean) / 255).astype(np.float32), y)
    fitted = linear(lesson)
    assert (fitted.answer(test) != model.predict((flat(test) - mean) / 255)).sum() <= 1
    assert fitted.bytes == 4 * 10 * 65


def test_mlp_answers_as_scikit_learn_does(digits: Digits, lesson: Lesson) -> None:
    """Exact but for ties in float32. Twenty passes are meant, so no note says that it did not converge."""
    train, y, test, _ = digits
    mean = flat(train).mean(axis=0).astype(np.float32)
    ready, asked = ((flat(part).astype(np.float32) - mean) / 64 for part in (train, test))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = MLPClassifier((128,), max_iter=20, n_iter_no_change=20, batch_size=64, random_state=0).fit(ready, y)
    fitted = mlp(lesson)
    assert (fitted.answer(test) != model.predict(asked)).sum() <= 2
    assert fitted.bytes == 4 * (128 * 65 + 10 * 129)
    assert fitted.notes == ("128 hidden units, 20 passes",)


@pytest.mark.parametrize(
    ("name", "least"),
    [("majority", 0.1), ("neighbours", 0.97), ("k-means", 0.93), ("hog-svm", 0.9), ("linear", 0.92), ("mlp", 0.95)],
)
def test_accuracies_on_digits(digits: Digits, name: str, least: float) -> None:
    """References: scikit-learn's own digits exercise has 96 % for nearest neighbours, 93 % for logistic regression.

    Its split and its scale of pixels are others, so the bounds lie a little below; the other bounds were measured here.
    """
    first, again = (BASELINES[name](*digits, 10) for _ in range(2))
    assert first.accuracy >= least
    assert first.replace(seconds=0.0) == again.replace(seconds=0.0)


@pytest.mark.parametrize("name", sorted(BASELINES))
@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 2, 5), (1, 3, 70), (3, 70, 66)])
def test_two_classes_in_pictures_of_odd_sizes(name: str, shape: tuple[int, int, int]) -> None:
    """A dark and a bright class: all but majority and HOG, which knows no brightness, must tell them apart."""
    draw = np.random.default_rng(0)
    y = np.arange(24) % 2
    x = (draw.integers(0, 60, (24, *shape)) + 180 * y[:, None, None, None]).astype(np.uint8)
    result = BASELINES[name](x[:16], y[:16], x[16:], y[16:], 2)
    assert result.accuracy == 1.0 or name in ("majority", "hog-svm")
    assert result.bytes > 0


def test_only_some_of_the_classes_in_the_lesson(digits: Digits) -> None:
    """Ten classes are known of, but the lesson holds 3s and 7s alone; answers are class numbers, not positions."""
    train, y, *_ = digits
    some = np.isin(y, (3, 7))
    for method in BASELINES.values():
        fitted = method.learn(Lesson(pixels=train[some], labels=y[some], classes=10))
        assert set(fitted.answer(train[some]).tolist()) <= {3, 7}


def test_a_fit_that_stops_early_says_so() -> None:
    """600 noisy pictures of 32 x 32 px: a hundred rounds of lbfgs do not reach the optimum."""
    draw = np.random.default_rng(0)
    y = np.arange(300) % 10
    x = np.clip(draw.integers(0, 200, (300, 1, 16, 16)) + 5 * y[:, None, None, None], 0, 255).astype(np.uint8)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fireforge.baseline.linear.ROUNDS", 5)
        fitted = linear(Lesson(pixels=x, labels=y, classes=10))
    assert fitted.notes == ("stopped after 5 rounds, before it converged",)


def test_blocks_are_averaged_by_hand() -> None:
    pictures = np.arange(2 * 66 * 70, dtype=np.uint32).reshape(2, 1, 66, 70) % 251
    small = shrink(pictures.astype(np.uint8), 32)
    assert small.shape == (2, 1, 22, 23)
    assert small[1, 0, 3, 4] == round(float(pictures[1, 0, 9:12, 12:15].mean()))
    same = np.zeros((2, 1, 32, 32), np.uint8)
    assert shrink(same, 32) is same


def test_smaller_pictures_are_said_so() -> None:
    x = np.zeros((20, 1, 96, 96), np.uint8)
    y = np.arange(20) % 2
    assert "pictures of 96 x 96 averaged down to 32 x 32 px" in neighbours(Lesson(pixels=x, labels=y, classes=2)).notes
    assert "pictures of 96 x 96 averaged down to 48 x 48 px" in hog_svm(Lesson(pixels=x, labels=y, classes=2)).notes


@pytest.mark.parametrize(("side", "cell"), [(1, 1), (8, 2), (15, 2), (16, 4), (28, 4), (48, 8), (64, 8)])
def test_cells_by_hand(side: int, cell: int) -> None:
    assert cell_of(side) == cell


@pytest.mark.parametrize(("classes", "count"), [(2, 1), (256, 1), (257, 2), (70_000, 4)])
def test_label_bytes_by_hand(classes: int, count: int) -> None:
    assert label_bytes(classes) == count


def test_memory_holds_the_arrays_and_what_an_answer_takes_by_hand() -> None:
    """A held megabyte and half a megabyte for the answer; tracemalloc adds a few hundred bytes of Python's own."""
    held = np.zeros(10**6, np.uint8)
    fitted = Fitted(answer=lambda asked: np.zeros(500_000, np.uint8)[: len(asked)], bytes=0, held=(held,))
    assert 1_500_000 <= memory_of(fitted, np.zeros((1, 1, 2, 2), np.uint8)) < 1_510_000


def test_latency_is_the_median_of_single_answers() -> None:
    asked: list[int] = []
    assert 0 <= one_answer_ms(asked.append, [1, 2, 3]) < 5
    assert asked[:5] == [1, 1, 2, 3, 1]
    assert len(asked) == 51


def test_what_was_left_out_is_met_by_no_limit() -> None:
    result = left_out("mlp", "too little time")
    assert result.figures() == {}
    assert BaselineResult.from_json(result.to_json()) == result
    done = BaselineResult(name="x", accuracy=0.5, interval=(0.4, 0.6), bytes=10, seconds=0.1, samples=9, latency_ms=2.0)
    assert done.figures() == {"bytes": 10, "latency_ms": 2.0, "accuracy": 0.5}


def test_digits_of_the_fixture_are_scikit_learns(digits: Digits) -> None:
    raw = load_digits()
    assert len(digits[0]) + len(digits[2]) < len(raw.target)
    assert digits[0].max() == 255
