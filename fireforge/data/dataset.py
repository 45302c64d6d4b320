# SPDX-License-Identifier: Apache-2.0
"""Labelled pictures that can be read one by one, with a ledger of what was found and what was used."""

from __future__ import annotations

import functools
import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from fireforge.base.errors import FireforgeError
from fireforge.base.sample import Noted, Sample, Skipped
from fireforge.base.value import Json, canonical_json
from fireforge.data.samples import OWNERS, PARTS, Digests, labels_of, owners_of

__all__ = ["PARTS"]

Content = bytes | np.ndarray


@dataclass(frozen=True, kw_only=True, eq=False)
class Known:
    """What packed data knows of itself, since every picture was decoded and read when it was packed.

    Args:
      sha256: see `Dataset.sha256`.
      digests: see `Dataset.digests`.
    """

    sha256: str
    digests: Digests


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """Labelled pictures of one source; every format gives one of these.

    Args:
      format: name of the format that read it.
      source: the path or name that it was opened by.
      labels: class names, in the order of the label numbers.
      samples: the usable pictures; sample i has id i. A tuple, or columns where they are many.
      skipped: what was found and not used.
      notes: remarks about samples that are used; known once they were decoded, see `fireforge.data.check.drop_broken`.
      reader: content of the sample with an id; picklable, so that the dataset crosses a process pool.
      known: where the data was packed; every picture then decodes whole. None for all else.
    """

    format: str
    source: str
    labels: tuple[str, ...]
    samples: Sequence[Sample]
    skipped: tuple[Skipped, ...] = ()
    notes: tuple[Noted, ...] = ()
    reader: Callable[[int], Content] = field(repr=False, compare=False)
    known: Known | None = field(default=None, repr=False, compare=False)

    def read(self, sample_id: int) -> Content:
        """The stored picture of a sample.

        Args:
          sample_id: 0 to the number of samples - 1.

        Returns:
          The bytes of the encoded file, or a uint8 array (H, W) or (H, W, 3).

        Raises:
          FireforgeError: NO_SAMPLE, or NO_FILE if the file went away since the dataset was opened.
        """
        if not 0 <= sample_id < len(self.samples):
            raise FireforgeError(
                "NO_SAMPLE", f"no sample {sample_id}", where=self.source, allowed=f"0 to {len(self.samples) - 1}"
            )
        return self.reader(int(sample_id))

    def where(self, sample_id: int) -> str:
        """The sample's place for messages: source and name."""
        return f"{self.source.rstrip('/')}/{self.samples[sample_id].name}"

    @functools.cached_property
    def sha256(self) -> str:
        """Sha256 over labels, names, parts and contents, 64 hex digits; the same wherever the data stands.

        Every content is read the first time that this is asked for, unless the data was packed.
        """
        if self.known is not None:
            return self.known.sha256
        total = SampleDigest(self.labels)
        for sample, digest in zip(self.samples, self.digests):
            total.add(sample, digest)
        return total.hexdigest()

    @functools.cached_property
    def digests(self) -> Sequence[bytes]:
        """Of each picture as stored, 32 bytes, in the order of ids; every content is read, unless it was packed."""
        if self.known is not None:
            return self.known.digests
        return tuple(content_digest(self.read(sample.id)) for sample in self.samples)

    @property
    def found(self) -> int:
        """Everything that was looked at: used and skipped."""
        return len(self.samples) + len(self.skipped)

    @property
    def targets(self) -> np.ndarray:
        """Label of each sample, int64 (N,), in the order of ids."""
        return labels_of(self.samples)

    @property
    def owners(self) -> np.ndarray:
        """Part of each sample, uint8 (N,): 0 where the data does not say, 1 train, 2 val, 3 test."""
        return owners_of(self.samples)

    def counts(self) -> dict[str, dict[str, int]]:
        """Pictures by class and part; the part of data without parts of its own is called "all"."""
        cells = np.bincount(self.targets * len(OWNERS) + self.owners, minlength=len(self.labels) * len(OWNERS))
        table = cells.reshape(-1, len(OWNERS)).tolist()
        return {
            label: {part or "all": count for part, count in zip(OWNERS, row) if count}
            for label, row in zip(self.labels, table)
        }

    def ledger(self) -> dict[str, Json]:
        """What was found, used, skipped and noted by code, and the counts by class and part."""
        codes = Counter(item.code for item in self.skipped)
        notes = Counter(item.code for item in self.notes)
        return {
            "found": self.found,
            "used": len(self.samples),
            "skipped": dict(sorted(codes.items())),
            "notes": dict(sorted(notes.items())),
            "counts": self.counts(),
        }


class SampleDigest:
    """Sha256 of a dataset, sample by sample; see `Dataset.sha256`.

    Args:
      labels: class names.
    """

    def __init__(self, labels: Sequence[str]) -> None:
        self._total = hashlib.sha256(canonical_json(list(labels)).encode("utf-8"))

    def add(self, sample: Sample, digest: bytes) -> None:
        """Count a sample in, in the order of ids.

        Args:
          sample: its name, label and part are used.
          digest: of its content.
        """
        self._total.update(canonical_json([sample.name, sample.label, sample.part]).encode("utf-8"))
        self._total.update(digest)

    def hexdigest(self) -> str:
        """64 hex digits over all that was added."""
        return self._total.hexdigest()


def content_digest(content: Content) -> bytes:
    """Sha256 of one picture as stored, 32 bytes; an array's shape counts."""
    if isinstance(content, bytes):
        return hashlib.sha256(b"file:" + content).digest()
    head = f"array:{content.shape}:".encode("ascii")
    return hashlib.sha256(head + np.ascontiguousarray(content).tobytes()).digest()


def check_classes(labels: tuple[str, ...], *, where: str) -> None:
    """Refuse data that cannot teach a classifier.

    Args:
      labels: class names.
      where: the source, for the message.

    Raises:
      FireforgeError: ONE_CLASS, if there are fewer than two.
    """
    if len(labels) < 2:
        name = f"only the class {labels[0]!r}" if labels else "no class"
        raise FireforgeError("ONE_CLASS", f"there is {name}", where=where, allowed="two or more classes")
