# SPDX-License-Identifier: Apache-2.0
"""A training's state on disk: one safetensors file an epoch and a JSON file that names the valid ones."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fireforge.base.errors import FireforgeError
from fireforge.base.files import make_folder, write_json
from fireforge.base.gradients import Gradients
from fireforge.base.progress import Progress, Update, silent
from fireforge.base.value import sha256_of
from fireforge.train.ema import Ema
from fireforge.train.weights import read_weights, write_weights

INDEX = "checkpoint.json"
KEPT = 2  # states on disk: the newest, and the one before it should the newest be damaged


@dataclass(frozen=True, kw_only=True)
class Course:
    """How far a training has come.

    Args:
      epochs: passes over the training part; a share of one counts as that.
      metrics: name to numbers by epoch so far.
      seconds: of training behind it, those before an interruption too.
      stages: of these seconds, those of each of `fireforge.train.stopwatch.STAGES`.
      gradients: what was seen of them.
      finish: seconds after the last epoch, for the norms and the last look at the validation part.
    """

    epochs: float = 0.0
    metrics: dict[str, list[float]] = field(default_factory=dict)
    seconds: float = 0.0
    stages: dict[str, float] = field(default_factory=dict)
    gradients: Gradients = field(default_factory=Gradients)
    finish: float = 0.0


def save_checkpoint(folder: Path, *, owner: str, course: Course, parts: dict[str, Any]) -> None:
    """Write the state after an epoch; an older one is removed only when the new one is named.

    Args:
      folder: made where absent.
      owner: digest of the trial, so that another trial's state is never taken up.
      course: whole epochs finished, metrics and seconds so far.
      parts: "module" and "optimizer" and, where used, "ema".
    """
    make_folder(folder)
    tensors, steps = _flatten(parts)
    epoch = int(course.epochs)
    path = folder / f"epoch-{epoch:05d}.safetensors"
    sha256 = write_weights(path, tensors)
    state = {"epoch": epoch, "file": path.name, "sha256": sha256, "ema_steps": steps}
    state |= {"metrics": course.metrics, "seconds": course.seconds, "stages": course.stages}
    state["gradients"] = course.gradients.to_json()
    older = [item for item in _states(folder, owner) if item["epoch"] < epoch]
    states = [state, *older][:KEPT]
    write_json(folder / INDEX, {"owner": owner, "states": states, "sha256": sha256_of([owner, states])})
    for file in folder.glob("epoch-*.safetensors"):
        if file.name not in {item["file"] for item in states}:
            file.unlink()


def load_checkpoint(folder: Path, *, owner: str, parts: dict[str, Any], progress: Progress = silent) -> Course:
    """Take up the newest whole state; a damaged one is told and the one before it taken.

    Since a training is a function of its trial, an older state leads to the same weights, only later.

    Args:
      folder: of the checkpoint; may be absent.
      owner: digest of the trial.
      parts: what `save_checkpoint` was given; changed in place.
      progress: told of a damaged state.

    Returns:
      How far it came; the start of a course where there is nothing of this trial.

    Raises:
      FireforgeError: BAD_WEIGHTS or NO_FILE, if no state is whole or the index is damaged.
    """
    failure: FireforgeError | None = None
    for state in _states(folder, owner):
        try:
            tensors = read_weights(folder / state["file"], sha256=state["sha256"])
        except FireforgeError as error:
            failure = failure or error
            progress(Update(stage="train", done=state["epoch"], unit="epoch", note=f"not used: {error.line()}"))
            continue
        _restore(parts, tensors, state["ema_steps"], folder)
        later = {"stages": state.get("stages", {}), "gradients": Gradients.from_json(state.get("gradients", {}))}
        return Course(epochs=state["epoch"], metrics=state["metrics"], seconds=state["seconds"], **later)
    if failure is not None:
        raise FireforgeError(
            failure.code, failure.what, where=failure.where, do=f"remove {folder} to train from the start"
        ) from failure
    return Course()


def _states(folder: Path, owner: str) -> list[dict[str, Any]]:
    """States of this owner that the index names, newest first."""
    path = folder / INDEX
    if not path.exists():
        return []
    try:
        index = json.loads(path.read_bytes())
        whole = index["sha256"] == sha256_of([index["owner"], index["states"]])
    except (ValueError, KeyError, TypeError):
        whole = False
    if not whole:
        raise FireforgeError("BAD_WEIGHTS", "the checkpoint's index is damaged", where=str(path), do=f"remove {folder}")
    states: list[dict[str, Any]] = index["states"] if index["owner"] == owner else []
    return states


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


def _restore(parts: dict[str, Any], arrays: dict[str, np.ndarray], ema_steps: int, folder: Path) -> None:
    tensors = {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}
    try:
        parts["module"].load_state_dict(_under(tensors, "module."))
    except RuntimeError as error:
        raise FireforgeError("BAD_WEIGHTS", str(error).replace("\n", " ")[:300], where=str(folder)) from error
    state: dict[int, dict[str, torch.Tensor]] = {}
    for name, tensor in _under(tensors, "optimizer.").items():
        index, slot = name.split(".", 1)
        state.setdefault(int(index), {})[slot] = tensor
    saved = parts["optimizer"].state_dict()
    parts["optimizer"].load_state_dict({"state": state, "param_groups": saved["param_groups"]})
    ema: Ema | None = parts.get("ema")
    if ema is not None:
        ema.steps = ema_steps
        for name, tensor in _under(tensors, "ema.").items():
            ema.state[name].copy_(tensor)


def _under(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
