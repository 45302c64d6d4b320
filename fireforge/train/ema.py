# SPDX-License-Identifier: Apache-2.0
"""An exponential moving average of a module's parameters."""

from __future__ import annotations

import torch
from torch import nn


class Ema:
    """Averaged parameters; buffers are copied, not averaged.

    The decay ramps up as min(decay, (1 + t) / (10 + t)), so that early weights are forgotten.

    Args:
      module: whose state is followed.
      decay: per step, in (0, 1).
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self.steps = 0
        self.state = {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}
        self._parameters = {name for name, _ in module.named_parameters()}

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """Take the module's present state in.

        Args:
          module: the one followed.
        """
        self.steps += 1
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        state = module.state_dict()
        names = [name for name in state if name in self._parameters]
        torch._foreach_lerp_([self.state[n] for n in names], [state[n] for n in names], 1 - decay)
        for name, tensor in state.items():
            if name not in self._parameters:
                self.state[name].copy_(tensor)
