# SPDX-License-Identifier: Apache-2.0
"""What a dataset holds, before anything is trained on it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from fireforge.base.errors import FireforgeError
from fireforge.base.progress import Progress, silent
from fireforge.base.sample import Noted, Skipped
from fireforge.base.trial import DataRef
from fireforge.base.value import Value
from fireforge.data.check import Look, each, look, lost_pictures, without
from fireforge.data.dataset import PARTS, Dataset, content_digest
from fireforge.data.findings import (
    Duplicates,
    Finding,
    find_duplicates,
    finding_on_damage,
    finding_on_loss,
    findings_on_classes,
    findings_on_duplicates,
    findings_on_test,
)
from fireforge.data.outputs import LABEL
from fireforge.data.split import split


@dataclass(frozen=True, kw_only=True)
class Inspection(Value):
    """What `inspect` found.

    Args:
      format: name of the format.
      source: the path or name.
      output: what the answer to a picture is.
      classes: names in the order of label numbers.
      found: everything looked at: used and skipped.
      used: pictures that can be used.
      skipped: number skipped, by code.
      counts: pictures by class and part; "all" for data without parts of its own.
      split: pictures by class and part as a build with this seed would split them; empty where it cannot.
      seed: of the split.
      balance: pictures of the smallest class over those of the greatest, 1 is even.
      height_px: least, median and greatest height.
      width_px: least, median and greatest width.
      modes: number of pictures by stored colour mode ("L", "RGB", "P").
      duplicates: equal contents.
      findings: what stands out, loud ones first.
      unreadable: each file that was found and not used, with the reason.
      notes: remarks about pictures that are used.
      checked: whether every picture was decoded whole.
    """

    format: str
    source: str
    output: str = LABEL
    classes: tuple[str, ...]
    found: int
    used: int
    skipped: dict[str, int] = field(default_factory=dict)
    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    split: dict[str, dict[str, int]] = field(default_factory=dict)
    seed: int = 0
    balance: float = 0.0
    height_px: tuple[int, int, int] = (0, 0, 0)
    width_px: tuple[int, int, int] = (0, 0, 0)
    modes: dict[str, int] = field(default_factory=dict)
    duplicates: Duplicates = field(default_factory=Duplicates)
    findings: tuple[Finding, ...] = ()
    unreadable: tuple[Skipped, ...] = ()
    notes: tuple[Noted, ...] = ()
    checked: bool = True


def inspect(dataset: Dataset, *, check: bool = True, seed: int = 0, progress: Progress = silent) -> Inspection:
    """Read every picture once and say what the dataset holds.

    Args:
      dataset: any.
      check: decode every picture whole, so that damaged files are found; otherwise headers are read.
      seed: of the split that is proposed.
      progress: told how many are done.

    Returns:
      The findings; a damaged picture counts as skipped.
    """
    looks: list[Look] = []
    digests: list[bytes] = []
    broken: dict[int, Skipped] = {}
    notes: list[Noted] = list(dataset.notes)
    for sample in each(range(len(dataset.samples)), stage="inspect", progress=progress):
        try:
            content = dataset.read(sample)
            seen = look(content, where=dataset.where(sample), full=check)
        except FireforgeError as error:
            broken[sample] = Skipped(name=dataset.samples[sample].name, code=error.code, reason=error.what)
        else:
            looks.append(seen)
            digests.append(content_digest(content))
            notes += [Noted(name=dataset.samples[sample].name, code=code) for code in seen.notes]
    whole = without(dataset, broken)
    ledger = whole.ledger()
    table, parts, why_not = _proposed(whole, digests, seed)
    totals = {name: sum(row.values()) for name, row in whole.counts().items()}
    duplicates = find_duplicates(whole.samples, digests, parts)
    findings = [
        *why_not,
        *finding_on_loss(max(len(lost_pictures(whole.skipped)), len(broken)), len(whole.samples)),
        *finding_on_damage(broken.values()),
        *findings_on_duplicates(duplicates),
        *findings_on_classes(totals, {name: row["train"] for name, row in table.items()}),
        *findings_on_test(sum(row["test"] for row in table.values())),
    ]
    return Inspection(
        format=dataset.format,
        source=dataset.source,
        classes=dataset.labels,
        found=ledger["found"],
        used=ledger["used"],
        skipped=ledger["skipped"],
        counts=ledger["counts"],
        split=table,
        seed=seed,
        balance=round(min(totals.values()) / max(totals.values()), 4) if any(totals.values()) else 0.0,
        height_px=_spread([item.height_px for item in looks]),
        width_px=_spread([item.width_px for item in looks]),
        modes=dict(Counter(item.mode for item in looks).most_common()),
        duplicates=duplicates,
        findings=tuple(sorted(findings, key=lambda finding: not finding.loud)),
        unreadable=whole.skipped,
        notes=tuple(notes),
        checked=check,
    )


def _proposed(
    dataset: Dataset, digests: Sequence[bytes], seed: int
) -> tuple[dict[str, dict[str, int]], dict[int, str], list[Finding]]:
    """Counts by class and part, the part of each id, and the reason where the data cannot be split."""
    try:
        parts = split(dataset, DataRef(source=dataset.source, seed=seed), digests=digests)
    except FireforgeError as error:
        text = f"{error.what}; {error.do or error.allowed}"
        return {}, {}, [Finding(code=error.code, text=f"it cannot be split: {text}", loud=True)]
    ids = {name: parts.ids(name) for name in PARTS}
    counts = {name: np.bincount(dataset.targets[found], minlength=len(dataset.labels)) for name, found in ids.items()}
    table = {label: {name: int(counts[name][i]) for name in PARTS} for i, label in enumerate(dataset.labels)}
    return table, {int(i): name for name, found in ids.items() for i in found}, []


def _spread(values: list[int]) -> tuple[int, int, int]:
    if not values:
        return 0, 0, 0
    return min(values), int(np.median(values)), max(values)
