# SPDX-License-Identifier: Apache-2.0
"""What a run's data holds: classes, counts, what was left out, and some of its pictures."""

from __future__ import annotations

from dataclasses import dataclass, field

from fireforge.base.errors import FireforgeError
from fireforge.base.value import Value


@dataclass(frozen=True, kw_only=True)
class SamplePicture(Value):
    """A picture to show.

    Args:
      label: its class.
      png: a small PNG file in base64.
    """

    label: str
    png: str


@dataclass(frozen=True, kw_only=True)
class DataCard(Value):
    """The data of a run; found = used + skipped.

    Args:
      source: path or name.
      format: a name of `fireforge.data.formats.table.FORMATS`.
      labels: class names.
      counts: part ("train", "val", "test") to pictures of each class.
      found: files or rows.
      used: pictures.
      skipped: reason to number.
      input: (C, H, W) of the network's input.
      samples: some pictures of the training part.
      seen: test pictures whose content, to the byte, is also that of a training or validation picture.
    """

    source: str
    format: str
    labels: tuple[str, ...]
    counts: dict[str, tuple[int, ...]]
    found: int
    used: int
    skipped: dict[str, int] = field(default_factory=dict)
    input: tuple[int, int, int]
    samples: tuple[SamplePicture, ...] = ()
    seen: int = 0

    def __post_init__(self) -> None:
        """Refuse counts that are not one a class."""
        for part, counts in self.counts.items():
            if len(counts) != len(self.labels):
                what = f"{len(counts)} counts of the part {part!r} for {len(self.labels)} classes"
                raise FireforgeError("BAD_RECORD", what, where="DataCard")
