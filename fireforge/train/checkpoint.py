# SPDX-License-Identifier: Apache-2.0
"""A training's states on disk: each one a safetensors file, and a JSON file that says what it is and proves it."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fireforge.base.errors import FireforgeError
from fireforge.base.files import make_folder, read_bytes, write_json
from fireforge.base.machine import versions
from fireforge.base.progress import Progress, Update, silent
from fireforge.base.value import Value, sha256_of
from fireforge.train.course import Course
from fireforge.train.ema import Ema
from fireforge.train.weights import read_weights, write_weights

VERSION = 2  # of the state files; 1 had whole epochs alone, in files called epoch-*
MOST_JSON_BYTES = 64 * 2**20  # of a state's text
SHOWN = 10  # names in a message


@dataclass(frozen=True, kw_only=True)
class State(Value):
    """What a state's JSON file says.

    Args:
      version: of the format.
      owner: digest of what is trained.
      file: name of the tensors' file.
      sha256: of that file.
      course: how far the training came.
      ema_steps: of the averaged weights.
      scaler: of the loss in float16; empty in other trainings.
      threads: that computed it.
      torch: its version, since rounding depends on both.
    """

    version: int
    owner: str
    file: str
    sha256: str
    course: Course
    ema_steps: int
    scaler: dict[str, float]
    threads: int
    torch: str


def save_checkpoint(folder: Path, *, owner: str, course: Course, parts: dict[str, Any], kept: int = 2) -> None:
    """Write a state; older ones are removed only when it is whole on disk.

    Args:
      folder: made where absent.
      owner: digest of the trial, so that another trial's state is never taken up.
      course: how far the training came; of an epoch under way too.
      parts: "module" and "optimizer" and, where used, "ema" and "scaler".
      kept: states that stay.

    Raises:
      FireforgeError: CANNOT_WRITE, such as on a full disk; DIVERGED, if a number is not finite. The states before
        stay as they are.
    """
    make_folder(folder)
    tensors, ema_steps = _flatten(parts)
    _check_finite(tensors, course)
    stem = _stem(course)
    sha256 = write_weights(folder / f"{stem}.safetensors", tensors)
    state = State(
        version=VERSION,
        owner=owner,
        file=f"{stem}.safetensors",
        sha256=sha256,
        course=course,
        ema_steps=ema_steps,
        scaler={name: float(number) for name, number in _scaler_state(parts).items()},
        threads=torch.get_num_threads(),
        torch=versions()["torch"],
    )
    plain = state.to_json()
    write_json(folder / f"{stem}.json", {"state": plain, "sha256": sha256_of(plain)})
    _remove_others(folder, owner, last=stem, kept=kept)


def load_checkpoint(folder: Path, *, owner: str, parts: dict[str, Any], progress: Progress = silent) -> Course:
    """Take up the newest whole state; a damaged one is told and the one before it taken.

    Since a training is a function of its trial, an older state leads to the same weights, only later.

    Args:
      folder: of the states; may be absent. What an interrupted write left there is removed.
      owner: digest of the trial.
      parts: what `save_checkpoint` was given; changed in place.
      progress: told of a damaged state, and of a machine that rounds otherwise.

    Returns:
      How far it came; the start of a course where there is nothing of this trial.

    Raises:
      FireforgeError: BAD_WEIGHTS or NO_FILE, if there are states and none is whole.
    """
    for left in folder.glob(".state-*.tmp"):
        with contextlib.suppress(OSError):
            left.unlink()
    failure: FireforgeError | None = None
    for path in sorted(folder.glob("state-*.json"), reverse=True):
        try:
            state = read_state(path)
            if state.owner != owner:
                continue
            tensors = read_weights(folder / state.file, sha256=state.sha256)
            _restore(parts, tensors, state, folder)
        except FireforgeError as error:
            failure = failure or error
            progress(Update(stage="resume", note=f"not used: {error.line()}", lasting=True))
            continue
        _tell(state, progress)
        return state.course.replace(resumed=state.course.resumed + 1)
    if failure is not None:
        raise FireforgeError(
            failure.code, failure.what, where=failure.where, do=f"remove {folder} to train from the start"
        ) from failure
    return Course()


def read_state(path: Path) -> State:
    """The JSON file of a state, proved whole.

    Args:
      path: state-*.json.

    Returns:
      What it says; the tensors' file is not looked at.

    Raises:
      FireforgeError: NO_FILE, or BAD_WEIGHTS if it is damaged, of another version, or names another folder's file.
    """
    if path.stat().st_size > MOST_JSON_BYTES:
        raise FireforgeError("BAD_WEIGHTS", "the state's text is too long", where=str(path))
    try:
        read = json.loads(read_bytes(path))
        plain = read["state"]
        whole = set(read) == {"state", "sha256"} and read["sha256"] == sha256_of(plain)
    except (ValueError, KeyError, TypeError, RecursionError):
        whole = False
    if not whole:
        raise FireforgeError("BAD_WEIGHTS", "the state's text is damaged", where=str(path))
    if plain.get("version") != VERSION:
        what = f"a state of version {plain.get('version')}, where this fireforge reads {VERSION}"
        raise FireforgeError("BAD_WEIGHTS", what, where=str(path))
    try:
        state = State.from_json(plain)
    except FireforgeError as error:
        raise FireforgeError("BAD_WEIGHTS", f"the state's text is damaged: {error.what}", where=str(path)) from error
    if state.file != f"{_stem(state.course)}.safetensors" or path.stem != _stem(state.course):
        raise FireforgeError("BAD_WEIGHTS", "the state's text belongs to another file", where=str(path))
    return state


def _check_finite(tensors: dict[str, np.ndarray], course: Course) -> None:
    """What is not finite is never kept, since a training that goes on from there is lost."""
    for name, array in tensors.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            what = f"{name} is not finite after {course.part.steps if course.part else 0} steps of epoch "
            raise FireforgeError("DIVERGED", f"{what}{int(course.epochs) + 1}", do="a lower learning rate")


def _stem(course: Course) -> str:
    """Names in the order of the training."""
    return f"state-{int(course.epochs):06d}-{course.part.steps if course.part else 0:09d}"


def _remove_others(folder: Path, owner: str, *, last: str, kept: int) -> None:
    """Leave the newest states of this owner, and none of another; a text goes before what it speaks of."""
    own: list[str] = []
    for path in sorted(folder.glob("state-*.json"), reverse=True):
        try:
            good = path.stem <= last and read_state(path).owner == owner
        except FireforgeError:
            good = False
        if good and len(own) < kept:
            own.append(path.stem)
        else:
            path.unlink()
    for path in (*folder.glob("state-*.safetensors"), *folder.glob("epoch-*.safetensors")):
        if path.stem not in own:
            path.unlink()


def _tell(state: State, progress: Progress) -> None:
    """Where the state goes on, and that its numbers will be rounded otherwise where that is so."""
    part = f", step {state.course.part.steps}" if state.course.part else ""
    note = f"goes on after epoch {int(state.course.epochs)}{part}"
    then, now = (state.threads, state.torch), (torch.get_num_threads(), versions()["torch"])
    if then != now:
        note += f"; bits will differ: {then[0]} threads and torch {then[1]} then, {now[0]} and {now[1]} now"
    progress(Update(stage="resume", note=note, lasting=True))


def _scaler_state(parts: dict[str, Any]) -> dict[str, Any]:
    scaler: torch.amp.GradScaler | None = parts.get("scaler")
    return {} if scaler is None else scaler.state_dict()


def _flatten(parts: dict[str, Any]) -> tuple[dict[str, np.ndarray], int]:
    tensors = {f"module.{k}": v for k, v in parts["module"].state_dict().items()}
    for index, slots in parts["optimizer"].state_dict()["state"].items():
        for slot, value in slots.items():
            if value is not None:
                tensors[f"optimizer.{index}.{slot}"] = torch.as_tensor(value)
    ema: Ema | None = parts.get("ema")
    if ema is not None:
        tensors.update({f"ema.{k}": v for k, v in ema.state.items()})
    arrays = {name: tensor.detach().cpu().numpy() for name, tensor in tensors.items()}
    return arrays, ema.steps if ema is not None else 0


def _restore(parts: dict[str, Any], arrays: dict[str, np.ndarray], state: State, folder: Path) -> None:
    """Put a state's numbers in their places, once all of them fit."""
    tensors = {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}
    module, ema = parts["module"], parts.get("ema")
    _check_fit(_under(tensors, "module."), module.state_dict(), where=str(folder / state.file))
    if ema is not None:
        _check_fit(_under(tensors, "ema."), ema.state, where=str(folder / state.file))
    module.load_state_dict(_under(tensors, "module."))
    slots: dict[int, dict[str, torch.Tensor]] = {}
    for name, tensor in _under(tensors, "optimizer.").items():
        index, slot = name.split(".", 1)
        slots.setdefault(int(index), {})[slot] = tensor
    saved = parts["optimizer"].state_dict()
    parts["optimizer"].load_state_dict({"state": slots, "param_groups": saved["param_groups"]})
    if ema is not None:
        ema.steps = state.ema_steps
        for name, tensor in _under(tensors, "ema.").items():
            ema.state[name].copy_(tensor)
    if state.scaler:
        whole = {
            name: int(number) if name.endswith(("interval", "tracker")) else number
            for name, number in state.scaler.items()
        }
        parts["scaler"].load_state_dict(whole)


def _check_fit(found: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor], *, where: str) -> None:
    """Refuse tensors of another model before anything is changed, naming what differs."""
    differences = [f"{name} is missing" for name in wanted if name not in found]
    differences += [f"{name} is not known" for name in found if name not in wanted]
    differences += [
        f"{name} is {tuple(found[name].shape)}, not {tuple(tensor.shape)}"
        for name, tensor in wanted.items()
        if name in found and found[name].shape != tensor.shape
    ]
    if differences:
        more = f" and {len(differences) - SHOWN} more" if len(differences) > SHOWN else ""
        raise FireforgeError("BAD_WEIGHTS", f"{', '.join(differences[:SHOWN])}{more}", where=where)


def _under(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
