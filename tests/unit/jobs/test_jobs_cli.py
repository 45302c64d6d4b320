# SPDX-License-Identifier: Apache-2.0
"""The verbs as a user types them, on real runs; exit codes are those of docs/errors.md.

Each of these verbs, and each exit code, is there once at least in a process of its own; the rest is typed in this one.
"""

from __future__ import annotations

import csv
import io
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from fireforge.base.files import read_json
from fireforge.base.journal import Journal
from fireforge.importers.onnx_file import import_onnx
from fireforge.jobs import tell
from fireforge.runtime.predictor import load
from fireforge.space.halving import LADDERS

HOPELESS = """
import sys
from fireforge.jobs import build
build.HOPELESS_S = 1.0
from fireforge.cli.app import main
sys.argv[0] = "fireforge"
main()
"""
OWN_PROCESS = (
    "build digits --max-size 40",
    "build digits --max-size 40KB --out {tmp}/file/run",
    "cost nothing",
    "predict {tmp}/garbage.onnx picture.png",
    "verify {tmp}/garbage.onnx",
    "evaluate {tmp}/garbage.onnx digits",
    "report {tmp}",
    "inspect {tmp}/empty",
)
JSON_VERBS = (
    "doctor",
    "inspect digits",
    "build digits --plan",
    "cost squeezenet-1.0",
    "evaluate {run}",
    "verify {run}",
    "bench {run}",
)


def test_build_answers_with_every_limit_measured(built: Path) -> None:
    answer = read_json(built / "result.json")
    path = built / answer["model"]["path"]
    assert path.stat().st_size == answer["model"]["bytes"] == answer["measured"]["bytes"] <= 40_000
    assert answer["limits"][0]["name"] == "max_bytes"
    assert answer["limits"][0]["met"] is True
    assert answer["test"]["n"] == 359  # a fifth of 1,797, by class
    assert answer["test"]["accuracy"] > 0.5  # chance is 0.1; what 30 s of a busy machine give is no claim
    assert answer["measured"]["torch_loaded"] is False
    assert {"report.html", "README.md", "record.jsonl", "command.txt", "metrics.csv"} <= {
        p.name for p in built.iterdir()
    }


def test_record_accounts_for_every_candidate(built: Path) -> None:
    entries = Journal(built / "record.jsonl").read()
    counted = next(entry.value for entry in entries if entry.type == "candidates")
    trials = [entry.value for entry in entries if entry.type == "trial"]
    assert counted["counted"] == counted["kept"] + sum(counted["rejected"].values()) >= 500
    choices = {entry.value["name"]: entry.value["value"] for entry in entries if entry.type == "choice"}
    assert len({trial["trial_digest"] for trial in trials}) == len(trials)
    assert len(trials) == sum(step.number for step in LADDERS[choices["ladder"]])


def test_measured_accuracy_is_that_of_evaluate(built: Path, fireforge) -> None:
    found = json.loads(fireforge("evaluate", built, "--json").stdout)
    answer = read_json(built / "result.json")
    assert (found["n"], found["part"]) == (359, "test")
    assert found["accuracy"] == pytest.approx(answer["test"]["accuracy"], abs=1e-12)
    own = [row["val_accuracy"] for row in answer["candidates"] if row["path"] == answer["model"]["path"]]
    assert [found["val_accuracy"], answer["val_accuracy"]] == own * 2
    assert np.trace(found["confusion"]) == round(found["accuracy"] * 359)


@pytest.fixture(scope="module")
def again(built: Path, fireforge) -> SimpleNamespace:
    """The command of the build once more: the record before, what the command told, the record after."""
    before = (built / "record.jsonl").read_bytes()
    done = fireforge("build", "digits", "--max-size", "40KB", "--time", "30s", "--out", built)
    return SimpleNamespace(before=before, done=done, after=(built / "record.jsonl").read_bytes())


def test_the_same_command_again_answers_at_once_and_trains_nothing(again: SimpleNamespace) -> None:
    assert (again.done.returncode, again.after) == (0, again.before)


def test_another_command_in_the_same_folder_is_refused(built: Path, typed) -> None:
    done = typed("build", "digits", "--max-size", "50KB", "--time", "30s", "--out", built)
    assert (done.returncode, done.stderr.split(":")[0]) == (2, "OTHER_RUN")


def test_int8_file_holds_integer_weights(built: Path) -> None:
    graph, arrays, tag = import_onnx(built / "model-int8.onnx")
    kernels = [
        arrays[node.inputs[0]] for node in graph.nodes if node.op == "DequantizeLinear" and node.inputs[0] in arrays
    ]
    assert {kernel.dtype.name for kernel in kernels} <= {"int8", "int32"}
    assert tag is not None
    assert tag.card.labels == tuple("0123456789")


def test_predict_a_file_stdin_and_a_folder(built: Path, digit: Path, fireforge) -> None:
    alone = fireforge("predict", built, digit, "--top", 2)
    piped = fireforge("predict", built, "-", "--top", 2, stdin=digit.read_bytes())
    rows = list(csv.DictReader(io.StringIO(fireforge("predict", built, digit.parent, "--csv").stdout)))
    answer = load(built).predict(digit, top=2)  # refused or not, as a build of so few seconds has learned
    assert alone.stdout.rstrip("\n") == tell.prediction(str(digit), answer)
    assert piped.stdout.partition("  ")[2] == alone.stdout.partition("  ")[2]
    assert rows[0]["label"] == answer.label
    assert 0 < float(rows[0]["score"]) <= 1


def test_predict_tells_which_picture_failed_and_answers_the_others(
    built: Path, digit: Path, tmp_path: Path, fireforge
) -> None:
    (tmp_path / "bad.png").write_bytes(b"<html>")
    done = fireforge("predict", built, tmp_path / "bad.png", digit)
    assert done.returncode == 2
    assert "IMG_NOT_IMAGE" in done.stderr
    assert "bad.png" in done.stderr
    assert str(digit) in done.stdout


@pytest.mark.parametrize("words", JSON_VERBS)
def test_json_is_json(words: str, built: Path, fireforge, typed) -> None:
    """Nothing but JSON; in a process of their own the verbs that start none, where libraries might say something."""
    extra = ("--seconds", 0.2) if words.startswith("bench") else ()
    start = fireforge if words.startswith(("doctor", "cost", "bench")) else typed
    done = start(*words.format(run=built).split(), *extra, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)


def test_verify_catches_a_changed_weight(built: Path, tmp_path: Path, fireforge) -> None:
    onnx = pytest.importorskip("onnx")
    model = onnx.load(built / "model.onnx")
    kernel = max(model.graph.initializer, key=lambda tensor: len(tensor.raw_data))
    array = np.frombuffer(kernel.raw_data, np.float32).copy()
    array[: array.size // 2] *= -1
    kernel.raw_data = array.tobytes()
    onnx.save(model, tmp_path / "changed.onnx")
    done = fireforge("verify", tmp_path / "changed.onnx")
    assert (done.returncode, done.stderr.split(":")[0]) == (5, "PARITY")
    assert "weights" in done.stderr


def test_train_export_and_report(trained: Path, fireforge, typed, tmp_path: Path) -> None:
    done = fireforge("export", trained, "--form", "int8", "--out", tmp_path / "small.onnx")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "small.onnx").stat().st_size < 60_000
    rows = list(csv.DictReader(io.StringIO((trained / "metrics.csv").read_text())))
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert float(rows[-1]["train/loss"]) < float(rows[0]["train/loss"])
    assert typed("report", trained).returncode == 0


def test_wrong_answers_are_written(built: Path, typed, tmp_path: Path) -> None:
    found = json.loads(typed("evaluate", built, "--wrong", tmp_path / "wrong.csv", "--json").stdout)
    rows = list(csv.DictReader(io.StringIO((tmp_path / "wrong.csv").read_text())))
    assert len(rows) == 359 - round(found["accuracy"] * 359)
    assert all(row["truth"] != row["answer"] for row in rows)


def test_pack_keeps_the_parts_of_a_build(built: Path, fireforge, typed, tmp_path: Path) -> None:
    assert fireforge("pack", "digits", "--out", tmp_path / "digits.npz").returncode == 0
    found = json.loads(typed("evaluate", built, tmp_path / "digits.npz", "--json").stdout)
    assert (found["n"], found["accuracy"]) == (359, pytest.approx(read_json(built / "result.json")["test"]["accuracy"]))
    done = typed("pack", "digits", "--out", tmp_path / "digits.shards")
    assert "1,797 found = 1,797 used + 0 skipped" in done.stdout
    again = json.loads(typed("evaluate", built, tmp_path / "digits.shards", "--json").stdout)
    assert (again["n"], again["accuracy"]) == (found["n"], found["accuracy"])
    refused = typed("pack", "digits", "--out", tmp_path / "digits.shards")
    assert (refused.returncode, refused.stderr.count("OUT_TAKEN")) == (2, 1)


def test_inspect_lists_what_cannot_be_used(folders: Path, fireforge) -> None:
    found = json.loads(fireforge("inspect", folders, "--json").stdout)
    assert (found["found"], found["used"], found["skipped"]) == (61, 60, {"IMG_NOT_IMAGE": 1})
    assert found["unreadable"][0]["name"].endswith("broken.jpg")


def test_train_on_class_folders(folders: Path, typed, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert typed("train", folders, "--epochs", 4, "--image-size", 16, "--out", run).returncode == 0
    assert typed("export", run, "--out", run / "model.onnx").returncode == 0
    done = typed("predict", run / "model.onnx", folders / "green" / "0.png", folders / "blue" / "3.png")
    assert [line.split()[1] for line in done.stdout.splitlines()] == ["green", "blue"]


@pytest.mark.parametrize(
    ("words", "code", "name"),
    [
        ("build digits --max-size 40", 2, "BAD_UNIT"),
        ("build digits --max-size 40KB --time 5s", 2, "TOO_LITTLE_TIME"),
        ("build {tmp}/absent", 2, "NO_DATA"),
        ("build digits --max-size 40KB --out {tmp}/file/run", 3, "CANNOT_WRITE"),
        ("build digits --max-size 40KB --out {tmp}/file", 3, "CANNOT_WRITE"),
        ("build {tmp}/file", 2, "BAD_LAYOUT"),
        ("build digits --max-latency -3ms", 2, "BAD_UNIT"),
        ("build digits --min-accuracy 150%", 2, "BAD_UNIT"),
        ("build digits --from {tmp}/empty", 2, "NO_RUN"),
        ("build digits --replay {tmp}/absent", 2, "NO_RUN"),
        ("build {tmp}/absent --plan", 2, "NO_DATA"),
        ("build digits --plan --time 29s", 2, "TOO_LITTLE_TIME"),
        ("train digits --net nothing", 2, "UNKNOWN_NAME"),
        ("train digits --device cuda:9", 3, "NO_DEVICE"),
        ("cost nothing", 2, "UNKNOWN_NAME"),
        ("cost squeezenet-1.0 --image 3x3", 2, "BAD_UNIT"),
        ("predict {tmp}/absent.onnx picture.png", 2, "NO_FILE"),
        ("predict {tmp}/garbage.onnx picture.png", 2, "BAD_MODEL_FILE"),
        ("verify {tmp}/garbage.onnx", 2, "BAD_MODEL_FILE"),
        ("evaluate {tmp}/garbage.onnx digits", 2, "BAD_MODEL_FILE"),
        ("report {tmp}", 2, "NO_RUN"),
        ("export {tmp}", 2, "NO_RUN"),
        ("inspect {tmp}/empty", 2, ""),
        ("build digits --unknown-flag", 2, ""),
    ],
)
def test_bad_input_is_one_line_and_an_exit_code(
    words: str, code: int, name: str, fireforge, typed, tmp_path: Path
) -> None:
    """The same way through `main` for all; of each code one at least in a process of its own."""
    (tmp_path / "file").write_text("a file")
    (tmp_path / "garbage.onnx").write_bytes(b"garbage" * 100)
    (tmp_path / "empty").mkdir()
    start = fireforge if words in OWN_PROCESS else typed
    done = start(*words.format(tmp=tmp_path).split(), cwd=tmp_path)
    assert done.returncode == code, done.stderr
    if name:
        last = done.stderr.strip().splitlines()[-1]
        assert last.startswith(f"{name}: "), done.stderr
    assert done.stdout == ""


def test_impossible_limit_says_what_binds_and_keeps_the_nearest(tmp_path: Path) -> None:
    """1,000 bytes is below every network, which is seen before the search; the nearest is trained for one second."""
    pytest.importorskip("torch")
    words = [sys.executable, "-c", HOPELESS, "build", "digits", "--max-size", "1KB", "--time", "30s", "--out", "run"]
    path = os.pathsep.join(filter(None, sys.path))
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
    done = subprocess.run(
        words, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert "Traceback" not in done.stderr, done.stderr
    assert (done.returncode, done.stdout) == (4, ""), done.stderr
    assert "no network can keep the limit of file size" in done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("INFEASIBLE: run: max_bytes binds: 1,000 B allowed, the nearest that was measured has ")
    answer = read_json(tmp_path / "run" / "result.json")
    assert answer["feasible"] is False
    assert (tmp_path / "run" / answer["model"]["path"]).stat().st_size == answer["model"]["bytes"] > 1000


def test_ctrl_c_ends_the_build_with_the_best_so_far(tmp_path: Path) -> None:
    """SIGINT once the networks are counted: of two minutes a part is used, and the model is usable."""
    pytest.importorskip("torch")
    words = [sys.executable, "-m", "fireforge", "build", "digits", "--time", "2m", "--out", "run"]
    start = time.monotonic()
    with subprocess.Popen(words, cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        record = tmp_path / "run" / "record.jsonl"
        while not (record.exists() and '"candidates"' in record.read_text()) and time.monotonic() - start < 90:
            time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=100)
    assert time.monotonic() - start < 110, err
    assert process.returncode == 0, err
    assert "Traceback" not in err
    assert "finishing with the best so far" in err
    assert "what now" in out
    answer = read_json(tmp_path / "run" / "result.json")
    assert (tmp_path / "run" / answer["model"]["path"]).stat().st_size == answer["model"]["bytes"]


def test_what_now_is_five_lines_that_do_what_they_say(
    again: SimpleNamespace, digit: Path, fireforge, tmp_path: Path
) -> None:
    """The lines of a finished build, typed with a picture; the last of the three without fireforge in reach."""
    lines = again.done.stdout.splitlines()
    five = [shlex.split(line[21:]) for line in lines[lines.index("what now") + 1 :]]
    assert len(five) == 5
    assert Path(five[0][0]).is_file()
    assert Path(five[4][0]).is_file()
    shell, python, alone = ([word.replace("PICTURE", str(digit)) for word in words] for words in five[1:4])
    assert (shell[0], python[0], alone[0]) == ("fireforge", "python", "python")
    told = fireforge(*shell[1:]).stdout
    label = told.split("  ")[1].split()[0].lstrip("(")
    by_python = subprocess.run([sys.executable, *python[1:]], capture_output=True, text=True, check=True)
    assert f"labels=('{label}'" in by_python.stdout or "accepted=False" in by_python.stdout
    hidden = "import runpy, sys; sys.modules['fireforge'] = None; sys.argv = sys.argv[1:]"
    command = [sys.executable, "-c", f"{hidden}; runpy.run_path(sys.argv[0], run_name='__main__')", *alone[1:]]
    without = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=True)
    assert by_python.stdout.split("'")[1] in without.stdout.split("  ")[1]


def test_interrupt_of_other_verbs_is_130_and_one_line(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "fireforge", "predict", "model.onnx", "-"]
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    try:
        process = subprocess.Popen(words, cwd=tmp_path, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    finally:
        signal.signal(signal.SIGINT, before)
    with process:
        time.sleep(2)  # it waits for its stdin
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=20)
    assert (process.returncode, err.strip()) == (130, "interrupted")


def test_train_of_other_settings_in_the_same_folder_is_refused(trained: Path, typed) -> None:
    done = typed("train", "digits", "--epochs", 3, "--lr", 0.01, "--out", trained)
    assert (done.returncode, done.stderr.split(":")[0]) == (2, "OTHER_RUN")


def test_folder_without_pictures_is_an_error(built: Path, fireforge, tmp_path: Path) -> None:
    done = fireforge("predict", built, tmp_path)
    assert (done.returncode, done.stderr.split(":")[0]) == (2, "NO_DATA")


def test_without_a_verb_it_tells_what_to_try(fireforge) -> None:
    done = fireforge()
    assert done.returncode == 0
    assert "fireforge build digits" in done.stdout
    assert "instructions" in done.stdout


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("build", "digits", "--nope"), "BAD_USAGE: No such option: --nope"),
        (("nope",), "BAD_USAGE: No such command 'nope'; try: "),
        (("build",), "BAD_USAGE: Missing argument"),
        (("build", "digits", "--seed", "many"), "BAD_USAGE: Invalid value for '--seed'"),
    ],
)
def test_what_is_typed_wrong_gets_one_line_and_names_the_help(
    fireforge, tmp_path: Path, words: tuple[str, ...], line: str
) -> None:
    done = fireforge(*words, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(line)
    assert done.stderr.count("\n") == 1
    assert done.stderr.rstrip().endswith("--help")
    assert list(tmp_path.iterdir()) == []
