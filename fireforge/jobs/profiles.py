# SPDX-License-Identifier: Apache-2.0
"""Where the profile of this machine is kept between commands."""

from __future__ import annotations

import os
from pathlib import Path

import onnxruntime

from fireforge.base.errors import FireforgeError
from fireforge.base.files import make_folder, read_json, write_text
from fireforge.base.machine import this_machine
from fireforge.base.profile import DeviceProfile
from fireforge.base.value import canonical_json, sha256_of

FOLDER = "XDG_CACHE_HOME"  # the variable that names the user's folder of things that can be made again


def kept_path(*, threads: int = 1) -> Path:
    """The file of this machine's profile: one for each processor, runtime and number of threads."""
    machine = this_machine()
    key = [machine.processor, list(machine.instructions), machine.cores, onnxruntime.__version__, threads]
    folder = Path(os.environ.get(FOLDER) or Path.home() / ".cache") / "fireforge" / "profiles"
    return folder / f"{sha256_of(key)[:12]}.json"


def kept(*, threads: int = 1) -> DeviceProfile | None:
    """The profile that an earlier command made of this machine; None where there is none that this version reads."""
    path = kept_path(threads=threads)
    if not path.exists():
        return None
    try:
        return read_profile(path)
    except FireforgeError:
        return None  # of another version: it is made again


def read_profile(path: str | Path) -> DeviceProfile:
    """A profile from a file, of this machine or of another one.

    Args:
      path: what `write_profile` wrote.

    Returns:
      The profile.

    Raises:
      FireforgeError: NO_FILE, or BAD_JSON naming the field.
    """
    return DeviceProfile.from_json(read_json(path))


def write_profile(profile: DeviceProfile, path: str | Path | None = None) -> Path:
    """Write a profile.

    Args:
      profile: of any machine.
      path: None for `kept_path`, where later commands on this machine find it.

    Returns:
      The file.

    Raises:
      FireforgeError: CANNOT_WRITE.
    """
    target = Path(path) if path is not None else kept_path(threads=profile.threads)
    make_folder(target.parent)
    write_text(target, canonical_json(profile.to_json()) + "\n")
    return target
