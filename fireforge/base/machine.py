# SPDX-License-Identifier: Apache-2.0
"""The machine that a number was measured on, in words that can be compared."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from fireforge.base.value import Value

# instruction sets that decide how fast int8 and fp32 run, best first, by Linux's flag names
INSTRUCTION_SETS = (
    "amx_int8",
    "avx512_vnni",
    "avx_vnni",
    "avx512_bf16",
    "avx512f",
    "avx2",
    "asimddp",
    "asimd",
    "sse4_2",
)
PACKAGES = ("fireforge", "numpy", "Pillow", "simplejpeg", "onnx", "onnxruntime", "torch", "scikit-learn", "safetensors")


@dataclass(frozen=True, kw_only=True)
class Hardware(Value):
    """A machine as far as software sees it.

    Args:
      processor: the model's name.
      architecture: such as "x86_64".
      cores: that this process may use.
      memory_bytes: of the machine; 0 where unknown.
      instructions: of INSTRUCTION_SETS, those the processor has.
      system: operating system and release.
      accelerator: the name of a GPU that was used; "" for none.
    """

    processor: str
    architecture: str
    cores: int
    memory_bytes: int
    instructions: tuple[str, ...]
    system: str
    accelerator: str = ""


def this_machine(*, accelerator: str = "") -> Hardware:
    """The machine that runs this process.

    Args:
      accelerator: name of the GPU in use, from whoever uses it.

    Returns:
      What /proc and the standard library tell; nothing is measured.
    """
    fields = _cpuinfo()
    flags = set((fields.get("flags") or fields.get("Features") or "").split())
    return Hardware(
        processor=fields.get("model name") or platform.processor() or platform.machine(),
        architecture=platform.machine(),
        cores=usable_cores(),
        memory_bytes=_memory_bytes(),
        instructions=tuple(name for name in INSTRUCTION_SETS if name in flags),
        system=f"{platform.system()} {platform.release()}",
        accelerator=accelerator,
    )


def usable_cores() -> int:
    """Cores that this process may be scheduled on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def versions() -> dict[str, str]:
    """Python's version and those of installed packages that decide results; absent ones are left out."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def _cpuinfo() -> dict[str, str]:
    path = Path("/proc/cpuinfo")
    if not path.exists():
        return {}
    first = path.read_text(errors="replace").split("\n\n")[0]
    pairs = (line.split(":", 1) for line in first.splitlines() if ":" in line)
    return {key.strip(): value.strip() for key, value in pairs}


def _memory_bytes() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return 0
