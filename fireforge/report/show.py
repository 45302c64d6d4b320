# SPDX-License-Identifier: Apache-2.0
"""Numbers in words for people."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

from fireforge.base.budget import LIMITS
from fireforge.base.spec import NetSpec
from fireforge.base.units import show_bytes

LONG = 60  # letters of a parameter that are still told
NONE = "–"  # what stands where nothing was measured
# limit -> what it limits, in words
LIMIT_WORDS = {
    "max_bytes": "File size",
    "max_latency_ms": "Latency",
    "max_memory_bytes": "Memory",
    "max_energy_mj": "Energy",
    "min_accuracy": "Accuracy",
}


def percent(share: float | None, *, digits: int = 1) -> str:
    """A share as "98.4 %"; a dash for None."""
    return NONE if share is None else f"{100 * share:.{digits}f} %"


def axis_percent(share: float) -> str:
    """A mark of an axis: a share as "95 %" or "99.5 %"."""
    return f"{100 * share:.4g} %"


def interval_words(interval: Sequence[float] | None) -> str:
    """A 95 % interval of a share as "96.5 to 99.3 %"; nothing for None."""
    return f"{100 * interval[0]:.1f} to {100 * interval[1]:.1f} %" if interval else ""


def percent_interval(share: float | None, interval: Sequence[float] | None) -> str:
    """A share with its interval, "98.4 % (96.5 to 99.3 %)"."""
    words = interval_words(interval)
    return f"{percent(share)} ({words})" if words and share is not None else percent(share)


def count(number: float | None) -> str:
    """A whole number with commas; a dash for None."""
    return NONE if number is None else f"{number:,.0f}"


def some(number: int, what: str) -> str:
    """A count with its noun: "1 trial", "12 trials"."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def compact(number: float | None) -> str:
    """A large count as "861 M" or "12.4 k"; a dash for None."""
    if number is None:
        return NONE
    for size, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(number) >= size:
            return f"{_three(number / size)} {letter}"
    return _three(number)


def bytes_words(number: float | None) -> str:
    """Bytes for people; a dash for None."""
    return NONE if number is None else show_bytes(number)


def milliseconds(time_ms: float | None) -> str:
    """Milliseconds with three digits that count; a dash for None."""
    return NONE if time_ms is None else f"{_three(time_ms)} ms"


def millijoules(energy_mj: float | None) -> str:
    """An energy with three digits that count, "2.5 mJ" or "161 nJ"; a dash for None."""
    if energy_mj is None:
        return NONE
    for size, unit in ((1e3, "J"), (1.0, "mJ"), (1e-3, "µJ")):
        if abs(energy_mj) >= size:
            return f"{_three(energy_mj / size)} {unit}"
    return f"{_three(energy_mj * 1e6)} nJ"


def limit_words(name: str, limit: float, achieved: float | None) -> tuple[str, str]:
    """A limit and what was achieved, with enough digits that two numbers that differ look different.

    Args:
      name: of LIMITS.
      limit: what was allowed.
      achieved: what was measured, or None.

    Returns:
      The two in words, such as ("98.0 %", "97.96 %").
    """
    for digits in range(1, 10):
        told = _quantity(name, limit, digits)
        if achieved is None:
            if _number(told) == _scaled(name, limit):
                return told, NONE
        elif achieved == limit or _quantity(name, achieved, digits) != told:
            return told, _quantity(name, achieved, digits)
    return _quantity(name, limit, 10), _quantity(name, achieved, 10)


def margin_words(name: str, limit: float, achieved: float | None) -> str:
    """The room left under a limit (over it, for accuracy); negative where it is broken; a dash if not measured."""
    if achieved is None:
        return NONE
    room = (achieved - limit) * LIMITS.get(name, ("", -1))[1]
    if name == "min_accuracy":
        digits = 1 if abs(room) >= 0.0005 or room == 0 else 3
        return f"{100 * room:+.{digits}f} points"
    share = f" ({room / limit:+.1%})".replace("%", " %") if limit else ""
    sign = "+" if room >= 0 else "-"
    size = _quantity(name, abs(room), 1) if name.endswith("_bytes") else f"{_three(abs(room))}{_unit(name)}"
    return f"{sign}{size}{share}"


def spec_words(spec: NetSpec, *, only: Collection[str] | None = None) -> str:
    """A NetSpec as "firenet(base=16, blocks=4)".

    Args:
      spec: of a network.
      only: names of the parameters that are told; None for all.

    Returns:
      One line.
    """
    return f"{spec.family}({params_words(spec, only=only)})"


def params_words(spec: NetSpec, *, only: Collection[str] | None = None) -> str:
    """The parameters of a NetSpec as "base=16, blocks=4", long texts by their length; arguments as for `spec_words`."""
    told = {key: value for key, value in spec.params.items() if only is None or key in only}
    return ", ".join(
        f"{key}={value if len(str(value)) <= LONG else _letters(str(value))}" for key, value in told.items()
    )


def _letters(text: str) -> str:
    return f"{len(text):,} letters"


def _quantity(name: str, value: float | None, digits: int) -> str:
    if value is None:
        return NONE
    if name.endswith("_bytes"):
        return f"{value:,.0f} B" if float(value).is_integer() else f"{value:,.{digits}f} B"
    if name == "min_accuracy":
        return percent(value, digits=digits)
    if name.endswith("_mj") and 0 < abs(value) < 1:
        return f"{value:.{digits + 2 - math.floor(math.log10(abs(value)))}f}".rstrip("0") + _unit(name)
    text = f"{value:,.{digits + 2}f}"
    return (text.rstrip("0").rstrip(".") if "." in text else text) + _unit(name)


def _unit(name: str) -> str:
    return " ms" if name.endswith("_ms") else " mJ" if name.endswith("_mj") else ""


def _number(words: str) -> float:
    return float(words.split(" ")[0].replace(",", ""))


def _scaled(name: str, value: float) -> float:
    return round(100 * value, 9) if name == "min_accuracy" else value


def _three(number: float) -> str:
    digits = 0 if abs(number) >= 100 else 1 if abs(number) >= 10 else 2 if abs(number) >= 1 else 3
    text = f"{number:,.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
