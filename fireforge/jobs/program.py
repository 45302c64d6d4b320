# SPDX-License-Identifier: Apache-2.0
"""predict.py, which lies beside each model, held to what the predictor answers for the same file and pictures."""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from fireforge.base.errors import Exit, FireforgeError
from fireforge.base.parity import ParityReport, Tap
from fireforge.base.plain_hedge import plain_answers
from fireforge.jobs import alone
from fireforge.runtime.executed import Executed

TAP = "predict.py"
PICTURES = 8
BOUND = 0.0011  # of a probability: what is printed has a tenth of a percent
INT8_BOUND = 0.05  # predict.py does not ask for exact sums, which some processors only give when asked
LIMIT_S = 120.0
PLAIN = (("JPEG", "RGB"), ("JPEG", "L"), ("PNG", "RGB"), ("PNG", "L"))  # what predict.py promises to take


def with_program(report: ParityReport, path: Path, pictures: Sequence[bytes], executed: Executed) -> ParityReport:
    """The report with one tap more: predict.py in a process of its own.

    Args:
      report: of the file.
      path: the file.
      pictures: those of the report; the first opaque ones of 8 bits are asked about.
      executed: what the predictor made of them.

    Returns:
      The report; as it is where there is nothing to compare.

    Raises:
      FireforgeError: MEASURE_FAILED, if the program died or took too long.
    """
    which = [i for i, data in enumerate(pictures[:200]) if _plain(data)][:PICTURES]
    if executed.error or not which:
        return report
    lines = _told(path, [pictures[i] for i in which])
    bound = INT8_BOUND if report.form == "int8" else BOUND
    difference = max(_apart(line, executed, i, bound) for line, i in zip(lines, which))
    tap = Tap(tap=TAP, difference=difference, bound=bound, passed=difference <= bound)
    blame = report.blame or ("" if tap.passed else TAP)
    return report.replace(taps=(*report.taps, tap), passed=report.passed and tap.passed, blame=blame)


def _told(path: Path, pictures: Sequence[bytes]) -> list[str]:
    """A line for each picture, without its name."""
    with tempfile.TemporaryDirectory(prefix="fireforge-") as folder:
        names = [str(Path(folder) / f"{i}.picture") for i in range(len(pictures))]
        for name, data in zip(names, pictures):
            Path(name).write_bytes(data)
        program = shutil.copy(Path(alone.__file__), Path(folder) / TAP)
        command = [sys.executable, str(program), *names, str(path.resolve())]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=LIMIT_S)
        except subprocess.TimeoutExpired as error:
            what = f"predict.py took more than {LIMIT_S:.0f} s"
            raise FireforgeError("MEASURE_FAILED", what, where=str(path), exit_code=Exit.BUG) from error
    lines = done.stdout.splitlines()
    if done.returncode or len(lines) != len(names):
        last = (done.stderr.strip().splitlines() or [f"ended with {done.returncode}"])[-1]
        raise FireforgeError("MEASURE_FAILED", f"predict.py: {last}", where=str(path), exit_code=Exit.BUG)
    return [line.removeprefix(name) for name, line in zip(names, lines)]


def _apart(line: str, executed: Executed, place: int, bound: float) -> float:
    """By how much a printed score differs from the answer's; 1 for an answer that is neither best nor nearly so."""
    words, _, share = line.rpartition(" ")
    scores, labels, hedge = executed.scores[place], executed.card.labels, executed.card.postprocess.hedge
    near = [(labels[i], float(scores[i])) for i in np.flatnonzero(scores >= scores.max() - bound)]
    if hedge is not None:
        due = plain_answers(scores[None], hedge, slack=bound)[0]
        near = [*(near if "" in due else ()), *((group, p) for group, p in due.items() if group)]
    told = float(share.rstrip("%")) / 100
    return min((abs(told - p) for name, p in near if words.endswith(f" {name}")), default=1.0)


def _plain(data: bytes) -> bool:
    try:
        with Image.open(io.BytesIO(data)) as image:
            whole = (image.format, image.mode) in PLAIN and "transparency" not in image.info
    except (OSError, Image.DecompressionBombError):
        return False
    return whole and (data[:4] != b"\x89PNG" or data[24:25] == b"\x08")
