# SPDX-License-Identifier: Apache-2.0
"""A few steps of training on numbers that mean nothing: right for memory and time, and for nothing else."""

from __future__ import annotations

import torch

from fireforge.base.graph import Graph
from fireforge.base.infer import infer
from fireforge.base.trial import Recipe
from fireforge.nets.module import GraphModule, initialise
from fireforge.train.ema import Ema
from fireforge.train.kernels import forward_of, making
from fireforge.train.layout import layout_of
from fireforge.train.loop import train_step
from fireforge.train.optimizer import make_optimizer
from fireforge.train.stopwatch import Stopwatch

STEPS = 2  # the optimizer's state is there from the second one on


def rehearse(graph: Graph, recipe: Recipe, *, steps: int = STEPS) -> None:
    """Make module, optimizer and a batch on the CPU, train some steps as `fireforge.train.loop` does, forget all.

    Args:
      graph: one input (N, ...), the first output (N, K).
      recipe: as a training would have it; of the epochs nothing is used.
      steps: of one batch each, always the same.
    """
    module = GraphModule(graph)
    initialise(module, 0)
    if recipe.whiten:  # the whitening itself asks for pictures
        next(layer for layer in module.modules() if isinstance(layer, torch.nn.Conv2d)).weight.requires_grad_(False)
    module.train()
    module.to(memory_format=layout_of(recipe))  # type: ignore[call-overload]  # torch's stubs leave it out
    optimizer = make_optimizer(module, recipe)
    ema = Ema(module, recipe.ema) if recipe.ema else None
    forward = forward_of(module, recipe)
    sizes = [int(size) for size in graph.inputs[0].shape[1:]]
    inputs = torch.randn(recipe.batch, *sizes, generator=torch.Generator().manual_seed(0))
    targets = torch.zeros(recipe.batch, _classes(graph))
    targets[:, 0] = 1
    clock = Stopwatch(inputs.device)
    for _ in range(steps):
        with making(recipe):
            train_step(forward, optimizer, (inputs, targets), rate=1e-4, recipe=recipe, clock=clock)
        if ema is not None:
            ema.update(module)


def _classes(graph: Graph) -> int:
    """Numbers in a row of the first output."""
    size = infer(graph)[graph.outputs[0]].shape[-1]
    assert isinstance(size, int)
    return size
