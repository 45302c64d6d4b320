# SPDX-License-Identifier: Apache-2.0
"""The memory that a training step really takes, measured in a fresh process; ``python -m`` prints it as JSON."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import torch

from fireforge.base.errors import Exit, FireforgeError
from fireforge.base.graph import Graph
from fireforge.base.trial import Recipe
from fireforge.base.value import Value, canonical_json
from fireforge.runtime.memory import peak_bytes, reset_peak, resident_bytes
from fireforge.train.rehearsal import rehearse

WARM = 2  # pictures of the first steps, after which torch has loaded what it needs
# glibc keeps what is freed for later, in pieces that may fit nothing: with these it goes back to the system at once
RETURNING = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}


@dataclass(frozen=True, kw_only=True)
class Rehearsal(Value):
    """What a fresh process is to train.

    Args:
      graph: the network.
      recipe: how, with its batch.
    """

    graph: Graph
    recipe: Recipe


def training_footprint(graph: Graph, recipe: Recipe, *, returning: bool = True) -> int:
    """Peak resident memory of some steps of training on one thread, above that of a process that has loaded torch.

    Args:
      graph: the network; its weights are made and forgotten.
      recipe: how, with its batch.
      returning: whether freed memory goes back to the system at once, so that what is measured is what torch holds;
        otherwise glibc keeps it as it is used to: what its pieces waste is measured as well, and what the first steps
        left free is not.

    Returns:
      Bytes.

    Raises:
      FireforgeError: MEASURE_FAILED, if the process died or the system does not tell.
    """
    home = str(Path(__file__).parents[2])  # where this very package lies, for a process started elsewhere
    paths = [home, *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    env = {**os.environ, **(RETURNING if returning else {}), "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    order = canonical_json(Rehearsal(graph=graph, recipe=recipe).to_json())
    command = [sys.executable, "-m", "fireforge.jobs.footprint"]
    done = subprocess.run(command, input=order, capture_output=True, text=True, env=env, check=False)
    if done.returncode != Exit.DONE or not done.stdout.strip().isdigit():
        last = (done.stderr.strip().splitlines() or [f"the process ended with {done.returncode}"])[-1]
        raise FireforgeError("MEASURE_FAILED", last, where="training", exit_code=Exit.BUG)
    return int(done.stdout)


def main() -> int:
    """Read a Rehearsal from stdin, train, and print the bytes.

    Returns:
      The exit code.
    """
    order = Rehearsal.from_json(json.loads(sys.stdin.read()))
    torch.set_num_threads(1)
    rehearse(order.graph, order.recipe.replace(batch=WARM))
    gc.collect()
    known, before = reset_peak(), resident_bytes()
    rehearse(order.graph, order.recipe)
    peak = peak_bytes()
    if not known or peak is None or before is None:
        print("this system does not tell a process its peak memory", file=sys.stderr)
        return int(Exit.ENVIRONMENT)
    print(peak - before)
    return int(Exit.DONE)


if __name__ == "__main__":
    sys.exit(main())
