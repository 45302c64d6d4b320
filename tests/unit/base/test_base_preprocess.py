# SPDX-License-Identifier: Apache-2.0
"""What an ImageSteps accepts; the rules are those of its docstring."""

from __future__ import annotations

import pytest

from fireforge.base.errors import FireforgeError
from fireforge.base.preprocess import ImageSteps, Preprocess

GOOD = {"channels": 3, "resize": [9, 9], "crop": [8, 8]}


@pytest.mark.parametrize(
    "change",
    [
        {"channels": 1},
        {"order": "L"},
        {"mean": [0.0]},
        {"std": [1.0, 0.0, 1.0]},
        {"std": [1.0, -1.0, 1.0]},
        {"std": []},
        {"crop": [0, 8]},
        {"resize": [8, -8]},
        {"resize": 0},
        {"background": 256},
        {"background": -1},
    ],
)
def test_what_does_not_fit_is_refused(change: dict) -> None:
    with pytest.raises(FireforgeError, match="BAD_PREPROCESS"):
        ImageSteps.from_json({**GOOD, **change})


@pytest.mark.parametrize("change", [{"filter": "box"}, {"order": "RGBA"}, {"resize": [8, 8, 8]}, {"crop": 8}])
def test_what_is_no_such_value_is_refused(change: dict) -> None:
    with pytest.raises(FireforgeError, match="BAD_JSON"):
        ImageSteps.from_json({**GOOD, **change})


def test_the_reason_survives_nesting() -> None:
    with pytest.raises(FireforgeError, match="BAD_PREPROCESS"):
        Preprocess.from_json({"image": {**GOOD, "channels": 1}})


def test_steps_of_no_image() -> None:
    steps = ImageSteps.from_json(GOOD)
    assert Preprocess(image=steps).steps() == steps
    with pytest.raises(FireforgeError, match="BAD_PREPROCESS"):
        Preprocess().steps()
