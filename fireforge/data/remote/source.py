# SPDX-License-Identifier: Apache-2.0
"""What can be fetched from: a server of HTTP, or a file system of fsspec."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

PIECE_BYTES = 2**18


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What a source says of a file before it is fetched.

    Args:
      size: in bytes; -1 where it does not say.
      tag: an ETag or the like; "" where there is none.
      changed: when it was last changed, as the source writes it; "" where it does not say.
      md5: digest of the content, 32 hex digits; "" where it does not say.
      sure: whether `md5` is certainly that of the content, which an ETag is not.
    """

    size: int = -1
    tag: str = ""
    changed: str = ""
    md5: str = ""
    sure: bool = True

    @property
    def version(self) -> str:
        """A text that changes with the file; "" where the source says nothing that would."""
        return json.dumps([self.tag or self.changed, self.size]) if self.tag or self.changed else ""


class NotReached(Exception):  # noqa: N818 - what happened, not an error of ours
    """A source did not give what it was asked for.

    Args:
      what: in words, without anything secret.
      status: of HTTP, or the like; 0 where nothing answered.
    """

    def __init__(self, what: str, *, status: int = 0) -> None:
        super().__init__(what)
        self.what = what
        self.status = status

    @property
    def is_passing(self) -> bool:
        """Whether it may be otherwise in a while: no answer, or a server that is in trouble or busy."""
        return self.status == 0 or self.status in (408, 429) or self.status >= 500


class Changed(Exception):  # noqa: N818 - what happened, not an error of ours
    """The file is another one than the one that was asked about."""


class Source(Protocol):
    """Where files are fetched from."""

    def facts(self, url: str) -> Facts:
        """What is known of a file.

        Args:
          url: of it.

        Returns:
          The facts.

        Raises:
          NotReached: there is no answer, or it is no.
        """

    def pieces(self, url: str, at: int, facts: Facts) -> tuple[int, Iterator[bytes]]:
        """The bytes of a file.

        Args:
          url: of it.
          at: from which byte on, if the source can do so.
          facts: as known before.

        Returns:
          From which byte on they are, `at` or 0; and the bytes, in pieces. NotReached and Changed may come from these.

        Raises:
          NotReached: there is no answer, or it is no.
          Changed: the file is another one by now.
        """

    def listing(self, url: str) -> list[tuple[str, str, Facts]] | None:
        """The files of a folder: URL, name below the folder and facts of each; None where it is a file.

        Args:
          url: of a file or a folder.

        Returns:
          The files, sorted by name.

        Raises:
          NotReached: there is no answer, or it is no.
        """
