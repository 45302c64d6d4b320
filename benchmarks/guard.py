# SPDX-License-Identifier: Apache-2.0
"""What it costs to look at each step whether the gradient is finite, and to keep a state on disk every 20 seconds.

    python benchmarks/guard.py [--steps 40] [--folder FOLDER]

Steps with and without the look are made in turns, in one process on one thread, and counted in that thread's seconds of
processor time; a state is timed by the wall clock, with all that it waits for the disk.
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
import time
from pathlib import Path

import torch

from fireforge.base.machine import this_machine, versions
from fireforge.base.trial import Recipe
from fireforge.nets.families import NETWORKS, build_graph
from fireforge.nets.module import GraphModule, initialise
from fireforge.train import step
from fireforge.train.checkpoint import save_checkpoint
from fireforge.train.course import Course, Part
from fireforge.train.keeper import COSTS
from fireforge.train.step import Tools, make_tools, train_step
from fireforge.train.task import WITHIN_S

CASES = (  # network, pictures an update, (C, H, W), share of the steps that are made
    ("cifar-resnet-20", 128, (3, 32, 32), 0.5),
    ("firenet-small", 64, (3, 32, 32), 1.0),
    ("mobilenet-v2", 32, (3, 96, 96), 0.4),
    ("squeezenet-1.1", 32, (3, 128, 128), 0.4),
    ("lenet-300-100", 64, (1, 28, 28), 10.0),  # the worst: each weight is used once a picture
)
RECIPE = Recipe(epochs=1, lr=1e-4, ema=0.99)
STATES = 5


def seconds_by_way(tools: Tools, batch: tuple[torch.Tensor, torch.Tensor], steps: int) -> dict[str, float]:
    """Seconds of a step with the look and without, and of the look within its step.

    Lower quartiles, since other work on the machine makes steps longer and never shorter; two steps are not counted.
    """
    look, draw = step._finite, random.Random(0)
    found: dict[str, list[float]] = {"with": [], "without": [], "look": []}

    def timed(loss: torch.Tensor, optimizer: torch.optim.Optimizer) -> bool:
        begun = time.thread_time()
        finite = look(loss, optimizer)
        found["look"].append(time.thread_time() - begun)
        return finite

    for _ in range(steps + 2):
        for way in draw.sample(("with", "without"), 2):
            step._finite = timed if way == "with" else (lambda loss, optimizer: True)
            begun = time.thread_time()
            train_step(tools, batch, rate=1e-4, recipe=RECIPE)
            assert tools.ema is not None
            tools.ema.update(tools.module)
            found[way].append(time.thread_time() - begun)
    step._finite = look
    return {way: statistics.quantiles(seconds[2:], n=4)[0] for way, seconds in found.items()}


def seconds_of_state(tools: Tools, folder: Path) -> tuple[float, int]:
    """Of writing one, with two kept, and the bytes of one."""
    parts = {"module": tools.module, "optimizer": tools.optimizer, "ema": tools.ema, "scaler": tools.scaler}
    took = []
    for number in range(1, STATES + 1):
        part = Part(steps=number, seen=number, loss=1.0, right=1.0, rate=0.1)
        begun = time.perf_counter()
        save_checkpoint(folder, owner="benchmark", course=Course(part=part), parts=parts)
        took.append(time.perf_counter() - begun)
    return statistics.median(took), max(path.stat().st_size for path in folder.iterdir())


def main() -> None:
    """Print a row a network."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--folder", type=Path, default=None, help="Where states are written; None for a temporary one.")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    print(this_machine().processor, versions())
    for net, batch, shape, share in CASES:
        module = GraphModule(build_graph(NETWORKS[net](10, input_shape=shape)))
        initialise(module, 0)
        module.train()
        tools = make_tools(module, RECIPE, torch.device("cpu"))
        targets = torch.nn.functional.one_hot(torch.randint(0, 10, (batch,)), 10).float()
        steps = max(3, int(asked.steps * share))
        found = seconds_by_way(tools, (torch.randn(batch, *shape), targets), steps)
        with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
            state, size = seconds_of_state(tools, Path(folder))
        weights = sum(parameter.numel() for parameter in module.parameters())
        without, look = found["without"], found["look"]
        print(
            f"{net}, {weights:,} weights, batch {batch} at {shape[-1]} px: {1e3 * without:.2f} ms a step, with the "
            f"look {found['with'] / without - 1:+.2%}, the look itself {1e3 * look:.3f} ms, {look / without:.2%} "
            f"(N {steps}); a state of {size / 1e6:.1f} MB takes {1e3 * state:.0f} ms, "
            f"{state / max(WITHIN_S, COSTS * state):.2%}",
            flush=True,
        )


if __name__ == "__main__":
    main()
