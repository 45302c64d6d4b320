# SPDX-License-Identifier: Apache-2.0
"""Kept memory, by the kernel's own count of page faults."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

CODE = """
import resource, sys
import torch
from fireforge.train.memory import keep_freed

if sys.argv[1] == "keep":
    assert keep_freed()
torch.set_num_threads(1)

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

for _ in range(12):  # until the heap has found its shape
    torch.ones(16 * 2**20).add_(1)  # 64 MiB
before = faults()
for _ in range(5):
    torch.ones(16 * 2**20).add_(1)
print(faults() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is another one")
def test_the_same_memory_is_not_asked_for_again() -> None:
    """Five blocks of 64 MiB are five times 16,384 pages of 4 KiB, or fewer where the kernel gives larger ones."""
    asked = {}
    for how in ("keep", "give back"):
        done = subprocess.run([sys.executable, "-c", CODE, how], capture_output=True, text=True, check=True)
        asked[how] = int(done.stdout)
    assert asked["give back"] > 100
    assert asked["keep"] < asked["give back"] / 20
