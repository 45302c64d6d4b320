# SPDX-License-Identifier: Apache-2.0
"""Claim: the counted peak memory of training and of predicting is within 10 % of what a fresh process takes.

Predicting: three times, where most of the memory is activations; tests hold the median of five processes against it.

    python benchmarks/memory.py [NET:TRAIN:PREDICT ...] [--habits]

For each network a batch to train and one to predict with, so large that each takes 100 MB or more. Training is torch,
eager, one thread, SGD with momentum, measured with an allocator that gives back what is freed; --habits measures it
once more with glibc as it is. Predicting is ONNX Runtime on a file with fresh weights, glibc as it is.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from fireforge.base.machine import this_machine, versions
from fireforge.base.trial import Recipe
from fireforge.cost.memory import inference_memory
from fireforge.cost.training import training_memory
from fireforge.export.onnx_file import onnx_bytes
from fireforge.jobs.blank import blank_arrays
from fireforge.jobs.footprint import training_footprint
from fireforge.nets.families import NETWORKS, build_graph
from fireforge.report.table import text_table
from fireforge.runtime.events import block_of
from fireforge.runtime.gauge import gauge_fresh

NETS = (
    *(
        "convnet-small:512:512",
        "firenet-small:256:512",
        "squeezenet-1.1:16:16",
        "resnet-20:64:320",
        "mobilenet-v2:8:16",
    ),
    *("alexnet:16:1", "nin:16:16", "googlenet:8:64", "vgg-a:4:1", "resnet-18:8:16", "resnet-50:8:16"),
    *("resnext-50-32x4d:4:8", "shufflenet-v2-1.0:16:32", "mobilenet-v1:8:16", "mobilenet-v3-large:8:16"),
    *("regnety-200mf:16:16", "lenet-5:1024:512", "squeezenet-1.0:8:64"),
)
MB = 1e6


def trained(name: str, batch: int, *, habits: bool) -> tuple[str, ...]:
    """Cells of one training."""
    graph = build_graph(NETWORKS[name]())
    recipe = Recipe(epochs=1, batch=batch)
    counted, measured = training_memory(graph, recipe), training_footprint(graph, recipe)
    usual = f"{training_footprint(graph, recipe, returning=False) / MB:.1f}" if habits else "–"
    return (f"{counted.peak / MB:.1f}", f"{measured / MB:.1f}", f"{counted.peak / measured:.3f}", usual)


def predicted(name: str, batch: int) -> tuple[str, ...]:
    """Cells of predicting."""
    graph = build_graph(NETWORKS[name]())
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.onnx"
        path.write_bytes(onnx_bytes(graph, blank_arrays(graph)))
        measured = gauge_fresh(path, batch=batch, runs=2).memory_bytes or 0
    counted = inference_memory(graph, batch=batch, block=max(block_of(), 1)).peak
    return (f"{counted / MB:.1f}", f"{measured / MB:.1f}", f"{counted / measured:.3f}" if measured else "–")


def main() -> None:
    """Print the table, a line a network as it comes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("nets", nargs="*", metavar="NET:TRAIN:PREDICT")
    parser.add_argument("--habits", action="store_true", help="training with glibc as it is, too")
    asked = parser.parse_args()
    rows = []
    for text in asked.nets or NETS:
        name, *batches = text.split(":")
        first, second = map(int, batches)
        rows.append((name, first, *trained(name, first, habits=asked.habits), second, *predicted(name, second)))
        print(f"{len(rows)}: {' '.join(map(str, rows[-1]))}", flush=True)
    training = ("training: batch", "counted MB", "measured MB", "ratio", "glibc as it is")
    predicting = ("predicting: batch", "counted MB", "measured MB", "ratio")
    print("\n".join(text_table(("network", *training, *predicting), rows)))
    print(f"{this_machine().processor}; {versions()}")


if __name__ == "__main__":
    main()
