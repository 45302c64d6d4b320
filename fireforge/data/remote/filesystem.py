# SPDX-License-Identifier: Apache-2.0
"""Files from whatever fsspec knows: s3, gs, az, hf, sftp, memory; with the credentials of the environment."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from fireforge.base.errors import Exit, FireforgeError
from fireforge.base.package import package
from fireforge.data.remote.address import public, scheme_of
from fireforge.data.remote.source import Changed, Facts, NotReached

T = TypeVar("T")
BLOCK_BYTES = 8 * 2**20
TAGS = ("ETag", "etag", "md5Hash", "md5", "checksum", "crc32c", "version", "blob_id", "commit_hash")
TIMES = ("LastModified", "last_modified", "updated", "mtime", "modified", "timeModified", "created")
MD5 = re.compile(r"[0-9a-f]{32}")
PACKAGES = {"s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "hf": "huggingface_hub"}
PACKAGES |= dict.fromkeys(("az", "abfs", "abfss", "adl"), "adlfs") | dict.fromkeys(("sftp", "ssh"), "paramiko")
REFUSED = {"NoCredentialsError", "PartialCredentialsError", "GoogleAuthError", "DefaultCredentialsError"}


class FsspecSource:
    """Files of one of fsspec's file systems; a `fireforge.data.remote.source.Source`.

    Args:
      url: any of the file system.

    Raises:
      NotReached: there is no answer, or it is no; many a file system asks at once.
      FireforgeError: NO_PACKAGE; NO_DATA, where the URL's scheme is not known or says too little.
    """

    def __init__(self, url: str) -> None:
        core = package("fsspec.core", extra="sources")
        scheme = scheme_of(url)
        try:
            self._system = core.url_to_fs(url, skip_instance_cache=True, use_listings_cache=False)[0]
        except ImportError as error:
            brings = PACKAGES.get(scheme, "")
            what = f"{scheme}:// needs {brings or 'a package'}, which is not installed"
            do = f"pip install {brings}" if brings else f"the package that brings {scheme} to fsspec"
            raise FireforgeError("NO_PACKAGE", what, where=public(url), do=do, exit_code=Exit.ENVIRONMENT) from error
        except OSError as error:  # before the next, since some are a ValueError too
            raise _refusal(error) from None
        except (TypeError, ValueError, AttributeError) as error:  # an argument that is missing, or None in its place
            known = package("fsspec", extra="sources").available_protocols()
            what = f"{scheme}:// needs more than a URL" if scheme in known else f"{scheme}:// is not known"
            allowed = "http://, https://, s3://, gs:// and what else fsspec opens by a URL alone"
            raise FireforgeError("NO_DATA", what, where=public(url), allowed=allowed) from error
        except Exception as error:  # noqa: BLE001 - it may ask its server here already; see `_asked`
            raise _refusal(error) from None

    def facts(self, url: str) -> Facts:
        """What the file system says of a file; see `Source`."""
        return _facts(_asked(lambda: self._system.info(self._path(url))))

    def pieces(self, url: str, at: int, facts: Facts) -> tuple[int, Iterator[bytes]]:
        """The bytes of a file, in blocks of 8 MiB; see `Source`."""
        return at, self._blocks(url, at, facts)

    def listing(self, url: str) -> list[tuple[str, str, Facts]] | None:
        """The files below a folder; see `Source`."""
        path = self._path(url)
        if _asked(lambda: self._system.info(path)).get("type") != "directory":
            return None
        found = _asked(lambda: self._system.find(path, detail=True))
        above = path.rstrip("/") + "/"
        names = {name: str(name).lstrip("/").removeprefix(above.lstrip("/")) for name in found}
        start = url.rstrip("/")
        return sorted(
            ((f"{start}/{names[name]}", names[name], _facts(facts)) for name, facts in found.items() if names[name]),
            key=lambda item: item[1],
        )

    def _path(self, url: str) -> str:
        found = str(self._system._strip_protocol(url))  # what fsspec's own url_to_fs calls
        return found if found.strip("/") else posixpath.sep

    def _blocks(self, url: str, begun: int, facts: Facts) -> Iterator[bytes]:
        path, at = self._path(url), begun
        while facts.size < 0 or at < facts.size:
            start, end = at, at + BLOCK_BYTES if facts.size < 0 else min(facts.size, at + BLOCK_BYTES)
            piece = _asked(lambda: self._system.cat_file(path, start=start, end=end))  # noqa: B023 - called at once
            if not piece:
                break
            at += len(piece)
            yield piece
        if (begun or at > BLOCK_BYTES) and self.facts(url).version != facts.version:
            raise Changed  # its blocks may be of two files


def _asked(work: Callable[[], T]) -> T:
    """Ask the file system; what it says against it becomes a status of HTTP."""
    try:
        return work()
    except Exception as error:  # noqa: BLE001 - of as many kinds as there are file systems; every one is told
        raise _refusal(error) from None


def _refusal(error: Exception) -> NotReached:
    """What a file system says against it, as a status of HTTP."""
    kind = type(error).__name__
    if isinstance(error, FileNotFoundError):
        return NotReached("nothing is there", status=404)
    if isinstance(error, PermissionError):
        return NotReached("it may not be read: the credentials of the environment do not allow it", status=403)
    if kind in REFUSED:
        return NotReached(f"no credentials in the environment ({kind})", status=401)
    reason = error.strerror if isinstance(error, OSError) and error.strerror else kind
    return NotReached(f"it cannot be reached: {reason[:100]}")


def _facts(told: dict[str, Any]) -> Facts:
    """Facts of what a file system calls info."""
    size = told.get("size")
    tag = next((str(told[name]).strip('"') for name in TAGS if told.get(name)), "")
    return Facts(
        size=size if isinstance(size, int) and size >= 0 else -1,
        tag=tag,
        changed=next((str(told[name]) for name in TIMES if told.get(name)), ""),
        md5=tag if MD5.fullmatch(tag) else "",
        sure=False,  # with a key of the bucket's own, S3's ETag is no MD5
    )
