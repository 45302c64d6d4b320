# SPDX-License-Identifier: Apache-2.0
"""Devices: what is asked for is given or refused, never something else."""

from __future__ import annotations

import pytest
import torch

from fireforge.base.errors import Exit, FireforgeError
from fireforge.train.world import accelerator_name, make_world


def test_a_single_process_is_rank_0_of_1() -> None:
    world = make_world("cpu")
    assert (world.rank, world.size, world.device) == (0, 1, torch.device("cpu"))
    assert accelerator_name(world) == ""


@pytest.mark.parametrize("name", ["cuda", "cuda:0", "cuda:7"])
def test_a_device_that_is_not_there_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(FireforgeError) as raised:
        make_world(name)
    assert (raised.value.code, raised.value.exit_code) == ("NO_DEVICE", Exit.ENVIRONMENT)
    assert make_world("auto").device.type == "cpu"


def test_a_second_device_of_one_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert make_world("cuda:0").device == torch.device("cuda:0")
    with pytest.raises(FireforgeError, match="NO_DEVICE: cuda:1 is not there"):
        make_world("cuda:1")


@pytest.mark.parametrize("name", ["gpu", "", "cuda:x", "meta", "mps"])
def test_an_unknown_name_is_refused_with_the_names_that_are_known(name: str) -> None:
    with pytest.raises(FireforgeError, match=r"NO_DEVICE.*allowed: auto, cpu, cuda, cuda:N"):
        make_world(name)
