# SPDX-License-Identifier: Apache-2.0
"""Where the profile of this machine is kept between commands."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import onnxruntime

from fireforge.base.errors import FireforgeError
from fireforge.base.files import prove_writable, read_json, write_text
from fireforge.base.machine import this_machine
from fireforge.base.profile import DeviceProfile
from fireforge.base.value import canonical_json, sha256_of

FOLDER = "XDG_CACHE_HOME"  # the variable that names the user's folder of things that can be made again
_told: set[str] = set()  # lines about files that cannot be used, each told once


def kept_path(*, threads: int = 1) -> Path:
    """The file of this machine's profile: one for each processor, runtime and number of threads."""
    machine = this_machine()
    key = [machine.processor, list(machine.instructions), machine.cores, onnxruntime.__version__, threads]
    folder = Path(os.environ.get(FOLDER) or Path.home() / ".cache") / "fireforge" / "profiles"
    return folder / f"{sha256_of(key)[:12]}.json"


def kept(*, threads: int = 1) -> DeviceProfile | None:
    """The profile that an earlier command made of this machine; None where there is none that this version reads.

    A file that is there and cannot be used is told in one line on stderr, once a process.

    Args:
      threads: that it must be of.

    Returns:
      The profile, or None.
    """
    return usable(kept_path(threads=threads), threads=threads)


def usable(path: Path, *, threads: int) -> DeviceProfile | None:
    """A profile from a file that may be absent, damaged or of other threads or machines: then None, and why on stderr.

    Args:
      path: of the file.
      threads: that it must be of.

    Returns:
      The profile; None without a word where there is no file.
    """
    if not path.exists():
        return None
    try:
        found = read_profile(path)
        check_threads(found, threads)
        _check_here(found)
    except FireforgeError as error:
        line = f"profile {path} is not used: {error.line()}; fireforge bench --profile measures the machine again"
        if line not in _told:
            _told.add(line)
            print(line, file=sys.stderr)
        return None
    return found


def check_threads(profile: DeviceProfile, threads: int) -> None:
    """Refuse a profile for times of another number of threads.

    Args:
      profile: of any machine.
      threads: of the times that it shall foretell.

    Raises:
      FireforgeError: NOT_PROFILED, if it is of others.
    """
    if profile.threads != threads:
        what = f"the profile is of {profile.threads} threads, the times are of {threads}"
        raise FireforgeError("NOT_PROFILED", what, do=f"fireforge bench --profile --threads {threads}")


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


def _check_here(profile: DeviceProfile) -> None:
    here = (this_machine().processor, _runtime())
    if (profile.hardware.processor, profile.runtime) != here:
        what = f"the profile is of {profile.hardware.processor} with {profile.runtime}"
        raise FireforgeError("NOT_PROFILED", what, allowed=f"this machine: {' with '.join(here)}")


def _runtime() -> str:
    return f"onnxruntime {onnxruntime.__version__}"


def place(path: str | Path | None, *, threads: int = 1) -> Path:
    """The file that a profile will be written to, proved to be writable before the machine is measured.

    Args:
      path: None for `kept_path`.
      threads: of the profile.

    Returns:
      The file; its folder is there.

    Raises:
      FireforgeError: CANNOT_WRITE.
    """
    return prove_writable(path if path is not None else kept_path(threads=threads))


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
    target = place(path, threads=profile.threads)
    write_text(target, canonical_json(profile.to_json()) + "\n")
    return target
