# SPDX-License-Identifier: Apache-2.0
"""A training's states on disk: each one a safetensors file, and a JSON file that says what it is and proves it."""

from __future__ import annotations

import contextlib
import json
import math
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from fireforge.base.errors import FireforgeError
from fireforge.base.files import make_folder, read_bytes, sha256_of_file, write_json
from fireforge.base.machine import this_machine, versions
from fireforge.base.progress import Progress, Update, silent
from fireforge.base.value import LATER, Json, Value, sha256_of
from fireforge.train.course import Course
from fireforge.train.ema import Ema
from fireforge.train.optimizer import slots_of
from fireforge.train.weights import read_weights, write_weights

VERSION = 2  # of the state files
FIRST_TEXT = "checkpoint.json"  # of version 1, which had whole epochs alone, in files called epoch-*
MOST_JSON_BYTES = 64 * 2**20  # of a state's text
SHOWN = 10  # names in a message
MOST = 2**53  # of a number that counts: what a JSON number holds exactly
_Form = tuple[tuple[int, ...], np.dtype[Any]]


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
      torch: its version.
      processor: what computed it, since rounding depends on all three; "" in states of before it was kept.
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
    processor: str = field(default="", metadata=LATER)


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
        processor=_processor(parts["module"]),
        torch=versions()["torch"],
    )
    plain, text = state.to_json(), folder / f"{stem}.json"
    try:
        write_json(text, {"state": plain, "sha256": sha256_of(plain)})
    except FireforgeError:
        if not os.path.lexists(text):  # such as on a full disk, which it would keep full
            _remove(folder / state.file)
        raise
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
    _tidy(folder, progress)
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
        _tell(state, parts["module"], progress)
        return state.course.replace(resumed=state.course.resumed + 1)
    if failure is not None:
        do = f"remove {folder} to train from the start"
        raise FireforgeError(failure.code, failure.what, where=failure.where, do=do) from failure
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
    try:
        long = path.stat().st_size > MOST_JSON_BYTES
    except OSError as error:
        raise FireforgeError("NO_FILE", error.strerror or "cannot be read", where=str(path)) from error
    if long:
        raise FireforgeError("BAD_WEIGHTS", "the state's text is too long", where=str(path))
    plain: Json = None
    try:
        read = json.loads(read_bytes(path))
        if set(read) == {"state", "sha256"} and read["sha256"] == sha256_of(read["state"]):
            plain = read["state"]
    except (ValueError, KeyError, TypeError, RecursionError):
        plain = None
    if not isinstance(plain, dict):
        raise FireforgeError("BAD_WEIGHTS", "the state's text is damaged", where=str(path))
    if plain.get("version") != VERSION:
        what = f"a state of version {str(plain.get('version'))[:SHOWN]}, where this fireforge reads {VERSION}"
        raise FireforgeError("BAD_WEIGHTS", what, where=str(path))
    try:
        state = State.from_json(plain)
        _check_counts(state)
    except FireforgeError as error:
        raise FireforgeError("BAD_WEIGHTS", f"the state's text is damaged: {error.what}", where=str(path)) from error
    if state.file != f"{_stem(state.course)}.safetensors" or path.stem != _stem(state.course):
        raise FireforgeError("BAD_WEIGHTS", "the state's text belongs to another file", where=str(path))
    return state


def _check_counts(state: State) -> None:
    """Refuse numbers that no training has."""
    course, part = state.course, state.course.part
    counts = {
        "epochs": course.epochs,
        "left_out": course.left_out,
        "row": course.row,
        "resumed": course.resumed,
        "ema_steps": state.ema_steps,
        "steps": part.steps - 1 if part else 0,
        "seen": part.seen - 1 if part else 0,
        "seconds": math.floor(min([course.seconds, course.finish, *course.stages.values()])),
    }
    for name, number in counts.items():
        if not 0 <= number <= MOST or int(number) != number:
            raise FireforgeError("BAD_WEIGHTS", f"{name} of {number:.6g}")
    lengths = {name: len(numbers) for name, numbers in course.metrics.items()}
    if course.epochs and (not lengths or min(lengths.values()) == 0 or max(lengths.values()) > course.epochs):
        raise FireforgeError("BAD_WEIGHTS", "metrics of other epochs")


def _tidy(folder: Path, progress: Progress) -> None:
    """Remove what an interrupted write left, and tell of a state that only an older version reads."""
    texts = {path.stem for path in folder.glob("state-*.json")}
    for left in (*folder.glob(".state-*.tmp"), *folder.glob("state-*.safetensors")):
        if left.suffix == ".tmp" or left.stem not in texts:
            _remove(left)
    if os.path.lexists(folder / FIRST_TEXT):
        what = f"a state of version 1, where this fireforge reads {VERSION}; the training begins anew"
        progress(Update(stage="resume", note=f"not used: {folder / FIRST_TEXT}: {what}", lasting=True))


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
    """Leave the newest whole states of this owner, and none of another; a text goes before what it speaks of."""
    own = [last]
    for path in sorted(folder.glob("state-*.json"), reverse=True):
        if path.stem < last and len(own) < kept and _is_whole(path, owner):
            own.append(path.stem)
        elif path.stem not in own:
            _remove(path)
    for path in (*folder.glob("state-*.safetensors"), *folder.glob("epoch-*.safetensors"), folder / FIRST_TEXT):
        if path.stem not in own:
            _remove(path)


def _is_whole(path: Path, owner: str) -> bool:
    """Whether a state could be taken up, should the newer one be damaged."""
    try:
        state = read_state(path)
        return state.owner == owner and sha256_of_file(path.parent / state.file) == state.sha256
    except FireforgeError:
        return False


def _remove(path: Path) -> None:
    """What cannot be removed is in nobody's way: a training does not end for it."""
    with contextlib.suppress(OSError):
        path.unlink()


def _processor(module: nn.Module) -> str:
    """What computes a module: the accelerator, or the processor and the instructions that torch uses of it."""
    device = next(module.parameters()).device
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{this_machine().processor} with {torch.backends.cpu.get_cpu_capability()}"


def _tell(state: State, module: nn.Module, progress: Progress) -> None:
    """Where the state goes on, and that its numbers will be rounded otherwise where that is so."""
    part = f", step {state.course.part.steps}" if state.course.part else ""
    note = f"goes on after epoch {int(state.course.epochs)}{part}"
    then = (state.threads, state.torch, state.processor or _processor(module))
    now = (torch.get_num_threads(), versions()["torch"], _processor(module))
    if then != now:
        words = "{} threads, torch {} and {}".format
        note += f"; bits will differ: {words(*then)} then, {words(*now)} now"
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
    """Put a state's numbers in their places, once all of them are known to fit."""
    _check_fit(arrays, parts, state, where=str(folder / state.file))
    tensors = {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}
    ema, optimizer = parts.get("ema"), parts["optimizer"]
    parts["module"].load_state_dict(_under(tensors, "module."))
    slots: dict[int, dict[str, torch.Tensor]] = {}
    for name, tensor in _under(tensors, "optimizer.").items():
        index, slot = name.split(".", 1)
        slots.setdefault(int(index), {})[slot] = tensor
    optimizer.load_state_dict({"state": slots, "param_groups": optimizer.state_dict()["param_groups"]})
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


def _check_fit(found: dict[str, np.ndarray], parts: dict[str, Any], state: State, *, where: str) -> None:
    """Refuse the numbers of another model, or of none, before anything is changed, naming what differs."""
    ema: Ema | None = parts.get("ema")
    wanted = {f"module.{name}": _form(tensor) for name, tensor in parts["module"].state_dict().items()}
    if ema is not None:
        wanted |= {f"ema.{name}": _form(tensor) for name, tensor in ema.state.items()}
    slots = _slot_forms(parts["optimizer"])
    wanted |= {name: form for form_of in slots if form_of.keys() & found.keys() for name, form in form_of.items()}
    differences = [f"{name} is missing" for name in wanted if name not in found]
    differences += [f"{name} is not known" for name in found if name not in wanted]
    differences += [
        f"{name} is {_words(found[name].shape, found[name].dtype)}, not {_words(*form)}"
        for name, form in wanted.items()
        if name in found and (found[name].shape, found[name].dtype) != form
    ]
    differences += [f"{name} is not finite" for name, array in found.items() if not np.isfinite(array).all()]
    if _scaler_state(parts).keys() != state.scaler.keys():
        differences.append("the scale of the loss is that of another precision")
    if differences:
        more = f" and {len(differences) - SHOWN} more" if len(differences) > SHOWN else ""
        raise FireforgeError("BAD_WEIGHTS", f"{', '.join(differences[:SHOWN])}{more}", where=where)


def _slot_forms(optimizer: torch.optim.Optimizer) -> list[dict[str, _Form]]:
    """For each parameter, the numbers that the optimizer keeps of it: all of them or, without a step, none."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    return [
        {f"optimizer.{index}.{slot}": ((), np.dtype("f4")) if slot == "step" else _form(parameter) for slot in slots}
        for slots in [slots_of(optimizer)]
        for index, parameter in enumerate(parameters)
    ]


def _form(tensor: torch.Tensor) -> _Form:
    return tuple(tensor.shape), np.dtype(str(tensor.dtype).removeprefix("torch."))


def _words(shape: tuple[int, ...], dtype: np.dtype[Any]) -> str:
    return f"{shape}" if dtype == np.float32 else f"{dtype} {shape}"


def _under(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
