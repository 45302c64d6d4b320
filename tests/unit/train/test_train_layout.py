# SPDX-License-Identifier: Apache-2.0
"""The layout whose kernels write where they must not is not taken; the crash was seen in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from fireforge.base.trial import Augment, Recipe, Trial
from fireforge.nets.families import build_graph
from fireforge.nets.module import GraphModule
from fireforge.nets.resnet import small_resnet
from fireforge.train.layout import layout_of, sound
from fireforge.train.trial import run_trial

MakeTrial = Callable[..., Trial]
LAST = Recipe(epochs=1, layout="channels_last")
CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("layer", "harmed"),
    [
        (nn.Conv2d(8, 24, 1, stride=2), True),
        (nn.Conv2d(12, 12, 1, stride=2), True),
        (nn.Conv2d(32, 32, 1, stride=2, groups=4), True),
        (nn.Conv2d(16, 32, 1, stride=2), False),  # a whole vector of channels
        (nn.Conv2d(8, 24, 1), False),  # without a stride
        (nn.Conv2d(8, 24, 3, stride=2), False),
        (nn.Linear(8, 8), False),
    ],
)
def test_only_what_is_harmed_is_laid_out_otherwise_by_hand(layer: nn.Module, harmed: bool) -> None:
    module = nn.Sequential(nn.ReLU(), layer)
    assert sound(LAST, module, CPU) == (LAST.replace(layout="contiguous") if harmed else LAST)
    assert sound(LAST, module, torch.device("cuda")) == LAST
    plain = Recipe(epochs=1)
    assert sound(plain, module, CPU) is plain


def test_layouts_as_torch_names_them() -> None:
    assert layout_of(LAST) is torch.channels_last
    assert layout_of(Recipe(epochs=1)) is torch.contiguous_format


@pytest.mark.parametrize(("widths", "kept"), [("8,16", False), ("16,32", True)])
def test_shortcuts_of_narrow_residual_networks_are_told(widths: str, kept: bool) -> None:
    module = GraphModule(build_graph(small_resnet(3, params={"widths": widths})))
    assert (sound(LAST, module, CPU) == LAST) == kept


def test_a_training_in_the_other_layout_is_that_of_the_plain_recipe(make_trial: MakeTrial, tmp_path: Path) -> None:
    """Bit for bit, since it is the same computation."""

    def trained(layout: str) -> str:
        trial = make_trial(layout=layout, epochs=1, augment=Augment())
        trial = trial.replace(spec=small_resnet(3, input_shape=(1, 8, 8), params={"widths": "8,8"}))
        return run_trial(trial, folder=tmp_path / layout, device="cpu").weights_sha256

    assert trained("channels_last") == trained("contiguous")


NARROW = """
import torch
from fireforge.base.progress import silent
from fireforge.base.rng import rng
from fireforge.base.deadline import Deadline
from fireforge.base.preprocess import ImageSteps
from fireforge.base.trial import Augment, Recipe
from fireforge.nets.families import build_graph
from fireforge.nets.module import GraphModule, initialise
from fireforge.nets.resnet import small_resnet
from fireforge.train.feed import Batching, Pictures, Ready
from fireforge.train.loop import fit
from fireforge.train.task import Keeping, Task, Watch
from fireforge.train.world import make_world
import numpy as np
torch.set_num_threads(1)
module = GraphModule(build_graph(small_resnet(2, input_shape=(3, 80, 80), params={"widths": "8,12"})))
initialise(module, 0)
pixels = np.random.default_rng(0).integers(0, 256, (16, 3, 80, 80)).astype(np.uint8)
some = Pictures(pixels, np.arange(16) % 2, np.arange(16))
steps = ImageSteps(channels=3, resize=(80, 80), crop=(80, 80), mean=(128.0,) * 3, std=(60.0,) * 3)
recipe = Recipe(epochs=2, batch=8, layout="channels_last")
task = Task(
    recipe=recipe,
    ready=Ready(train=some, val=some),
    batching=Batching(batch=8, classes=2, steps=steps, augment=Augment()),
    world=make_world("cpu"),
)
print(len(fit(module, task, keeping=Keeping(), watch=Watch(deadline=Deadline())).metrics["train/loss"]))
"""


def test_a_narrow_residual_network_trains_in_that_layout_without_harm() -> None:
    """Eight channels of 80 px: where the layout is taken as asked, torch 2.13 ends with a segmentation fault here."""
    done = subprocess.run(
        [sys.executable, "-c", NARROW], capture_output=True, text=True, timeout=120, check=False, cwd=Path.cwd()
    )
    assert (done.returncode, done.stdout.strip()) == (0, "2"), done.stderr
