# SPDX-License-Identifier: Apache-2.0
"""Without the train extra: what needs it says so in one line, and what does not, works."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from fuzz import importer_seeds as seeds

from fireforge.base.files import write_json
from fireforge.cli import app
from fireforge.importers.safetensors_file import write_safetensors
from fireforge.jobs.blank import blank_arrays
from fireforge.nets.families import NETWORKS, build_graph

WITHOUT = """
import contextlib, io, json, shlex, sys
for name in ("torch", "sklearn", "safetensors", "threadpoolctl"):
    sys.modules[name] = None  # an import of it raises ModuleNotFoundError
from fireforge.cli.app import main
said = []
for line in sys.argv[1:]:
    sys.argv = ["fireforge", *shlex.split(line)]
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main()
        except SystemExit as end:
            said.append((end.code, out.getvalue(), err.getvalue()))
print(json.dumps(said))
"""
LINE = 'NO_PACKAGE: torch is not installed; try: pip install "fireforge[train]"\n'


def bare(*lines: str, cwd: Path) -> list[tuple[int, str, str]]:
    """Exit code, stdout and stderr of commands, one after the other in a process without the train extra."""
    env = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, *lines],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=env,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [tuple(said) for said in json.loads(done.stdout)]


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Models of several kinds, 40 pictures of noise in four classes, and two groups of these."""
    made = {"ncnn": seeds.ncnn()[0], "caffe": seeds.caffe()[0], "tflite": seeds.tflite()[0]}
    made["safetensors"] = {"m.safetensors": write_safetensors(blank_arrays(build_graph(NETWORKS["caffe-lenet"]())))}
    for kind, held in made.items():
        (tmp_path / kind).mkdir()
        for name, data in held.items():
            (tmp_path / kind / name).write_bytes(data)
    pictures = np.random.default_rng(0).integers(0, 256, (40, 8, 6, 3), np.uint8)
    np.savez(tmp_path / "noise.npz", x=pictures, y=np.arange(40) % 4, classes=np.array(list("0123")))
    groups = {"all": {}, **{name: {"parent": "all", "classes": list(name)} for name in ("01", "23")}}
    write_json(tmp_path / "tree.json", {"groups": groups})
    return tmp_path


def test_without_the_extra_files_are_imported_and_hedged(files: Path) -> None:
    said = bare(
        "import ncnn/m.param ncnn/m.bin --preprocess pixels -o ncnn.onnx",
        "import caffe/m.prototxt caffe/m.caffemodel --preprocess pixels -o caffe.onnx",
        "import tflite/m.tflite --preprocess pixels -o tflite.onnx",
        "import safetensors/m.safetensors --net caffe-lenet --preprocess gray -o safetensors.onnx",
        "import ncnn.onnx -o again.onnx",
        "hedge ncnn.onnx noise.npz --tree tree.json --all --json -o hedged.onnx",
        cwd=files,
    )
    assert [(code, err) for code, _, err in said] == [(0, "")] * len(said)
    assert len(list(files.glob("*.onnx"))) == 6


def test_without_the_extra_what_trains_or_calibrates_is_one_line(files: Path) -> None:
    lines = (
        "build digits --max-size 40KB",
        "train noise.npz",
        "finetune m.onnx noise.npz",
        "compress m.onnx noise.npz",
        "export m.onnx",
    )
    for line, said in zip(lines, bare(*lines, cwd=files), strict=True):
        assert said == (3, "", LINE), line


def test_what_is_missing_beside_the_extra_is_our_bug() -> None:
    with pytest.raises(ModuleNotFoundError):
        app._missing(ModuleNotFoundError("No module named 'fireforge.lost'", name="fireforge.lost"))
    assert app._missing(ModuleNotFoundError("No", name="sklearn.svm")).line().startswith("NO_PACKAGE: sklearn is not")
