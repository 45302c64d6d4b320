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
import onnxruntime
from PIL import Image

from fireforge.base.errors import Exit, FireforgeError
from fireforge.base.model import Card
from fireforge.base.parity import ParityReport, Tap
from fireforge.base.pixels import normalize, to_pixels
from fireforge.base.plain_hedge import plain_answers
from fireforge.base.postprocess import softmax
from fireforge.jobs import alone
from fireforge.runtime.executed import Executed

TAP = "predict.py"
PICTURES = 8
BOUND = 0.0011  # of a probability: what is printed has a tenth of a percent
INT8_BOUND = 0.05  # predict.py does not ask for exact sums, which some processors only give when asked
DOUBT = "none of these, nearest: "  # stands before an answer that is not accepted
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
    asked = [pictures[i] for i in which]
    lines, scores, bound = _told(path, asked), executed.scores[which], BOUND
    difference = 0.0
    if report.form == "int8":
        bound, exact = INT8_BOUND, scores
        scores = _inexact(path, asked, executed.card)
        difference = float(np.abs(scores - exact).max())
    apart = max(_apart(line, row, executed.card) for line, row in zip(lines, scores))
    difference = max(difference, apart if apart <= BOUND else 1.0)
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


def _inexact(path: Path, pictures: Sequence[bytes], card: Card) -> np.ndarray:
    """Probabilities by a session such as predict.py opens, of inputs as the predictor makes them: float64 (N, K)."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    steps, post = card.preprocess.steps(), card.postprocess
    inputs = [normalize(to_pixels(data, steps)[None], steps) for data in pictures]
    logits = [session.run([post.outputs[0]], {card.preprocess.input: array})[0] for array in inputs]
    return softmax(np.concatenate(logits), temperature=post.temperature)


def _apart(line: str, scores: np.ndarray, card: Card) -> float:
    """By how much a printed score differs from the answer's; 1 for words that are not due.

    Args:
      line: of predict.py, without the picture's name.
      scores: float (K,); answers that are best where these are off by the bound are due as well.
      card: labels, threshold and tree.

    Returns:
      The difference of probabilities.
    """
    words, _, share = line.rpartition(" ")
    labels, post, best = card.labels, card.postprocess, float(scores.max())
    near = [(labels[i], float(scores[i])) for i in np.flatnonzero(scores >= best - BOUND)]
    if post.hedge is not None:
        due = plain_answers(scores[None], post.hedge, slack=BOUND)[0]
        near = [*(near if "" in due else ()), *((group, p) for group, p in due.items() if group)]
    doubts = [DOUBT] * (best < post.threshold + BOUND) + [""] * (best >= post.threshold - BOUND)
    told = float(share.rstrip("%")) / 100
    return min((abs(told - p) for name, p in near for doubt in doubts if words == f"  {doubt}{name}"), default=1.0)


def _plain(data: bytes) -> bool:
    try:
        with Image.open(io.BytesIO(data)) as image:
            whole = (image.format, image.mode) in PLAIN and "transparency" not in image.info
    except (OSError, Image.DecompressionBombError):
        return False
    return whole and (data[:4] != b"\x89PNG" or data[24:25] == b"\x08")
