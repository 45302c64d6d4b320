# SPDX-License-Identifier: Apache-2.0
"""Loss and answers of a module over pictures."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from fireforge.train.feed import Batching, Source, batches
from fireforge.train.world import World


@torch.no_grad()
def logits_of(
    module: nn.Module,
    pictures: Source,
    batching: Batching,
    *,
    world: World,
    state: Mapping[str, torch.Tensor] | None = None,
) -> np.ndarray:
    """The module's first output, in the order of the pictures, each picture once.

    Args:
      module: left in the mode it was in.
      pictures: what is judged.
      batching: batch and normalization are used, variation is not.
      world: where it runs.
      state: other weights than the module's own, such as averaged ones.

    Returns:
      float32 (N, K).
    """
    plain = Batching(batch=max(batching.batch, 256), classes=batching.classes, steps=batching.steps)
    was_training = module.training
    module.eval()
    rows = []
    for inputs, _ in batches(pictures, plain, epoch=0, world=world):
        outputs = module(inputs) if state is None else torch.func.functional_call(module, dict(state), (inputs,))
        first = outputs if isinstance(outputs, torch.Tensor) else outputs[0]
        rows.append(first.float().cpu().numpy())
    module.train(was_training)
    return np.concatenate(rows) if rows else np.zeros((0, batching.classes), np.float32)


def judge(logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Mean cross-entropy in nats and accuracy.

    Args:
      logits: float (N, K), N at least 1.
      labels: int64 (N,).

    Returns:
      "loss" and "accuracy".
    """
    loss = F.cross_entropy(torch.from_numpy(logits), torch.from_numpy(labels))
    return {"loss": float(loss), "accuracy": float((logits.argmax(axis=1) == labels).mean())}
