# SPDX-License-Identifier: Apache-2.0
"""What the last layer of a network sees of pictures, so that its rows can be fitted without training the rest."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from fireforge.base.graph import Node
from fireforge.base.infer import filled
from fireforge.base.pixels import normalize
from fireforge.base.preprocess import ImageSteps
from fireforge.base.progress import Progress, Update, silent
from fireforge.nets.module import GraphModule
from fireforge.train.world import World

BATCH = 64


@torch.no_grad()
def features_of(
    module: GraphModule, head: Node, pixels: np.ndarray, steps: ImageSteps, *, world: World, progress: Progress = silent
) -> np.ndarray:
    """One row a picture, whose product with the head's weight, flattened by rows, is what the head makes of it.

    For a convolution that is the mean over its windows: what a mean over its map makes of it.

    Args:
      module: in eval mode; moved to the world's device.
      head: a Gemm or a Conv of one group in the module's graph.
      pixels: uint8 (N, C, H, W), of the input's size.
      steps: mean and deviation.
      world: where it runs.
      progress: receives updates.

    Returns:
      float32 (N, D).
    """
    module.to(world.device)
    source, rows = head.inputs[0], []
    for start in range(0, len(pixels), BATCH):
        inputs = torch.from_numpy(normalize(pixels[start : start + BATCH], steps)).to(world.device)
        rows.append(_seen(module.taps(inputs, [source])[source], head).float().cpu().numpy())
        done = min(start + BATCH, len(pixels))
        progress(Update(stage="probe", done=done, total=len(pixels), unit="image"))
    return np.concatenate(rows)


def _seen(x: Tensor, head: Node) -> Tensor:
    if head.op == "Gemm":
        return x
    attrs: dict[str, Any] = filled(head)
    top, left, bottom, right = attrs["pads"]
    padded = F.pad(x, (left, right, top, bottom))
    windows = F.unfold(padded, attrs["kernel_shape"], dilation=attrs["dilations"], stride=attrs["strides"])
    return windows.mean(dim=2)
