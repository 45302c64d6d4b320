# SPDX-License-Identifier: Apache-2.0
"""A few steps of training on numbers that mean nothing: right for memory and time, and for nothing else."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from fireforge.base.graph import Graph
from fireforge.base.infer import infer
from fireforge.base.trial import Recipe
from fireforge.nets.module import GraphModule, initialise
from fireforge.train.kernels import making
from fireforge.train.layout import sound
from fireforge.train.step import make_tools, train_step
from fireforge.train.whitening import first_convolution
from fireforge.train.world import make_world, with_threads

STEPS = 2  # the optimizer's state is there from the second one on


def rehearse(graph: Graph, recipe: Recipe, *, steps: int = STEPS) -> None:
    """Make module, optimizer and a batch on the CPU, train some steps as `fireforge.train.step` does, forget all.

    Args:
      graph: one input (N, ...), the first output (N, K).
      recipe: as a training would have it; of the epochs nothing is used.
      steps: of one batch each, always the same.
    """
    step = rehearsal(graph, recipe)
    for _ in range(steps):
        step()


def rehearsal(graph: Graph, recipe: Recipe, *, device: str = "cpu") -> Callable[[], None]:
    """Make what a training is made of, and give one step of it.

    Args:
      graph: one input (N, ...), the first output (N, K).
      recipe: as a training would have it; of the epochs nothing is used.
      device: see `fireforge.train.world.make_world`.

    Returns:
      Trains one step on the batch, always the same one, and waits until it is done.
    """
    place = make_world(device).device
    with torch.random.fork_rng([]):  # torch's layers draw their first numbers from the caller's generator
        module = GraphModule(graph)
    initialise(module, 0)
    first = first_convolution(module)
    if recipe.whiten and first is not None:  # the whitening itself asks for pictures
        first.weight.requires_grad_(False)
    module.train().to(place)
    recipe = sound(recipe, module, place)
    tools = make_tools(module, recipe, place)
    sizes = [int(size) for size in graph.inputs[0].shape[1:]]
    inputs = torch.randn(recipe.batch, *sizes, generator=torch.Generator().manual_seed(0)).to(place)
    targets = torch.zeros(recipe.batch, _classes(graph), device=place)
    targets[:, 0] = 1

    def step() -> None:
        with making(recipe):
            train_step(tools, (inputs, targets), rate=1e-4, recipe=recipe)
        if tools.ema is not None:
            tools.ema.update(module)
        if place.type == "cuda":
            torch.cuda.synchronize(place)

    return step


def step_seconds(graph: Graph, recipe: Recipe, *, threads: int, device: str = "cpu", timed: int = STEPS) -> float:
    """What a step of training takes, without its pictures.

    Args:
      graph: as for `rehearsal`.
      recipe: likewise.
      threads: on a CPU.
      device: see `fireforge.train.world.make_world`.
      timed: steps, behind one that makes the kernels.

    Returns:
      Seconds of the fastest of them, above 0.

    Raises:
      FireforgeError: NOT_COMPILED, if the recipe asks for kernels that cannot be made.
    """
    with with_threads(threads, make_world(device)):
        step = rehearsal(graph, recipe, device=device)
        step()
        return max(min(_seconds(step) for _ in range(timed)), 1e-9)


def _seconds(step: Callable[[], None]) -> float:
    begun = time.perf_counter()
    step()
    return time.perf_counter() - begun


def _classes(graph: Graph) -> int:
    """Numbers in a row of the first output."""
    size = infer(graph)[graph.outputs[0]].shape[-1]
    assert isinstance(size, int)
    return size
