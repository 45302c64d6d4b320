# SPDX-License-Identifier: Apache-2.0
"""Stratified samples by their definition, with hypothesis."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from fireforge.baseline.lesson import Lesson
from fireforge.baseline.sample import sample_words, stratified

LABELS = st.lists(st.integers(0, 5), min_size=1, max_size=120).map(lambda labels: np.array(labels, np.int64))


@given(labels=LABELS, count=st.integers(1, 130), seed=st.integers(0, 3))
@settings(max_examples=60, deadline=None)
def test_every_class_gives_its_share(labels: np.ndarray, count: int, seed: int) -> None:
    """To within one picture and what the classes with less than one picture's share take from the others."""
    rows = stratified(labels, count, seed=seed)
    assert len(rows) == min(count, len(labels))
    assert (np.diff(rows) > 0).all()
    present = np.unique(labels)
    if count >= len(present):
        assert set(labels[rows]) == set(present)
    share = len(rows) / len(labels)
    for label in present:
        size = int((labels == label).sum())
        assert abs(int((labels[rows] == label).sum()) - share * size) <= 1 + len(present) * size / len(labels)


@given(labels=LABELS, small=st.integers(1, 60), more=st.integers(0, 60))
@settings(max_examples=40, deadline=None)
def test_a_smaller_sample_is_part_of_a_larger_one(labels: np.ndarray, small: int, more: int) -> None:
    assert set(stratified(labels, small, seed=0)) <= set(stratified(labels, small + more, seed=0))


def test_equal_classes_give_equally_by_hand() -> None:
    labels = np.arange(1000) % 10
    rows = stratified(labels, 200, seed=0)
    assert np.bincount(labels[rows]).tolist() == [20] * 10
    assert not np.array_equal(rows, stratified(labels, 200, seed=1))
    assert np.array_equal(rows, stratified(labels, 200, seed=0))


def test_unequal_classes_by_hand() -> None:
    """900, 90, 9 and 1 pictures, a tenth of them: 90, 9, 1 and the one that every class gives."""
    labels = np.repeat(np.arange(4), (900, 90, 9, 1))
    assert np.bincount(labels[stratified(labels, 101, seed=0)]).tolist() == [90, 9, 1, 1]


def test_the_sample_has_a_name() -> None:
    told = sample_words(2_000, 51_000, kind="training", seed=0)
    assert told == "2,000 of 51,000 training pictures, stratified, seed 0"
    assert sample_words(1_222, 1_222, kind="training", seed=0) == "all 1,222 training pictures"


def test_a_lesson_takes_pictures_and_labels_together() -> None:
    labels = np.arange(100) % 4
    lesson = Lesson(pixels=labels.astype(np.uint8).reshape(-1, 1, 1, 1), labels=labels, classes=4, seed=3)
    taken = lesson.first(12)
    assert len(taken) == 12
    assert taken.seed == 3
    assert taken.pixels.ravel().tolist() == taken.labels.tolist()
    assert lesson.first(100) is lesson
