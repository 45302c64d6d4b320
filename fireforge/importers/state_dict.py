# SPDX-License-Identifier: Apache-2.0
"""A torch state dict: a pickle, opened in a child process that takes tensors and plain values and nothing else."""

from __future__ import annotations

import os
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fireforge.base.errors import FireforgeError
from fireforge.base.files import read_bytes
from fireforge.base.graph import Graph
from fireforge.importers.child import in_child
from fireforge.importers.imported import Imported
from fireforge.importers.matching import match, need_known
from fireforge.importers.safetensors_file import read_safetensors

CHILD = "fireforge.importers.unpickle"
ZIP = b"PK\x03\x04"
OLD = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # the number with which torch's files before 1.6 begin
MOST_MEMBERS = 200_000
UNSAFE = "pickle files can run code"
DO = "torch.save(model.state_dict(), FILE), or a .safetensors file"


def import_state_dict(files: Sequence[Path], known: Graph | None) -> Imported:
    """A network that the user names, with the numbers of a torch state dict.

    Args:
      files: one .pt, .pth, .th, .ckpt or .bin; the state dict may lie within "state_dict", "model" and the like.
      known: the network.

    Returns:
      The network; see `fireforge.importers.matching.match` for which numbers become which weight.

    Raises:
      FireforgeError: UNSAFE_FILE, before anything is opened, if it is TorchScript, an exported program or a pickle that
        is not torch's, and if the pickle asks for more than tensors; NO_FILE; BAD_MODEL_FILE, if the file is damaged;
        BAD_WEIGHTS, if no network is named or the numbers do not fit it; NO_PACKAGE, if torch is not installed.
    """
    if len(files) != 1:
        raise FireforgeError("BAD_MODEL_FILE", f"{len(files)} files", where=str(files[0]), allowed="one file of torch")
    path = files[0]
    check_torch_file(path)
    graph = need_known(known, str(path))
    arrays, notes = read_state_dict(path)
    weights, more = match(graph, arrays, where=str(path))
    return Imported(graph=graph, weights=weights, source=path.name, notes=(*notes, *more))


def read_state_dict(path: Path) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """The arrays of a state dict, and a note for each thing beside them.

    Args:
      path: of the file.

    Returns:
      Name to array in the file's order, float64, float32, float16 or int64; the notes.

    Raises:
      FireforgeError: as `import_state_dict`.
    """
    check_torch_file(path)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "weights.safetensors"
        notes = tuple(str(note) for note in in_child(CHILD, path, out)["notes"])
        return read_safetensors(read_bytes(out), where=str(path)), notes


def check_torch_file(path: Path) -> None:
    """Refuse what is no state dict by its first bytes and the names of its members; nothing is unpickled.

    Args:
      path: of the file.

    Raises:
      FireforgeError: NO_FILE; UNSAFE_FILE; BAD_MODEL_FILE.
    """
    where = str(path)
    try:
        with open(path, "rb") as stream:
            head = stream.read(len(OLD))
            size = os.fstat(stream.fileno()).st_size
    except OSError as error:
        raise FireforgeError("NO_FILE", error.strerror or "cannot be read", where=where) from error
    if head.startswith(ZIP):
        _check_members(path, size)
    elif head.startswith(b"\x80") and head != OLD[: len(head)]:
        raise FireforgeError("UNSAFE_FILE", f"{UNSAFE}: this one is not torch's", where=where, allowed=DO)
    elif head != OLD:
        raise FireforgeError("BAD_MODEL_FILE", "not a file of torch", where=where, allowed=DO)


def _check_members(path: Path, size: int) -> None:
    where = str(path)
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, RuntimeError) as error:
        raise FireforgeError("BAD_MODEL_FILE", f"a damaged archive: {error}", where=where) from error
    if len(members) > MOST_MEMBERS or sum(member.file_size for member in members) > size:
        raise FireforgeError("BAD_MODEL_FILE", f"{len(members)} members that unpack to more than the file", where=where)
    names = [member.filename.partition("/")[2] or member.filename for member in members]
    code = any(name == "constants.pkl" or name.startswith("code/") for name in names)
    exported = any("serialized_exported_program" in name or "archive_format" in name for name in names)
    if code or exported or path.suffix.lower() == ".pt2":
        kind = "TorchScript, which is" if code else "a program of torch.export (.pt2), which is"
        raise FireforgeError("UNSAFE_FILE", f"{kind} code and not numbers", where=where, allowed=DO)
    if "data.pkl" not in names:
        raise FireforgeError("BAD_MODEL_FILE", "an archive that is not torch's", where=where, allowed=DO)
