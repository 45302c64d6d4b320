# SPDX-License-Identifier: Apache-2.0
"""Pictures in a folder for each class, with or without folders for train, val and test above them."""

from __future__ import annotations

import functools
import os
import re
import stat
import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from fireforge.base.errors import FireforgeError
from fireforge.base.picture.sniff import HEAD_BYTES, MAX_FILE_BYTES, refusal, sniff
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
DIRECTION_MARKS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
READ_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)  # a pipe must not hold us up
REASONS = {
    "NOT_A_FILE": "neither a file nor a folder",
    "NO_FILE": "cannot be read",
    "LINK_LOOP": "a link back to a folder above it",
    "LINK_OUT": "a link that leads out of the folder",
    "OUTSIDE_CLASSES": "not inside a class folder",
    "OUTSIDE_PARTS": "not inside the folder of a part",
}


@dataclass(frozen=True)
class _File:
    """A file as it was when the folder was read: path below the root, and why it is no picture ("" where it is one)."""

    path: str
    size_bytes: int = 0
    changed_ns: int = 0
    code: str = ""
    reason: str = ""


@dataclass
class _Scan:
    """What a walk over the folder has met so far; pictures are (file, class, part)."""

    root: str
    pictures: list[tuple[_File, str, str]] = field(default_factory=list)
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
        elif folder in parts and _may_enter(scan, folder, (_real(scan.root),)):
            _skip_loose(scan, folder)
            for inner in _folders(scan.root, folder):
                _walk_class(scan, inner, parts[folder], (_real(scan.root),))
        elif folder not in parts:
            _skip_tree(scan, folder, (_real(scan.root),))
    if not scan.pictures:
        raise _no_pictures(scan, source)
    return _dataset(scan, source)


def _dataset(scan: _Scan, source: str) -> Dataset:
    labels = tuple(sorted({label for _, label, _ in scan.pictures}, key=natural))
    check_classes(labels, where=source)
    number = {label: index for index, label in enumerate(labels)}
    samples = tuple(
        Sample(id=i, label=number[label], name=_printable(file.path), part=part)
        for i, (file, label, part) in enumerate(scan.pictures)
    )
    files = tuple(file for file, _, _ in scan.pictures)
    return Dataset(
        format="folder",
        source=source,
        labels=tuple(_printable(label) for label in labels),
        samples=samples,
        skipped=tuple(scan.skipped),
        reader=functools.partial(_read, scan.root, files),
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
    return bool(inside) and not any(_examine(root, path).code == "" for path in _files(root, folder))


def _walk_class(scan: _Scan, folder: str, part: str, above: tuple[str, ...], label: str = "") -> None:
    """Take every picture below a class folder, files before folders."""
    label = label or os.path.basename(folder)
    if not _may_enter(scan, folder, above):
        return
    found = len(scan.pictures) + len(scan.skipped)
    for path in _files(scan.root, folder):
        file = _examine(scan.root, path)
        if file.code:
            scan.skip(path, file.code, file.reason)
        else:
            scan.pictures.append((file, label, part))
    for inner in _folders(scan.root, folder):
        _walk_class(scan, inner, part, (*above, _real(os.path.join(scan.root, folder))), label)
    if len(scan.pictures) + len(scan.skipped) == found:
        scan.skip(folder + "/", "EMPTY_FOLDER", "the folder holds no file")


def _skip_tree(scan: _Scan, folder: str, above: tuple[str, ...]) -> None:
    if not _may_enter(scan, folder, above):
        return
    _skip_loose(scan, folder, code="OUTSIDE_PARTS")
    for inner in _folders(scan.root, folder):
        _skip_tree(scan, inner, (*above, _real(os.path.join(scan.root, folder))))


def _skip_loose(scan: _Scan, folder: str, *, code: str = "OUTSIDE_CLASSES") -> None:
    for path in _files(scan.root, folder):
        file = _examine(scan.root, path)
        scan.skip(path, file.code or code, file.reason or REASONS[code])


def _may_enter(scan: _Scan, folder: str, above: tuple[str, ...]) -> bool:
    """Whether a folder is walked through; otherwise it is skipped as a whole."""
    path, code = os.path.join(scan.root, folder), ""
    try:
        if _real(path) in above or len(above) > MAX_DEPTH:
            code = "LINK_LOOP"
        elif _leads_out(scan.root, path):
            code = "LINK_OUT"
        else:
            os.scandir(path).close()
    except OSError:
        code = "NO_FILE"
    if code:
        scan.skip(folder + "/", code, REASONS[code])
    return not code


def _leads_out(root: str, path: str) -> bool:
    return os.path.islink(path) and not f"{_real(path)}{os.sep}".startswith(f"{_real(root).rstrip(os.sep)}{os.sep}")


def _examine(root: str, path: str) -> _File:
    """A file by its kind, its size and its first bytes; nothing but regular files is opened."""
    full, code = os.path.join(root, path), ""
    try:
        if _leads_out(root, full):
            code = "LINK_OUT"
        elif not stat.S_ISREG(os.stat(full).st_mode):
            code = "NOT_A_FILE"
        else:
            with open(os.open(full, READ_FLAGS), "rb") as stream:
                state, head = os.fstat(stream.fileno()), stream.read(HEAD_BYTES)
    except OSError:
        code = "NO_FILE"
    if code:
        return _File(path, code=code, reason=REASONS[code])
    if not sniff(head):
        error = refusal(head)
        return _File(path, code=error.code, reason=error.what)
    if state.st_size > MAX_FILE_BYTES:
        return _File(path, code="IMG_TOO_LARGE", reason=f"a file of {state.st_size} bytes")
    return _File(path, state.st_size, state.st_mtime_ns)


def _entries(root: str, folder: str) -> Iterator[tuple[str, bool]]:
    """Paths below the root in natural order, each with whether it is a folder; hidden ones left out."""
    try:
        with os.scandir(os.path.join(root, folder)) as found:
            names = [entry.name for entry in found]
    except OSError as error:
        if folder:
            return  # `_may_enter` tells of it
        raise FireforgeError("NO_DATA", error.strerror or "cannot be read", where=_printable(root)) from error
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
    seen = "".join(f"; {count} {code}" for code, count in Counter(item.code for item in scan.skipped).most_common())
    why = f", such as {scan.skipped[0].name} ({scan.skipped[0].reason})" if scan.skipped else ""
    return FireforgeError("NO_DATA", f"no images under {source}{seen}{why}", allowed=ACCEPTS)


def _read(root: str, files: tuple[_File, ...], sample_id: int) -> bytes:
    """The bytes of a file, if it is still the one that was found."""
    file = files[sample_id]
    path = os.path.join(root, file.path)
    try:
        stream = os.open(path, READ_FLAGS)  # without a file object, which is a third of the time
        try:
            state = os.fstat(stream)
            same = (state.st_size, state.st_mtime_ns) == (file.size_bytes, file.changed_ns)
            data = os.read(stream, file.size_bytes + 1) if same and stat.S_ISREG(state.st_mode) else b""
        finally:
            os.close(stream)
    except OSError as error:
        raise FireforgeError("NO_FILE", error.strerror or "cannot be read", where=_printable(path)) from error
    if len(data) != file.size_bytes:
        raise FireforgeError("DATA_CHANGED", "the file changed since the folder was read", where=_printable(path))
    return data


def _real(path: str) -> str:
    return os.path.realpath(path)


def _printable(name: str) -> str:
    """A path as it can be shown: "/" between its parts, and control characters and bytes that are not UTF-8 escaped."""
    text = os.fsencode(name.replace(os.sep, "/")).decode("utf-8", "backslashreplace")
    return "".join(_escaped(letter) if _is_hidden(letter) else letter for letter in text)


def _is_hidden(letter: str) -> bool:
    return letter in DIRECTION_MARKS or unicodedata.category(letter) in ("Cc", "Zl", "Zp")


def _escaped(letter: str) -> str:
    return letter.encode("unicode_escape").decode("ascii")


def _recognise(source: str) -> bool:
    return os.path.isdir(os.path.expanduser(source))


FOLDER = Format(name="folder", accepts=ACCEPTS, recognise=_recognise, open=open_folder)
