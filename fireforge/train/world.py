# SPDX-License-Identifier: Apache-2.0
"""Who trains: rank, number of ranks and device, made once and passed in."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from fireforge.base.errors import Exit, FireforgeError

NAMES = "auto, cpu, cuda, cuda:N"


@dataclass(frozen=True, kw_only=True)
class World:
    """One worker's place.

    Args:
      rank: from 0.
      size: number of workers.
      device: where tensors live.
    """

    rank: int = 0
    size: int = 1
    device: torch.device


def make_world(device: str = "auto") -> World:
    """The world of a single process.

    Args:
      device: "auto" (a CUDA device where there is one), "cpu", "cuda" or "cuda:1".

    Returns:
      Rank 0 of 1.

    Raises:
      FireforgeError: NO_DEVICE, if a CUDA device is asked for and not there; nothing falls back in silence.
    """
    has_cuda = torch.cuda.is_available()
    name = ("cuda" if has_cuda else "cpu") if device == "auto" else device
    try:
        chosen = torch.device(name)
    except RuntimeError as error:
        raise FireforgeError("NO_DEVICE", f"no device called {name!r}", allowed=NAMES) from error
    if chosen.type not in ("cpu", "cuda"):
        raise FireforgeError("NO_DEVICE", f"{name} is not supported", allowed=NAMES)
    if chosen.type == "cuda" and (not has_cuda or (chosen.index or 0) >= torch.cuda.device_count()):
        raise FireforgeError("NO_DEVICE", f"{name} is not there", do="--device cpu", exit_code=Exit.ENVIRONMENT)
    return World(device=chosen)


def accelerator_name(world: World) -> str:
    """The name of the GPU in use, "" for none."""
    return torch.cuda.get_device_name(world.device) if world.device.type == "cuda" else ""


@contextlib.contextmanager
def with_threads(number: int, world: World) -> Iterator[None]:
    """So many threads on a CPU while this lasts; the caller's number is his again afterwards.

    Args:
      number: of threads.
      world: where something is trained; on an accelerator nothing changes.

    Yields:
      Nothing.
    """
    before = torch.get_num_threads()
    if world.device.type == "cpu":
        torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)
