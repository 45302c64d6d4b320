# SPDX-License-Identifier: Apache-2.0
"""A look at some steps' gradients: their sizes by depth, told without changing a bit of the training."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import cast

import torch
from torch import Tensor, nn

from fireforge.base.gradients import Gradients, Look, Sizes
from fireforge.train.kernels import Forward

LOOKS = 8  # in a training at most, each at the first step of an epoch
SPACED = 50  # steps from one look to the next at least: a look costs up to an eighth of a step
DIGITS = 4  # that are kept of a size


@dataclass(kw_only=True)
class _Seen:
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


class GradientLooks:
    """Looks at the first step of a training and at that of some of its epochs.

    Args:
      module: what is trained.
      epochs: of the training.
      per_epoch: steps of one.
      found: what was seen before an interruption.
    """

    def __init__(self, module: nn.Module, *, epochs: int, per_epoch: int, found: Gradients) -> None:
        self.found = found
        self._module = module
        self._every = max(-(-epochs // LOOKS), -(-SPACED // per_epoch))

    @contextlib.contextmanager
    def look(self, forward: Forward, *, epoch: int, step: int) -> Iterator[Forward]:
        """Around a training step.

        Args:
          forward: what the step would call.
          epoch: from 0.
          step: within the epoch, from 0.

        Yields:
          What it calls: the module itself where its gradients are looked at, since compiled kernels show no layers.
        """
        if step or epoch % self._every:
            yield forward
            return
        seen: list[_Seen] = []
        handles = [
            layer.register_forward_hook(_hook(name, layer, seen))
            for name, layer in self._module.named_modules()
            if _is_looked_at(layer)
        ]
        try:
            yield cast(Forward, self._module)
        finally:
            for handle in handles:
                handle.remove()
        self._keep(epoch, seen)

    def _keep(self, epoch: int, seen: list[_Seen]) -> None:
        told = [layer for layer in seen if layer.back and layer.weight.grad is not None]
        if not told:  # the step was left out, or nothing of it is trained
            return
        weights = [_rms(cast(Tensor, layer.weight.grad)) for layer in told]
        rows = torch.stack(
            [
                torch.stack([layer.back[-1] for layer in told]),
                torch.stack(weights),
                torch.stack([size / layer.before for size, layer in zip(weights, told)]),
            ]
        )
        outputs, plain, relative = (_sizes(row) for row in rows.tolist())  # the one wait for the device
        look = Look(epoch=float(epoch), outputs=outputs, weights=plain, relative=relative)
        self.found = Gradients(layers=tuple(layer.name for layer in told), looks=(*self.found.looks, look))


def _is_looked_at(layer: nn.Module) -> bool:
    """Whether a layer is a product with trained weights: norms, whose weights are a vector, are passed over."""
    weight = layer._parameters.get("weight")
    return weight is not None and weight.requires_grad and weight.ndim >= 2


def _hook(name: str, layer: nn.Module, seen: list[_Seen]) -> Callable[[nn.Module, object, Tensor], None]:
    """Notes a layer when it is passed, and its output's gradient when that comes back."""

    def passed(_layer: nn.Module, _inputs: object, output: Tensor) -> None:
        if not output.requires_grad:
            return
        weight = cast(Tensor, layer.weight)
        note = _Seen(name=name, weight=weight, before=_rms(weight.detach()))
        seen.append(note)
        output.register_hook(lambda gradient: note.back.append(_rms(gradient)))  # type: ignore[no-untyped-call]

    return passed


def _rms(tensor: Tensor) -> Tensor:
    """Root mean square in float64, in which the squares of the smallest float32 numbers are not yet 0."""
    norm: Tensor = torch.linalg.vector_norm(tensor, dtype=torch.float64)
    return norm / math.sqrt(max(1, tensor.numel()))


def _sizes(row: list[float]) -> Sizes:
    return tuple(float(f"{size:.{DIGITS}g}") if math.isfinite(size) else None for size in row)
