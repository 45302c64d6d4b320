# SPDX-License-Identifier: Apache-2.0
"""What importing costs and loads, and that the public names and verbs are those that the docs promise."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points

import typer.main

from fireforge.cli.app import app

VERBS = {
    "bench",
    "build",
    "compress",
    "cost",
    "doctor",
    "evaluate",
    "export",
    "finetune",
    "hedge",
    "import",
    "inspect",
    "pack",
    "predict",
    "report",
    "train",
    "verify",
}  # frozen: a new verb is a new line here and in docs/cli.md


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_import_loads_neither_torch_nor_onnx() -> None:
    assert run("import fireforge, sys; print('torch' in sys.modules, 'onnx' in sys.modules)") == "False False"


def test_predict_path_loads_neither_torch_nor_onnx() -> None:
    code = "import fireforge, sys; fireforge.load; print('torch' in sys.modules, 'onnx' in sys.modules)"
    assert run(code) == "False False"


def test_verbs_are_frozen() -> None:
    command = typer.main.get_command(app)
    assert set(getattr(command, "commands")) == VERBS  # noqa: B009


def test_command_is_installed() -> None:
    scripts = {point.name: point.value for point in entry_points(group="console_scripts")}
    assert scripts.get("fireforge", "fireforge.cli.app:main") == "fireforge.cli.app:main"
