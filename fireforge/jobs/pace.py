# SPDX-License-Identifier: Apache-2.0
"""How many epochs the time pays for: measured on this machine, from the trials that ran or from a short probe."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fireforge.base.deadline import Deadline
from fireforge.base.errors import FireforgeError
from fireforge.base.record import RunRecord
from fireforge.base.trial import Trial
from fireforge.jobs.crew import Crew, Orders
from fireforge.jobs.folder import RunFolder
from fireforge.space.halving import Rung

WARM_UP = 32  # pictures of the first probe, which does not count
PROBE = (64, 512)  # fewest and most pictures of the one that does ...
PROBE_SHARE = 0.03  # ... and the share of the time left that it may take
LEAST_EPOCHS = 2
USEFUL_EPOCHS = 8  # a network that can train neither so many epochs ...
USEFUL_PICTURES = 10_000  # ... nor on so many pictures ...
USEFUL_SHARE = 0.4  # ... in this share of the time left is not worth starting


class Pace:
    """Seconds of an epoch, for the candidates of one search.

    Args:
      trials: a one-epoch trial of each candidate; some of them are the probe.
      run: whose finished trials tell more than a probe.
      clock: the time of the search.
      crew: how many run side by side.
      pictures: of a whole epoch.
    """

    def __init__(self, trials: Sequence[Trial], run: RunFolder, clock: Deadline, *, crew: Crew, pictures: int) -> None:
        self._trials = sorted(trials, key=_macs)
        self._run, self._clock, self._crew, self._pictures = run, clock, crew, pictures
        self._probed: list[RunRecord] = []

    def epochs_in_all(self) -> float:
        """Epochs of a middling candidate that the time left pays for; infinity without a limit."""
        if not np.isfinite(self._clock.seconds):
            return np.inf
        return self._clock.left() * self._crew.size / float(np.median(self._epoch_seconds()))

    def most_macs(self) -> int:
        """MACs of the greatest candidate that can train long enough to be worth starting; the least of all at least."""
        macs = [_macs(trial) for trial in self._trials]
        if not np.isfinite(self._clock.seconds):
            return macs[-1]
        useful_epochs = min(USEFUL_EPOCHS, USEFUL_PICTURES / self._pictures)
        most_s = self._clock.left() * USEFUL_SHARE / useful_epochs
        return max([count for count, seconds in zip(macs, self._epoch_seconds()) if seconds <= most_s] or macs[:1])

    def epochs(self, rung: Rung) -> int:
        """Epochs for each candidate of a rung.

        Args:
          rung: its share of the time left and its cap are used.

        Returns:
          At least LEAST_EPOCHS.
        """
        if not np.isfinite(self._clock.seconds):
            return rung.most_epochs
        timed = self._timed()
        seconds = [self._pictures * _seconds(timed, c.spec.digest(), c.cost.macs) for c in rung.candidates]
        an_epoch = max(sum(seconds) / self._crew.size, max(seconds))
        return int(np.clip(self._clock.left() * rung.share / max(an_epoch, 1e-6), LEAST_EPOCHS, rung.most_epochs))

    def _epoch_seconds(self) -> list[float]:
        timed = self._timed()
        return [self._pictures * _seconds(timed, trial.spec.digest(), _macs(trial)) for trial in self._trials]

    def _timed(self) -> list[RunRecord]:
        finished = [record for record in self._run.trials().values() if not record.error]
        if finished:
            return finished
        if not self._probed:
            self._probed = self._probe()
        return self._probed

    def _probe(self) -> list[RunRecord]:
        """Short trainings of lighter candidates, as many as run side by side; a first round warms up."""
        places = np.linspace(0, len(self._trials) / 2, self._crew.size + 1).astype(int)[1:]
        chosen = [self._trials[min(place, len(self._trials) - 1)] for place in places]
        warm = self._train(chosen, seed=2**31, pictures=WARM_UP)
        left = self._clock.left() if np.isfinite(self._clock.seconds) else np.inf
        each_s = max(record.seconds["train"] for record in warm) / WARM_UP
        pictures = int(np.clip(left * PROBE_SHARE / max(each_s, 1e-9), *PROBE))
        return self._train(chosen, seed=2**31 + 1, pictures=pictures)

    def _train(self, trials: list[Trial], *, seed: int, pictures: int) -> list[RunRecord]:
        """One epoch on few pictures; the seed is one that no trial has, and nothing is kept."""
        orders = Orders(
            trials=[trial.replace(seed=seed) for trial in trials],
            folder=self._run.path,
            deadline=self._clock,
            most_pictures=pictures,
            keep=False,
        )
        records = [found for found in self._crew.run(orders) if isinstance(found, RunRecord)]
        for record in records:
            if record.error:
                raise FireforgeError("ALL_DIVERGED", "not even a short training went well", where=record.error)
            (self._run.path / record.weights).unlink(missing_ok=True)
        return records


def _seconds(timed: list[RunRecord], spec_digest: str, macs: int) -> float:
    """For one picture: of the same network where it ran, at its highest rung; otherwise of the nearest by MACs."""

    def distance(record: RunRecord) -> tuple[bool, float, int]:
        trial = record.trial
        return trial.spec.digest() != spec_digest, abs(_macs(trial) - macs), -trial.rung

    record = min(timed, key=distance)
    pictures = max(1.0, record.samples["train"] * record.metrics["train/epoch"][-1])  # a cut epoch counts its part
    return record.seconds["train"] / pictures * max(0.5, macs / max(1, _macs(record.trial)))


def _macs(trial: Trial) -> int:
    return 0 if trial.cost is None else trial.cost.macs
