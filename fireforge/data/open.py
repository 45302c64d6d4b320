# SPDX-License-Identifier: Apache-2.0
"""From what a user names to a dataset: the format is sniffed, never asked for."""

from __future__ import annotations

import os
from pathlib import Path

from fireforge.base.errors import FireforgeError
from fireforge.base.trial import DataRef
from fireforge.data.check import drop_broken
from fireforge.data.dataset import Dataset
from fireforge.data.formats.table import FORMATS


def open_dataset(source: str | Path) -> Dataset:
    """The dataset of a path or of a known name; a known name wins over a folder ("./digits" is the folder).

    Args:
      source: "digits", or a folder or file of one of FORMATS.

    Returns:
      The dataset; pictures in files are not decoded yet.

    Raises:
      FireforgeError: NO_DATA where nothing is there, BAD_LAYOUT where no format takes it, or what the format raises.
    """
    if isinstance(source, Path) and not source.is_absolute():
        source = os.path.join(".", source)
    text = str(source)
    for item in FORMATS.values():
        if item.recognise(text):
            return item.open(text)
    accepted = "; ".join(item.accepts for item in FORMATS.values())
    if os.path.exists(os.path.expanduser(text)):
        raise FireforgeError("BAD_LAYOUT", "a file of no known format", where=text, allowed=accepted)
    raise FireforgeError("NO_DATA", "nothing is there", where=text or '""', allowed=accepted)


def open_ref(ref: DataRef) -> Dataset:
    """The dataset that a reference names, proved to be the same.

    Where the digest differs, pictures that cannot be decoded are left out and it is compared once more, because a
    reference may have been taken after `drop_broken`.

    Args:
      ref: source and sha256; an empty sha256 is not compared.

    Returns:
      The dataset.

    Raises:
      FireforgeError: DATA_CHANGED, or what `open_dataset` raises.
    """
    dataset = open_dataset(ref.source)
    if not ref.sha256 or dataset.sha256 == ref.sha256:
        return dataset
    whole = drop_broken(dataset)
    if whole.sha256 == ref.sha256:
        return whole
    raise FireforgeError(
        "DATA_CHANGED",
        f"the data's sha256 begins {dataset.sha256[:12]}, that of the reference {ref.sha256[:12]}",
        where=ref.source,
        do="a new output folder, or the data as it was",
    )
