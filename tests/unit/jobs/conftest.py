# SPDX-License-Identifier: Apache-2.0
"""Real runs, made once by the real command: a quick training and a quick build of the digits, and class folders."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import fireforge.jobs.profile as profile_file
from fireforge.base.model import Card, Model, dense
from fireforge.base.postprocess import Postprocess
from fireforge.base.preprocess import ImageSteps, Preprocess
from fireforge.base.profile import DeviceProfile
from fireforge.base.spec import NetSpec
from fireforge.cli.app import main
from fireforge.export.targets import write_onnx
from fireforge.nets.families import build_graph

Command = Callable[..., subprocess.CompletedProcess[str]]


def command(*words: object, cwd: Path | None = None, stdin: bytes | None = None) -> subprocess.CompletedProcess[str]:
    """One fireforge command in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "fireforge", *map(str, words)],
        capture_output=True,
        cwd=cwd,
        input=stdin,
        env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"},
        timeout=300,
        check=False,
    )
    out, err = done.stdout.decode(), done.stderr.decode()
    assert "Traceback" not in err, err
    return subprocess.CompletedProcess(done.args, done.returncode, out, err)


def inside(*words: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """One fireforge command in this process, which has torch already: what it prints and its exit code are the same."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["fireforge", *map(str, words)])
        patch.setenv("COLUMNS", "200")
        if cwd is not None:
            patch.chdir(cwd)
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as ended:
            main()
    assert isinstance(ended.value.code, int)
    return subprocess.CompletedProcess(sys.argv, ended.value.code, out.getvalue(), err.getvalue())


@pytest.fixture(scope="session")
def fireforge() -> Command:
    return command


@pytest.fixture(scope="session")
def typed() -> Command:
    return inside


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("torch")
    folder = tmp_path_factory.mktemp("trained") / "run"
    done = command("train", "digits", "--epochs", 3, "--out", folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("torch")
    folder = tmp_path_factory.mktemp("built") / "run"
    done = command("build", "digits", "--max-size", "40KB", "--time", "30s", "--out", folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="session")
def quick_profile() -> DeviceProfile:
    """A profile of this machine from twelve networks, each run a few times."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(profile_file, "LEAST", 12)
        return profile_file.profile(seconds=0.0, seed=5)


@pytest.fixture(scope="session")
def digit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One of scikit-learn's digits as a PNG; it shows a 5."""
    datasets = pytest.importorskip("sklearn.datasets")
    path = tmp_path_factory.mktemp("digit") / "five.png"
    Image.fromarray(np.rint(datasets.load_digits().images[5] * 255 / 16).astype(np.uint8)).save(path)
    return path


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes of 20 coloured pictures of several sizes, one of the files broken."""
    root = tmp_path_factory.mktemp("data") / "blobs"
    draw = np.random.default_rng(0)
    for place, name in enumerate(("red", "green", "blue")):
        (root / name).mkdir(parents=True)
        for index in range(20):
            height, width = draw.integers(30, 50, 2)
            array = draw.integers(0, 80, (height, width, 3))
            array[:, :, place] += 150
            Image.fromarray(array.astype(np.uint8)).save(root / name / f"{index}.png")
    (root / "red" / "broken.jpg").write_bytes(b"not a picture")
    return root


@pytest.fixture(scope="session")
def small_model() -> Callable[..., Path]:
    """Writes a small residual network with drawn weights, for gray or coloured pictures of 8 x 8 px."""

    def write(path: Path, labels: tuple[str, ...], *, post: Postprocess | None = None, channels: int = 3) -> Path:
        shape = (channels, 8, 8)
        spec = NetSpec(family="resnet", params={"blocks": 1, "width": 4}, classes=len(labels), input_shape=shape)
        graph = build_graph(spec)
        draw = np.random.default_rng(3)
        arrays = {w.name: draw.uniform(0.1, 0.6, w.shape).astype(np.float32) for w in graph.weights}
        arrays = {name: array - 0.33 if array.ndim > 1 else array for name, array in arrays.items()}
        steps = ImageSteps(
            channels=channels,
            resize=(8, 8),
            crop=(8, 8),
            order="RGB" if channels == 3 else "L",
            mean=(128.0,) * channels,
            std=(64.0,) * channels,
        )
        card = Card(preprocess=Preprocess(image=steps), postprocess=post or Postprocess(), labels=labels)
        write_onnx(Model(graph=graph, weights=dense(arrays), card=card), path)
        return path

    return write
