# SPDX-License-Identifier: Apache-2.0
"""Write the golden files anew: `python tests/golden/regenerate.py`, or with the names of some of them.

Do this only when a change of the numbers is meant, and say in the change log why they moved. States of older versions
are never written anew: what was written once is read for ever, or refused by the name of its version.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from fireforge.base.preprocess import ImageSteps, Preprocess
from fireforge.base.trial import DataRef, Recipe, Trial
from fireforge.nets.firenet import small_firenet
from fireforge.train.checkpoint import VERSION, save_checkpoint
from fireforge.train.course import Course, Part
from fireforge.train.ema import Ema
from fireforge.train.optimizer import make_optimizer
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


def state_parts(number: float) -> dict[str, Any]:
    """A small network, its optimizer and its average, all of whose numbers are this one; ints are 7."""
    module = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(2, 2))
    optimizer = make_optimizer(module, Recipe(epochs=5, optimizer="adamw"))
    for parameter in module.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    ema = Ema(module, 0.9)
    slots = [value for each in optimizer.state.values() for value in each.values()]
    with torch.no_grad():
        for tensor in (*module.state_dict().values(), *ema.state.values(), *slots):
            tensor.fill_(number if tensor.is_floating_point() else 7)
    ema.steps = 9
    return {"module": module, "optimizer": optimizer, "ema": ema}


def state_course() -> Course:
    """Within the fourth epoch."""
    names = ("train/loss", "train/accuracy", "lr", "train/epoch", "val/loss", "val/accuracy", "val/epoch")
    metrics = dict.fromkeys(names, (1.0, 2.0, 3.0))
    part = Part(steps=5, seen=40, loss=1.25, right=30.0, rate=0.1)
    return Course(epochs=3, metrics=metrics, seconds=4.5, stages={"forward": 1.5}, part=part, left_out=1, resumed=2)


def state() -> None:
    """States of a training as this version writes them, in a folder of their version's name."""
    folder = FOLDER / f"state-{VERSION}"
    shutil.rmtree(folder, ignore_errors=True)
    save_checkpoint(folder, owner="golden", course=state_course(), parts=state_parts(0.5))


GOLDEN: dict[str, Callable[[], dict[str, float]]] = {"recipe_digits": recipe_digits}

if __name__ == "__main__":
    for name in sys.argv[1:] or sorted({*GOLDEN, "state"}):
        if name == "state":
            state()
            continue
        text = json.dumps(GOLDEN[name](), indent=2)
        (FOLDER / f"{name}.json").write_text(text + "\n", encoding="utf-8")
        print(name, text)
