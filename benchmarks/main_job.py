# SPDX-License-Identifier: Apache-2.0
"""Claim: one command turns labelled pictures and limits into a good model; and exploring pays.

    FIREFORGE_DATA=... python benchmarks/main_job.py --minutes 60 --out bench-main
    FIREFORGE_DATA=... python benchmarks/main_job.py --cases digits,signs

Every case is `fireforge build` with the limits of the table, in a process and a folder of its own; what is done is
read, so that the script resumes. A case that the minutes do not pay for is left out and said so. `--scale 0.3` gives
each build less time: then the run is called reduced. The ablation trains the default network of the literature for the
size of the pictures, ResNet-20, alone for the same time.

Prints a row a build, means with their standard deviation, hardware and versions. Data that does not come with a
dependency is read from the folder that FIREFORGE_DATA names.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fireforge.base.files import read_json
from fireforge.base.machine import this_machine, versions
from fireforge.report.table import text_table

SPARE_S = 30.0  # that a build may take beside its time


@dataclass(frozen=True, kw_only=True)
class Case:
    """One line of the table.

    Args:
      data: makes the data in a folder where it must, and gives the path or name.
      limits: flags of the build.
      seconds: of the build.
      seeds: builds.
      required: mean accuracy on the test part.
    """

    data: Callable[[Path], str]
    limits: tuple[str, ...]
    seconds: float
    required: float
    seeds: int = 1


def digits(folder: Path) -> str:
    """The digits of scikit-learn."""
    return "digits"


def shared(name: str) -> Callable[[Path], str]:
    """Data as it lies in the folder of FIREFORGE_DATA."""
    return lambda folder: str(_root() / name)


def cifar(folder: Path) -> str:
    """CIFAR-10 as class folders of JPEG files, with a train and a test part."""
    out = folder / "cifar10"
    if not (out / "whole").exists():
        packed = np.load(_root() / "cifar10_jpegbytes.npz", allow_pickle=False)
        names = [str(name) for name in packed["classes"]]
        for part in ("train", "test"):
            data, ends, labels = packed[f"jpeg_{part}"], packed[f"offsets_{part}"], packed[f"y_{part}"]
            for row, label in enumerate(labels):
                place = out / "data" / part / names[int(label)]
                place.mkdir(parents=True, exist_ok=True)
                (place / f"{row:05d}.jpg").write_bytes(data[ends[row] : ends[row + 1]].tobytes())
        (out / "whole").touch()
    return str(out / "data")


def signs(folder: Path) -> str:
    """The hand signs as a zip file of class folders."""
    path = folder / "sign_digits10.zip"
    root = _root() / "transfer" / "sign_digits10"
    if not path.exists():
        part = path.with_suffix(".part")
        with zipfile.ZipFile(part, "w") as archive:
            for picture in sorted(root.glob("*/*.[jJ][pP][gG]")):
                archive.write(picture, f"signs/{picture.parent.name}/{picture.name}")
        part.rename(path)
    return str(path)


CASES = {
    "digits": Case(data=digits, limits=("--max-size", "40KB"), seconds=120, seeds=5, required=0.986),
    "signs": Case(data=signs, limits=("--max-latency", "1ms", "--max-size", "60KB"), seconds=300, required=0.95),
    "photos": Case(data=shared("photos10"), limits=("--max-size", "500KB"), seconds=600, required=0.70),
    "cifar": Case(data=cifar, limits=("--max-size", "1MB"), seconds=600, required=0.86),
    "fashion": Case(data=shared("fashion_mnist.npz"), limits=("--max-size", "100KB"), seconds=600, required=0.92),
    "cifar-explored": Case(data=cifar, limits=("--max-size", "1MB"), seconds=600, seeds=3, required=0.0),
    "cifar-default": Case(
        data=cifar, limits=("--max-size", "1MB", "--net", "resnet-20"), seconds=600, seeds=3, required=0.0
    ),
}


def build(name: str, case: Case, *, seed: int, folder: Path, scale: float) -> dict[str, float]:
    """One build in a process of its own, or what it gave before.

    Returns:
      Accuracy, bytes and latency as measured in a fresh process, seconds of the whole command.
    """
    out = folder / f"{name}-{seed}"
    took = out / "took.txt"
    if not took.exists():
        seconds = f"{case.seconds * scale:g}s"
        command = [sys.executable, "-m", "fireforge", "build", case.data(folder), *case.limits, "--time", seconds]
        start = time.monotonic()
        ended = subprocess.run([*command, "--seed", str(seed), "--out", str(out)], check=False)
        if ended.returncode not in (0, 4):  # 4: a limit is not met, which the table tells
            sys.exit(f"{name}: exit code {ended.returncode}")
        took.write_text(f"{time.monotonic() - start:.1f}")
    answer = read_json(out / "result.json")
    return {
        "accuracy": answer["test"]["accuracy"],
        "n": answer["test"]["n"],
        "bytes": (out / answer["model"]["path"]).stat().st_size,
        "ms": answer["measured"]["latency_ms"],
        "seconds": float(took.read_text()),
        "met": float(answer["feasible"]),
    }


def main() -> None:
    """Run the cases that the minutes allow and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", default=",".join(CASES))
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--scale", type=float, default=1.0, help="of each build's time")
    parser.add_argument("--out", type=Path, default=Path("bench-main"))
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    end = time.monotonic() + asked.minutes * 60
    rows, left_out = [], []
    for name in asked.cases.split(","):
        case, found = CASES[name], []
        for seed in range(case.seeds):
            done = (asked.out / f"{name}-{seed}" / "took.txt").exists()
            if not done and time.monotonic() + case.seconds * asked.scale + SPARE_S > end:
                left_out.append(f"{name}, seed {seed}")
                continue
            found.append(build(name, case, seed=seed, folder=asked.out, scale=asked.scale))
        rows += [_row(f"{name} {seed}", row) for seed, row in enumerate(found)]
        if len(found) > 1:
            scores = [row["accuracy"] for row in found]
            told = f"{np.mean(scores):.2%} (std {100 * np.std(scores, ddof=1):.2f})"
            rows.append((f"{name} mean of {len(found)}", told, "", "", "", ""))
        if found and case.required:
            good = np.mean([row["accuracy"] for row in found]) >= case.required
            rows.append((f"{name} required", f"{case.required:.1%}", "yes" if good else "NO", "", "", ""))
    heads = ("build", "test accuracy", "limits met", "bytes", "ms a picture", "seconds")
    print("\n".join(text_table(heads, rows)))
    if left_out:
        print("left out for want of minutes:", "; ".join(left_out))
    if asked.scale != 1:
        print(f"reduced: each build had {asked.scale:g} of its time")
    machine = this_machine()
    print(f"{machine.processor}, {machine.cores} cores, {machine.system}")
    print(", ".join(f"{name} {version}" for name, version in versions().items()))


def _row(name: str, found: dict[str, float]) -> tuple[str, ...]:
    return (
        name,
        f"{found['accuracy']:.2%} of {int(found['n']):,}",
        "yes" if found["met"] else "NO",
        f"{int(found['bytes']):,}",
        f"{found['ms']:.3f}",
        f"{found['seconds']:.0f}",
    )


def _root() -> Path:
    folder = os.environ.get("FIREFORGE_DATA")
    if not folder:
        sys.exit("FIREFORGE_DATA must name the folder of the data")
    return Path(folder)


if __name__ == "__main__":
    main()
