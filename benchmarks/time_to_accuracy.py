# SPDX-License-Identifier: Apache-2.0
"""What 600 CPU-seconds, which are 300 seconds of two cores, buy a network of under 2 million numbers on CIFAR-10.

    FIREFORGE_DATA=... python benchmarks/time_to_accuracy.py --minutes 40 --out bench-accuracy
    FIREFORGE_DATA=... python benchmarks/time_to_accuracy.py --part validation --budget 120 --seeds 1
    python benchmarks/time_to_accuracy.py --device cuda --target 94 --runs 10 --data cifar-10-binary.tar.gz

On a CPU each run is a process of its own. What counts is the processor time of all its threads from its first
instruction on: Python, torch, decoding the training pictures, whitening, training, and the norms' statistics. The
budget is a deadline, too: a training that has not come to its end by then is cut and called so. The test part is read
and looked at once, after that; it does not count. `--part validation` trains on 45,000 pictures and looks at the other
5,000 instead: choices were made so, by `--change`. Each run is a line of runs.jsonl in the folder; the script resumes
from it. Any other budget, other or fewer pictures and fewer runs are called reduced. Without `--data` the pictures are
JPEG files of 32 px: a ResNet-20 that has 91.7 % on the originals has 80 % on them, so that accuracies are not those of
papers.

On a CUDA device all pictures, the order excepted, and the variation live on the device. A first training of one epoch
warms it up and does not count; then each run trains for a fixed number of epochs, and its time is that of
`fireforge.train.trial.run_trial` by the clock on the wall: making the network, whitening, training, writing the
weights. The mean accuracy over the runs is held against the target.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from fireforge.base.deadline import Deadline
from fireforge.base.files import make_folder
from fireforge.base.preprocess import ImageSteps, Preprocess
from fireforge.base.spec import NetSpec
from fireforge.base.trial import Augment, DataRef, Recipe, Trial
from fireforge.base.value import Value, sha256_of
from fireforge.nets.airbench import DEFAULTS
from fireforge.nets.families import NETWORKS
from fireforge.train.recipe import airbench, muon

sys.path.insert(0, str(Path(__file__).parent))  # the tests load this file by its path
from race_pictures import JPEGS, SIDE_PX, Rows, parts_of, test_part
from races import BUDGET_S, Maker, runs_of, told

EPOCHS = {"cpu": 0, "cuda": 10}  # as many as the budget pays for; those of the paper
BATCH = {"cpu": 512, "cuda": 1024}
NETS = {"cpu": "airbench-medium", "cuda": "airbench94"}
RECIPES = {"muon": muon, "airbench": airbench}
RECIPE = {"cpu": "muon", "cuda": "airbench"}  # on accelerators that of the paper, whose times are in print
TIMED = 8  # steps from which a run's epochs follow
FEEDING = 1.05  # a training step with its pictures over one without, and some room: a training that is cut is a bad one
FINISH_S = 6.0  # whitening and ENDING_S
ENDING_S = 5.0  # the norms' statistics and writing, when the budget's end has cut a training, too


@dataclass(frozen=True, kw_only=True)
class Setup(Value):
    """One run.

    Args:
      net: of NETWORKS.
      epochs: of the recipe in RECIPES; 0 for those that the budget pays for by a few timed steps.
      batch: likewise.
      seed: of weights, order and variation.
      part: "test", or "validation".
      device: "cpu" or "cuda".
      threads: on a CPU.
      budget_s: processor time; 0 for none.
      precision: of the recipe.
      law: digest of network and recipe, so that runs of others are not taken up.
      pictures: of the training part, the first ones in an order drawn once; 0 for all.
      recipe: of RECIPES.
      changes: "name=value" each, of a parameter of the network, a field of the recipe or one of its variation.
      data: anything that fireforge opens; "" for the JPEG files in the folder of the data.
    """

    net: str
    epochs: int
    batch: int
    seed: int
    part: str = "test"
    device: str = "cpu"
    threads: int = 2
    budget_s: float = BUDGET_S
    precision: str = "bfloat16"
    law: str = ""
    pictures: int = 0
    recipe: str = "muon"
    changes: tuple[str, ...] = ()
    data: str = ""


class CpuDeadline(Deadline):
    """So many seconds of this process's processor time, on all its threads, from its start."""

    def used(self) -> float:
        """Seconds of processor time since the process began."""
        return time.process_time()


def changes_of(setup: Setup) -> dict[str, Any]:
    """Name to value; numbers, truths and words as JSON has them, all else is a word."""
    found = {}
    for change in setup.changes:
        name, _, text = change.partition("=")
        try:
            found[name] = json.loads(text)
        except ValueError:
            found[name] = text
    known = {*DEFAULTS, *(one.name for kind in (Recipe, Augment) for one in fields(kind))}
    if found.keys() - known:
        sys.exit(f"--change {', '.join(sorted(found.keys() - known))}; known: {', '.join(sorted(known))}")
    return found


def spec_of(setup: Setup) -> NetSpec:
    """The network."""
    params = {name: value for name, value in changes_of(setup).items() if name in DEFAULTS}
    return NETWORKS[setup.net](10, params=params)


def recipe_of(setup: Setup, epochs: int) -> Recipe:
    """How a setup's network is trained."""
    plain = RECIPES[setup.recipe](epochs=epochs, batch=setup.batch).replace(precision=setup.precision).to_json()
    for name, value in changes_of(setup).items():
        if name not in DEFAULTS:
            (plain["augment"] if name in plain["augment"] else plain)[name] = value
    return Recipe.from_json(plain)


def trial_of(setup: Setup, pixels: np.ndarray, *, epochs: int) -> Trial:
    """What is trained, normalized by the training pictures' statistics."""
    values = np.arange(256, dtype=np.float64)
    shares = [np.bincount(pixels[:, channel].reshape(-1), minlength=256) / pixels[:, 0].size for channel in range(3)]
    mean = tuple(float(share @ values) for share in shares)
    std = tuple(float(np.sqrt(share @ (values - m) ** 2)) for share, m in zip(shares, mean))
    steps = ImageSteps(channels=3, resize=None, crop=(SIDE_PX, SIDE_PX), mean=mean, std=std)
    return Trial(
        spec=spec_of(setup),
        recipe=recipe_of(setup, epochs),
        data=DataRef(source=setup.data or JPEGS),
        preprocess=Preprocess(image=steps),
        seed=setup.seed,
        threads=setup.threads,
    )


def run_alone(setup: Setup) -> dict[str, Any]:
    """Everything of one run on a CPU, from decoding on, in this process, which does nothing else.

    Returns:
      What a line of runs.jsonl holds beside the setup.
    """
    from fireforge.train.memory import keep_freed

    keep_freed()
    import torch

    import fireforge.train.trial  # noqa: F401  # so that "start" is the imports

    torch.set_num_threads(setup.threads)
    began = time.process_time(), time.monotonic()
    rows, looked = parts_of(setup.part, data=setup.data, pictures=setup.pictures)
    decoded_at = time.process_time()
    found = run_one(setup, rows, looked)
    return {
        **found,
        "cpu_s_start": began[0],
        "cpu_s_decode": decoded_at - began[0],
        "wall_s": found.pop("ended") - began[1],
    }


def run_one(setup: Setup, rows: Rows, looked: Rows | None, *, resident: bool = False) -> dict[str, Any]:
    """Train and look once.

    Args:
      setup: what and how.
      rows: what is trained on.
      looked: what is looked at; None for the test part, which is read only then.
      resident: whether the pictures are moved to the device first, which does not count.

    Returns:
      Accuracies, times, how far it came.
    """
    import torch

    from fireforge.train.feed import Pictures, Ready
    from fireforge.train.trial import run_trial

    epochs = setup.epochs or affordable(setup, len(rows[1]))
    trial = trial_of(setup, rows[0], epochs=epochs)
    held = torch.from_numpy(rows[0]).to(setup.device) if resident else rows[0]
    nothing = Pictures(pixels=rows[0][:0], labels=rows[1][:0], ids=rows[2][:0])
    ready = Ready(train=Pictures(pixels=held, labels=rows[1], ids=rows[2]), val=nothing)
    deadline = CpuDeadline(setup.budget_s - ENDING_S) if setup.budget_s else Deadline()
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        record = run_trial(trial, folder=folder, ready=ready, device=setup.device, deadline=deadline, keep=False)
        cpu_s, ended = time.process_time(), time.monotonic()
        found = look(trial, Path(folder) / record.weights, looked or test_part(setup.data), device=setup.device)
    done = record.metrics["train/epoch"][-1]
    return {
        **found,
        "cpu_s": cpu_s,
        "wall_s_train": ended - start,
        "ended": ended,
        "epochs": done,
        "cut": done < trial.recipe.epochs,
        "stages": {name: round(seconds, 2) for name, seconds in record.stages.items()},
        "trained": len(rows[1]),
        "machine": record.hardware.to_json(),
        "versions": record.versions,
    }


def affordable(setup: Setup, count: int) -> int:
    """Epochs that what is left of the budget pays for, by timed steps, which count."""
    from fireforge.nets.families import build_graph
    from fireforge.train.rehearsal import rehearsal

    step = rehearsal(build_graph(spec_of(setup)), recipe_of(setup, 1))
    step()  # kernels are chosen at the first one
    start = time.process_time()
    for _ in range(TIMED):
        step()
    step_s = (time.process_time() - start) / TIMED
    left_s = setup.budget_s - time.process_time() - FINISH_S
    return max(1, int(left_s / (FEEDING * step_s * count / setup.batch)))


def look(trial: Trial, weights: Path, rows: Rows, *, device: str) -> dict[str, Any]:
    """Accuracy of one forward pass, and of the mean with the mirrored picture; the network's parameters."""
    from fireforge.nets.families import build_graph
    from fireforge.nets.module import GraphModule, load_arrays
    from fireforge.train.evaluate import logits_of
    from fireforge.train.feed import Pictures
    from fireforge.train.trial import batching_of
    from fireforge.train.weights import read_weights
    from fireforge.train.world import make_world

    world, module = make_world(device), GraphModule(build_graph(trial.spec))
    load_arrays(module, read_weights(weights))
    module.to(world.device)
    pixels, labels, ids = rows
    plain, mirrored = (
        logits_of(module, Pictures(pixels=part, labels=labels, ids=ids), batching_of(trial), world=world)
        for part in (pixels, np.ascontiguousarray(pixels[..., ::-1]))
    )
    return {
        "accuracy": float((plain.argmax(axis=1) == labels).mean()),
        "accuracy_with_mirror": float(((plain + mirrored).argmax(axis=1) == labels).mean()),
        "n": len(labels),
        "params": sum(p.numel() for p in module.parameters()),
    }


def in_a_child(setup: Setup) -> dict[str, Any]:
    """`run_alone` in a fresh process whose idle threads sleep, so that waiting is no processor time."""
    with tempfile.TemporaryDirectory() as folder:
        asked, answer = Path(folder) / "setup.json", Path(folder) / "run.json"
        asked.write_text(json.dumps(setup.to_json()))
        environment = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE", "OMP_NUM_THREADS": str(setup.threads)}
        words = [sys.executable, __file__, "--child", str(asked), str(answer)]
        code = subprocess.run(words, check=False, env=environment).returncode
        if code:
            sys.exit(code)  # it has said why
        found: dict[str, Any] = json.loads(answer.read_text())
        return found


def on_cuda() -> Maker:
    """A maker of runs in this process, after a training of one epoch that does not count."""
    kept: dict[str, tuple[Rows, Rows | None]] = {}

    def make(setup: Setup) -> dict[str, Any]:
        if not kept:
            kept["parts"] = parts_of(setup.part, data=setup.data, pictures=setup.pictures)
            run_one(setup.replace(epochs=1), *kept["parts"], resident=True)
        return run_one(setup, *kept["parts"], resident=True)

    return make


def setups_of(asked: argparse.Namespace) -> list[Setup]:
    """The runs that the flags ask for."""
    kind = "cpu" if asked.device == "cpu" else "cuda"
    plain = Setup(
        net=asked.net or NETS[kind],
        epochs=asked.epochs or EPOCHS[kind],
        batch=asked.batch or BATCH[kind],
        seed=0,
        part=asked.part,
        device=asked.device,
        budget_s=asked.budget if kind == "cpu" else 0.0,
        precision=asked.precision,
        pictures=asked.pictures,
        recipe=asked.recipe or RECIPE[kind],
        changes=tuple(asked.change),
        data=asked.data,
    )
    law = sha256_of([spec_of(plain).to_json(), recipe_of(plain, 1).to_json()])
    return [plain.replace(seed=seed, law=law) for seed in range(asked.seeds if kind == "cpu" else asked.runs)]


def main() -> None:
    """Make the runs that the minutes allow and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N")
    parser.add_argument("--seeds", type=int, default=3, help="runs on a CPU")
    parser.add_argument("--minutes", type=float, default=60.0, help="on the wall; what they do not pay for is left out")
    parser.add_argument("--budget", type=float, default=BUDGET_S, help="CPU-seconds of a run")
    parser.add_argument("--epochs", type=int, default=0, help="0: as the budget allows; on CUDA those of the paper")
    parser.add_argument("--batch", type=int, default=0)
    parser.add_argument("--net", default="", help="of NETWORKS")
    parser.add_argument("--data", default="", help="CIFAR-10 as you have it, such as cifar-10-binary.tar.gz")
    parser.add_argument("--recipe", choices=RECIPES, default="", help="muon on a CPU, on CUDA that of the paper")
    parser.add_argument(
        "--change", action="append", default=[], help="such as turn=0.09 or widths=64,256,256; repeatable"
    )
    parser.add_argument("--part", choices=("test", "validation"), default="test")
    parser.add_argument("--pictures", type=int, default=0, help="of the training part; 0 for all")
    parser.add_argument("--target", type=float, default=94.0, help="percent, with --device cuda")
    parser.add_argument("--runs", type=int, default=5, help="with --device cuda")
    parser.add_argument("--precision", default="bfloat16", help="or float16, for accelerators of before 2020")
    parser.add_argument("--out", type=Path, default=Path("bench-accuracy"))
    parser.add_argument("--child", nargs=2, type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child:
        setup = Setup.from_json(json.loads(asked.child[0].read_text()))
        asked.child[1].write_text(json.dumps(run_alone(setup)))
        return
    setups = setups_of(asked)
    make_folder(asked.out)
    make = in_a_child if asked.device == "cpu" else on_cuda()
    rows, left_out = runs_of(setups, out=asked.out, minutes=asked.minutes, make=make)
    print("\n".join(told(rows, asked)))
    if left_out:
        print(f"reduced: {left_out} of {len(setups)} runs are left out for want of minutes")


if __name__ == "__main__":
    main()
