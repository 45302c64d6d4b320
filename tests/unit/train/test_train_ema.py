# SPDX-License-Identifier: Apache-2.0
"""The averaged weights against a naive loop in numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from fireforge.train.ema import Ema


@pytest.mark.parametrize("decay", [0.3, 0.999])
def test_the_average_equals_a_naive_loop_in_numpy_and_buffers_are_copied(decay: float) -> None:
    generator = np.random.default_rng(0)
    module = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    ema = Ema(module, decay)
    naive = {name: value.detach().numpy().astype(np.float64) for name, value in module.named_parameters()}
    for step in range(1, 12):
        with torch.no_grad():
            for value in module.state_dict().values():
                if value.is_floating_point():
                    value.copy_(torch.from_numpy(generator.normal(size=value.shape).astype(np.float32)))
                else:
                    value += 1
        ema.update(module)
        share = min(decay, (1 + step) / (10 + step))
        for name, value in module.named_parameters():
            naive[name] = share * naive[name] + (1 - share) * value.detach().numpy()
    for name, wanted in naive.items():
        np.testing.assert_allclose(ema.state[name].numpy(), wanted, rtol=1e-5, atol=1e-6)  # float32 over 11 steps
    for name in ("1.running_mean", "1.running_var", "1.num_batches_tracked"):
        assert torch.equal(ema.state[name], module.state_dict()[name])


def test_the_average_shares_no_memory_with_the_module() -> None:
    module = nn.Linear(1, 1, bias=False)
    nn.init.constant_(module.weight, 1.0)
    ema = Ema(module, 0.5)
    nn.init.constant_(module.weight, 5.0)
    assert ema.state["weight"].item() == 1.0


def test_first_step_by_hand() -> None:
    module = nn.Linear(1, 1, bias=False)
    nn.init.constant_(module.weight, 0.0)
    ema = Ema(module, 0.99)
    nn.init.constant_(module.weight, 11.0)
    ema.update(module)
    # decay (1 + 1) / (10 + 1) = 2 / 11, so 9 / 11 of the new weight; 1e-6 is float32's rounding
    assert ema.state["weight"].item() == pytest.approx(9.0, rel=1e-6)
