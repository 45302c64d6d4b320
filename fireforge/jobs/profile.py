# SPDX-License-Identifier: Apache-2.0
"""bench --profile: this machine, measured once with networks of the design spaces."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Sequence

import numpy as np
import onnxruntime

from fireforge.base.errors import FireforgeError
from fireforge.base.machine import this_machine
from fireforge.base.profile import FORMS, DeviceProfile, FormProfile
from fireforge.base.progress import Progress, Update, silent
from fireforge.base.rng import rng
from fireforge.base.spec import NetSpec
from fireforge.cost.latency import PRODUCTS, KernelClock, kind_of, work
from fireforge.jobs.blank_files import blank_files
from fireforge.nets.families import NETWORKS
from fireforge.runtime.events import block_of
from fireforge.runtime.profile import BEST_US, Stopwatch, Timed, at_one_clock, bandwidth, kernel_times, quiet_ms
from fireforge.space.spaces import SPACES
from fireforge.space.survey import counted

SECONDS = 48.0
LATER = (6, 24, 60)  # networks after which one is read again: what disturbed a reading may be over then
LEAST = 24  # networks, whatever the time
MOST = 240
SIDES = (24, 28, 32, 32, 48, 64, 96, 128)  # pixels of the inputs that networks are drawn for
MACS = (5e6, 5e8)  # of the networks that are run ...
LIGHT_EVERY, LIGHT_SIDES, LIGHT_MACS = 4, (8, 12, 16, 24), (5e4, 5e6)  # ... but for one in so many
CLASSES = 10
ANCHOR = "resnet-20"
NAMED_EVERY = 4  # drawn networks to one with a name
# a name and the side of the picture, 0 for its own; what holds kinds of kernels that no space draws comes first
NAMED = (
    *(("airbench-small", 32), ("airbench-medium", 32)),  # a norm behind a pool, which no convolution takes in
    *(("mobilenet-v3-small", 0), ("shufflenet-v2-1.0", 0), ("regnety-200mf", 0), ("resnext-50-32x4d", 96)),
    *(("regnetx-1.6gf", 112), ("googlenet", 112), ("regnetx-800mf", 112), ("cifar-resnet-20", 0)),
    *(("squeezenet-1.1", 0), ("resnext-small", 0), ("mobilenet-v2", 0)),
    *(("lenet-5", 0), ("regnet-small", 0), ("resnet-18", 0), ("alexnet-small", 0), ("shufflenet-small", 0)),
    *(("googlenet-small", 0), ("mobilenet-v3-tiny", 0), ("squeezenet-1.0", 0)),
)
# response norms and two towers, without the many weights of the network that is known for them
TOWERS = NetSpec(family="alexnet", params={"units": "512,256"}, classes=CLASSES, input_shape=(3, 131, 131))
# the greatest rate: wide 3x3 convolutions on maps that fit into the cache
FASTEST = NetSpec(
    family="resnet", params={"widths": "256", "stem": 64, "blocks": 2}, classes=CLASSES, input_shape=(3, 28, 28)
)
# matrix products with more weights than most caches hold
WIDEST = NetSpec(family="mlp", params={"widths": "2048,1024"}, classes=CLASSES, input_shape=(3, 32, 32))
# and with more than any cache holds
HEAVIEST = NetSpec(family="mlp", params={"widths": "4096,1024"}, classes=CLASSES, input_shape=(3, 48, 48))
ONCE_S = 0.45  # a network whose first reading takes longer is not read again
FOLDS = 3  # the margin is that of networks that were left out of the fit
JUDGED_MS = 0.3  # below which a network is too quick to be judged by shares ...
FEWEST = 5  # ... unless fewer than these are slower
SHARE = 0.9  # of the networks that keep the margin


def profile(*, seconds: float = SECONDS, threads: int = 1, seed: int = 0, progress: Progress = silent) -> DeviceProfile:
    """Measure this machine.

    Args:
      seconds: that running networks may take; fitting comes on top.
      threads: that one operator may use.
      seed: of the networks that are drawn.
      progress: receives one update a network.

    Returns:
      The profile.
    """
    start = time.monotonic()
    block = block_of()
    watch = Stopwatch(blank_files(NETWORKS[ANCHOR]())["float32"], block=block, threads=threads)
    readings: dict[str, list[Timed]] = {form: [] for form in FORMS}
    made: list[dict[str, bytes]] = []
    number = 0
    for number, spec in enumerate(_specs(seed)):
        used = time.monotonic() - start
        if number >= MOST or (number >= LEAST and used > seconds):
            break
        made.append(blank_files(spec))
        for again in (number, *(number - later for later in LATER if later <= number)):
            began = time.monotonic()
            for form, data in made[again].items():
                readings[form].append(watch.time(again, data))
            if time.monotonic() - began > ONCE_S:
                made[again] = {}
        progress(Update(stage="profile", done=round(min(used, seconds), 1), total=seconds, unit="s", note=spec.family))
    forms = {form: _form(found) for form, found in readings.items()}
    return DeviceProfile(
        hardware=this_machine(),
        runtime=f"onnxruntime {onnxruntime.__version__}",
        threads=threads,
        block=block,
        forms=forms,
        bandwidth=bandwidth(),
        anchor_ms=quiet_ms([one.anchor_ms for one in readings["float32"]]),
        networks=number,
        seconds=time.monotonic() - start,
        seed=seed,
    )


def drawn(seed: int, *, classes: int = CLASSES) -> Iterator[NetSpec]:
    """Networks of the spaces in turns, for pictures of several sizes; one in four is light.

    Args:
      seed: of the draws.
      classes: outputs.

    Yields:
      Specifications that can be built, without end.
    """
    names = list(SPACES)
    for index in itertools.count():
        light = index // len(names) % LIGHT_EVERY == LIGHT_EVERY - 1
        sides, (least, most) = (LIGHT_SIDES, LIGHT_MACS) if light else (SIDES, MACS)
        generator = rng(seed, 0, index)
        side = sides[int(generator.integers(len(sides)))]
        spec = SPACES[names[index % len(names)]](classes, (3, side, side), generator)
        candidate = counted(spec)  # not every draw is a network
        if candidate is not None and least <= candidate.cost.macs <= most:
            yield spec


def _specs(seed: int) -> Iterator[NetSpec]:
    """What is run: the greatest rate and the most weights first, and now and then a network with a name."""
    yield from (FASTEST, WIDEST)
    named = named_specs()
    for number, spec in enumerate(drawn(seed), 1):
        if number >= LEAST and number % NAMED_EVERY == 0:
            yield from itertools.islice(named, 1)
        yield spec


def named_specs() -> Iterator[NetSpec]:
    """The networks that no space draws, for the kinds of kernels that the networks of NETWORKS have besides."""
    yield from (TOWERS, HEAVIEST)
    for name, side in NAMED:
        yield NETWORKS[name](input_shape=(3, side, side)) if side else NETWORKS[name]()


def _form(readings: Sequence[Timed]) -> FormProfile:
    networks = list(at_one_clock(readings).values())
    times, call_us = kernel_times(networks)
    products = [entry for entry in times if entry.kernel.kind in PRODUCTS]
    long = [entry for entry in products if entry.us >= BEST_US]
    peak = max(work(entry.kernel) / entry.us * 1e6 for entry in long or products)
    factor, margin = _factor_and_margin(networks)
    return FormProfile(times=times, call_us=call_us, margin=margin, peak_macs=peak, factor=factor)


def _factor_and_margin(networks: Sequence[Timed]) -> tuple[float, float]:
    """Of networks predicted from the others: what puts them right in the middle, and what nine of ten keep.

    Networks with kinds of kernels that the others do not have are not predicted.
    """
    slow = sum(one.ms >= JUDGED_MS for one in networks)
    least = JUDGED_MS if slow >= FEWEST else 0.0
    ratios = []  # measured over predicted
    for fold in range(FOLDS):
        times, call_us = kernel_times([one for one in networks if one.network % FOLDS != fold])
        clock = KernelClock(times)
        for one in networks:
            known = clock.kinds.issuperset(kind_of(event.kernel) for event in one.events)
            if known and one.network % FOLDS == fold and one.ms >= least:
                us = sum(clock.us(event.kernel) for event in one.events) + call_us
                ratios.append(one.ms * 1e3 / us)
    if not ratios:
        what = "no network could be predicted from the others"
        raise FireforgeError("NOT_PROFILED", what, do="more seconds")
    factor = float(np.median(ratios))
    errors = np.abs(factor / np.array(ratios) - 1)
    return factor, float(np.quantile(errors, SHARE))
