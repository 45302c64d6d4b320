# SPDX-License-Identifier: Apache-2.0
"""What a dataset holds, before anything is trained on it."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field

import numpy as np

from fireforge.base.errors import FireforgeError
from fireforge.base.progress import Progress, silent
from fireforge.base.sample import Skipped
from fireforge.base.value import Value
from fireforge.data.check import Look, each, look, without
from fireforge.data.dataset import Dataset, content_digest

SHOWN = 10  # groups of duplicates that are named


@dataclass(frozen=True, kw_only=True)
class Duplicates(Value):
    """Pictures whose stored content is the same to the byte.

    Args:
      extra: pictures that could go without any content being lost.
      groups: contents that occur more than once.
      across_parts: groups that lie in more than one part, where a test on them would flatter.
      across_classes: groups that lie in more than one class: some label is wrong.
      examples: names of the first groups.
    """

    extra: int = 0
    groups: int = 0
    across_parts: int = 0
    across_classes: int = 0
    examples: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Inspection(Value):
    """What `inspect` found.

    Args:
      format: name of the format.
      source: the path or name.
      classes: names in the order of label numbers.
      found: everything looked at: used and skipped.
      used: pictures that can be used.
      skipped: number skipped, by code.
      counts: pictures by class and part; "all" for data without parts of its own.
      balance: pictures of the smallest class over those of the greatest, 1 is even.
      height_px: least, median and greatest height.
      width_px: least, median and greatest width.
      modes: number of pictures by stored colour mode ("L", "RGB", "P").
      duplicates: equal contents.
      unreadable: each file that was found and not used, with the reason.
      checked: whether every picture was decoded whole.
    """

    format: str
    source: str
    classes: tuple[str, ...]
    found: int
    used: int
    skipped: dict[str, int] = field(default_factory=dict)
    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    balance: float = 0.0
    height_px: tuple[int, int, int] = (0, 0, 0)
    width_px: tuple[int, int, int] = (0, 0, 0)
    modes: dict[str, int] = field(default_factory=dict)
    duplicates: Duplicates = Duplicates()
    unreadable: tuple[Skipped, ...] = ()
    checked: bool = True


def inspect(dataset: Dataset, *, check: bool = True, progress: Progress = silent) -> Inspection:
    """Read every picture once and say what the dataset holds.

    Args:
      dataset: any.
      check: decode every picture whole, so that damaged files are found; otherwise headers are read.
      progress: told how many are done.

    Returns:
      The findings; a damaged picture counts as skipped.
    """
    looks: dict[int, Look] = {}
    digests: dict[int, bytes] = {}
    broken: dict[int, Skipped] = {}
    for sample in each(range(len(dataset.samples)), stage="inspect", progress=progress):
        try:
            content = dataset.read(sample)
            looks[sample] = look(content, where=dataset.where(sample), full=check)
            digests[sample] = content_digest(content)
        except FireforgeError as error:
            broken[sample] = Skipped(name=dataset.samples[sample].name, code=error.code, reason=error.what)
    whole = without(dataset, broken)
    ledger = whole.ledger()
    totals = [sum(row.values()) for row in whole.counts().values()]
    return Inspection(
        format=dataset.format,
        source=dataset.source,
        classes=dataset.labels,
        found=ledger["found"],
        used=ledger["used"],
        skipped=ledger["skipped"],
        counts=ledger["counts"],
        balance=round(min(totals) / max(totals), 4) if any(totals) else 0.0,
        height_px=_spread([item.height_px for item in looks.values()]),
        width_px=_spread([item.width_px for item in looks.values()]),
        modes=dict(Counter(item.mode for item in looks.values()).most_common()),
        duplicates=_duplicates(dataset, digests),
        unreadable=whole.skipped,
        checked=check,
    )


def _duplicates(dataset: Dataset, digests: dict[int, bytes]) -> Duplicates:
    same: dict[bytes, list[int]] = defaultdict(list)
    for sample, digest in digests.items():
        same[digest].append(sample)
    groups = [[dataset.samples[i] for i in ids] for ids in same.values() if len(ids) > 1]
    return Duplicates(
        extra=sum(len(group) - 1 for group in groups),
        groups=len(groups),
        across_parts=sum(len({sample.part for sample in group}) > 1 for group in groups),
        across_classes=sum(len({sample.label for sample in group}) > 1 for group in groups),
        examples=tuple(tuple(sample.name for sample in group) for group in groups[:SHOWN]),
    )


def _spread(values: list[int]) -> tuple[int, int, int]:
    if not values:
        return 0, 0, 0
    return min(values), int(np.median(values)), max(values)
