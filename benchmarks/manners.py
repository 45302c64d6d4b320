# SPDX-License-Identifier: Apache-2.0
"""What precision, layout, compiled kernels and threads buy a training: steps a second, each change alone and together.

    python benchmarks/manners.py [--rounds 5] [--minutes 60] [--device cpu] [--out runs/manners]

Each manner of a network is a process of its own that makes the real training step on numbers that mean nothing. All
are warmed up, then they step in turns, round after round, so that what else the machine does falls on all of them. A
network that is done is kept in the folder, so that the same command goes on.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import subprocess
import sys
import time
from pathlib import Path

from fireforge.base.files import make_folder
from fireforge.base.journal import Journal
from fireforge.base.machine import this_machine, usable_cores, versions
from fireforge.base.trial import Recipe
from fireforge.report.table import text_table

CASES = (
    ("cifar-resnet-20", 128, 32),
    ("firenet-small", 64, 64),
    ("mobilenet-v2", 32, 96),
    ("squeezenet-1.1", 32, 128),
)
TURN_S = 2.0  # of one manner's turn, at least one step
TOGETHER = {"precision": "bfloat16", "layout": "channels_last", "compile": True}


def manners(device: str) -> dict[str, tuple[dict[str, object], int]]:
    """Name to what differs in the recipe, and threads."""
    found: dict[str, tuple[dict[str, object], int]] = {
        "plain": ({}, 1),
        "bfloat16": ({"precision": "bfloat16"}, 1),
        "float16": ({"precision": "float16"}, 1),
        "channels_last": ({"layout": "channels_last"}, 1),
        "compile": ({"compile": True}, 1),
        "all but threads": (TOGETHER, 1),
    }
    cores = usable_cores()
    if device == "cpu" and cores > 1:
        found |= {f"{cores} threads": ({}, cores), "all": (TOGETHER, cores)}
    return found


def child(net: str, side: int, recipe: str, threads: str, device: str) -> None:
    """Warm up, say so; then, for each line that comes in, step for TURN_S and say the seconds of a step."""
    import torch

    from fireforge.nets.families import NETWORKS, build_graph
    from fireforge.train.memory import keep_freed
    from fireforge.train.rehearsal import rehearsal

    keep_freed()
    torch.set_num_threads(int(threads))
    step = rehearsal(
        build_graph(NETWORKS[net](10, input_shape=(3, side, side))), Recipe.from_json(json.loads(recipe)), device=device
    )
    begun = time.perf_counter()
    step()
    print(time.perf_counter() - begun, flush=True)
    step()
    for _ in sys.stdin:
        start, worked, steps = time.perf_counter(), time.process_time(), 0
        while not steps or time.perf_counter() - start < TURN_S:
            step()
            steps += 1
        print((time.perf_counter() - start) / steps, (time.process_time() - worked) / steps, flush=True)


def measured(case: tuple[str, int, int], rounds: int, device: str) -> dict[str, dict[str, object]]:
    """Manner to the seconds of its first step and of a step in each round, by clock and processor, or its error."""
    net, batch, side = case
    found: dict[str, dict[str, object]] = {}
    running: dict[str, subprocess.Popen[str]] = {}
    for name, (differs, threads) in manners(device).items():
        recipe = Recipe(epochs=1, batch=batch, ema=0.99).to_json() | differs
        words = [sys.executable, __file__, "--child", net, str(side), json.dumps(recipe), str(threads), device]
        running[name] = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        said = running[name].stdout.readline()  # one after the other: making kernels takes all cores
        found[name] = {"first": float(said), "steps": []} if said else {"error": _reason(running.pop(name))}
    for _ in range(rounds):
        for name, process in running.items():
            process.stdin.write("\n")
            process.stdin.flush()
            found[name]["steps"].append([float(word) for word in process.stdout.readline().split()])
    for process in running.values():
        process.communicate()
    return found


def _reason(process: subprocess.Popen[str]) -> str:
    return (process.communicate()[1].strip().splitlines() or ["no reason"])[-1][:200]


def rows(case: tuple[str, int, int], found: dict[str, dict[str, object]]) -> list[tuple[object, ...]]:
    """A line a manner: steps a second, and times as fast as the plain manner in the same round, medians."""
    net, batch, side = case
    lines: list[tuple[object, ...]] = []
    plain = found["plain"]["steps"]
    for name, told in found.items():
        head = (f"{net}, {batch} of {side} px", name)
        if "error" in told:
            lines.append((*head, "", "", "", "", told["error"]))
            continue
        clock, processor = ([one[k] / two[k] for one, two in zip(plain, told["steps"])] for k in (0, 1))
        rate = 1 / statistics.median(step[0] for step in told["steps"])
        spread = f"{min(clock):.2f} to {max(clock):.2f}"
        ratios = (f"{statistics.median(clock):.2f}", spread, f"{statistics.median(processor):.2f}")
        lines.append((*head, f"{rate:.2f}", *ratios, f"{told['first']:.1f}"))
    return lines


def main() -> None:
    """Measure what is not measured yet and print the table."""
    if sys.argv[1:2] == ["--child"]:
        net, side, recipe, threads, device = sys.argv[2:]
        return child(net, int(side), recipe, threads, device)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--minutes", type=float, default=math.inf, help="no network begins later")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--out", type=Path, default=Path("runs/manners"))
    asked = parser.parse_args()
    begun = time.monotonic()
    journal = Journal(make_folder(asked.out) / f"{asked.device}-rounds-{asked.rounds}.jsonl")
    done = {tuple(e.value["case"]): e.value["found"] for e in journal.read()} if journal.path.exists() else {}
    for case in CASES:
        if case not in done and time.monotonic() - begun <= 60 * asked.minutes:
            done[case] = measured(case, asked.rounds, asked.device)
            journal.append("case", {"case": list(case), "found": done[case]})
    table = [line for case in CASES if case in done for line in rows(case, done[case])]
    header = (
        "network, batch",
        "manner",
        "steps/s",
        "times plain",
        "of the rounds",
        "by processor time",
        "first step s",
    )
    print(*text_table(header, table), sep="\n")
    print(f"N {asked.rounds} rounds in turns, medians; plain: float32, contiguous, one thread")
    print(this_machine(), versions())
    return None


if __name__ == "__main__":
    main()
