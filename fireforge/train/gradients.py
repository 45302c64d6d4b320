# SPDX-License-Identifier: Apache-2.0
"""A look at some steps' gradients: their sizes by depth, told without changing a bit of the training."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from fireforge.base.gradients import Gradients, Look, Sizes
from fireforge.base.trial import Recipe
from fireforge.train.course import Course
from fireforge.train.step import Tools

LOOKS = 8  # in a training at most, each at the first step of an epoch ...
SPACED = 50  # ... so many steps from the one before at least: a look costs up to an eighth of a step
TRIES = 20  # steps that are looked at where the ones before were left out, as the first ones in float16 are
DIGITS = 4  # that are kept of a size


@dataclass(kw_only=True)
class _Passed:
    """What one step tells of one layer.

    Args:
      name: path of the layer.
      weight: its weights.
      before: root mean square of the weights before the update.
      back: root mean square of the gradient by its output; it is there once the backward pass was.
    """

    name: str
    weight: Tensor
    before: Tensor
    back: list[Tensor] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Looking:
    """A step that is looked at, or one that is not.

    Args:
      tools: what the step is done with.
      scale: of the loss, which is taken out again.
      passed: the layers by depth; none where nobody looks.
    """

    tools: Tools
    scale: float = 1.0
    passed: list[_Passed] = field(default_factory=list)

    def into(self, course: Course) -> Course:
        """The course with what was seen, once the step is taken.

        Args:
          course: its whole epochs say when the step was.

        Returns:
          The same one where nobody looked.
        """
        told = [(layer, layer.weight.grad) for layer in self.passed if layer.back]
        rows = [
            torch.stack([layer.back[-1] / self.scale, _rms(by_weight), _rms(by_weight) / layer.before])
            for layer, by_weight in told
            if by_weight is not None
        ]
        if not rows:
            return course
        outputs, weights, relative = map(_sizes, torch.stack(rows, dim=1).tolist())  # the one wait for the device
        look = Look(epoch=float(int(course.epochs)), outputs=outputs, weights=weights, relative=relative)
        layers = tuple(layer.name for layer, by_weight in told if by_weight is not None)
        return dataclasses.replace(course, gradients=Gradients(layers=layers, looks=(*course.gradients.looks, look)))


def due(course: Course, recipe: Recipe, *, step: int, per_epoch: int) -> bool:
    """Whether a step is to be looked at; it depends on nothing that an interruption loses.

    Args:
      course: its whole epochs, and what was seen so far.
      recipe: its epochs are used.
      step: within the epoch, from 0.
      per_epoch: steps of a whole one.

    Returns:
      True at the first step of the training and of some of its epochs that is not left out.
    """
    epoch, looks = int(course.epochs), course.gradients.looks
    every = max(-(-recipe.epochs // LOOKS), -(-SPACED // per_epoch))
    return step < TRIES and epoch % every == 0 and not (looks and looks[-1].epoch == epoch)


@contextlib.contextmanager
def looking(tools: Tools, wanted: bool) -> Iterator[Looking]:
    """Around a training step.

    Args:
      tools: what it would be done with.
      wanted: whether its gradients are looked at.

    Yields:
      What it is done with: the module itself where its gradients are looked at, since compiled kernels show no layers.
    """
    if not wanted:
        yield Looking(tools=tools)
        return
    open_tools = dataclasses.replace(tools, forward=tools.module)
    look = Looking(tools=open_tools, scale=float(tools.scaler.get_scale()))
    handles = [
        layer.register_forward_hook(_hook(name, layer._parameters["weight"], look.passed))
        for name, layer in tools.module.named_modules()
        if _is_looked_at(layer)
    ]
    try:
        yield look
    finally:
        for handle in handles:
            handle.remove()


def _is_looked_at(layer: nn.Module) -> bool:
    """Whether a layer is a product with trained weights: norms, whose weights are a vector, are passed over."""
    weight = layer._parameters.get("weight")
    return weight is not None and weight.requires_grad and weight.ndim >= 2


def _hook(name: str, weight: Tensor | None, passed: list[_Passed]) -> Callable[[nn.Module, object, Tensor], None]:
    """Notes a layer when a batch passes it, and the gradient by its output when that comes back."""

    def note(_layer: nn.Module, _inputs: object, output: Tensor) -> None:
        if weight is None or not output.requires_grad:
            return
        layer = _Passed(name=name, weight=weight, before=_rms(weight.detach()))
        passed.append(layer)
        output.register_hook(lambda gradient: layer.back.append(_rms(gradient)))  # type: ignore[no-untyped-call]

    return note


def _rms(tensor: Tensor) -> Tensor:
    """Root mean square in float64, in which the squares of the smallest float32 numbers are not yet 0."""
    norm: Tensor = torch.linalg.vector_norm(tensor, dtype=torch.float64)
    return norm / math.sqrt(max(1, tensor.numel()))


def _sizes(row: list[float]) -> Sizes:
    return tuple(float(f"{size:.{DIGITS}g}") if math.isfinite(size) else None for size in row)
