# SPDX-License-Identifier: Apache-2.0
"""Pictures in a folder for each class, with or without folders for train, val and test above them."""

from __future__ import annotations

import functools
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from fireforge.base.errors import FireforgeError
from fireforge.base.sample import Sample, Skipped
from fireforge.data.dataset import PARTS, Dataset, check_classes
from fireforge.data.formats.format import Format

PART_NAMES = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
}
ACCEPTS = "a folder with one folder of JPEG, PNG, WebP, BMP or GIF files for each class, with or without train/val/test"
MAX_DEPTH = 32


@dataclass
class _Scan:
    """What a walk over the folder has met so far; pictures are (path below the root, class, part)."""

    root: str
    pictures: list[tuple[str, str, str]] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)

    def skip(self, path: str, code: str, reason: str) -> None:
        self.skipped.append(Skipped(name=_printable(path), code=code, reason=reason))


def open_folder(source: str) -> Dataset:
    """The pictures under a folder, classes and files in natural order ("2" before "10").

    A folder called train (or training) that holds folders only, alone or beside a val, valid, validation, dev, test or
    testing folder, makes these the parts, in the order train, val, test; part folders without class folders, and all
    other folders, are skipped. Otherwise each folder is a class; pictures in folders below it count to it.
    Hidden files are not counted. Files are told by their first bytes, not decoded; see `fireforge.data.check`.

    Args:
      source: the folder.

    Returns:
      The dataset; sample names are paths below the folder.

    Raises:
      FireforgeError: NO_DATA, BAD_LAYOUT or ONE_CLASS.
    """
    scan = _Scan(root=os.path.expanduser(source))
    folders = _folders(scan.root, "")
    parts = _parts(scan.root, folders)
    _skip_loose(scan, "")
    for folder in sorted(folders, key=lambda name: PARTS.index(parts[name]) if name in parts else len(PARTS)):
        if not parts:
            _walk_class(scan, folder, "", (_real(scan.root),))
        elif folder in parts:
            _skip_loose(scan, folder)
            for inner in _folders(scan.root, folder):
                _walk_class(scan, inner, parts[folder], (_real(scan.root),))
        else:
            _skip_tree(scan, folder, (_real(scan.root),))
    if not scan.pictures:
        raise _no_pictures(scan, source)
    return _dataset(scan, source)


def _dataset(scan: _Scan, source: str) -> Dataset:
    labels = tuple(sorted({label for _, label, _ in scan.pictures}, key=natural))
    check_classes(labels, where=source)
    number = {label: index for index, label in enumerate(labels)}
    samples = tuple(
        Sample(id=i, label=number[label], name=_printable(path), part=part)
        for i, (path, label, part) in enumerate(scan.pictures)
    )
    paths = tuple(path for path, _, _ in scan.pictures)
    return Dataset(
        format="folder",
        source=source,
        labels=tuple(_printable(label) for label in labels),
        samples=samples,
        skipped=tuple(scan.skipped),
        reader=functools.partial(_read, scan.root, paths),
    )


def natural(text: str) -> tuple[tuple[tuple[int, int, str], ...], str]:
    """Sort key that reads runs of digits as numbers, for one name or a path; equal keys go by the text itself."""
    pieces = re.findall(r"[0-9]+|[^0-9]+", text.casefold())
    return tuple((0, int(piece), "") if piece.isdecimal() else (1, 0, piece) for piece in pieces), text


def _parts(root: str, folders: list[str]) -> dict[str, str]:
    """Folder to part, or nothing where the folders are classes."""
    named = {folder: PART_NAMES[folder.lower()] for folder in folders if folder.lower() in PART_NAMES}
    train = [folder for folder, part in named.items() if part == "train"]
    if not any(_holds_folders_only(root, folder) for folder in train) or (len(named) == 1 and len(folders) > 1):
        return {}
    named = {folder: part for folder, part in named.items() if _folders(root, folder)}
    if len(set(named.values())) < len(named):
        twice = ", ".join(sorted(named))
        raise FireforgeError("BAD_LAYOUT", f"several folders for the same part: {twice}", where=root, allowed=ACCEPTS)
    return named


def _holds_folders_only(root: str, folder: str) -> bool:
    inside = _folders(root, folder)
    return bool(inside) and not any(_sniff(os.path.join(root, path)) == "" for path in _files(root, folder))


def _walk_class(scan: _Scan, folder: str, part: str, above: tuple[str, ...], label: str = "") -> None:
    """Take every picture below a class folder, files before folders."""
    label = label or os.path.basename(folder)
    if _is_loop(scan, folder, above):
        return
    found = len(scan.pictures) + len(scan.skipped)
    for path in _files(scan.root, folder):
        code = _sniff(os.path.join(scan.root, path))
        if code:
            scan.skip(path, code, REASONS[code])
        else:
            scan.pictures.append((path, label, part))
    for inner in _folders(scan.root, folder):
        _walk_class(scan, inner, part, (*above, _real(os.path.join(scan.root, folder))), label)
    if len(scan.pictures) + len(scan.skipped) == found:
        scan.skip(folder + "/", "EMPTY_FOLDER", "the folder holds no file")


def _skip_tree(scan: _Scan, folder: str, above: tuple[str, ...]) -> None:
    if _is_loop(scan, folder, above):
        return
    _skip_loose(scan, folder, code="OUTSIDE_PARTS")
    for inner in _folders(scan.root, folder):
        _skip_tree(scan, inner, (*above, _real(os.path.join(scan.root, folder))))


def _skip_loose(scan: _Scan, folder: str, *, code: str = "OUTSIDE_CLASSES") -> None:
    for path in _files(scan.root, folder):
        why = _sniff(os.path.join(scan.root, path)) or code
        scan.skip(path, why, REASONS[why])


def _is_loop(scan: _Scan, folder: str, above: tuple[str, ...]) -> bool:
    looped = _real(os.path.join(scan.root, folder)) in above or len(above) > MAX_DEPTH
    if looped:
        scan.skip(folder + "/", "LINK_LOOP", REASONS["LINK_LOOP"])
    return looped


REASONS = {
    "IMG_EMPTY": "the file holds no bytes",
    "IMG_NOT_IMAGE": "the first bytes are those of no accepted image",
    "NOT_A_FILE": "neither a file nor a folder",
    "NO_FILE": "cannot be read",
    "LINK_LOOP": "a link back to a folder above it",
    "OUTSIDE_CLASSES": "not inside a class folder",
    "OUTSIDE_PARTS": "not inside the folder of a part",
}


def _sniff(path: str) -> str:
    """Why a file is no picture, as a code; "" where its first bytes say that it is one."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return "NOT_A_FILE"
        with open(path, "rb") as stream:
            head = stream.read(16)
    except OSError:
        return "NO_FILE"
    if not head:
        return "IMG_EMPTY"
    known = head.startswith((b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a", b"BM"))
    return "" if known or (head[:4] == b"RIFF" and head[8:12] == b"WEBP") else "IMG_NOT_IMAGE"


def _entries(root: str, folder: str) -> Iterator[tuple[str, bool]]:
    """Paths below the root in natural order, each with whether it is a folder; hidden ones left out."""
    try:
        with os.scandir(os.path.join(root, folder)) as found:
            names = [entry.name for entry in found]
    except OSError as error:
        raise FireforgeError(
            "NO_DATA", error.strerror or "cannot be read", where=_printable(os.path.join(root, folder))
        ) from error
    for name in sorted(names, key=natural):
        if not name.startswith(".") and name != "__MACOSX":
            path = os.path.join(folder, name)
            yield path, os.path.isdir(os.path.join(root, path))


def _folders(root: str, folder: str) -> list[str]:
    return [path for path, is_folder in _entries(root, folder) if is_folder]


def _files(root: str, folder: str) -> list[str]:
    return [path for path, is_folder in _entries(root, folder) if not is_folder]


def _no_pictures(scan: _Scan, source: str) -> FireforgeError:
    loose = sum(item.code in ("OUTSIDE_CLASSES", "OUTSIDE_PARTS") for item in scan.skipped)
    if loose:
        return FireforgeError(
            "BAD_LAYOUT", f"{loose} images lie outside any class folder", where=source, allowed=ACCEPTS
        )
    seen = f"; {len(scan.skipped)} other files" if scan.skipped else ""
    return FireforgeError("NO_DATA", f"no images under {source}{seen}", allowed=ACCEPTS)


def _read(root: str, paths: tuple[str, ...], sample_id: int) -> bytes:
    path = os.path.join(root, paths[sample_id])
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise FireforgeError("NO_FILE", error.strerror or "cannot be read", where=_printable(path)) from error


def _real(path: str) -> str:
    return os.path.realpath(path)


def _printable(name: str) -> str:
    """A path with "/" between its parts and bytes that are not UTF-8 replaced."""
    return name.replace(os.sep, "/").encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _recognise(source: str) -> bool:
    return os.path.isdir(os.path.expanduser(source))


FOLDER = Format(name="folder", accepts=ACCEPTS, recognise=_recognise, open=open_folder)
