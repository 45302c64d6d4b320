# SPDX-License-Identifier: Apache-2.0
"""A training's state on disk: one safetensors file an epoch and a JSON file that names the valid one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from fireforge.base.errors import FireforgeError
from fireforge.base.files import make_folder, read_json, write_json
from fireforge.train.ema import Ema
from fireforge.train.weights import read_weights, write_weights

INDEX = "checkpoint.json"


def save_checkpoint(
    folder: Path, *, owner: str, epoch: int, parts: dict[str, Any], metrics: dict[str, list[float]]
) -> None:
    """Write the state after an epoch; the state before it is removed only when the new one is named.

    Args:
      folder: made where absent.
      owner: digest of the trial, so that another trial's state is never taken up.
      epoch: epochs finished.
      parts: "module" and "optimizer" and, where used, "ema".
      metrics: name to numbers by epoch so far.
    """
    make_folder(folder)
    tensors, steps = _flatten(parts)
    path = folder / f"epoch-{epoch:05d}.safetensors"
    sha256 = write_weights(path, tensors)
    index = {
        "owner": owner,
        "epoch": epoch,
        "file": path.name,
        "sha256": sha256,
        "metrics": metrics,
        "ema_steps": steps,
    }
    write_json(folder / INDEX, index)
    for old in folder.glob("epoch-*.safetensors"):
        if old != path:
            old.unlink()


def load_checkpoint(folder: Path, *, owner: str, parts: dict[str, Any]) -> tuple[int, dict[str, list[float]]]:
    """Take up the state that was saved last.

    Args:
      folder: of the checkpoint; may be absent.
      owner: digest of the trial.
      parts: what `save_checkpoint` was given; changed in place.

    Returns:
      Epochs finished and metrics so far; (0, {}) where there is nothing of this trial.

    Raises:
      FireforgeError: BAD_WEIGHTS, if the file is damaged.
    """
    if not (folder / INDEX).exists():
        return 0, {}
    index = read_json(folder / INDEX)
    if index["owner"] != owner:
        return 0, {}
    tensors = read_weights(folder / index["file"], sha256=index["sha256"])
    _restore(parts, tensors, index["ema_steps"], folder)
    return index["epoch"], index["metrics"]


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
