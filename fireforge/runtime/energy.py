# SPDX-License-Identifier: Apache-2.0
"""Energy of predictions by the processor's own counter, which Linux shows as files (powercap, "RAPL")."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

POWERCAP = Path("/sys/class/powercap")
IDLE_S = 0.4  # that the machine is watched doing nothing, half of it before and half after
BUSY_S = 0.8  # that it is watched predicting, at least


@dataclass(frozen=True, kw_only=True)
class Zone:
    """One counter.

    Args:
      name: as the system calls it: "package-0", "dram".
      path: the file that holds microjoules since some moment.
      range_uj: where the counter begins anew at 0.
    """

    name: str
    path: Path
    range_uj: int


@dataclass(frozen=True, kw_only=True)
class Counter:
    """The counters of a machine that overlap with no other: each processor package, and memory where it has its own.

    Args:
      zones: at least one.
    """

    zones: tuple[Zone, ...]

    @classmethod
    def open(cls, root: Path = POWERCAP) -> Counter | None:
        """The counters that may be read.

        Args:
          root: folder of the powercap tree.

        Returns:
          The counter; None where there is no package whose counter may be read: `why_none` says why.
        """
        zones = [zone for zone in map(_zone, _folders(root)) if zone is not None]
        found = tuple(zone for zone in zones if zone.name.startswith("package") or zone.name == "dram")
        return cls(zones=found) if any(zone.name.startswith("package") for zone in found) else None

    def read(self) -> tuple[int, ...]:
        """Microjoules of each zone now.

        Returns:
          One number a zone, in order.

        Raises:
          OSError: if a counter can no longer be read.
          ValueError: if it holds no number.
        """
        return tuple(int(zone.path.read_text()) for zone in self.zones)

    def between_mj(self, first: tuple[int, ...], last: tuple[int, ...]) -> float:
        """Millijoules from one reading to a later one; a counter may have begun anew once.

        Args:
          first: of `read`.
          last: of `read`.

        Returns:
          The sum over the zones.
        """
        rows = zip(self.zones, first, last)
        return sum(b - a if b >= a else b - a + zone.range_uj for zone, a, b in rows) / 1e3

    def names(self) -> str:
        """The zones in words: "package-0 + dram"."""
        return " + ".join(zone.name for zone in self.zones)


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """What predictions drew.

    Args:
      energy_mj: of one prediction, without what the machine draws anyway; None where that is lost in the noise.
      runs: predictions.
      idle_w: what the machine draws anyway, in watts.
      busy_w: what it drew while predicting.
    """

    energy_mj: float | None
    runs: int
    idle_w: float
    busy_w: float


def why_none(root: Path = POWERCAP) -> str:
    """Why `Counter.open` found nothing, in words.

    Args:
      root: folder of the powercap tree.

    Returns:
      One line.
    """
    folders = _folders(root)
    if not folders:
        return "this machine shows no energy counter"
    for folder in folders:
        try:
            (folder / "energy_uj").read_text()
        except PermissionError:
            return f"only the system's administrator may read {folder / 'energy_uj'}"
        except OSError as error:
            return f"{folder / 'energy_uj'}: {error.strerror or 'cannot be read'}"
    return "no counter of a processor package"


def drawn(
    counter: Counter,
    predict: Callable[[], object],
    *,
    busy_s: float = BUSY_S,
    idle_s: float = IDLE_S,
    now: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Drawn:
    """The energy of one prediction: of many in a row, less what the machine draws when it does nothing.

    Args:
      counter: of this machine; it counts every process on it.
      predict: one prediction.
      busy_s: seconds of predictions, at least.
      idle_s: seconds of nothing, half before and half after, so that a slow drift cancels.
      now: a clock in seconds.
      sleep: waits so many seconds.

    Returns:
      The figures.

    Raises:
      OSError: if a counter can no longer be read.
      ValueError: if a counter holds no number.
    """

    def idle() -> tuple[float, float]:
        start, first = now(), counter.read()
        sleep(idle_s / 2)
        return counter.between_mj(first, counter.read()), now() - start

    before_mj, before_s = idle()
    start, first, runs = now(), counter.read(), 0
    while runs == 0 or now() - start < busy_s:
        predict()
        runs += 1
    busy_mj, took_s = counter.between_mj(first, counter.read()), now() - start
    after_mj, after_s = idle()
    idle_w = (before_mj + after_mj) / 1e3 / (before_s + after_s)
    each_mj = (busy_mj - idle_w * took_s * 1e3) / runs
    return Drawn(energy_mj=each_mj if each_mj > 0 else None, runs=runs, idle_w=idle_w, busy_w=busy_mj / 1e3 / took_s)


def _folders(root: Path) -> list[Path]:
    """Zones and zones within them; those of "intel-rapl-mmio" show the packages a second time."""
    try:
        return sorted(path for path in root.iterdir() if path.name.startswith("intel-rapl:"))
    except OSError:
        return []


def _zone(folder: Path) -> Zone | None:
    """The zone of a folder; None where it may not be read or is none."""
    path = folder / "energy_uj"
    try:
        int(path.read_text())
        name = (folder / "name").read_text().strip()
        range_uj = int((folder / "max_energy_range_uj").read_text())
    except (OSError, ValueError):
        return None
    return Zone(name=name, path=path, range_uj=range_uj)
