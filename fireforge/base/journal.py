# SPDX-License-Identifier: Apache-2.0
"""record.jsonl: one line for each thing that happened, flushed to disk before the next begins."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from fireforge.base.errors import FireforgeError
from fireforge.base.files import cannot_write, read_bytes, sync_folder
from fireforge.base.value import Json, canonical_json, json_bytes


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One line.

    Args:
      type: what it is ("start", "choice", "baseline", "trial", "stage", "answer").
      value: its JSON.
    """

    type: str
    value: Json


class Journal:
    """An append-only file of JSON lines; a line that a crash cut off is dropped when it is next opened.

    Args:
      path: the file; made at the first append.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def read(self) -> list[Entry]:
        """All whole lines, oldest first.

        Returns:
          Entries; none where the file is absent.

        Raises:
          FireforgeError: BAD_RECORD, if a line that is not the last is damaged; NO_FILE, if it cannot be read.
        """
        if not self.path.exists():
            return []
        lines = read_bytes(self.path).split(b"\n")
        entries = []
        for number, line in enumerate(lines[:-1], 1):
            try:
                data = json.loads(line)
                if not isinstance(data["type"], str):
                    raise TypeError
                entries.append(Entry(type=data["type"], value=data["value"]))
            except (ValueError, KeyError, TypeError, RecursionError) as error:
                raise FireforgeError("BAD_RECORD", "the line is damaged", where=f"{self.path} line {number}") from error
        return entries

    def append(self, type: str, value: Json) -> None:
        """Add one line and flush it to disk.

        Args:
          type: what it is.
          value: JSON without NaN.

        Raises:
          FireforgeError: CANNOT_WRITE, if the disk refuses.
        """
        line = json_bytes(canonical_json({"type": type, "value": value})) + b"\n"
        try:
            new = not self.path.exists()
            self._drop_torn_tail()
            with open(self.path, "ab") as stream:
                stream.write(line)
                stream.flush()
                os.fsync(stream.fileno())
            if new:
                sync_folder(self.path.parent)
        except OSError as error:
            raise cannot_write(self.path, error, needed=len(line)) from error

    def _drop_torn_tail(self) -> None:
        if not self.path.exists():
            return
        with open(self.path, "rb+") as stream:
            size = stream.seek(0, os.SEEK_END)
            if size == 0:
                return
            stream.seek(size - 1)
            if stream.read(1) == b"\n":
                return
            stream.seek(0)
            stream.truncate(stream.read().rfind(b"\n") + 1)
