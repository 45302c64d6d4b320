# SPDX-License-Identifier: Apache-2.0
"""Properties of the split, and the cut of one class by a naive version."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fireforge.base.errors import FireforgeError
from fireforge.base.rng import uniform
from fireforge.base.sample import Sample
from fireforge.base.trial import DataRef
from fireforge.data.dataset import Dataset
from fireforge.data.split import split


def numbered(sample_id: int) -> np.ndarray:
    """A picture that no other id has."""
    return np.array([divmod(sample_id, 256)], np.uint8)


def made(labels: list[int], parts: list[str] | None = None, classes: int = 0, same: list[int] | None = None) -> Dataset:
    """Pictures with the same number in `same` are equal; without it all differ."""
    reader = numbered if same is None else lambda i: numbered(same[i])
    names = parts or [""] * len(labels)
    samples = tuple(Sample(id=i, label=k, name=f"{i}", part=p) for i, (k, p) in enumerate(zip(labels, names)))
    count = classes or max(labels) + 1
    return Dataset(format="t", source="s", labels=tuple(f"c{i}" for i in range(count)), samples=samples, reader=reader)


LAYOUTS = st.lists(st.integers(3, 40), min_size=2, max_size=6).flatmap(
    lambda counts: st.permutations([k for k, n in enumerate(counts) for _ in range(n)])
)


@settings(max_examples=60, deadline=None)
@given(LAYOUTS, st.integers(-3, 2**40), st.floats(0.05, 0.9), st.floats(0.05, 0.9))
def test_parts_are_disjoint_whole_and_stratified(labels: list[int], seed: int, val: float, test: float) -> None:
    """Each class's count is its share rounded, save where each part must keep a picture (1e-9 for float products)."""
    dataset = made(labels)
    parts = split(dataset, DataRef(source="s", seed=seed, val_share=val, test_share=test))
    assert sorted([*parts.train, *parts.val, *parts.test]) == list(range(len(labels)))
    for ids in (parts.train, parts.val, parts.test):
        assert ids.dtype == np.int64
        assert (np.diff(ids) > 0).all()
    for k, n in enumerate(np.bincount(labels)):
        got = {name: int((dataset.targets[parts.ids(name)] == k).sum()) for name in ("train", "val", "test")}
        assert min(got.values()) >= 1
        assert abs(got["test"] - n * test) <= 0.5 + 1e-9 or got["test"] == n - 2 or got["test"] == 1
        rest = n - got["test"]
        assert abs(got["val"] - rest * val) <= 0.5 + 1e-9 or got["val"] == 1 or got["val"] == rest - 1


@settings(max_examples=30, deadline=None)
@given(LAYOUTS, st.integers(0, 99))
def test_the_order_of_classes_and_other_classes_change_nothing(labels: list[int], seed: int) -> None:
    """A class's cut depends on the seed and its own ids alone."""
    ref = DataRef(source="s", seed=seed)
    parts = split(made(labels), ref)
    turned = split(made([max(labels) - k for k in labels]), ref)
    assert turned.sha256 == parts.sha256
    longer = split(made(labels + [max(labels) + 1] * 9), ref)
    for name in ("train", "val", "test"):
        mine = longer.ids(name)
        np.testing.assert_array_equal(mine[mine < len(labels)], parts.ids(name))


def test_one_class_cut_by_a_naive_version() -> None:
    """20 pictures, a fifth to test = 4, then 15 % of 16 = 2.4 to val: the smallest draws."""
    labels = [0, 1] * 20
    parts = split(made(labels), DataRef(source="s", seed=7))
    mine = list(range(0, 40, 2))
    draw = {i: float(uniform(7, -1, np.array([i]), 0)[0]) for i in mine}
    test = sorted(sorted(mine, key=draw.__getitem__)[:4])
    rest = [i for i in mine if i not in test]
    draw = {i: float(uniform(7, -1, np.array([i]), 1)[0]) for i in rest}
    val = sorted(sorted(rest, key=draw.__getitem__)[:2])
    assert [i for i in parts.test if i % 2 == 0] == test
    assert [i for i in parts.val if i % 2 == 0] == val
    assert parts.counts() == {"train": 28, "val": 4, "test": 8}


@settings(max_examples=60, deadline=None)
@given(st.data(), st.integers(0, 99), st.floats(0.05, 0.6), st.floats(0.05, 0.6))
def test_equal_pictures_of_a_class_stay_together(data: st.DataObject, seed: int, val: float, test: float) -> None:
    """A naive look at every pair, in classes of 30 pictures, up to five of them equal; shares hold to a group."""
    sizes = [data.draw(st.lists(st.integers(1, 5), min_size=30, max_size=30)) for _ in range(2)]
    rows = [
        (label, 100 * label + group)
        for label in range(2)
        for group in [g for g, size in enumerate(sizes[label]) for _ in range(size)][:30]
    ]
    rows = data.draw(st.permutations(rows))
    labels, same = [label for label, _ in rows], [group for _, group in rows]
    dataset = made(labels, same=same)
    ref = DataRef(source="s", seed=seed, val_share=val, test_share=test)
    parts = split(dataset, ref)
    where = {int(i): name for name in ("train", "val", "test") for i in parts.ids(name)}
    assert len(where) == 60 == sum(parts.counts().values())
    for i in range(60):
        for j in range(i):
            assert same[i] != same[j] or where[i] == where[j]
    for label in range(2):
        got = {
            name: sum(where[i] == name and labels[i] == label for i in range(60)) for name in ("train", "val", "test")
        }
        assert min(got.values()) >= 1
        assert abs(got["test"] - 30 * test) <= 5
        assert abs(got["val"] - (30 - got["test"]) * val) <= 5
    apart = split(dataset, ref, digests=())
    assert apart.sha256 == split(made(labels), ref).sha256  # as if all differed


@pytest.mark.parametrize("seed", range(8))
def test_many_copies_of_one_picture_take_nothing_from_the_shares(seed: int) -> None:
    """1,000 pictures of a class, 400 of them equal: 200 of the others are the test part, and 15 % of 800 validation."""
    labels = [0] * 1000 + [1] * 100
    parts = split(made(labels, same=[max(i, 399) for i in range(1100)]), DataRef(source="s", seed=seed))
    of_first = {name: int((parts.ids(name) < 1000).sum()) for name in ("train", "val", "test")}
    assert of_first == {"train": 680, "val": 120, "test": 200}
    assert set(range(400)) <= set(parts.train.tolist())


def test_a_class_of_one_picture_alone_is_cut_all_the_same() -> None:
    parts = split(made([0, 1] * 10, same=[0, 1] * 10), DataRef(source="s"))
    assert parts.counts() == {"train": 14, "val": 2, "test": 4}


def test_seeds_differ_and_a_seed_repeats() -> None:
    dataset = made([0, 1] * 30)
    digests = {split(dataset, DataRef(source="s", seed=seed)).sha256 for seed in range(20)}
    assert len(digests) == 20
    assert split(dataset, DataRef(source="other", seed=3)).sha256 in digests


GIVEN = {
    "train+test": (["train"] * 20 + ["test"] * 6, {"train": 17, "val": 3, "test": 6}),
    "train+val": (["train"] * 20 + ["val"] * 6, {"train": 17, "val": 3, "test": 6}),
    "all three": (["train"] * 20 + ["val"] * 4 + ["test"] * 6, {"train": 20, "val": 4, "test": 6}),
    "train alone": (["train"] * 20, {"train": 14, "val": 2, "test": 4}),
}


@pytest.mark.parametrize("case", GIVEN)
def test_parts_of_the_data_are_kept_by_hand(case: str) -> None:
    """Counts by hand for each class; two given parts: the second is the test part, val is carved from the first."""
    parts, want = GIVEN[case]
    got = split(made([0] * len(parts) + [1] * len(parts), parts * 2), DataRef(source="s"))
    assert got.counts() == {name: 2 * n for name, n in want.items()}
    owners = np.array(parts * 2)
    second = "test" if "test" in parts else "val"
    if second in parts:
        np.testing.assert_array_equal(got.test, np.flatnonzero(owners == second))
    assert set(owners[got.train]) == {"train"}


@pytest.mark.parametrize(
    ("labels", "parts", "need"),
    [
        ([0, 0, 0, 1, 1], None, 3),
        ([0, 0, 0, 1, 1], ["train", "train", "test", "train", "test"], 2),
        ([0, 0, 0, 1, 1], ["train", "val", "test", "val", "test"], 1),
    ],
)
def test_too_few_names_class_and_count(labels: list[int], parts: list[str] | None, need: int) -> None:
    with pytest.raises(FireforgeError) as caught:
        split(made(labels, parts), DataRef(source="s"))
    assert caught.value.code == "TOO_FEW"
    assert "'c1' has" in caught.value.what
    assert caught.value.allowed.startswith(f"{need} or more")


def test_a_class_without_any_picture_is_too_few() -> None:
    with pytest.raises(FireforgeError, match="'c2' has 0 images"):
        split(made([0, 1] * 5, classes=3), DataRef(source="s"))


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, float("nan")])
def test_shares_outside_zero_and_one_are_refused(share: float) -> None:
    for ref in (DataRef(source="s", val_share=share), DataRef(source="s", test_share=share)):
        with pytest.raises(FireforgeError, match="BAD_SHARE"):
            split(made([0, 1] * 5), ref)
