# SPDX-License-Identifier: Apache-2.0
"""Files of untrained networks: every small network can be delivered in both formats and runs."""

from __future__ import annotations

import numpy as np
import pytest

from fireforge.base.reference import run_reference
from fireforge.jobs.blank import blank_arrays
from fireforge.jobs.blank_files import blank_files
from fireforge.nets.families import NETWORKS, build_graph
from fireforge.runtime.onnx_runtime import OnnxSession

SMALL = sorted(name for name in NETWORKS if name.endswith(("-small", "-tiny")) or name.startswith(("lenet", "caffe-l")))


@pytest.mark.parametrize("name", SMALL)
def test_both_files_of_a_network_run_and_agree(name: str) -> None:
    """Reference: numpy on the graph before folding; float to 1e-4 of the greatest output, int8 to a fifth of it on
    average, which 8 bits with ranges of two pictures of noise keep in tens of layers."""
    spec = NETWORKS[name]()
    graph = build_graph(spec)
    images = np.random.default_rng(3).standard_normal((4, *spec.input_shape), dtype=np.float32)
    want = run_reference(graph, blank_arrays(graph), {"input": images})[graph.outputs[0]]
    got = {form: OnnxSession(data).run({"input": images})[graph.outputs[0]] for form, data in blank_files(spec).items()}
    most = float(np.abs(want).max())
    assert float(np.abs(got["float32"] - want).max()) <= 1e-4 * most
    assert float(np.abs(got["int8"] - want).mean()) <= 0.2 * most
