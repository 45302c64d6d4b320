# SPDX-License-Identifier: Apache-2.0
"""Claim: from a FireNet's specification to its counted Cost takes under 1 ms.

    python benchmarks/counting.py

Times SqueezeNet 1.0 (67 nodes) and small FireNets as the search draws them, specification -> Graph -> Cost, on one
thread; beside it, in the same run, torch.utils.flop_counter on the same network with meta tensors, and fvcore where it
is installed, which traces the network with a real picture. The ledger with all that it holds comes last.
"""

from __future__ import annotations

import importlib
import logging
import statistics
import time
from collections.abc import Callable
from importlib.util import find_spec

import torch
from torch.utils.flop_counter import FlopCounterMode

from fireforge.base.machine import this_machine, versions
from fireforge.base.rng import rng
from fireforge.base.spec import NetSpec
from fireforge.cost.count import count
from fireforge.cost.summary import summary
from fireforge.nets.families import build_graph
from fireforge.nets.firenet import squeezenet_1_0
from fireforge.nets.module import GraphModule
from fireforge.report.table import text_table
from fireforge.space.spaces import SPACES

ROUNDS = 30
DRAWN = 100


def milliseconds(call: Callable[[], object]) -> tuple[float, float]:
    """Least and median time of a call."""
    times = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        call()
        times.append((time.perf_counter() - start) * 1e3)
    return min(times), statistics.median(times)


def counted(specs: list[NetSpec]) -> Callable[[], object]:
    """Count each specification."""
    return lambda: [count(build_graph(spec)) for spec in specs]


def by_torch(spec: NetSpec) -> Callable[[], object]:
    """Count with torch on meta tensors, the module being at hand."""
    module = GraphModule(build_graph(spec)).eval().to("meta")
    example = torch.empty(1, *spec.input_shape, device="meta")

    def call() -> int:
        with FlopCounterMode(display=False) as counter:
            module(example)
        return counter.get_total_flops() // 2

    return call


def by_fvcore(spec: NetSpec) -> Callable[[], object]:
    """Count with fvcore, the module being at hand."""
    fvcore = importlib.import_module("fvcore.nn")
    logging.getLogger("fvcore").setLevel(logging.ERROR)
    module = GraphModule(build_graph(spec)).eval()
    example = torch.zeros(1, *spec.input_shape)
    return lambda: fvcore.FlopCountAnalysis(module, example).unsupported_ops_warnings(False).total()


def main() -> None:
    """Print the table."""
    torch.set_num_threads(1)
    squeezenet = squeezenet_1_0()
    drawn = [SPACES["firenet"](10, (3, 32, 32), rng(0, 0, index)) for index in range(DRAWN)]
    rows = []
    others = [("SqueezeNet 1.0, fvcore", by_fvcore(squeezenet), 1)] if find_spec("fvcore") else []
    for name, call, number in (
        ("SqueezeNet 1.0, fireforge", counted([squeezenet]), 1),
        ("SqueezeNet 1.0, torch flop counter on meta", by_torch(squeezenet), 1),
        *others,
        (f"{DRAWN} drawn FireNets, fireforge, each", counted(drawn), DRAWN),
        ("SqueezeNet 1.0, fireforge, the whole ledger", lambda: summary(build_graph(squeezenet)), 1),
    ):
        least, median = milliseconds(call)
        rows.append((name, f"{least / number:.3f}", f"{median / number:.3f}"))
    print("\n".join(text_table(("what", "least ms", "median ms"), rows)))
    print(f"{this_machine().processor}; {versions()}")


if __name__ == "__main__":
    main()
