# SPDX-License-Identifier: Apache-2.0
"""Files of a network that nobody trained, as delivery would write them: for their time, and for nothing else."""

from __future__ import annotations

import numpy as np

from fireforge.base.deadline import Deadline
from fireforge.base.model import Card, Model, dense
from fireforge.base.postprocess import Postprocess
from fireforge.base.preprocess import ImageSteps, Preprocess
from fireforge.base.quant import affine_of_range
from fireforge.base.regions import find_regions
from fireforge.base.rng import rng
from fireforge.base.spec import NetSpec
from fireforge.compress.fold import folded
from fireforge.compress.int8 import rounded
from fireforge.compress.observe import observe
from fireforge.export.onnx_file import onnx_bytes
from fireforge.export.qdq import lower
from fireforge.jobs.blank import blank_arrays
from fireforge.nets.families import build_graph

PICTURES = 2  # of noise, that the ranges of the integers are taken from


def blank_files(spec: NetSpec) -> dict[str, bytes]:
    """A network's float32 and int8 file.

    Args:
      spec: of a family of `fireforge.nets.families.FAMILIES`.

    Returns:
      Number format to the bytes of an ONNX file; batch norms are folded, ranges are those of noise.
    """
    graph = build_graph(spec)
    model = Model(graph=graph, weights=dense(blank_arrays(graph)), card=_card(spec))
    model = folded(model)[0]
    regions = find_regions(model.graph)
    noise = rng(0).standard_normal((PICTURES, *spec.input_shape), dtype=np.float32)
    ends = observe(model, noise, regions.tensors(), deadline=Deadline())
    activations = {}
    for group, sources in zip(regions.groups, regions.sources):
        low, high = min(ends[name].low for name in sources), max(ends[name].high for name in sources)
        activations.update(dict.fromkeys(group, affine_of_range(low, high)))
    integers = rounded(model, regions, activations, method="noise")
    return {"float32": onnx_bytes(*lower(model)), "int8": onnx_bytes(*lower(integers))}


def _card(spec: NetSpec) -> Card:
    channels, high, wide = spec.input_shape
    steps = ImageSteps(
        channels=channels,
        resize=(high, wide),
        crop=(high, wide),
        order="RGB" if channels == 3 else "L",
        mean=(0.0,) * channels,
        std=(1.0,) * channels,
    )
    labels = tuple(str(i) for i in range(spec.classes))
    return Card(preprocess=Preprocess(image=steps), postprocess=Postprocess(), labels=labels)
