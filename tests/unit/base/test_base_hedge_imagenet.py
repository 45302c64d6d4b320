# SPDX-License-Identifier: Apache-2.0
"""Hedged answers of a published network on real pictures."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import numpy as np
import pytest

from fireforge.base.hedge import Hedge, fit_hedge, hedge_point
from fireforge.base.imagenet_groups import imagenet_tree
from fireforge.base.model import Card, Model
from fireforge.base.pixels import to_pixels
from fireforge.base.postprocess import Postprocess
from fireforge.base.preprocess import Preprocess
from fireforge.base.recipes import steps_of
from fireforge.export.targets import pack
from fireforge.importers.ncnn import import_ncnn
from fireforge.runtime.onnx_runtime import open_onnx
from fireforge.runtime.predictor import Predictor

DATA = Path(os.environ.get("FIREFORGE_DATA", ""))
pytestmark = [
    pytest.mark.data,
    pytest.mark.slow,
    pytest.mark.skipif(not os.environ.get("FIREFORGE_DATA"), reason="FIREFORGE_DATA is not set"),
]
WANTED = (0.7, 0.8, 0.9, 0.95, 0.99)


def test_accuracy_against_specificity_of_squeezenet(tmp_path: Path) -> None:
    """SqueezeNet 1.1: half of its answers are right (151 of 300). Fitted on every other picture the accuracy is kept
    there, and on the rest it lies within 0.08 (about twice the deviation of a share of 150); bits fall as it rises."""
    files = [DATA / "squeezenet" / "ncnn" / f"squeezenet_v1.1.{ending}" for ending in ("param", "bin")]
    found = import_ncnn(files, None)
    steps = steps_of("caffe", (3, 227, 227))
    tree = imagenet_tree()
    card = Card(
        preprocess=Preprocess(image=steps),
        postprocess=Postprocess(outputs=found.graph.outputs, hedge=Hedge(tree=tree)),
        labels=tuple(str(k) for k in range(1000)),
    )
    path = tmp_path / "squeezenet.onnx"
    path.write_bytes(pack(Model(graph=found.graph, weights=found.weights, card=card)))
    predictor = Predictor(open_onnx(path), card)
    with open(DATA / "imagenet_eval300" / "labels.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    pictures = [str(DATA / "imagenet_eval300" / row["file"]) for row in rows]
    scores = predictor.scores(np.stack([to_pixels(picture, steps) for picture in pictures]))
    truth = np.asarray([int(row["class_index"]) for row in rows])
    assert abs(int((scores.argmax(axis=1) == truth).sum()) - 151) <= 2

    told = predictor.predict(pictures[:20])
    assert any(answer.group for answer in told)
    assert any(not answer.group for answer in told)
    assert hedge_point(scores, truth, Hedge(tree=tree)).accuracy > 0.6  # the expected information gain alone
    bits = []
    for wanted in WANTED:
        hedge = fit_hedge(scores[::2], truth[::2], tree, accuracy=wanted)
        fitted, others = (hedge_point(scores[part::2], truth[part::2], hedge) for part in (0, 1))
        assert fitted.accuracy >= wanted
        assert others.accuracy == pytest.approx(wanted, abs=0.08)
        bits.append(others.bits)
        print(f"{wanted:.2f}: {others.accuracy:.3f}, {others.bits:.2f} bits, {others.exact:.0%} of answers a class")
    assert bits == sorted(bits, reverse=True)
    assert bits[-1] > 1  # not everything became "things"
