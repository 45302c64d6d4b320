# SPDX-License-Identifier: Apache-2.0
"""The baselines by name; each is called as (train_x, train_y, val_x, val_y, classes) and gives a BaselineResult."""

from __future__ import annotations

from fireforge.baseline.clusters import clusters
from fireforge.baseline.linear import linear
from fireforge.baseline.majority import majority
from fireforge.baseline.method import Method
from fireforge.baseline.mlp import mlp
from fireforge.baseline.neighbours import neighbours
from fireforge.baseline.svm import hog_svm

Baseline = Method

BASELINES: dict[str, Method] = {
    "majority": Method(name="majority", learn=majority, weight=0.0),
    "neighbours": Method(name="neighbours", learn=neighbours, weight=0.12, recalls=True),
    "k-means": Method(name="k-means", learn=clusters, weight=0.08),
    "hog-svm": Method(name="hog-svm", learn=hog_svm, weight=0.15),
    "linear": Method(name="linear", learn=linear, weight=0.10),
    "mlp": Method(name="mlp", learn=mlp, weight=0.12),
}
