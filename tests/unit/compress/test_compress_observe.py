# SPDX-License-Identifier: Apache-2.0
"""What tensors hold, against the numpy reference's tensors on all pictures at once."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from fireforge.base.deadline import Deadline
from fireforge.base.errors import FireforgeError
from fireforge.base.model import Model, dense
from fireforge.base.reference import run_reference
from fireforge.compress import observe as module
from fireforge.compress.observe import BINS, batch_for, check_pictures, histograms, observe

PICTURES = np.random.default_rng(0).normal(size=(21, 3, 16, 16)).astype(np.float32)
NAMES = ("input", "conv1", "conv1_norm_relu", "fire2.concat", "logits")


def test_ends_and_means_against_the_reference(network: Callable[..., Model], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_BATCH", 8)  # 8 + 8 + 5
    model = network("firenet-small")
    found = observe(model, PICTURES, NAMES, deadline=Deadline())
    want = run_reference(model.graph, model.arrays(), {"input": PICTURES}, wanted=NAMES)
    for name in NAMES:
        array = want[name]
        peak = float(np.abs(array).max())
        # another order of float32 sums in ONNX Runtime
        assert found[name].low == pytest.approx(float(array.min()), abs=1e-5 * peak), name
        assert found[name].high == pytest.approx(float(array.max()), abs=1e-5 * peak), name
        axes = tuple(axis for axis in range(array.ndim) if axis != 1)
        np.testing.assert_allclose(found[name].means, array.mean(axis=axes), atol=1e-5 * peak)


def test_histograms_count_every_number_but_zero(network: Callable[..., Model]) -> None:
    model = network("firenet-small")
    names = ("input", "conv1_norm_relu")
    want = run_reference(model.graph, model.arrays(), {"input": PICTURES}, wanted=names)
    ends = {name: (float(want[name].min()) - 1, float(want[name].max()) + 1) for name in names}
    found = histograms(model, PICTURES, ends, deadline=Deadline())
    for name in names:
        values = want[name][want[name] != 0]
        assert found[name].shape == (BINS,)
        assert found[name].sum() == len(values)
        centres = np.linspace(*ends[name], BINS + 1)[:-1] + (ends[name][1] - ends[name][0]) / BINS / 2
        width = (ends[name][1] - ends[name][0]) / BINS
        assert centres @ found[name] / len(values) == pytest.approx(float(values.mean()), abs=width)
    assert histograms(model, PICTURES, {"input": (0.0, 0.0)}, deadline=Deadline())["input"].sum() == 0


def test_batches_are_bounded_by_memory(network: Callable[..., Model], monkeypatch: pytest.MonkeyPatch) -> None:
    model = network("firenet-small")
    assert batch_for(model, ("conv1",)) == module.MOST_BATCH
    monkeypatch.setattr(module, "MOST_BYTES", 10 * 4 * (32 + 3) * 16 * 16)  # conv1 makes 32 maps of 16 x 16
    assert batch_for(model, ("conv1", "input")) == 10
    monkeypatch.setattr(module, "MOST_BYTES", 1)
    assert batch_for(model, ("conv1",)) == 1


def test_a_deadline_that_is_over_still_sees_one_batch(
    network: Callable[..., Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_BATCH", 4)
    found = observe(network("firenet-small"), PICTURES, ("input",), deadline=Deadline(0.0))
    assert found["input"].high == PICTURES[:4].max()


@pytest.mark.parametrize(
    ("pictures", "says"),
    [
        (PICTURES[:0], "no calibration pictures"),
        (PICTURES[:, :1], r"allowed: float32 \(N, 3, 16, 16\)"),
        (PICTURES[0], "array of"),
        (PICTURES.astype(np.float64), "float64"),
        (np.where(np.arange(21)[:, None, None, None] == 5, np.nan, PICTURES).astype(np.float32), "picture 5"),
        (np.where(np.arange(21)[:, None, None, None] == 7, np.inf, PICTURES).astype(np.float32), "picture 7"),
    ],
)
def test_pictures_that_cannot_calibrate(network: Callable[..., Model], pictures: np.ndarray, says: str) -> None:
    with pytest.raises(FireforgeError, match=says) as caught:
        check_pictures(network("firenet-small"), pictures)
    assert caught.value.code == "BAD_CALIBRATION"


def test_a_network_that_makes_infinity_is_named_by_tensor(network: Callable[..., Model]) -> None:
    model = network("firenet-small")
    arrays = {**model.arrays(), "conv1.weight": np.full((32, 3, 3, 3), 3e38, np.float32)}
    with pytest.raises(FireforgeError, match="BAD_CALIBRATION: conv1"):
        observe(model.replace(weights=dense(arrays)), PICTURES, ("conv1",), deadline=Deadline())
