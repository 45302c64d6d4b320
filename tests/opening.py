# SPDX-License-Identifier: Apache-2.0
"""What every opened dataset must be, and what every refusal must look like."""

from __future__ import annotations

import json

import pytest

from fireforge.base.errors import FireforgeError
from fireforge.data.dataset import Dataset
from fireforge.data.open import open_dataset


def refused(source: object) -> FireforgeError:
    """The error of a source that must not open: one line."""
    with pytest.raises(FireforgeError) as caught:
        open_dataset(str(source))
    assert "\n" not in caught.value.line()
    return caught.value


def is_whole(dataset: Dataset) -> bool:
    """Whether everything that was found is used or told."""
    return dataset.found == len(dataset.samples) + len(dataset.skipped)


def is_sound(dataset: Dataset) -> None:
    """A dataset that the rest of the house can use."""
    assert len(dataset.labels) >= 2
    assert len(set(dataset.labels)) == len(dataset.labels)
    assert is_whole(dataset)
    assert [sample.id for sample in dataset.samples] == list(range(len(dataset.samples)))
    assert all(0 <= sample.label < len(dataset.labels) for sample in dataset.samples)
    assert {sample.part for sample in dataset.samples} <= {"", "train", "val", "test"}
    assert len(dataset.sha256) == 64
    json.dumps(dataset.ledger(), ensure_ascii=False).encode()
