# SPDX-License-Identifier: Apache-2.0
"""Readers of a training's states and of the record under mutated bytes, and states under every order of mishaps.

What comes out is what was written, or one FireforgeError; then nothing in memory was changed. In half of the inputs the
checksums are made right again. FIREFORGE_FUZZ_SECONDS lengthens each part, a third of a second otherwise;
FIREFORGE_FUZZ_SEED repeats a run.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import random
import shutil
import struct
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

torch = pytest.importorskip("torch")

from kill.driven_train import Halved  # noqa: E402

from fireforge.base import files  # noqa: E402
from fireforge.base.errors import FireforgeError  # noqa: E402
from fireforge.base.journal import Entry, Journal  # noqa: E402
from fireforge.base.trial import Recipe  # noqa: E402
from fireforge.base.value import sha256_of  # noqa: E402
from fireforge.train.checkpoint import load_checkpoint, save_checkpoint  # noqa: E402
from fireforge.train.course import Course, Part  # noqa: E402
from fireforge.train.ema import Ema  # noqa: E402
from fireforge.train.optimizer import make_optimizer  # noqa: E402

SECONDS = float(os.environ.get("FIREFORGE_FUZZ_SECONDS", "0.35"))
SEED = int(os.environ.get("FIREFORGE_FUZZ_SEED", "20824"))
MACHINES = max(8, min(10_000, int(2 * SECONDS)))  # runs of the state machine
SLOWEST_S = 5.0
STEM = "state-000002-000000003"
NUMBERS = (0, -1, 1, 7, 2**31, 2**53, 2**63, 10**30, 10**400, 1e308, -1e-9, 0.5, 1e999, None, True, "2", [], {}, [[]])
NAMES = (
    "optimizer.x.y",
    "optimizer.0",
    "optimizer.-1.step",
    "optimizer.99.step",
    "optimizer.0.foo",
    "ema.",
    "module.x",
)
DTYPES = ("F16", "BF16", "F64", "I64", "I8", "U8", "BOOL", "F8_E4M3", "U64", "C64", "X", "F32")
TOKENS = (b"[", b"{", b"}", b'"', b"null", b"NaN", b"-1", b"9" * 5000, b"[" * 3000, b"\\ud800", b"\xff", b"\0", b"e9")


def course(number: int) -> Course:
    metrics = {"train/loss": (1.5, 1.25), "val/loss": (2.0,), "val/epoch": (2.0,)}
    part = Part(steps=number, seen=4 * number, loss=0.1, right=2.0, rate=0.01)
    return Course(epochs=2, metrics=metrics, seconds=1.5, stages={"forward": 0.5}, part=part)


def parts_of(number: float, optimizer: str = "adamw") -> dict[str, Any]:
    """Module, optimizer and average, all of whose numbers are this one."""
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 2), torch.nn.BatchNorm2d(2), torch.nn.Flatten())
    made = make_optimizer(module, Recipe(epochs=5, optimizer=optimizer))  # type: ignore[arg-type]
    for parameter in module.parameters():
        parameter.grad = torch.zeros_like(parameter)
    made.step()
    parts = {"module": module, "optimizer": made, "ema": Ema(module, 0.9)}
    fill(parts, number)
    return parts


def tensors(parts: dict[str, Any]) -> list[Any]:
    slots = [value for each in parts["optimizer"].state.values() for value in each.values()]
    return [*parts["module"].state_dict().values(), *slots, *parts["ema"].state.values()]


def fill(parts: dict[str, Any], number: float) -> None:
    with torch.no_grad():
        for tensor in tensors(parts):
            tensor.fill_(number)
    parts["ema"].steps = int(number)


def seen(parts: dict[str, Any]) -> tuple[bytes, int]:
    """All numbers, in their order."""
    return b"".join(tensor.numpy().tobytes() for tensor in tensors(parts)), parts["ema"].steps


def edited(data: bytes, draw: random.Random) -> bytes:
    """One to four edits of bytes."""
    found = bytearray(data)
    for _ in range(draw.choice((1, 1, 2, 4))):
        at, end = sorted((draw.randrange(len(found) + 1), draw.randrange(len(found) + 1)))
        kind = draw.randrange(5)
        if kind == 0 and found:
            found[draw.randrange(len(found))] ^= 1 << draw.randrange(8)
        elif kind == 1:
            del found[at : min(end, at + draw.choice((1, 8, 4096)))]
        elif kind == 2:
            found[at:at] = draw.choice(TOKENS)
        elif kind == 3:
            found[at:at] = found[at:end]
        else:
            del found[at:]
    return bytes(found)


def warped(data: Any, draw: random.Random) -> Any:
    """JSON in which one value, at some depth, is another, is gone or has another name."""
    if isinstance(data, dict) and data and draw.random() < 0.9:
        key = draw.choice(sorted(data))
        kind = draw.randrange(8)
        rest = {name: value for name, value in data.items() if name != key}
        if kind == 0:
            return rest
        if kind == 1:
            return {**rest, draw.choice((*NAMES, key + "x", "")): data[key]}
        return {**data, key: warped(data[key], draw)}
    if isinstance(data, list) and data and draw.random() < 0.7:
        at = draw.randrange(len(data))
        return [*data[:at], *([warped(data[at], draw)] if draw.random() < 0.7 else []), *data[at + 1 :]]
    return draw.choice((*NUMBERS, *DTYPES))


def reshaped(data: bytes, draw: random.Random) -> bytes:
    """A tensors' file whose header is another one; sizes may fit or not."""
    length = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + length])
    name = draw.choice([name for name in header if name != "__metadata__"])
    kind = draw.randrange(5)
    if kind == 0:
        header[draw.choice(NAMES)] = header.pop(name)
    elif kind == 1:
        header[name]["shape"] = draw.choice(
            ([], [1], [2, 1], [0], [2**63], [-1], [1] * 200, header[name]["shape"][::-1])
        )
    elif kind == 2:
        header[name]["dtype"] = draw.choice(DTYPES)
    elif kind == 3:
        other = draw.choice([other for other in header if other != "__metadata__"])
        header[name], header[other] = header[other], header[name]
    else:
        header = warped(header, draw)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    body = bytearray(data[8 + length :])
    if draw.random() < 0.2:
        body[4 * draw.randrange(len(body) // 4) :][:4] = b""
        struct.pack_into(
            "<f", body, 4 * draw.randrange(len(body) // 4), draw.choice((float("nan"), float("inf"), 1e30))
        )
    return struct.pack("<Q", len(text)) + text + bytes(body)


def repaired(text: bytes, numbers: bytes) -> bytes:
    """The text with checksums that are right, where it can be read at all."""
    try:
        state = json.loads(text)["state"]
        if isinstance(state, dict) and "sha256" in state:
            state["sha256"] = hashlib.sha256(numbers).hexdigest()
        return json.dumps({"state": state, "sha256": sha256_of(state)}).encode()
    except (ValueError, KeyError, TypeError, RecursionError):
        return text


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_mutated_states_are_taken_up_whole_or_not_at_all(tmp_path: Path, optimizer: str) -> None:
    save_checkpoint(tmp_path, owner="me", course=course(3), parts=parts_of(2.0, optimizer))
    text, numbers = ((tmp_path / f"{STEM}.{kind}").read_bytes() for kind in ("json", "safetensors"))
    draw, parts = random.Random(f"{SEED} {optimizer}"), parts_of(1.0, optimizer)
    whole = seen(parts_of(2.0, optimizer))
    print(f"FIREFORGE_FUZZ_SEED={SEED}")
    end, taken, refused = time.monotonic() + SECONDS / 2, 0, 0
    while time.monotonic() < end or taken + refused < 40:
        one, two = text, numbers
        kind = draw.randrange(4)
        if kind == 0:
            one = edited(one, draw)
        elif kind == 1:
            one = json.dumps(warped(json.loads(one), draw)).encode()
        elif kind == 2:
            two = edited(two, draw)
        else:
            two = reshaped(two, draw)
        mended = draw.random() < 0.5
        if mended:
            one = repaired(one, two)
        (tmp_path / f"{STEM}.json").write_bytes(one)
        (tmp_path / f"{STEM}.safetensors").write_bytes(two)
        before, begun = seen(parts), time.monotonic()
        found = outcome(lambda: load_checkpoint(tmp_path, owner="me", parts=parts), f"{one[:2000]!r} {two[:600]!r}")
        assert time.monotonic() - begun < SLOWEST_S
        if isinstance(found, FireforgeError):
            assert found.code in ("BAD_WEIGHTS", "NO_FILE"), f"seed {SEED}"
            assert "\n" not in found.line()
            assert seen(parts) == before, f"seed {SEED}: {found.line()}"
            refused += 1
        elif found != Course():  # which is what another owner's state gives
            assert mended or (found, seen(parts)) == (course(3).replace(resumed=1), whole), f"seed {SEED}"
            assert all(map(finite, tensors(parts)))
            taken += 1
        fill(parts, 1.0)
    print(f"{taken} taken up, {refused} refused")
    assert refused > 20


def outcome(call: Callable[[], Any], what: str) -> Any:
    """What a call gives, or its FireforgeError; every other exception is a bug."""
    try:
        return call()
    except FireforgeError as error:
        return error
    except Exception as error:
        raise AssertionError(f"seed {SEED}: {what}") from error


def finite(tensor: Any) -> bool:
    return bool(torch.isfinite(tensor).all())


def test_mutated_records_are_read_or_named(tmp_path: Path) -> None:
    path = tmp_path / "record.jsonl"
    for number in range(4):
        Journal(path).append(f"t{number}", {"number": number, "more": [1.5, None, "ä"]})
    whole = path.read_bytes()
    draw, end, tries = random.Random(f"{SEED} record"), time.monotonic() + SECONDS / 2, 0
    while time.monotonic() < end or tries < 40:
        tries += 1
        path.write_bytes(edited(whole, draw))
        journal = Journal(path)
        entries = outcome(journal.read, repr(path.read_bytes()))
        if isinstance(entries, FireforgeError):
            assert entries.code == "BAD_RECORD", f"seed {SEED}"
            assert "record.jsonl line " in entries.where
            continue
        assert all(isinstance(entry.type, str) for entry in entries), f"seed {SEED}"
        journal.append("last", tries)
        assert journal.read() == [*entries, Entry(type="last", value=tries)]


class KilledError(BaseException):
    """Stands for signal 9: nothing of the product may catch it, and what it would clean up stays."""


POINTS = ("opened", "half written", "written", "flushed", "replaced", "folder", "removed")


@contextmanager
def killed(at: tuple[int, str]) -> Iterator[None]:
    """While this lasts, the n-th pass of a point of a file's writing, or of a removal, is the end."""
    passes = dict.fromkeys(POINTS, 0)
    dead = False

    def point(name: str) -> None:
        nonlocal dead
        passes[name] += 1
        if (passes[name], name) == at:
            dead = True
            raise KilledError

    def then(inner: Any, name: str) -> Any:
        def call(*words: Any, **named: Any) -> Any:
            if dead and name == "removed":
                return None  # who is dead removes nothing
            result = inner(*words, **named)
            point(name)
            return result

        return call

    def open_(path: Path, mode: str) -> Any:
        stream = open(path, mode)  # noqa: SIM115 - a file that a kill leaves open
        if mode != "wb":
            return stream
        with stream if at == (1 + passes["opened"], "opened") else contextlib.nullcontext():
            return Halved(stream, point)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "open", open_, raising=False)
        for module, name, what in (
            (os, "fsync", "flushed"),
            (os, "replace", "replaced"),
            (files, "sync_folder", "folder"),
            (Path, "unlink", "removed"),
        ):
            patch.setattr(module, name, then(getattr(module, name), what))
        yield


class States(RuleBasedStateMachine):
    """Saves, saves that are killed or meet a full disk, damage and loads, in any order.

    The newest state that was saved whole is always there, or the one before it where the newest was damaged since.
    """

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.parts = parts_of(0.0)
        self.number = 0
        self.whole: list[int] = []  # states that must be there, oldest first
        self.maybe = 0  # one whose write was killed: it may be there
        self.hurt = False  # whether the newest was damaged since it was written

    def teardown(self) -> None:
        shutil.rmtree(self.folder)

    def _save(self) -> None:
        self.number += 1
        fill(self.parts, self.number)
        save_checkpoint(self.folder, owner="me", course=course(self.number), parts=self.parts)

    def _has(self, number: int) -> None:
        """This state is the newest now; the one before it is the newest of the others that are whole."""
        others = self.whole[:-1] if self.hurt else self.whole
        self.whole, self.maybe, self.hurt = [*others[-1:], number], 0, False

    @rule()
    def save(self) -> None:
        self._save()
        self._has(self.number)

    @rule(times=st.integers(1, 2), point=st.sampled_from(POINTS))
    def save_and_die(self, times: int, point: str) -> None:
        with contextlib.suppress(KilledError), killed((times, point)):
            self._save()
        self.maybe = self.number

    @rule(count=st.integers(1, 2))
    def save_on_a_full_disk(self, count: int) -> None:
        calls = 0

        def full(inner: Any) -> Any:
            def call(*words: Any) -> Any:
                nonlocal calls
                calls += 1
                if calls == count:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                return inner(*words)

            return call

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "fsync", full(os.fsync))
            with pytest.raises(FireforgeError, match="CANNOT_WRITE"):
                self._save()

    @rule(kind=st.sampled_from(("json", "safetensors")), where=st.floats(0, 0.999), cut=st.booleans())
    def damage_the_newest(self, kind: str, where: float, cut: bool) -> None:
        if self.hurt or self.maybe or len(self.whole) < 2:
            return
        path = self.folder / f"state-000002-{self.whole[-1]:09}.{kind}"
        data = bytearray(path.read_bytes())
        at = int(where * len(data))
        if cut:
            del data[at:]
        else:
            data[at] ^= 1
        path.write_bytes(data)
        self.hurt = True

    @invariant()
    def the_newest_or_the_one_before_it_loads(self) -> None:
        if not self.whole:
            return
        other = parts_of(-1.0)
        found = load_checkpoint(self.folder, owner="me", parts=other)
        assert found.part is not None
        number = found.part.steps
        assert number in (self.whole[-2 if self.hurt else -1], self.maybe)
        fill(self.parts, number)
        assert seen(other) == seen(self.parts)
        assert found == course(number).replace(resumed=1)
        assert not list(self.folder.glob(".*"))  # nothing half-written stays
        if self.maybe == number:
            self._has(number)


TestStates = States.TestCase
TestStates.settings = settings(
    max_examples=MACHINES,
    stateful_step_count=12,
    deadline=None,
    derandomize=SECONDS < 1,
    phases=[Phase.generate],  # to make a long story short takes minutes
    suppress_health_check=list(HealthCheck),
)
