# SPDX-License-Identifier: Apache-2.0
"""The memory that a training step really takes, measured in a fresh process; ``python -m`` prints it as JSON."""

from __future__ import annotations

import gc
import json
import sys
from dataclasses import dataclass

import torch

from fireforge.base.errors import Exit
from fireforge.base.fresh import fresh
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
    order = canonical_json(Rehearsal(graph=graph, recipe=recipe).to_json())
    env = RETURNING if returning else {}
    return int(fresh("fireforge.jobs.footprint", where="training", order=order, env=env))


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
