# SPDX-License-Identifier: Apache-2.0
"""Networks with auxiliary heads: their loss counts in training, and the first output alone is judged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from fireforge.base.trial import Augment, DataRef, Recipe, Trial
from fireforge.base.trunk import trunk
from fireforge.nets.families import build_graph
from fireforge.nets.googlenet import small_googlenet
from fireforge.nets.module import GraphModule, load_arrays
from fireforge.train.evaluate import judge, logits_of
from fireforge.train.step import HEADS_SHARE, gradient_norm, make_tools, train_step
from fireforge.train.trial import batching_of, make_ready, run_trial
from fireforge.train.weights import read_weights
from fireforge.train.world import make_world

PLAIN = Recipe(epochs=1, batch=16, lr=0.1, ema=0.0, augment=Augment(), label_smoothing=0.1)
TINY: dict[str, Any] = {"aux": True, "width": 0.05, "pools": 0}


class Three(nn.Module):
    """Three linear layers of one input, as a network with two heads."""

    def __init__(self) -> None:
        super().__init__()
        self.parts = nn.ModuleList(nn.Linear(4, 3) for _ in range(3))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(part(x.flatten(1)) for part in self.parts)


def test_loss_of_heads_by_hand() -> None:
    """Szegedy et al. 2014, section 5: 0.3 of each head's loss is added; what is told is the first output's."""
    torch.manual_seed(0)
    module, x = Three(), torch.randn(6, 1, 2, 2)
    targets = F.one_hot(torch.arange(6) % 3, 3).float()
    losses = [F.cross_entropy(out, targets, label_smoothing=0.1) for out in module(x)]
    whole = losses[0] + 0.3 * (losses[1] + losses[2])
    slopes = torch.autograd.grad(whole, list(module.parameters()))
    before = [weight.detach().clone() for weight in module.parameters()]
    right = (module(x)[0].argmax(dim=1) == torch.arange(6) % 3).sum()
    recipe = PLAIN.replace(momentum=0.0, weight_decay=0.0)
    tools = make_tools(module, recipe, x.device)
    step = train_step(tools, (x, targets), rate=0.1, recipe=recipe)
    assert HEADS_SHARE == 0.3
    assert step.loss.item() == pytest.approx(losses[0].item(), rel=1e-6)
    assert step.right.item() == right.item()
    norm = torch.cat([slope.flatten() for slope in slopes]).norm().item()
    assert step.whole.item() == pytest.approx(whole.item(), rel=1e-6)
    assert gradient_norm(tools.optimizer) == pytest.approx(norm, rel=1e-6)
    for weight, old, slope in zip(module.parameters(), before, slopes):
        torch.testing.assert_close(weight.detach(), old - 0.1 * slope)


def test_a_trial_with_heads_is_judged_by_its_first_output(tiny_npz: Path, tmp_path: Path, make_trial: Any) -> None:
    spec = small_googlenet(3, input_shape=(1, 8, 8), params=TINY)
    data, preprocess = DataRef(source=str(tiny_npz)), make_trial().preprocess
    trial = Trial(spec=spec, recipe=PLAIN, data=data, preprocess=preprocess)
    record = run_trial(trial, folder=tmp_path, device="cpu", keep=False)
    arrays, graph = read_weights(tmp_path / record.weights), trunk(build_graph(spec))
    assert "aux1.classifier.weight" in arrays
    module = GraphModule(graph)
    load_arrays(module, {weight.name: arrays[weight.name] for weight in graph.weights})
    val = make_ready(trial).val
    found = judge(logits_of(module, val, batching_of(trial), world=make_world("cpu")), val.labels)
    assert found["accuracy"] == record.accuracy
    assert found["loss"] == pytest.approx(record.metrics["val/loss"][-1], rel=1e-5)  # the trunk alone, same kernels
