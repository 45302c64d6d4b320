# SPDX-License-Identifier: Apache-2.0
"""Every network at its full size: torch, numpy and ONNX Runtime agree, and a step learns. For the night.

References: the numpy meaning of the graph, to 1e-5 of the greatest output in torch (float32 sums in another order) and
to 1e-4 in ONNX Runtime, which fuses layers as well. Weights are drawn as the authors draw them; batch norms have seen
the pictures.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conformance_checks import answer, check_counts, check_step, close, noise

from fireforge.base.reference import run_reference
from fireforge.export.onnx_file import onnx_bytes
from fireforge.nets.families import NETWORKS, build_graph, fillers_of
from fireforge.nets.module import GraphModule, arrays_of, initialise
from fireforge.runtime.onnx_runtime import OnnxSession

PICTURES = 2


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_network_at_full_size(name: str) -> None:
    spec = NETWORKS[name]()
    graph = build_graph(spec)
    module = GraphModule(graph)
    initialise(module, 0, fillers=fillers_of(spec))
    images = noise(PICTURES, *spec.input_shape, seed=1)
    with torch.no_grad():
        module.train()(torch.from_numpy(images))
        outputs = module.eval()(torch.from_numpy(images))
    arrays = arrays_of(module)
    want = run_reference(graph, arrays, {"input": images})
    assert np.ptp(want["logits"]) > 0
    for part, array in zip((outputs,) if isinstance(outputs, torch.Tensor) else outputs, want.values(), strict=True):
        assert close(array, part.numpy(), 1e-5)
    got = OnnxSession(onnx_bytes(graph, arrays)).run({"input": images})
    assert all(close(array, got[key], 1e-4) for key, array in want.items())
    assert answer(outputs).shape == (PICTURES, spec.classes)
    check_counts(graph, module)
    check_step(module, spec, pictures=PICTURES)
