# SPDX-License-Identifier: Apache-2.0
"""What it buys a training that its process keeps the memory that it frees: seconds a step, both ways in turns.

    python benchmarks/kept_memory.py [--steps 5] [--rounds 3]

Each measurement is a fresh process on all cores; the first step of each is not counted.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys

from fireforge.base.machine import this_machine, versions

CASES = (("cifar-resnet-20", 128, 32), ("firenet-small", 64, 64), ("mobilenet-v2", 32, 96), ("squeezenet-1.1", 32, 227))
CODE = """
import resource, sys, time
import torch
from fireforge.nets.families import NETWORKS, build_graph
from fireforge.nets.module import GraphModule, initialise
from fireforge.train.memory import keep_freed

how, net, batch, side, steps = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:])
if how == "keep":
    keep_freed()
module = GraphModule(build_graph(NETWORKS[net](10, input_shape=(3, side, side))))
initialise(module, 0)
optimizer = torch.optim.SGD(module.parameters(), lr=1e-4)
inputs, labels = torch.randn(batch, 3, side, side), torch.randint(0, 10, (batch,))

def step():
    optimizer.zero_grad()
    torch.nn.functional.cross_entropy(module(inputs), labels).backward()
    optimizer.step()

step()
start = time.perf_counter()
for _ in range(steps):
    step()
took = (time.perf_counter() - start) / steps
print(took, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


def measured(how: str, net: str, batch: int, side: int, steps: int) -> tuple[float, float]:
    """Seconds a step and peak memory of one process."""
    words = [sys.executable, "-c", CODE, how, net, str(batch), str(side), str(steps)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    seconds, peak = map(float, done.stdout.split())
    return seconds, peak


def main() -> None:
    """Print a row a case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    print(this_machine().processor, versions())
    for net, batch, side in CASES:
        found: dict[str, list[tuple[float, float]]] = {"give back": [], "keep": []}
        for _ in range(asked.rounds):
            for how, rows in found.items():
                rows.append(measured(how, net, batch, side, asked.steps))
        times = {how: statistics.median(row[0] for row in rows) for how, rows in found.items()}
        peaks = {how: max(row[1] for row in rows) / 1e6 for how, rows in found.items()}
        print(
            f"{net} batch {batch} at {side} px: {times['give back']:.3f} s a step, kept {times['keep']:.3f} s:"
            f" {times['give back'] / times['keep']:.2f} times as fast; peak {peaks['give back']:.0f} MB,"
            f" kept {peaks['keep']:.0f} MB; N {asked.rounds}",
            flush=True,
        )


if __name__ == "__main__":
    main()
