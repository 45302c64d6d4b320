# SPDX-License-Identifier: Apache-2.0
"""The one error of the project and the exit codes of its commands."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import TypeVar

T = TypeVar("T")


class Exit(IntEnum):
    """Exit codes of every command."""

    DONE = 0
    BUG = 1
    BAD_INPUT = 2
    ENVIRONMENT = 3
    INFEASIBLE = 4
    PARITY = 5
    INTERRUPTED = 130


class FireforgeError(Exception):
    """What went wrong, where, what is allowed and what to do, in one line.

    Args:
      code: stable short name in capitals, such as ``IMG_EMPTY``; programs may branch on it.
      what: what is wrong, with the value that was got.
      where: file, archive member, row, node, step or rank.
      allowed: what would have been accepted.
      do: the next thing to try.
      exit_code: exit code of a command that ends with this error.
    """

    def __init__(
        self,
        code: str,
        what: str,
        *,
        where: str = "",
        allowed: str = "",
        do: str = "",
        exit_code: Exit = Exit.BAD_INPUT,
    ) -> None:
        self.code = code
        self.what = what
        self.where = where
        self.allowed = allowed
        self.do = do
        self.exit_code = exit_code
        super().__init__(self.line())

    def line(self) -> str:
        """The message as one line: ``CODE: where: what; allowed: ...; do: ...``."""
        head = f"{self.where}: {self.what}" if self.where else self.what
        parts = [f"{self.code}: {head}"]
        if self.allowed:
            parts.append(f"allowed: {self.allowed}")
        if self.do:
            parts.append(f"try: {self.do}")
        return " ".join("; ".join(parts).splitlines())

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle support, so that the error crosses a process pool whole."""
        return (_rebuild, (self.code, self.what, self.where, self.allowed, self.do, self.exit_code))


def _rebuild(code: str, what: str, where: str, allowed: str, do: str, exit_code: Exit) -> FireforgeError:
    return FireforgeError(code, what, where=where, allowed=allowed, do=do, exit_code=exit_code)


def lookup(table: Mapping[str, T], name: str, kind: str) -> T:
    """The member of a plain dict, or an error that lists the known names.

    Args:
      table: name to member.
      name: what was asked for.
      kind: what the members are, for the message ("network family").

    Returns:
      The member.

    Raises:
      FireforgeError: UNKNOWN_NAME, if the table has no such name.
    """
    if name not in table:
        raise FireforgeError("UNKNOWN_NAME", f"no {kind} called {name!r}", allowed=", ".join(sorted(table)))
    return table[name]
