# SPDX-License-Identifier: Apache-2.0
"""Write the golden files anew: `python tests/golden/regenerate.py`, or with the names of some of them.

Do this only when a change of the numbers is meant, and say in the change log why they moved.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch

from fireforge.base.preprocess import ImageSteps, Preprocess
from fireforge.base.trial import DataRef, Trial
from fireforge.nets.firenet import small_firenet
from fireforge.train.recipe import small_images
from fireforge.train.trial import run_trial

FOLDER = Path(__file__).parent


def recipe_digits() -> dict[str, float]:
    """Losses of a small FireNet on the digits: 3 epochs of the recipe for small images, seed 0, one thread.

    The rate is a fifth of the recipe's: at its own, a max pool or a ReLU that decides otherwise in the last bit moves
    the losses by 0.5 % from one CPU's kernels to another's; at this one they agree to 1e-5.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    params = {"fires": 2, "base_e": 16, "incr_e": 16, "stem": 16}
    steps = ImageSteps(channels=1, resize=None, crop=(8, 8), order="L", mean=(78.0,), std=(96.0,))
    trial = Trial(
        spec=small_firenet(10, input_shape=(1, 8, 8), params=dict(params)),
        recipe=small_images(samples=1200, size_px=8, epochs=3).replace(lr=0.01),
        data=DataRef(source="digits"),
        preprocess=Preprocess(image=steps),
    )
    try:
        with tempfile.TemporaryDirectory() as folder:
            metrics = run_trial(trial, folder=folder, device="cpu").metrics
    finally:
        torch.set_num_threads(before)
    losses = {f"train/loss epoch {i + 1}": loss for i, loss in enumerate(metrics["train/loss"])}
    return {**losses, "val/loss epoch 3": metrics["val/loss"][-1]}


GOLDEN: dict[str, Callable[[], dict[str, float]]] = {"recipe_digits": recipe_digits}

if __name__ == "__main__":
    for name in sys.argv[1:] or sorted(GOLDEN):
        text = json.dumps(GOLDEN[name](), indent=2)
        (FOLDER / f"{name}.json").write_text(text + "\n", encoding="utf-8")
        print(name, text)
