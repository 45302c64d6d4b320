# SPDX-License-Identifier: Apache-2.0
"""What feeding a training costs, and what it would cost otherwise: one small model with four numbers.

A training has work that only its loop does (S seconds: copy, augment, forward, backward, update), feeding (F seconds on
one core, of which the processor works for P and waits for a disk in the rest), and what nothing else overlaps (O: its
preparation, looks at the validation part, checkpoints; for workers the B seconds until they have begun, too). On C
cores, its loop on T of them, it takes

    0 workers:  O + S + F
    n workers:  O + B + max(S, F / n, (P + S * T) / C)

which says: the loop waits for nobody, or for n who share the feeding, or all cores are busy. Seconds in which the
system let a process wait for a core are not work and are taken away before.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

BESIDE = "feed/"  # of keys of a record's stages that are no stage of the loop
APART = "/"  # in every such key
RENDER = ("read", "decode", "augment", "collate")  # stages of who makes pictures ready
ONCE = ("prepare", "evaluate", "checkpoint")
BEGIN_S = 2.0  # until workers have begun, where that was not measured: they load torch
NEAR = 0.02  # a faster way that is no faster than this is not worth another worker


@dataclass(frozen=True, kw_only=True)
class Load:
    """What a training has to do, in seconds.

    Args:
      step_s: of the loop alone.
      feed_s: of feeding, on one core.
      core_s: of feeding, those that the processor works.
      decode_s: of feeding, those that go into decoding.
      once_s: that nothing overlaps.
      begin_s: until workers give their first batch.
    """

    step_s: float
    feed_s: float
    core_s: float
    decode_s: float = 0.0
    once_s: float = 0.0
    begin_s: float = BEGIN_S


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where it is done.

    Args:
      cores: that may be used.
      threads: of the loop.
    """

    cores: int
    threads: int = 1


def loop_stages(stages: Mapping[str, float]) -> dict[str, float]:
    """The stages of the loop, which are its wall-clock time; without what others did beside it."""
    return {name: seconds for name, seconds in stages.items() if APART not in name}


def load_of(stages: Mapping[str, float]) -> Load | None:
    """What the clock of a training says that it has to do.

    Args:
      stages: of a record; "feed/wall", "feed/core" and "feed/queue" tell of the feeding, whoever does it, and
        "feed/decode" and "feed/begin" are there only where workers do.

    Returns:
      The load; None where no pictures were streamed.
    """
    wall = stages.get("feed/wall", 0.0)
    if not wall:
        return None
    loop, queue = loop_stages(stages), stages.get("feed/queue", 0.0)
    begin = stages.get("feed/begin", 0.0)
    once = sum(loop.get(name, 0.0) for name in ONCE) - begin
    by_workers = "feed/decode" in stages
    own = sum(loop.values()) - once - begin - (loop.get("wait", 0.0) if by_workers else wall)
    waited = stages.get("loop/queue", 0.0) - (0.0 if by_workers else queue)
    decode = stages.get("feed/decode", loop.get("decode", 0.0)) / wall
    feed = max(wall - queue, stages.get("feed/core", 0.0))
    step = max(own - max(waited, 0.0), 0.1 * own)
    return Load(
        step_s=step,
        feed_s=feed,
        core_s=stages.get("feed/core", wall),
        decode_s=decode * feed,
        once_s=once,
        begin_s=begin if by_workers else BEGIN_S,
    )


def seconds_with(load: Load, workers: int, place: Place) -> float:
    """What a training would take, by the model above.

    Args:
      load: what it has to do.
      workers: processes that feed it.
      place: cores and threads.

    Returns:
      Wall-clock seconds.
    """
    if not workers:
        return load.once_s + load.step_s + load.feed_s
    busy = (load.core_s + load.step_s * place.threads) / place.cores
    return load.once_s + load.begin_s + max(load.step_s, load.feed_s / workers, busy)


def best_workers(load: Load, place: Place) -> int:
    """The fewest workers, up to one for each core, with which a training is as good as fastest."""
    times = [seconds_with(load, workers, place) for workers in range(place.cores + 1)]
    return next(workers for workers, seconds in enumerate(times) if seconds <= min(times) * (1 + NEAR))


def gains(load: Load, workers: int, place: Place) -> dict[str, float]:
    """How much faster a training would be otherwise.

    Args:
      load: what it has to do.
      workers: that it has now.
      place: cores and threads.

    Returns:
      What would be changed, in words, to the share of pictures a second that it would gain, the greatest first; those
      of no worth are left out.
    """
    now, best = seconds_with(load, workers, place), best_workers(load, place)
    share = load.decode_s / load.feed_s if load.feed_s else 0.0
    decoded = dataclasses.replace(load, feed_s=load.feed_s - load.decode_s, core_s=load.core_s * (1 - share))
    kept = dataclasses.replace(load, feed_s=0.0, core_s=0.0)
    ways = {
        f"workers {workers} to {best}": seconds_with(load, best, place),
        "decoded shards": seconds_with(decoded, workers, place),
        "kept in memory": seconds_with(kept, 0, place),
    }
    found = {name: now / seconds - 1 for name, seconds in ways.items() if seconds}
    return {name: gain for name, gain in sorted(found.items(), key=lambda item: -item[1]) if gain > NEAR}
