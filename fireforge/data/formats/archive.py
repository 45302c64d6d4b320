# SPDX-License-Identifier: Apache-2.0
"""A zip or tar of class folders, of a list with its pictures, of keyed members, or of npz, idx or CIFAR files."""

from __future__ import annotations

import dataclasses
import functools
import os
import tempfile
from collections import Counter
from pathlib import Path

from fireforge.base.errors import FireforgeError
from fireforge.base.files import write_bytes
from fireforge.base.picture.sniff import refusal, sniff
from fireforge.base.sample import Noted, Sample, Skipped
from fireforge.data.archive.kind import is_archive, kind_of
from fireforge.data.archive.limits import place
from fireforge.data.archive.tree import ACCEPTS as KINDS
from fireforge.data.archive.tree import open_archive
from fireforge.data.dataset import Dataset, check_classes
from fireforge.data.formats.cifar import is_cifar, open_cifar
from fireforge.data.formats.folder import natural
from fireforge.data.formats.format import Format
from fireforge.data.formats.idx import is_idx, open_idx
from fireforge.data.formats.manifest import is_manifest, open_manifest
from fireforge.data.formats.npz import open_npz
from fireforge.data.formats.webdataset import Shard, is_webdataset, open_shards
from fireforge.data.layout import lay_out, top_folder
from fireforge.data.tree import Below, Tree, printable

ACCEPTS = f"an archive ({KINDS}) of class folders, of a list and its pictures, or of npz, idx or CIFAR files"

REASONS = {"ARC_NESTED": "an archive inside the archive, which was not opened"}


def open_archive_data(source: str) -> Dataset:
    """The pictures of an archive, read where they lie; see `fireforge.data.archive.tree.open_archive`.

    A folder that merely wraps all the others is left out of the names, so the same pictures have the same names and
    the same digest in a folder and in an archive of it. An archive inside the archive is not opened.

    Args:
      source: the file.

    Returns:
      The dataset; damaged and doubled members are skipped.

    Raises:
      FireforgeError: what `open_archive` raises, or the format of what lies inside; NO_DATA, BAD_LAYOUT or ONE_CLASS.
    """
    archive = open_archive(source)
    top = top_folder(archive.names())
    tree: Tree = Below(archive, top) if top else archive
    if archive.names() and all(name.endswith(".npy") for name in archive.names()):
        dataset = open_npz(source)
    elif _npz(tree):
        dataset = _open_inner_npz(tree, _npz(tree), source)
    elif is_webdataset(tree):
        dataset = open_shards([Shard("", "", tree)], source)
    elif is_idx(tree):
        dataset = open_idx(tree)
    elif is_cifar(tree):
        dataset = open_cifar(tree)
    elif is_manifest(tree):
        dataset = open_manifest(tree)
    else:
        dataset = _open_folders(tree, [_below(name, top) for name in archive.folders], lost=len(archive.skipped))
    lost = tuple(item.replace(name=_below(item.name, top)) for item in archive.skipped)
    notes = tuple(Noted(name=os.path.basename(source), code=code) for code in archive.notes)
    return dataclasses.replace(
        dataset,
        format=dataset.format if dataset.format == "webdataset" else "archive",
        source=source,
        skipped=(*lost, *dataset.skipped),
        notes=(*notes, *dataset.notes),
    )


def _open_folders(tree: Tree, folders: list[str], *, lost: int) -> Dataset:
    layout = lay_out(
        tree.names(), functools.partial(_why, tree), folders=[name for name in folders if name], source=tree.source
    )
    skipped = tuple(Skipped(name=printable(name), code=code, reason=reason) for name, code, reason in layout.skipped)
    if not layout.pictures:
        raise _no_pictures(skipped, tree.source, lost=lost)
    labels = tuple(sorted({label for _, label, _ in layout.pictures}, key=natural))
    check_classes(labels, where=tree.source)
    number = {label: index for index, label in enumerate(labels)}
    return Dataset(
        format="archive",
        source=tree.source,
        labels=tuple(printable(label) for label in labels),
        samples=tuple(
            Sample(id=i, label=number[label], name=printable(name), part=part)
            for i, (name, label, part) in enumerate(layout.pictures)
        ),
        skipped=skipped,
        reader=functools.partial(_read, tree, tuple(name for name, _, _ in layout.pictures)),
    )


def _why(tree: Tree, name: str) -> tuple[str, str]:
    """Why a member is no picture, as code and reason."""
    head = tree.head(name)
    if sniff(head):
        return "", ""
    if is_archive(head):
        return "ARC_NESTED", REASONS["ARC_NESTED"]
    error = refusal(head)
    return error.code, error.what


def _no_pictures(skipped: tuple[Skipped, ...], source: str, *, lost: int) -> FireforgeError:
    codes = Counter(item.code for item in skipped)
    loose = codes["OUTSIDE_CLASSES"] + codes["OUTSIDE_PARTS"]
    if loose:
        return FireforgeError(
            "BAD_LAYOUT", f"{loose} images lie outside any class folder", where=source, allowed=ACCEPTS
        )
    counts = {
        "archives, which are not opened": codes["ARC_NESTED"],
        "damaged or doubled files": lost,
        "other files": len(skipped) - codes["ARC_NESTED"],
    }
    seen = ", ".join(f"{count:,} {what}" for what, count in counts.items() if count)
    do = "unpack the outer archive" if codes["ARC_NESTED"] else ""
    return FireforgeError(
        "NO_DATA", "no images in it" + (f", but {seen}" if seen else ""), where=source, allowed=ACCEPTS, do=do
    )


def _npz(tree: Tree) -> str:
    """The one npz file at the top of a tree, ""  where there is none or several."""
    found = [name for name in tree.names() if "/" not in name and name.lower().endswith(".npz")]
    return found[0] if len(found) == 1 else ""


def _open_inner_npz(tree: Tree, name: str, source: str) -> Dataset:
    """An npz file is a zip: held to the limits of one, then read from a private file under a name of ours."""
    with tempfile.TemporaryDirectory() as folder:
        path = str(write_bytes(Path(folder) / "inner.npz", tree.read(name)))
        try:
            open_archive(path, kind="zip")
            return open_npz(path)
        except FireforgeError as error:
            where, what = (text.replace(path, place(source, name)) for text in (error.where, error.what))
            raise FireforgeError(
                error.code, what, where=where, allowed=error.allowed, do=error.do, exit_code=error.exit_code
            ) from error


def _below(name: str, top: str) -> str:
    return name.removeprefix(f"{top}/") if name != top else ""


def _read(tree: Tree, names: tuple[str, ...], sample_id: int) -> bytes:
    return tree.read(names[sample_id])


def _recognise(source: str) -> bool:
    path = os.path.expanduser(source)
    return os.path.isfile(path) and kind_of(path) != ""


ARCHIVE = Format(name="archive", accepts=ACCEPTS, recognise=_recognise, open=open_archive_data)
