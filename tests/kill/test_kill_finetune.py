# SPDX-License-Identifier: Apache-2.0
"""finetune ended before and after each rename, record entry and removal: resumed, it gives the same bits."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fireforge.base.settings import Settings
from fireforge.jobs.export import export
from fireforge.jobs.train import train

CHILD = """
import os, shutil, sys
import fireforge.base.journal as journal
from fireforge.base.settings import Settings
from fireforge.jobs.finetune import finetune

at, model, out = int(sys.argv[1]), sys.argv[2], sys.argv[3]
passed = 0

def point():
    global passed
    passed += 1
    if passed == at:
        os._exit(9)

def watched(function):
    def call(*words, **named):
        point()
        result = function(*words, **named)
        point()
        return result
    return call

os.replace, shutil.rmtree = watched(os.replace), watched(shutil.rmtree)
journal.Journal.append = watched(journal.Journal.append)
finetune(model, "digits", Settings(net="", epochs=2, device="cpu", seed=3), out=out)
print(passed)
"""


def run(at: int, model: Path, out: Path) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-c", CHILD, str(at), str(model), str(out)]
    return subprocess.run(
        words, capture_output=True, text=True, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )


@pytest.mark.slow
def test_every_point_of_writing(tmp_path: Path) -> None:
    train("digits", Settings(net="firenet-small", epochs=1, device="cpu"), out=tmp_path / "first")
    model = tmp_path / "model.onnx"
    export(tmp_path / "first", out=model)
    whole = run(0, model, tmp_path / "whole")
    points = int(whole.stdout)
    wanted = hashlib.sha256((tmp_path / "whole" / "weights" / "best.safetensors").read_bytes()).hexdigest()
    assert points > 20
    for at in range(1, points + 1):
        out = tmp_path / f"ended-{at}"
        assert run(at, model, out).returncode == 9
        assert run(0, model, out).returncode == 0, at
        got = hashlib.sha256((out / "weights" / "best.safetensors").read_bytes()).hexdigest()
        assert got == wanted, f"ended at point {at} of {points}"
