# SPDX-License-Identifier: Apache-2.0
"""Mutated model files of every kind: what comes out is a whole model, or a FireforgeError, soon; nothing else is done.

A run is a function of its seed, which a failure prints with the files; FIREFORGE_FUZZ_SEED repeats it, and
FIREFORGE_FUZZ_SECONDS, which the kinds share, makes it longer. Keras' and torch's files are opened in a child, which is
forked instead of started but for the first.
"""

from __future__ import annotations

import base64
import json
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from fuzz import importer_seeds as seeds
from fuzz.importer_mutations import bytewise, headwise, messagewise, tablewise, treewise, wordwise

from fireforge.base.errors import FireforgeError
from fireforge.base.graph import Graph
from fireforge.base.infer import infer
from fireforge.base.validate import validate
from fireforge.importers import keras_h5, state_dict
from fireforge.importers.caffe_messages import NetParameter
from fireforge.importers.formats import import_files
from fireforge.importers.imported import Imported
from fireforge.importers.safetensors_file import write_safetensors

SECONDS = float(os.environ.get("FIREFORGE_FUZZ_SECONDS", "3"))
SEED = int(os.environ.get("FIREFORGE_FUZZ_SEED", "445323"))
CHILD_SECONDS = 0.5  # for a kind that has children, at least
MOST_SECONDS = 1.0  # of processor time for one input
HANG = 20  # seconds of processor time after which an input is given up
MOST_BYTES = 512 * 2**20  # of resident memory for all of one kind, and for one child
MOST_LETTERS = 3000  # of an error's line
FEWEST = 24  # inputs of a kind
KINDS = ("caffe", "deep-compression", "ncnn", "safetensors", "tflite", "onnx", "keras-told", "keras", "torch")
CHILDREN = ("keras", "torch")
READ = tuple(str(Path(place).resolve()) for place in (sys.prefix, sys.base_prefix, Path(__file__).parents[2]))
DEEDS = ("os.", "shutil.", "subprocess.", "socket.", "ctypes.", "urllib.", "pty.", "webbrowser.")
HARMLESS = ("os.listdir", "os.scandir", "os.putenv")
Change = Callable[[random.Random, bytes, list[bytes]], bytes]


class Watch:
    """What the process does to files and other processes while the watch is on."""

    def __init__(self) -> None:
        self.folder, self.seen = "", list[str]()
        sys.addaudithook(self._hear)

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.folder:
            return
        if event == "open" and isinstance(arguments[0], (str, bytes)):
            path, mode = os.path.realpath(os.fsdecode(arguments[0])), arguments[1] or "r"
            here = path.startswith(self.folder)
            writes = any(letter in str(mode) for letter in "wax+") or (arguments[2] or 0) & (os.O_WRONLY | os.O_RDWR)
            if writes or not (here or path.startswith(READ)):
                self.seen.append(f"{event} {path} {mode}")
        elif event == "exec":
            source = getattr(arguments[0], "co_filename", "")
            if not source.startswith((*READ, "<frozen")):  # a module of Python's own may be read late
                self.seen.append(f"{event} {source}")
        elif event.startswith(DEEDS) and event not in HARMLESS:
            self.seen.append(f"{event} {str(arguments)[:200]}")


WATCH = Watch()


class Forks:
    """in_child by way of importer_children.py."""

    def __init__(self) -> None:
        command = [sys.executable, str(Path(__file__).with_name("importer_children.py"))]
        env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env, bufsize=1
        )
        self.answers: list[dict[str, Any]] = []
        self.plain = 0

    def __call__(self, module: str, path: Path, out: Path) -> dict[str, Any]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{module}\t{path}\t{out}\n")
        answer = json.loads(self.process.stdout.readline())
        self.plain = self.plain or answer["bytes"]
        self.answers.append(answer)
        told = json.loads(answer["told"].splitlines()[-1]) if answer["code"] in (0, 2) else {}
        if answer["code"] == 0:
            return dict(told)
        if answer["code"] == 2:
            raise FireforgeError(**{**told, "exit_code": 2})
        raise FireforgeError("BAD_MODEL_FILE", f"died: {answer['told'][-200:]}", where=str(path))

    def check(self) -> None:
        """All children since the last check ended as one may, in time and with little memory."""
        answers, self.answers = self.answers, []
        for answer in answers:
            assert answer["code"] != 1, answer["told"][-300:]
            assert answer["seconds"] < MOST_SECONDS, f"{answer['seconds']:.1f} s in the child"
            assert answer["bytes"] - self.plain < MOST_BYTES, f"{answer['bytes']:,} bytes in the child"

    def close(self) -> None:
        self.process.communicate()


class Kind:
    """The files of one kind and how they are damaged.

    Args:
      name: of KINDS.
      folder: an empty one.
    """

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.kind, self.folder = name, "keras" if name == "keras-told" else name, folder
        self.known: Graph | None = None
        self.told: list[Any] = []
        self.config, self.version, self.arrays = "", "", dict[str, np.ndarray]()
        self.writers: list[Any] = []
        if name in ("safetensors", "torch", "onnx"):
            graph, arrays = seeds.known(folder)
            self.known = graph
        if name == "caffe":
            self.files = seeds.caffe()
        elif name == "deep-compression":
            self.files = seeds.deep_compression()
        elif name == "ncnn":
            self.files = seeds.ncnn()
        elif name == "safetensors":
            self.files = seeds.safetensors(arrays)
        elif name == "torch":
            self.files = seeds.torch_files(arrays)
        elif name == "onnx":
            self.files = seeds.onnx_files(graph, arrays)
        elif name == "tflite":
            self.files, self.writers = seeds.tflite(), seeds.tflite_writers()
        else:
            self.files, self.told = seeds.keras(), seeds.keras_told() if name == "keras-told" else []
        for path in folder.iterdir():
            path.unlink()

    def damaged(self, rng: random.Random) -> seeds.Files:
        """A model's files with damage in one or more of them, or in what a child says of them."""
        if self.told:
            config, arrays = rng.choice(self.told)
            self.arrays = {name: array for name, array in arrays.items() if rng.random() < 0.98}
            self.config = json.dumps(treewise(rng, config))
            self.version = rng.choice(("2.13.1", "3.3.3", "", "x"))
            return dict(self.files[0])
        if self.writers and rng.random() < 0.5:
            return tablewise(rng, rng.choice(self.writers))
        files = dict(rng.choice(self.files))
        for name in rng.sample(list(files), rng.randint(1, len(files))):
            others = [held[name] for held in self.files if name in held]
            files[name] = self._change(rng, name)(rng, files[name], others)
        return files

    def _change(self, rng: random.Random, name: str) -> Change:
        messages = {".caffemodel": NetParameter, ".onnx": onnx.ModelProto}
        ending = Path(name).suffix
        if rng.random() < 0.15:
            return bytewise
        if ending in messages and rng.random() < 0.7:
            return lambda rng, data, _: messagewise(rng, data, messages[ending])
        if ending in (".prototxt", ".param"):
            return wordwise
        return headwise if ending == ".safetensors" else bytewise

    def tells(self, module: str, path: Path, out: Path) -> dict[str, Any]:
        """What a child could say of a file of Keras."""
        out.write_bytes(write_safetensors(self.arrays))
        return {"config": self.config, "version": self.version}

    def read(self, files: seeds.Files) -> Imported:
        """The importer's answer to files."""
        paths = []
        for name, data in files.items():
            paths.append(self.folder / name)
            paths[-1].write_bytes(data)
        WATCH.seen, WATCH.folder = [], "" if self.kind in CHILDREN else str(self.folder.resolve())
        try:
            return import_files(paths, kind=self.kind, known=None if self.name == "onnx" else self.known)
        finally:
            WATCH.folder = ""
            assert not WATCH.seen, WATCH.seen
            assert sorted(self.folder.iterdir()) == sorted(paths), "files were made or removed"
            for path in paths:
                path.unlink()


def check(found: Imported) -> None:
    """A whole model: its graph infers, and each weight has its shape."""
    validate(found.graph)
    types = infer(found.graph)
    assert found.graph.outputs == ("logits",)
    assert len(types["logits"].shape) == 2
    assert sorted(found.weights) == sorted(weight.name for weight in found.graph.weights)
    for weight in found.graph.weights:
        array = np.asarray(found.weights[weight.name].array())
        assert array.shape == weight.shape, weight.name
        assert array.dtype.kind != "f" or np.isfinite(array).all(), weight.name


def outcome(kind: Kind, files: seeds.Files) -> str:
    """Code of the error, or "read"; anything else is raised."""
    try:
        check(kind.read(files))
    except FireforgeError as error:
        refusal = error
    else:
        return "read"
    assert refusal.what
    assert len(refusal.line().splitlines()) == 1
    assert len(refusal.line()) < MOST_LETTERS
    return refusal.code


@contextmanager
def patience() -> Iterator[None]:
    """An input that takes very long is ended."""

    def stop(number: int, frame: Any) -> None:
        raise TimeoutError(f"more than {HANG} s")

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, HANG)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def attempt(kind: Kind, rng: random.Random, forks: Forks | None) -> str:
    """One input; what is wrong with it is raised together with the files."""
    files = kind.damaged(rng)
    start = time.process_time()
    try:
        with patience():
            code = outcome(kind, files)
        took = time.process_time() - start
        assert took < MOST_SECONDS, f"{took:.1f} s"
        if forks is not None:
            forks.check()
    except Exception as error:
        held = json.dumps({name: base64.b64encode(data).decode() for name, data in files.items()})
        kept = base64.b85encode(zlib.compress(held.encode())).decode()
        raise AssertionError(f"{kind.name}: {error!r}: files {kept} {kind.version} {kind.config}") from error
    return code


@pytest.fixture
def forks(request: pytest.FixtureRequest) -> Iterator[Forks | None]:
    """The forking child, for kinds that have one."""
    if request.getfixturevalue("name") not in CHILDREN:
        yield None
        return
    held = Forks()
    yield held
    held.close()


@pytest.mark.parametrize("name", KINDS)
def test_mutated_models(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, forks: Forks | None) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    rng, kind = random.Random(SEED), Kind(name, tmp_path / "in")
    print(f"seed {SEED}")
    seconds = SECONDS / len(KINDS)
    if forks is not None:
        assert outcome(kind, kind.files[0]) == "read", "a whole file, in a child as always"
        seconds = max(seconds, CHILD_SECONDS)
        for module in (keras_h5, state_dict):
            monkeypatch.setattr(module, "in_child", forks)
    for files in kind.files if name != "keras-told" else ():
        assert outcome(kind, files) == "read", "a whole file"
    if name == "keras-told":
        monkeypatch.setattr(keras_h5, "in_child", kind.tells)
    codes: dict[str, int] = {}
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    until, number = time.monotonic() + seconds, 0
    while time.monotonic() < until or number < FEWEST:
        number += 1
        try:
            code = attempt(kind, rng, forks)
        except AssertionError as error:
            raise AssertionError(f"seed {SEED}, input {number}, {error}") from error
        codes[code] = codes.get(code, 0) + 1
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before
    assert grown < MOST_BYTES, f"seed {SEED}: {grown:,} bytes"
    assert not list((tmp_path / "temporary").iterdir()), "temporary files are left"
    print(number, "inputs:", dict(sorted(codes.items())))
    assert len(codes) > 1
