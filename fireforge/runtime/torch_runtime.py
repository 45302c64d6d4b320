# SPDX-License-Identifier: Apache-2.0
"""Any Graph on PyTorch, on the CPU or an accelerator; the one runtime file that loads torch."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from fireforge.base.errors import Exit, FireforgeError
from fireforge.base.graph import Graph
from fireforge.base.infer import infer
from fireforge.nets.module import GraphModule, load_arrays
from fireforge.runtime.feeds import check_feeds


class TorchSession:
    """A network as a torch module in eval mode; a `fireforge.base.session.Session`.

    Args:
      graph: a graph that `validate` accepts.
      arrays: an array for each of its weights.
      device: torch's name of the device, such as "cpu" or "cuda:0".

    Raises:
      FireforgeError: NO_DEVICE, if torch has no such device; BAD_WEIGHTS.
    """

    def __init__(self, graph: Graph, arrays: Mapping[str, np.ndarray], *, device: str = "cpu") -> None:
        types = infer(graph)
        self.inputs = graph.inputs
        self.outputs = tuple(types[name] for name in graph.outputs)
        self.metadata: str | None = None
        module = GraphModule(graph)
        load_arrays(module, arrays)
        try:
            self._device = torch.device(device)
            self._module = module.eval().to(self._device)
        except (RuntimeError, AssertionError) as error:
            reason = str(error).splitlines()[0]
            raise FireforgeError("NO_DEVICE", reason, where=device, exit_code=Exit.ENVIRONMENT) from error

    def run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run once.

        Args:
          feeds: input name to array; dtype and shape as in `inputs`.

        Returns:
          Output name to array.

        Raises:
          FireforgeError: BAD_INPUT_TENSOR, if an array is absent, unknown, or of another dtype or shape.
        """
        check_feeds(self.inputs, feeds)
        tensors = [torch.from_numpy(np.ascontiguousarray(feeds[item.name])).to(self._device) for item in self.inputs]
        with torch.inference_mode():
            made = self._module(*tensors)
        outputs = made if isinstance(made, tuple) else (made,)
        return {item.name: tensor.cpu().numpy() for item, tensor in zip(self.outputs, outputs)}
