# SPDX-License-Identifier: Apache-2.0
"""1,200,000 pictures: opened in under 2 seconds, split and shuffled without a picture in memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).parents[3] / "benchmarks" / "index.py"


@pytest.mark.slow
def test_a_large_index_opens_at_once_and_needs_no_picture_in_memory(tmp_path: Path) -> None:
    """The better of three: other work on the machine can only add.

    The bounds are 2 s for opening, 4 s for all, and for memory 100 bytes a picture, where the pictures alone, of 12
    bytes each and larger elsewhere, would come on top; the index itself is mapped.
    """
    words = [sys.executable, str(BENCHMARK), "--json", "--folder", str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    found = json.loads(subprocess.run(words, capture_output=True, check=True, env=environment).stdout)
    print(found)
    assert 80e6 < found["index"] < 130e6
    assert min(found["open"]) < 2
    steps = ("open", "check and sha256", "split", "order of an epoch", "ledger")
    assert min(sum(row) for row in zip(*(found[step] for step in steps))) < 4
    assert max(found["memory of its own"]) < 1_200_000 * 100
    assert max(found["pages of the file"]) < found["index"] * 1.1
