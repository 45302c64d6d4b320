# SPDX-License-Identifier: Apache-2.0
"""Resident memory of this process, now and at its peak, in bytes."""

from __future__ import annotations

from pathlib import Path

STATUS = Path("/proc/self/status")
RESET = Path("/proc/self/clear_refs")
MACHINE = Path("/proc/meminfo")
GROUP = Path("/sys/fs/cgroup")  # of a container that is held to less than the machine has


def resident_bytes() -> int | None:
    """Resident memory now; None where the system does not tell."""
    return _field("VmRSS")


def peak_bytes() -> int | None:
    """The most resident memory since the process began or `reset_peak` was called; None where it is not told."""
    return _field("VmHWM")


def reset_peak() -> bool:
    """Let the peak begin anew at what is resident now.

    Returns:
      Whether the system did it; where it did not, the peak stays that of the whole process.
    """
    try:
        RESET.write_text("5")
    except OSError:
        return False
    return True


def free_bytes() -> int | None:
    """Memory that a new process may take: what the machine has left, or the container; None where neither tells."""
    left = [] if (machine := _field("MemAvailable", MACHINE)) is None else [machine]
    try:
        most, used = (int((GROUP / f"memory.{name}").read_text()) for name in ("max", "current"))
    except (OSError, ValueError):  # no container, or one without a limit, which says "max"
        return min(left, default=None)
    return min([*left, max(0, most - used)])


def _field(name: str, path: Path | None = None) -> int | None:
    try:
        lines = (path or STATUS).read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    return None
