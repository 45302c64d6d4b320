# SPDX-License-Identifier: Apache-2.0
"""A right file of every family passes the parity gate, in float and in int8: nothing is refused that is whole.

Reference: the network before folding in numpy for float, the meaning of its plan for int8; the bounds are the gate's.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from conformance_checks import CLASSES, settled, small_card
from network_sizes import shape_of

from fireforge.base.model import Model, dense
from fireforge.base.pixels import encode_png, normalize, taps
from fireforge.base.record import Facts
from fireforge.compress.stage import Context
from fireforge.compress.stages import STAGES
from fireforge.export.targets import write_onnx
from fireforge.jobs.verify import Source, verify_file
from fireforge.nets.families import FAMILIES, NETWORKS, build_graph
from fireforge.nets.module import GraphModule, arrays_of

# a small network of each family
MEMBERS = {
    "airbench": "airbench-small",
    "alexnet": "alexnet-small",
    "caffe-lenet": "caffe-lenet",
    "convnet": "convnet-small",
    "firenet": "firenet-small",
    "googlenet": "googlenet-small",
    "lenet-5": "lenet-5",
    "mlp": "lenet-300-100",
    "mobilenet": "mobilenet-small",
    "mobilenet-v1": "mobilenet-v1-small",
    "mobilenet-v3": "mobilenet-v3-tiny",
    "nin": "nin-small",
    "regnet": "regnet-small",
    "resnet": "resnet-small",
    "shufflenet": "shufflenet-small",
    "vgg": "vgg-small",
}
HEAVY = ("alexnet", "googlenet", "nin", "vgg")
ROWS = [pytest.param(name, marks=pytest.mark.slow) if name in HEAVY else name for name in sorted(FAMILIES)]


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def pictures_of(shape: tuple[int, ...], count: int) -> list[bytes]:
    """Coarse noise, larger than the input."""
    rng = np.random.default_rng(4)
    channels, high, wide = shape
    coarse = rng.integers(0, 256, (count, 6, 5, channels)).astype(np.uint8)
    fine = coarse.repeat(-(-high // 4), axis=1).repeat(-(-wide // 3), axis=2)
    return [encode_png(picture[:, :, 0] if channels == 1 else picture) for picture in fine]


@pytest.mark.parametrize("family", ROWS)
def test_a_right_file_passes(family: str, tmp_path: Path) -> None:
    name = MEMBERS[family]
    spec = NETWORKS[name](classes=CLASSES) if family in ("caffe-lenet", "lenet-5", "mlp") else None
    spec = spec or NETWORKS[name](CLASSES, input_shape=shape_of(name, (3, 32, 32)))
    graph = build_graph(spec)
    shape = tuple(int(size) for size in graph.inputs[0].shape[1:])
    card = small_card(shape, CLASSES)
    card = card.replace(postprocess=card.postprocess.replace(outputs=graph.outputs[:1]))
    model = Model(graph=graph, weights=dense(arrays_of(settled(GraphModule(graph)))), card=card)
    pictures = pictures_of(shape, 24)
    steps = card.preprocess.steps()
    images = np.stack([normalize(taps(data, steps)["crop"], steps) for data in pictures])
    ctx = Context(calibration=images, evaluate=lambda _: Facts(accuracy=0.0, samples=1))
    folded, _ = STAGES["fold"](model, ctx)
    int8, _ = STAGES["int8"](folded, ctx)
    for made in (folded, int8):
        path = tmp_path / "made.onnx"
        exported = write_onnx(made, path)
        report = verify_file(path, pictures, source=Source(trained=model, model=made), sha256=(exported.sha256,))
        assert report.passed, report
        assert report.form == exported.form
