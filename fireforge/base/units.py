# SPDX-License-Identifier: Apache-2.0
"""Quantities with units, as people write them on a command line, and back again."""

from __future__ import annotations

import re

from fireforge.base.errors import FireforgeError

BYTES = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}
MILLISECONDS = {"us": 1e-3, "ms": 1.0, "s": 1e3}
SECONDS = {"ms": 1e-3, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
MILLIJOULES = {"nj": 1e-6, "uj": 1e-3, "mj": 1.0, "j": 1e3}


def parse_bytes(text: str) -> int:
    """Bytes of a size such as "300KB" (1,000 bytes each) or "300KiB" (1,024 bytes each)."""
    return round(_parse(text.upper(), BYTES, "size", "40KB, 1.5MB, 300KiB"))


def parse_milliseconds(text: str) -> float:
    """Milliseconds of a time such as "3ms" or "0.5s"."""
    return _parse(text.lower(), MILLISECONDS, "latency", "3ms, 500us")


def parse_seconds(text: str) -> float:
    """Seconds of a time such as "90s", "20m" or "2h"."""
    return _parse(text.lower(), SECONDS, "time", "90s, 20m, 2h")


def parse_millijoules(text: str) -> float:
    """Millijoules of an energy such as "5mJ"."""
    return _parse(text.lower(), MILLIJOULES, "energy", "5mJ, 0.2J, 300nJ")


def parse_share(text: str) -> float:
    """A share in [0, 1] of "0.98" or "98%"."""
    match = re.fullmatch(r"\s*([0-9]*\.?[0-9]+)\s*(%?)\s*", text)
    value = float(match[1]) / (100 if match[2] else 1) if match else -1.0
    if not 0 <= value <= 1:
        raise FireforgeError("BAD_UNIT", f"{text!r} is not a share", allowed="0.98 or 98%")
    return value


def show_bytes(count: float) -> str:
    """Bytes for people: "39,812 B", "1.25 MB"."""
    if abs(count) < 100_000:
        return f"{count:,.0f} B"
    for unit, size in (("KB", 10**3), ("MB", 10**6)):
        if abs(count) < size * 1000:
            return f"{count / size:.1f} {unit}" if count / size >= 100 else f"{count / size:.2f} {unit}"
    return f"{count / 10**9:,.2f} GB"


def show_seconds(seconds: float) -> str:
    """Seconds for people: "0.8 s", "1 min 20 s", "2 h 05 min"."""
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def _parse(text: str, units: dict[str, float] | dict[str, int], kind: str, examples: str) -> float:
    match = re.fullmatch(r"\s*(-?[0-9]*\.?[0-9]+(?:[Ee][+-]?[0-9]+)?)\s*([A-Za-z]+)\s*", text)
    if match is None or match[2] not in units:
        article = "an" if kind[0] in "aeiou" else "a"
        raise FireforgeError("BAD_UNIT", f"{text!r} is not {article} {kind} with a unit", allowed=examples)
    if not 0 < float(match[1]) < 1e18:
        raise FireforgeError("BAD_UNIT", f"{text!r} is no {kind} that can be kept", allowed=f"more than 0: {examples}")
    return float(match[1]) * units[match[2]]
