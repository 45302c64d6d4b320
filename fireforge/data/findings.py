# SPDX-License-Identifier: Apache-2.0
"""What stands out in labelled data: classes out of balance or too small, copies that flatter a test, torn labels."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from fireforge.base.sample import Sample, Skipped
from fireforge.base.value import Value

SHOWN = 10  # groups of duplicates that are named
UNEVEN = 0.2  # balance below which a class is likely to be passed over
FEW_TO_TRAIN = 20  # training pictures of a class below which its accuracy is mostly chance
FEW_TO_TEST = 400  # test pictures below which 95 % of the time more than 5 points are left open
MOST_LOST = 0.05  # share of unusable pictures above which a build refuses


@dataclass(frozen=True, kw_only=True)
class Duplicates(Value):
    """Pictures whose stored content is the same to the byte.

    Args:
      extra: pictures that could go without any content being lost.
      groups: contents that occur more than once.
      across_parts: groups that lie in more than one of the data's own parts, where a test on them flatters.
      across_split: groups that the split would lay in more than one part, the data's own parts or not.
      across_classes: groups that lie in more than one class: some label is wrong.
      examples: names of the first groups.
      torn: names of the first groups that lie in more than one part or class.
    """

    extra: int = 0
    groups: int = 0
    across_parts: int = 0
    across_split: int = 0
    across_classes: int = 0
    examples: tuple[tuple[str, ...], ...] = ()
    torn: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Finding(Value):
    """Something about the data that is worth knowing before training.

    Args:
      code: stable short name in capitals.
      text: one line, with numbers, and what to do.
      loud: whether it makes a result wrong or a build impossible, not only worse.
    """

    code: str
    text: str
    loud: bool = False


def find_duplicates(samples: Sequence[Sample], digests: Sequence[bytes], parts: Mapping[int, str]) -> Duplicates:
    """Equal contents.

    Args:
      samples: the usable pictures.
      digests: the digest of each one's content.
      parts: the part that the split gives to each id; empty where it cannot be split.

    Returns:
      How many, where they lie, and examples.
    """
    same: dict[bytes, list[Sample]] = defaultdict(list)
    for sample, digest in zip(samples, digests):
        same[digest].append(sample)
    groups = [group for group in same.values() if len(group) > 1]
    across_parts = [group for group in groups if len({sample.part for sample in group}) > 1]
    across_split = [group for group in groups if len({parts.get(sample.id) for sample in group}) > 1]
    across_classes = [group for group in groups if len({sample.label for sample in group}) > 1]
    torn = [group for group in groups if group in across_parts or group in across_classes]
    return Duplicates(
        extra=sum(len(group) - 1 for group in groups),
        groups=len(groups),
        across_parts=len(across_parts),
        across_split=len(across_split),
        across_classes=len(across_classes),
        examples=_names(groups[:SHOWN]),
        torn=_names(torn[:SHOWN]),
    )


def findings_on_duplicates(found: Duplicates) -> list[Finding]:
    """What equal contents mean for a result."""
    list_ = []
    if found.across_classes:
        text = f"{found.across_classes:,} contents lie in more than one class: some label is wrong; mend or remove them"
        list_.append(Finding(code="DUP_CLASSES", text=text, loud=True))
    if found.across_parts:
        text = (
            f"{found.across_parts:,} contents lie in more than one part: a test on them flatters; remove them from one"
        )
        list_.append(Finding(code="DUP_PARTS", text=text, loud=True))
    elif found.across_split:
        text = f"{found.across_split:,} contents would lie in more than one part after the split, and flatter the test"
        list_.append(Finding(code="DUP_SPLIT", text=f"{text}; remove copies", loud=True))
    if found.groups:
        text = f"{found.groups:,} contents occur more than once; {found.extra:,} pictures are copies of another"
        list_.append(Finding(code="DUP", text=text))
    return list_


def findings_on_classes(counts: Mapping[str, int], trained: Mapping[str, int]) -> list[Finding]:
    """What the sizes and names of classes mean for a training.

    Args:
      counts: pictures of each class.
      trained: those in the training part; empty where the data cannot be split.

    Returns:
      The findings; none for classes of equal, sufficient size with names that differ.
    """
    found = []
    if counts:
        least, most = min(counts, key=lambda name: counts[name]), max(counts, key=lambda name: counts[name])
        if counts[least] < UNEVEN * counts[most]:
            text = f"{least!r} has {counts[least]:,} pictures, {most!r} {counts[most]:,}"
            found.append(Finding(code="UNEVEN", text=f"{text}: one accuracy hides the small class; look at its recall"))
    few = [name for name, count in trained.items() if count < FEW_TO_TRAIN]
    if few:
        others = f" and {len(few) - 1:,} other classes" if len(few) > 1 else ""
        first = min(few, key=lambda name: trained[name])
        text = f"{first!r}{others} with fewer than {FEW_TO_TRAIN} pictures to train on (it has {trained[first]})"
        found.append(Finding(code="FEW_IMAGES", text=f"{text}: add pictures, or expect chance"))
    alike = _alike(counts)
    if alike:
        names = " and ".join(repr(name) for name in alike[0])
        found.append(Finding(code="CLASS_NAMES", text=f"the classes {names} differ in letter case or spaces alone"))
    return found


def findings_on_test(count: int) -> list[Finding]:
    """How much a test part of some pictures leaves open."""
    if not 0 < count < FEW_TO_TEST:
        return []
    points = 196 * math.sqrt(0.25 / count)
    text = f"the test part has {count:,} pictures: an accuracy near 50 % is known to {points:.0f} points either way"
    return [Finding(code="SMALL_TEST", text=text)]


def finding_on_loss(lost: int, used: int) -> list[Finding]:
    """Whether so many pictures cannot be used that a build refuses."""
    if not lost or lost <= MOST_LOST * (lost + used):
        return []
    text = f"{lost:,} of {lost + used:,} pictures cannot be used; a build refuses more than {MOST_LOST:.0%}"
    return [Finding(code="TOO_MANY_BAD", text=text, loud=True)]


def finding_on_damage(broken: Iterable[Skipped]) -> list[Finding]:
    """Whether pictures of a packed dataset are not what was packed: it is used whole or not at all."""
    found = [item.name for item in broken if item.code == "BAD_SHARD"]
    if not found:
        return []
    text = f"{len(found):,} packed pictures are damaged, such as {found[0]}: no training takes this dataset"
    return [Finding(code="BAD_SHARD", text=f"{text}; fireforge pack once more, from the original data", loud=True)]


def _names(groups: Iterable[list[Sample]]) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(sample.name for sample in group) for group in groups)


def _alike(names: Iterable[str]) -> list[list[str]]:
    same: dict[str, list[str]] = defaultdict(list)
    for name in names:
        same["".join(name.casefold().split())].append(name)
    return [group for group in same.values() if len(group) > 1]
