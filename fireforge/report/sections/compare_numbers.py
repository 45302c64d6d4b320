# SPDX-License-Identifier: Apache-2.0
"""The numbers behind the pictures of a comparison, and how they came to be."""

from __future__ import annotations

import fireforge.report.parts as parts
import fireforge.report.show as show
from fireforge.base.comparison import Compared, Comparison
from fireforge.base.published import Published
from fireforge.base.units import show_bytes
from fireforge.report.markup import Markup, tag
from fireforge.report.sections.compare_accuracy import percent_words

HOW_WORDS = {"speed": "Images a second", "counted": "Memory, counted", "measured": "Memory, measured"}


def numbers(found: Comparison) -> Markup:
    """Two tables: what is counted and measured, and what was printed."""
    header = (
        *("Network", "Input", "Parameters", "MACs", "Memory counted", "Memory measured"),
        *("Images/s", "Runs", "Median", "Least"),
    )
    rows = [_row(row) for row in found.networks]
    printed = [(row, row.published) for row in found.networks if row.published is not None]
    table = parts.table(
        ("Network", "Year", "Top-1", "Top-5", "Parameters", "GMACs", "Size", "Source"),
        [_printed(row, said) for row, said in printed],
        words=(0, 7),
    )
    return parts.section(
        "numbers",
        "The numbers",
        tag("h3", "Counted and measured, one picture"),
        parts.table(header, rows, words=(0,)),
        _untimed(found),
        tag("h3", "Published") if printed else None,
        table if printed else parts.missing("Nothing was published of these networks."),
    )


def machine(found: Comparison) -> Markup:
    """How the numbers came to be, on which machine, with which versions."""
    hardware = found.hardware
    told = [(HOW_WORDS.get(name, name), words) for name, words in found.how.items()]
    return parts.section(
        "how",
        "How this was measured",
        parts.pairs(
            (
                *told,
                ("Published", "as printed in the sources above; nothing of it was measured here"),
                ("Processor", f"{hardware.processor}, {show.some(hardware.cores, 'core')}"),
                ("Memory", show_bytes(hardware.memory_bytes) if hardware.memory_bytes else ""),
                ("Instructions", ", ".join(hardware.instructions)),
                ("System", f"{hardware.system}, {hardware.architecture}"),
                ("Threads", found.threads),
                ("Versions", ", ".join(f"{name} {version}" for name, version in found.versions.items())),
            )
        ),
    )


def rate_words(rate: float) -> str:
    """Images a second with three digits that count, or all before the point."""
    return f"{rate:,.0f}" if rate >= 100 else f"{rate:.3g}"


def _row(row: Compared) -> tuple[object, ...]:
    first, speed = row.memory[0], row.speed
    return (
        row.name,
        "×".join(map(str, row.input_shape)),
        show.count(row.cost.params),
        show.compact(row.cost.macs),
        parts.number(first.counted_bytes, show.bytes_words(first.counted_bytes)),
        parts.number(first.measured_bytes, show.bytes_words(first.measured_bytes)),
        show.NONE if speed is None else parts.number(speed.images_per_second, rate_words(speed.images_per_second)),
        show.count(None if speed is None else speed.runs),
        show.milliseconds(None if speed is None else speed.median_ms),
        show.milliseconds(None if speed is None else speed.least_ms),
    )


def _printed(row: Compared, said: Published) -> tuple[object, ...]:
    top1, top5 = (show.NONE if share is None else percent_words(share) for share in (said.top1, said.top5))
    source = f"{said.source}; {said.note}" if said.note else said.source
    params, rest = show.count(said.params), (said.gmacs or show.NONE, said.size or show.NONE)
    return (row.name, str(said.year), top1, top5, params, *rest, tag("span", source, class_="fine"))


def _untimed(found: Comparison) -> Markup | None:
    lines = [f"{row.name}: {row.why}" for row in found.networks if row.speed is None]
    lines += [f"{name}: {why}" for name, why in found.absent.items()]
    return parts.missing(f"Not timed: {'; '.join(lines)}.") if lines else None
