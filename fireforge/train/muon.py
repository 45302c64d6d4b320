# SPDX-License-Identifier: Apache-2.0
"""SGD that turns the kernels of convolutions, in all directions alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

POLYNOMIAL = (3.4445, -4.7750, 2.0315)  # of a singular value: a x + b x^3 + c x^5 (Jordan et al. 2024)
ROUNDS = 3  # of the polynomial, as in the author's training of CIFAR-10
TINY = 1e-7  # least norm that is divided by


class Muon(torch.optim.Optimizer):
    """SGD with Nesterov momentum, whose steps turn the kernels of groups that say "turned".

    The gradient of such a kernel with its momentum, as a matrix (filters, numbers of a filter), is replaced by about
    the nearest orthogonal matrix, in size to the kernel's norm; after the step the kernel has the norm that it had. So
    the rate is about the angle in radians by which a step turns it, and weight decay has nothing to do there. A kernel
    of zeros is stepped as one with a mean square of 1 a filter, and has that norm from then on.

    Args:
      groups: parameters with "weight_decay" and "turned".
      lr: rate of all groups, until it is set.
      momentum: share of the old in the running sum of gradients; 0 keeps none.

    Source:
      Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks"; that kernels keep their norm is
      from the author's training of CIFAR-10, where it is the root of the number of filters.
    """

    def __init__(self, groups: list[dict[str, Any]], *, lr: float, momentum: float) -> None:
        super().__init__(groups, {"lr": lr, "momentum": momentum, "weight_decay": 0.0, "turned": False})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Change all parameters that have a gradient.

        Args:
          closure: not used.
        """
        for group in self.param_groups:
            for parameter in (p for p in group["params"] if p.grad is not None):
                change = self._change(parameter, group)
                if group["turned"]:
                    turn(parameter, change, angle=group["lr"])
                else:
                    parameter.add_(change, alpha=-group["lr"])

    def _change(self, parameter: torch.Tensor, group: dict[str, Any]) -> torch.Tensor:
        """Gradient with decay and momentum, as torch's SGD has it."""
        gradient, momentum = parameter.grad, group["momentum"]
        assert gradient is not None
        if group["weight_decay"]:
            gradient = gradient.add(parameter, alpha=group["weight_decay"])
        if not momentum:
            return gradient
        kept = self.state[parameter]
        if "momentum_buffer" not in kept:
            kept["momentum_buffer"] = torch.zeros_like(parameter)
        running: torch.Tensor = kept["momentum_buffer"]
        running.mul_(momentum).add_(gradient)
        return gradient.add(running, alpha=momentum)


def turn(kernel: torch.Tensor, change: torch.Tensor, *, angle: float) -> None:
    """Step against a change made orthogonal, and keep the norm.

    Args:
      kernel: (filters, ...), changed in place.
      change: same shape.
      angle: radians, about.
    """
    root, norm = len(kernel) ** 0.5, kernel.norm()
    norm = torch.where(norm > 0, norm, root)
    kernel.sub_(orthogonal(change.reshape(len(change), -1)).view(change.shape) * (angle / root * norm))
    kernel.mul_(norm / kernel.norm().clamp_min(TINY))


def orthogonal(matrix: torch.Tensor, *, rounds: int = ROUNDS) -> torch.Tensor:
    """About U V' of a matrix U S V', in bfloat16, by products of matrices alone.

    Args:
      matrix: (n, m), floating point.
      rounds: of the polynomial; three bring singular values above a fiftieth of the norm to 0.68 to 1.21.

    Returns:
      (n, m), same dtype.

    Source:
      The iteration of Newton and Schulz with the coefficients of Jordan et al. 2024.
    """
    a, b, c = POLYNOMIAL
    x = matrix.T if matrix.shape[0] > matrix.shape[1] else matrix
    x = (x / x.norm().clamp_min(TINY)).bfloat16()
    for _ in range(rounds):
        square = x @ x.T
        x = torch.addmm(x, torch.addmm(square, square, square, beta=b, alpha=c), x, beta=a)
    return (x.T if matrix.shape[0] > matrix.shape[1] else x).to(matrix.dtype)
