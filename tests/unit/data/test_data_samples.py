# SPDX-License-Identifier: Apache-2.0
"""Samples in columns: they answer as a tuple of samples does, and splits are the same."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from fireforge.base.sample import Sample, Skipped
from fireforge.base.trial import DataRef
from fireforge.data.check import without
from fireforge.data.dataset import Dataset, content_digest
from fireforge.data.samples import OWNERS, Digests, Samples, Texts, leaders_of
from fireforge.data.split import split

COUNT = 60


def columns(seed: int = 0, *, parts: bool = True) -> Samples:
    rng = np.random.default_rng(seed)
    names = [f"folder/{i}-é.png".encode() for i in range(COUNT)]
    texts = Texts(np.frombuffer(b"".join(names), np.uint8), np.cumsum([len(name) for name in names]))
    owners = rng.integers(0, 4, COUNT) if parts else np.zeros(COUNT)
    return Samples(rng.integers(0, 3, COUNT).astype(np.int32), owners.astype(np.uint8), texts)


def as_tuple(samples: Samples) -> tuple[Sample, ...]:
    return tuple(
        Sample(id=i, label=int(samples.labels[i]), name=f"folder/{i}-é.png", part=OWNERS[samples.owners[i]])
        for i in range(COUNT)
    )


def test_columns_answer_as_a_tuple() -> None:
    samples, plain = columns(), as_tuple(columns())
    assert len(samples) == len(plain)
    assert samples == plain
    assert plain == tuple(samples)
    assert samples[-1] == plain[-1]
    assert samples[5:50:7] == plain[5:50:7]
    assert samples != as_tuple(columns(1))
    assert hash(samples) == hash(columns())
    assert samples != 5
    assert pickle.loads(pickle.dumps(samples)) == plain
    with pytest.raises(IndexError):
        samples[COUNT]


def dataset(samples: Samples | tuple[Sample, ...]) -> Dataset:
    pixels = np.random.default_rng(9).integers(0, 4, (COUNT, 1, 2), dtype=np.uint8)  # many are equal
    return Dataset(format="t", source="s", labels=("a", "b", "c"), samples=samples, reader=pixels.__getitem__)


@pytest.mark.parametrize("parts", [True, False])
def test_a_dataset_of_columns_is_the_one_of_a_tuple(parts: bool) -> None:
    samples = columns(parts=parts)
    one, two = dataset(samples), dataset(as_tuple(samples))
    assert one.sha256 == two.sha256
    assert one.ledger() == two.ledger()
    assert np.array_equal(one.targets, two.targets)
    assert np.array_equal(one.owners, two.owners)
    for seed in range(3):
        ref = DataRef(source="s", seed=seed)
        assert split(one, ref).sha256 == split(two, ref).sha256
    lost = {i: Skipped(name=str(i), code="IMG_EMPTY", reason="") for i in (0, 7, COUNT - 1)}
    assert without(one, lost).samples == without(two, lost).samples
    assert without(one, lost).sha256 == without(two, lost).sha256


@pytest.mark.parametrize("alike", [False, True])
def test_equal_digests_follow_the_first_of_them(alike: bool) -> None:
    """Reference: a walk through the list. Different digests that begin alike are no equal ones."""
    rng = np.random.default_rng(11)
    kinds = rng.integers(0, 256, (20, 32), dtype=np.uint8)
    if alike:
        kinds[:, :8] = kinds[0, :8]
    table = kinds[rng.integers(0, 20, 300)]
    digests = Digests(table)
    plain = [row.tobytes() for row in table]
    assert list(digests) == plain
    assert digests[3:9] == tuple(plain[3:9])
    want = [plain.index(digest) for digest in plain]
    assert leaders_of(digests, 300).tolist() == want == leaders_of(plain, 300).tolist()
    assert leaders_of((), 4).tolist() == [0, 1, 2, 3]


def test_names_are_shown_without_control_characters() -> None:
    texts = Texts(np.frombuffer(b"a\nb\xffc", np.uint8), np.array([3, 5]))
    assert list(texts) == ["a\\nb", "\ufffdc"]


def test_a_digest_is_that_of_the_content() -> None:
    assert dataset(columns()).digests[3] == content_digest(dataset(columns()).read(3))
