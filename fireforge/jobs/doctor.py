# SPDX-License-Identifier: Apache-2.0
"""doctor: what is installed, what the machine can do, and three things to try."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec

from fireforge.base.machine import Hardware, this_machine, versions
from fireforge.base.value import Value

# extra -> (modules it brings, what it adds); one line for each extra of the package
EXTRAS = {
    "train": (("torch", "safetensors", "sklearn"), "build, train and export: training on PyTorch, and the digits data"),
    "import": (("h5py",), "import: the .h5 files of Keras"),
    "tensorboard": (("tensorboard",), "train --tensorboard: event files"),
    "sources": (("pyarrow", "plyvel", "fsspec"), "data: Parquet files, LevelDB, and URLs other than http"),
}
# package -> what it adds where a user has it; no extra brings it
OPTIONAL = {
    "timm": "import --net timm/NAME: its networks, with the numbers of your file",
    "torchvision": "import --net torchvision/NAME: likewise; timm needs it, too",
}
TRY_BARE = ('pip install "fireforge[train]"', "fireforge predict MODEL PICTURE", "fireforge cost squeezenet-1.0")
TRY_TRAIN = (
    "fireforge build digits --max-size 40KB --time 2m",
    "fireforge inspect FOLDER",
    "fireforge cost squeezenet-1.0 --layers",
)


@dataclass(frozen=True, kw_only=True)
class Checkup(Value):
    """What `doctor` found.

    Args:
      versions: package to version; absent packages are not in it.
      hardware: the machine.
      device: what training would use: "cpu", or a CUDA device's name; "" without torch.
      threads: that ONNX Runtime and torch may use: the cores of this process.
      providers: of ONNX Runtime.
      missing: extra to what it would add.
      optional: package of others that is not there, to what it would add.
      advice: three commands to try.
    """

    versions: dict[str, str]
    hardware: Hardware
    device: str
    threads: int
    providers: tuple[str, ...]
    missing: dict[str, str]
    optional: dict[str, str]
    advice: tuple[str, ...]


def doctor() -> Checkup:
    """Look at this installation; loads neither torch nor a model.

    Returns:
      The checkup.
    """
    hardware = this_machine()
    missing = {name: adds for name, (modules, adds) in EXTRAS.items() if not all(map(find_spec, modules))}
    return Checkup(
        versions=versions(),
        hardware=hardware,
        device="" if "train" in missing else _device(),
        threads=hardware.cores,
        providers=_providers(),
        missing=missing,
        optional={name: adds for name, adds in OPTIONAL.items() if find_spec(name) is None},
        advice=TRY_BARE if "train" in missing else TRY_TRAIN,
    )


def _device() -> str:
    """The GPU that torch would see, by the driver's own tool; torch's CPU build sees none."""
    if "+cpu" in metadata.version("torch") or shutil.which("nvidia-smi") is None:
        return "cpu"
    asked = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    answer = subprocess.run(asked, capture_output=True, text=True, timeout=20, check=False)
    names = [line.strip() for line in answer.stdout.splitlines() if line.strip()]
    return f"cuda ({', '.join(names)})" if answer.returncode == 0 and names else "cpu"


def _providers() -> tuple[str, ...]:
    """Execution providers, asked in a child so that a broken build cannot take this process down."""
    code = "import onnxruntime; print('\\n'.join(onnxruntime.get_available_providers()))"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    return tuple(answer.stdout.split()) if answer.returncode == 0 else ()
