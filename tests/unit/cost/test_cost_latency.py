# SPDX-License-Identifier: Apache-2.0
"""Latency from a profile: sums by hand, what was not measured named, nothing beyond what was seen."""

from __future__ import annotations

import math

import pytest

from fireforge.base.errors import FireforgeError
from fireforge.base.machine import this_machine
from fireforge.base.profile import DeviceProfile, FormProfile, Kernel, KernelTime
from fireforge.cost.kernels import kernels
from fireforge.cost.latency import KernelClock, LatencyModel, features, work
from fireforge.nets.families import NETWORKS, build_graph


def conv(channels: int, filters: int, side: int, taps: int = 9) -> Kernel:
    return Kernel(kind="conv", source=(channels, side, side), result=(filters, side, side), taps=taps)


def measured(pace: float = 1e-5) -> tuple[KernelTime, ...]:
    """Kernels at a pace of so many microseconds a multiply-add."""
    made = [conv(c, f, s) for c in (16, 32, 64) for f in (16, 48, 64) for s in (4, 8, 16, 32)]
    return tuple(KernelTime(kernel=kernel, us=work(kernel) * pace) for kernel in made)


def profile(times: tuple[KernelTime, ...], call_us: float = 3.0) -> DeviceProfile:
    form = FormProfile(times=times, call_us=call_us, margin=0.1, peak_macs=1e11)
    return DeviceProfile(
        hardware=this_machine(),
        runtime="a runtime",
        threads=1,
        block=16,
        forms={"float32": form},
        bandwidth=10e9,
        anchor_ms=1.0,
        networks=1,
        seconds=1.0,
        seed=0,
    )


def test_work_by_hand() -> None:
    assert work(conv(16, 32, 8)) == 8 * 8 * 32 * 16 * 9
    depthwise = Kernel(kind="depthwise", source=(32, 8, 8), result=(32, 4, 4), taps=9)
    assert work(depthwise) == 4 * 4 * 32 * 9
    assert work(Kernel(kind="gemm", source=(64, 1, 1), result=(10, 1, 1))) == 640
    assert work(Kernel(kind="pool", source=(16, 8, 8), result=(16, 4, 4))) == 16 * 64
    grouped = Kernel(kind="conv", source=(32, 4, 4), result=(64, 4, 4), taps=9, groups=2)
    assert work(grouped) == 4 * 4 * 64 * 16 * 9


def test_a_kernel_that_was_measured_has_its_time_and_a_like_one_nearly() -> None:
    """At a constant pace a fit has nothing but the line to find: 2 %, for its ridge."""
    clock = KernelClock(measured())
    assert clock.us(conv(32, 48, 8)) == work(conv(32, 48, 8)) * 1e-5
    fresh = conv(48, 32, 12)
    assert clock.us(fresh) == pytest.approx(work(fresh) * 1e-5, rel=0.02)


def test_nothing_is_told_beyond_the_paces_that_were_seen() -> None:
    times = tuple(KernelTime(kernel=entry.kernel, us=entry.us * (1 + i % 3)) for i, entry in enumerate(measured()))
    clock = KernelClock(times)
    for far in (conv(4096, 4096, 64), conv(1, 1, 1, taps=1), conv(2048, 16, 1)):
        least = min(entry.us for entry in times)
        assert min(work(far) * 1e-5, least) <= clock.us(far) <= max(work(far) * 3e-5, least) * (1 + 1e-9)


def test_a_kind_that_was_not_measured_makes_a_lower_bound_and_is_named() -> None:
    """By hand: the convolutions at their pace, nothing for the others, less the profile's margin of 10 %."""
    clock = KernelClock(measured())
    assert clock.us(Kernel(kind="add", source=(64, 32, 32), result=(64, 32, 32), joined=1)) == 0
    graph = build_graph(NETWORKS["resnet-20"]())
    found = LatencyModel(profile(measured()), "float32").predict(graph)
    assert set(found.unknown) == {"conv-first", "flatten", "gemm", "global-pool", "reorder-out"}
    known = sum(clock.us(one) for one in kernels(graph, form="float32", block=16) if one.kind == "conv")
    assert found.margin is None
    assert found.ms == found.least_ms() == pytest.approx((known + 3.0) / 1e3 / 1.1)


def test_groups_that_were_not_measured_make_a_lower_bound_too() -> None:
    """Plain convolutions tell nothing of grouped ones, whose every group is a small product of its own."""
    grouped = conv(32, 32, 8).replace(groups=4)
    clock = KernelClock(measured())
    assert clock.us(grouped) == 0
    assert clock.us(conv(32, 32, 9)) > 0
    assert KernelClock((*measured(), KernelTime(kernel=grouped, us=9.0))).us(grouped.replace(groups=8)) > 0
    graph = build_graph(NETWORKS["resnext-small"]())
    own = kernels(graph, form="float32", block=16)
    kinds = {kernel.kind: kernel.replace(groups=1) for kernel in own}
    times = (*measured(), *(KernelTime(kernel=kernel, us=7.0) for kernel in kinds.values()))
    found = LatencyModel(profile(times), "float32").predict(graph)
    assert found.margin is None
    assert all(kind.endswith(" in groups") for kind in found.unknown)


def test_a_network_is_the_sum_of_its_kernels_by_hand() -> None:
    graphs = [build_graph(NETWORKS[name]()) for name in ("resnet-20", "firenet-small")]
    owns = [kernels(graph, form="float32", block=16) for graph in graphs]
    kinds = {kernel.kind: kernel for own in owns for kernel in own if kernel.kind != "conv"}
    times = (*measured(), *(KernelTime(kernel=kernel, us=7.0) for kernel in kinds.values()))
    model = LatencyModel(profile(times), "float32")
    together = model.predict_all(graphs)
    assert together == [model.predict(graph) for graph in graphs]
    clock = KernelClock(times)
    for own, found in zip(owns, together):
        assert found.kernels == len(own)
        assert found.ms == pytest.approx((sum(map(clock.us, own)) + 3.0) / 1e3)
        assert found.margin == 0.1
        assert found.least_ms() == pytest.approx(found.ms / 1.1)
        assert found.unknown == ()


def test_a_form_that_was_not_measured_is_refused() -> None:
    with pytest.raises(FireforgeError) as raised:
        LatencyModel(profile(measured()), "int8")
    assert raised.value.code == "NOT_PROFILED"
    with pytest.raises(FireforgeError) as raised:
        kernels(build_graph(NETWORKS["firenet-small"]()), form="float8", block=16)
    assert raised.value.code == "UNKNOWN_NAME"


def test_features_are_finite_for_every_kernel_of_every_form() -> None:
    for name in ("resnet-20", "firenet-small", "mobilenet-small"):
        for form in ("float32", "int8"):
            for kernel in kernels(build_graph(NETWORKS[name]()), form=form, block=16):
                assert all(math.isfinite(number) for number in features(kernel)), kernel


def test_features_see_how_one_group_fills_the_registers() -> None:
    """Sixteen channels a group fill a register whatever their sum is; four of them fill a quarter of one."""
    whole, quarter = conv(96, 96, 8).replace(groups=6), conv(96, 96, 8).replace(groups=24)
    assert features(whole)[7:9] == (0, 0)
    assert features(quarter)[7:9] == (0.25, 0.25)


def test_a_runtime_without_blocks_has_no_reorders() -> None:
    kinds = {kernel.kind for kernel in kernels(build_graph(NETWORKS["firenet-small"]()), form="float32", block=0)}
    assert kinds == {"conv-plain", "pool", "concat", "global-pool", "flatten"}


def test_groups_of_an_int8_convolution_are_told() -> None:
    """ResNeXt's blocks by their table: 3 x 3 convolutions in as many groups as the network has paths."""
    found = kernels(build_graph(NETWORKS["resnext-small"]()), form="int8", block=16)
    plain = kernels(build_graph(NETWORKS["resnext-small"]()), form="float32", block=16)
    groups = {kernel.groups for kernel in plain if kernel.taps == 9 and "conv" in kernel.kind}
    assert {kernel.groups for kernel in found if kernel.taps == 9 and kernel.kind == "qconv"} == groups
    assert max(groups) > 1
