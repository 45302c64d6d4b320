# SPDX-License-Identifier: Apache-2.0
"""From what a user names to a dataset: the format is sniffed, never asked for."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

from fireforge.base.errors import FireforgeError
from fireforge.base.progress import Progress, silent
from fireforge.base.sample import Noted
from fireforge.base.trial import DataRef
from fireforge.data.check import drop_broken
from fireforge.data.dataset import Dataset
from fireforge.data.formats.table import FORMATS
from fireforge.data.remote.address import LOCAL, is_address, local_path, scheme_of
from fireforge.data.remote.fetch import Fetched, fetch


def open_dataset(source: str | Path, *, progress: Progress = silent) -> Dataset:
    """The dataset of a path, of a URL or of a known name; a known name wins over a folder ("./digits" is the folder).

    Args:
      source: "digits", or a folder, file or URL of one of FORMATS.
      progress: told how much of a URL's data is there.

    Returns:
      The dataset; pictures in files are not decoded yet.

    Raises:
      FireforgeError: NO_DATA where nothing is there, BAD_LAYOUT where no format takes it, or what fetching it or the
        format raises.
    """
    if isinstance(source, Path) and not source.is_absolute():
        source = os.path.join(".", source)
    text = str(source)
    if not is_address(text):
        return _open(text)
    if scheme_of(text) in LOCAL:
        return _open(local_path(text))
    return _open_fetched(fetch(text, progress=progress))


def _open_fetched(fetched: Fetched) -> Dataset:
    """The dataset of a URL's copy, which goes by the URL."""
    path = str(fetched.path)
    try:
        dataset = _open(path)
    except FireforgeError as error:
        where, what = (text.replace(path, fetched.shown) for text in (error.where, error.what))
        do = "the URL of the file itself; this one is a web page" if _is_page(fetched.path) else error.do
        raise FireforgeError(
            error.code, what, where=where, allowed=error.allowed, do=do, exit_code=error.exit_code
        ) from error
    notes = tuple(Noted(name=fetched.shown, code=code) for code in fetched.notes)
    return dataclasses.replace(dataset, source=fetched.shown, notes=(*notes, *dataset.notes))


def _is_page(path: Path) -> bool:
    """Whether a file is the page that a server sends to people."""
    if not path.is_file():
        return False
    with open(path, "rb") as stream:
        head = stream.read(64).lstrip().lower()
    return head.startswith((b"<!doctype html", b"<html"))


def _open(text: str) -> Dataset:
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
