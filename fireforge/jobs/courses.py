# SPDX-License-Identifier: Apache-2.0
"""How long, and on how many cores, the candidates of a rung are trained."""

from __future__ import annotations

import math

from fireforge.base.value import Json
from fireforge.jobs.crew import Crew
from fireforge.jobs.pace import COMPILED_PROBE, Pace
from fireforge.jobs.search import Course, Plan, Search
from fireforge.space.halving import Rung
from fireforge.space.survey import Candidate
from fireforge.train.loop import NORMS_LEAST

JUDGED = (1_000, 2_000)  # validation pictures of the first rungs; the others look at all
TOGETHER_LEAST_S = 60.0  # of the last rung, below which it is not worth a try whether all cores pay
COMPILE_LEAST_S = 600.0  # of a last training, below which it is not worth a try whether compiled kernels pay ...
COMPILE_SHARE = 0.05  # ... and the share of it that the steps of the try may take
LOOK = 0.4  # of a training picture's time, to look at one without training
WHOLE_EPOCHS = 5  # from so many epochs on, an epoch takes all pictures
LEAST_PICTURES = 256
LAST_WHY = "all cores on the best network instead of two side by side, and compiled kernels, where these pay"


def courses_of(plan: Plan, rung: Rung, crew: Crew, pace: Pace) -> list[Course]:
    """How long each candidate of a rung is trained: all get the same time.

    Args:
      plan: of the search.
      rung: its candidates; the last one may train fewer of them, on all cores.
      crew: that trains.
      pace: seconds of a training picture.

    Returns:
      A course for each candidate that trains, in their order.
    """
    search = plan.search
    judged = 0 if rung.last else dict(enumerate(JUDGED)).get(rung.index, 0)
    why = f"{rung.step.share:.0%} of the time left" + (f"; {LAST_WHY}" if rung.last else "")
    rows = search.run.choice(f"rung {rung.index}", lambda: _rows(plan, rung, crew, pace, judged=judged), why=why)
    return [Course(**row, judged=judged) for row in rows]


def _rows(plan: Plan, rung: Rung, crew: Crew, pace: Pace, *, judged: int) -> Json:
    search = plan.search
    samples = len(search.scene.part("train"))
    speedup = 1.0
    if rung.last and _is_large(search, rung, crew, pace):
        speedup = pace.speedup(plan.trial(rung.candidates[0], Course(epochs=1)))
    threads, candidates = (crew.size, rung.candidates[:1]) if speedup > 1 else (1, rung.candidates)
    share = rung.step.share / math.ceil(len(candidates) * threads / crew.size)
    gains = [1.0] * len(candidates)
    if rung.last:
        gains = [_compiled(plan, one, pace, threads=threads, share=share) for one in candidates]
    spent = (min(judged or math.inf, len(search.scene.part("val"))) + NORMS_LEAST) * LOOK
    left_s = search.clock.left()
    paid = [gain * speedup * left_s * share / pace.seconds(one) - spent for one, gain in zip(candidates, gains)]
    return [
        {**_length(pictures, samples, rung.step.most_epochs), "threads": threads, "compile": gain > 1}
        for pictures, gain in zip(paid, gains)
    ]


def _compiled(plan: Plan, one: Candidate, pace: Pace, *, threads: int, share: float) -> float:
    """What compiled kernels gain in a training with such a share of the time; 1 where a trial would cost too much."""
    search = plan.search
    trial = plan.trial(one, Course(epochs=1, threads=threads))
    each_s = search.clock.left() * share
    trial_s = 2 * COMPILED_PROBE[1] * trial.recipe.batch * pace.seconds(one)
    if not COMPILE_LEAST_S <= each_s < math.inf or trial_s > COMPILE_SHARE * each_s:
        return 1.0
    return pace.compiled_gain(trial, samples=len(search.scene.part("train")))


def _is_large(search: Search, rung: Rung, crew: Crew, pace: Pace) -> bool:
    """Whether the time does not even pay for as many epochs as the rung has at most."""
    if not math.isfinite(search.clock.seconds) or search.clock.left() < TOGETHER_LEAST_S:
        return False
    paid = search.clock.left() * crew.size / len(rung.candidates) / pace.seconds(rung.candidates[0])
    return paid < rung.step.most_epochs * len(search.scene.part("train"))


def _length(paid: float, samples: int, most_epochs: int) -> dict[str, int]:
    """Epochs, and pictures of each, of a training that the time pays so many pictures for; infinity for no limit."""
    epochs = paid / samples
    if epochs >= most_epochs:
        return {"epochs": most_epochs, "pictures": 0}
    if epochs >= WHOLE_EPOCHS:
        return {"epochs": int(epochs), "pictures": 0}
    passes = max(1, math.ceil(epochs))
    pictures = min(samples, max(LEAST_PICTURES, int(paid / passes)))
    return {"epochs": passes, "pictures": 0 if pictures == samples else pictures}
