# SPDX-License-Identifier: Apache-2.0
"""What a build would do, told within seconds from headers and counts: nothing is trained and nothing is written."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fireforge.base.budget import LIMITS, Budget
from fireforge.base.machine import usable_cores
from fireforge.base.preprocess import ImageSteps
from fireforge.base.settings import Wish
from fireforge.base.trial import DataRef
from fireforge.base.trunk import trunk
from fireforge.base.value import Value
from fireforge.baseline.baselines import BASELINES
from fireforge.cost.latency import LatencyModel
from fireforge.data.check import look
from fireforge.data.dataset import Dataset
from fireforge.data.open import open_dataset
from fireforge.data.pixels import choose_steps
from fireforge.data.split import split
from fireforge.jobs.profiles import kept
from fireforge.jobs.prospect import DRAWS, Prospect, drawn, named_network, prospects
from fireforge.jobs.scene import FIRST_PX, VAL_MOST, VAL_SHARE, sizes_in_time, sizes_of
from fireforge.jobs.timetable import Timetable, seconds_of, timetable
from fireforge.jobs.usual import Usual, usual_for
from fireforge.nets.families import build_graph
from fireforge.report.show import LIMIT_WORDS, limit_words
from fireforge.space.halving import LADDERS, fitting_ladder
from fireforge.space.survey import COUNTED_LIMITS, Candidate

Networks = Mapping[str, tuple[Candidate, ...]]  # of each space, or under its own name
CONVNET = "convnet"  # the baseline that is a network
LOOKED_AT = 64  # pictures that are decoded, to know sizes, colour and time
PASSES = 3  # times that loading decodes each picture: to check it, for statistics and sizes, and to keep it
MORE = 2.0  # times as many pictures a class make a result no measure for fewer
TIGHT = 0.1  # a limit that fewer of the networks keep is tight
MACS_PER_S = 4e9  # that one core trains, forward and backward counted once; a typical core of 2020
PICTURE_S = 2e-4  # of everything else on a training picture


@dataclass(frozen=True, kw_only=True)
class Outlook(Value):
    """How a limit looks before anything is measured.

    Args:
      limit: its name in Budget.
      tight: whether few networks keep it, or none; None where only a measurement can tell.
      words: one line.
    """

    limit: str
    tight: bool | None
    words: str


@dataclass(frozen=True, kw_only=True)
class Plan(Value):
    """What was found, what would be tried, and what may come of it.

    Args:
      source: path or name.
      format: as it was recognised.
      classes: names.
      found: everything looked at, used and skipped.
      used: pictures.
      skipped: number by code; damaged pictures are found by the build or by `inspect`.
      parts: "train", "val", "test" to pictures.
      given: whether the data has parts of its own.
      per_class: fewest and most training pictures of a class.
      height_px: least, median, greatest, of the pictures that were looked at.
      width_px: likewise.
      looked_at: how many were.
      channels: of the network's input.
      sizes: (H, W) of the inputs that are tried.
      baselines: that the network must beat.
      spaces: a few networks of each design space, counted, or the one that was asked for by name.
      net: the one network that is trained alone where it was asked for by name; "" to search the spaces.
      counted: networks that the build counts.
      trained: trainings of these, about.
      time: how it is shared out.
      usual: results of others on the data most like this, nearest first.
      outlook: a line for each limit.
      seconds: that the plan took.
    """

    source: str
    format: str
    classes: tuple[str, ...]
    found: int
    used: int
    skipped: dict[str, int]
    parts: dict[str, int]
    given: bool
    per_class: tuple[int, int]
    height_px: tuple[int, int, int]
    width_px: tuple[int, int, int]
    looked_at: int
    channels: int
    sizes: tuple[tuple[int, int], ...]
    baselines: tuple[str, ...]
    spaces: tuple[Prospect, ...]
    net: str
    counted: int
    trained: int
    time: Timetable
    usual: tuple[Usual, ...]
    outlook: tuple[Outlook, ...]
    seconds: float


def plan(data: str | Path, *, budget: Budget | None = None, wish: Wish | None = None) -> Plan:
    """Tell what a build would do.

    Args:
      data: what `fireforge.data.open.open_dataset` takes.
      budget: limits and time; None for no limits and ten minutes.
      wish: seed, image size and net are used; None for the defaults.

    Returns:
      The plan.

    Raises:
      FireforgeError: what the data or the time is refused with.
    """
    begun = time.monotonic()
    budget, wish = budget or Budget(), wish or Wish()
    seconds = seconds_of(budget)
    dataset = open_dataset(str(data))
    judged = min(VAL_SHARE, VAL_MOST / max(1, len(dataset.samples)))
    ref = DataRef(source=str(data), seed=wish.seed, val_share=judged)
    parts = split(dataset, ref, digests=())  # equal pictures are not looked for: that would read them all
    some = parts.train[np.linspace(0, len(parts.train) - 1, min(LOOKED_AT, len(parts.train))).astype(int)]
    seen, picture_s = _looks(dataset, some)
    steps = choose_steps(dataset, some, image_size=wish.image_size)
    classes, pictures = len(dataset.labels), len(dataset.samples)
    each = np.bincount(dataset.targets[parts.train], minlength=classes)
    look_s = PASSES * pictures * picture_s
    shares = timetable(seconds, look_s=look_s, share=1 - len(parts.train) / pictures)
    sizes = (
        (steps.crop,) if wish.image_size else _sizes(steps, pictures=pictures, seconds=shares.explore + shares.train)
    )
    networks = _networks(wish, classes, steps.channels, sizes)
    found = prospects(networks, budget)
    usual = usual_for(
        gray=steps.channels == 1,
        side_px=min(int(np.median(seen[:, 0])), int(np.median(seen[:, 1]))),
        classes=classes,
        per_class=float(each.mean()),
    )
    ledger = dataset.ledger()
    return Plan(
        source=str(data),
        format=dataset.format,
        classes=dataset.labels,
        found=ledger["found"],
        used=ledger["used"],
        skipped=ledger["skipped"],
        parts=parts.counts(),
        given=bool(dataset.owners.any()),
        per_class=(int(each.min()), int(each.max())),
        height_px=_spread(seen[:, 0]),
        width_px=_spread(seen[:, 1]),
        looked_at=len(some),
        channels=steps.channels,
        sizes=((networks[wish.net][0].spec.input_shape[1:],) if wish.net else sizes),
        baselines=(*BASELINES, CONVNET),
        spaces=found,
        net=wish.net,
        counted=1 if wish.net else DRAWS,
        trained=1 if wish.net else _trained(found, shares, pictures=len(parts.train)),
        time=shares,
        usual=usual,
        outlook=_outlook(budget, networks, usual, float(each.mean())),
        seconds=round(time.monotonic() - begun, 2),
    )


def _networks(wish: Wish, classes: int, channels: int, sizes: Sequence[tuple[int, int]]) -> Networks:
    """The one network that was asked for by name, under that; otherwise a few of each space."""
    if wish.net:
        return {wish.net: (named_network(wish.net, classes=classes, channels=channels, sizes=sizes),)}
    return drawn(classes, [(channels, *size) for size in sizes], seed=wish.seed)


def _sizes(steps: ImageSteps, *, pictures: int, seconds: float) -> tuple[tuple[int, int], ...]:
    """Sizes of the input that the time can decode; the first is the one that a build decodes first."""
    sizes = sizes_of(steps)
    first = max((size for size in sizes if min(size) <= FIRST_PX), default=sizes[0])
    return tuple(sorted(sizes_in_time(sizes, first, pictures=pictures, seconds=seconds)))


def _looks(dataset: Dataset, ids: np.ndarray) -> tuple[np.ndarray, float]:
    """Sizes int (n, 2) of some pictures, and the seconds that decoding one takes."""
    begun = time.monotonic()
    looks = [look(dataset.read(int(i)), where=dataset.where(int(i)), full=True) for i in ids]
    sizes = np.array([(item.height_px, item.width_px) for item in looks])
    return sizes, (time.monotonic() - begun) / len(ids)


def _spread(values: np.ndarray) -> tuple[int, int, int]:
    return int(values.min()), int(np.median(values)), int(values.max())


def _trained(found: tuple[Prospect, ...], shares: Timetable, *, pictures: int) -> int:
    """About how many networks the time can compare, by a typical core; the build measures the real one."""
    macs = [prospect.median_macs for prospect in found if prospect.passing]
    picture_s = (float(np.median(macs)) if macs else 0.0) / MACS_PER_S + PICTURE_S
    paid = (shares.explore + shares.train) * usable_cores() / picture_s
    ladder = fitting_ladder(paid, samples=pictures)
    return sum(step.number for step in LADDERS[ladder])


def _outlook(budget: Budget, networks: Networks, usual: tuple[Usual, ...], per_class: float) -> tuple[Outlook, ...]:
    lines = []
    for name in LIMITS:
        limit = getattr(budget, name)
        if limit is None:
            continue
        tight, words = None, "measured on the file at the end, on this machine; not predicted"
        if name in COUNTED_LIMITS:
            tight, words = _of_cost(name, prospects(networks, Budget(**{name: limit})))
        if name == "max_latency_ms":
            tight, words = _of_latency(limit, networks)
        if name == "min_accuracy":
            tight, words = _of_accuracy(limit, usual, per_class)
        told = f"{LIMIT_WORDS[name]} {limit_words(name, limit, None)[0]}: {words}"
        lines.append(Outlook(limit=name, tight=tight, words=told))
    return tuple(lines)


def _of_accuracy(limit: float, usual: tuple[Usual, ...], per_class: float) -> tuple[bool, str]:
    """Held against results of at most twice as many pictures a class; without one, against the least of the others."""
    known = [row.high for row in usual if row.per_class <= MORE * per_class]
    if known:
        return limit > max(known), f"others reached {max(known):.1%} on like data"
    least = min(row.low for row in usual)
    times = min(row.per_class for row in usual) / per_class
    return limit > least, f"others reached {least:.1%} in a simple way, with {times:.0f} times as many pictures a class"


def _of_latency(limit: float, networks: Networks) -> tuple[bool | None, str]:
    """Held against a few networks of each space by the profile that is kept of this machine."""
    profile = kept()
    if profile is None:
        return None, "the build measures this machine first; fireforge bench --profile does it once, for plans too"
    graphs = [trunk(build_graph(one.spec)) for few in networks.values() for one in few]
    forms = [LatencyModel(profile, form).predict_all(graphs) for form in profile.forms]
    times = [min(one.ms for one in of_all) for of_all in zip(*forms)]
    within = sum(ms <= limit for ms in times)
    told = f"{within} of {len(times)} networks are foretold to keep it, resizing and labels not counted; the quickest"
    return within < TIGHT * len(times), f"{told} takes {min(times):.2g} ms"


def _of_cost(name: str, found: tuple[Prospect, ...]) -> tuple[bool, str]:
    """A limit of counted cost, held against a few networks of each space."""
    possible, passing = sum(p.possible for p in found), sum(p.passing for p in found)
    real = [p for p in found if p.possible]
    least = f"the smallest has {min((p.least_bytes for p in real), default=0):,} B"
    if name == "max_energy_mj":
        least = f"the most frugal takes {min((p.least_mj for p in real), default=0.0):.2g} mJ by the estimate"
    return passing < TIGHT * possible, f"{passing} of {possible} networks that were counted keep it, {least}"
