# SPDX-License-Identifier: Apache-2.0
"""A profile from a file: what no machine gives is refused by the field's name, and nothing else is ever raised."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fireforge.base.errors import FireforgeError
from fireforge.base.machine import this_machine
from fireforge.base.profile import DeviceProfile, FormProfile, Kernel, KernelTime
from fireforge.cost.latency import LatencyModel
from fireforge.nets.families import NETWORKS, build_graph

KERNEL = Kernel(kind="conv", source=(16, 8, 8), result=(16, 8, 8), taps=9)
FORM = FormProfile(times=(KernelTime(kernel=KERNEL, us=10.0),), call_us=1.0, margin=0.1, peak_macs=1e11)
GOOD = DeviceProfile(
    hardware=this_machine(),
    runtime="a runtime",
    threads=1,
    block=16,
    forms={"float32": FORM},
    bandwidth=1e10,
    anchor_ms=0.5,
    networks=3,
    seconds=40.0,
    seed=0,
)
TIME = ("forms", "float32", "times", 0)
PLACES: tuple[tuple[tuple[Any, ...], tuple[Any, ...]], ...] = (
    ((*TIME, "us"), (0, -1.0, math.nan, math.inf, "1", None, 1e300, 1e-300)),
    ((*TIME, "kernel", "kind"), ("", 3)),
    ((*TIME, "kernel", "source"), ([0, 1, 1], [1, -1, 1], [1, 1], [1, 1, 10**400], [1, 1, 1.5], "111")),
    ((*TIME, "kernel", "result"), ([1, 1, 0], [])),
    ((*TIME, "kernel", "taps"), (0, -9)),
    ((*TIME, "kernel", "groups"), (0,)),
    ((*TIME, "kernel", "joined"), (-1,)),
    (("forms", "float32", "times"), ([], {})),
    (("forms", "float32", "call_us"), (-1.0, math.nan, math.inf)),
    (("forms", "float32", "margin"), (-0.1, math.inf)),
    (("forms", "float32", "factor"), (0, -1, math.nan)),
    (("forms", "float32", "peak_macs"), (0, math.inf)),
    (("forms",), ({}, [])),
    (("threads",), (0, "1")),
    (("block",), (-1,)),
    (("networks",), (0,)),
    (("seconds",), (-1.0, math.inf)),
    (("bandwidth",), (0, -1, math.nan)),
    (("anchor_ms",), (0.0, math.inf)),
)
BAD = [(path, value) for path, values in PLACES for value in values]


def mangled(path: tuple[Any, ...], value: object) -> Any:
    data = copy.deepcopy(GOOD.to_json())
    part: Any = data
    for step in path[:-1]:
        part = part[step]
    part[path[-1]] = value
    return data


@pytest.mark.parametrize(("path", "value"), BAD, ids=lambda part: str(part)[:40])
def test_what_no_machine_gives_is_refused_by_its_name(path: tuple[Any, ...], value: object) -> None:
    with pytest.raises(FireforgeError) as raised:
        DeviceProfile.from_json(mangled(path, value))
    assert raised.value.code == "BAD_JSON"
    assert str(path[-1]) in raised.value.where


def test_an_unknown_form_is_refused() -> None:
    data = GOOD.to_json()
    data["forms"]["float8"] = data["forms"]["float32"]
    with pytest.raises(FireforgeError) as raised:
        DeviceProfile.from_json(data)
    assert raised.value.code == "BAD_JSON"
    assert "float8" in raised.value.what


def test_a_profile_goes_to_json_and_back() -> None:
    assert DeviceProfile.from_json(GOOD.to_json()) == GOOD


def paths(data: Any, before: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place of a JSON value."""
    steps = list(data.items()) if isinstance(data, dict) else list(enumerate(data)) if isinstance(data, list) else []
    return [place for step, part in steps for place in ((*before, step), *paths(part, (*before, step)))]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from((10**400, 1e-320)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
GRAPH = build_graph(NETWORKS["resnet-20"]())


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(paths(GOOD.to_json())), JSON)
@example((*TIME, "us"), 1e-15)
@example((*TIME, "us"), 1e15)
@example((*TIME, "kernel", "source"), [2**31, 2**31, 2**31])
@example(("forms", "float32", "factor"), 1e15)
def test_mangled_json_is_a_profile_that_foretells_or_an_error_of_ours(path: tuple[Any, ...], value: object) -> None:
    """300 places and values, drawn; what is taken foretells a finite time."""
    try:
        found = DeviceProfile.from_json(mangled(path, value))
    except FireforgeError:
        return
    for form in found.forms:
        assert 0 <= LatencyModel(found, form).predict(GRAPH).ms < math.inf
