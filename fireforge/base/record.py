# SPDX-License-Identifier: Apache-2.0
"""What a run did, one JSON line each: the truth that tables, plots and resume are made from."""

from __future__ import annotations

from dataclasses import dataclass, field

from fireforge.base.gradients import Gradients
from fireforge.base.machine import Hardware
from fireforge.base.paired import Paired
from fireforge.base.trial import Trial
from fireforge.base.value import Value


@dataclass(frozen=True, kw_only=True)
class RunRecord(Value):
    """One finished trial.

    Args:
      trial: what was asked.
      trial_digest: of the trial; a second run with this digest need not happen.
      metrics: name to one number an epoch ("train/loss", "val/accuracy").
      accuracy: on the validation part after the last epoch, as a share; None where nothing was held out.
      seconds: stage to wall-clock seconds ("data", "train", "evaluate").
      samples: part to number of samples used.
      weights: path of the weights, relative to the run's folder.
      weights_sha256: of that file.
      hardware: the machine.
      versions: package to version.
      command: what can be run to get this again.
      error: why there are no weights, in one line; "" for a trial that went well.
      stages: of seconds["train"], those of each stage of a step, and of evaluation and checkpoints between epochs.
        Names with "/" are no stages but what passed beside or within them, see `fireforge.base.feeding`.
      workers: processes that decoded the pictures, 0 where the training did so itself; None where they were kept.
      notes: what happened beside, in words, such as a data worker that died and was replaced.
      gradients: their sizes by depth, at the first step of the training and of some of its epochs.
      steps: updates that were "taken", and those "left_out" since a gradient was not finite.
      resumed: times that the training was taken up after an interruption.
    """

    trial: Trial
    trial_digest: str
    metrics: dict[str, tuple[float, ...]]
    accuracy: float | None
    seconds: dict[str, float]
    samples: dict[str, int]
    weights: str
    weights_sha256: str
    hardware: Hardware
    versions: dict[str, str] = field(default_factory=dict)
    command: str = ""
    error: str = ""
    stages: dict[str, float] = field(default_factory=dict)
    workers: int | None = None
    notes: tuple[str, ...] = ()
    gradients: Gradients = field(default_factory=Gradients)
    steps: dict[str, int] = field(default_factory=dict)
    resumed: int = 0


@dataclass(frozen=True, kw_only=True)
class Facts(Value):
    """What is measured before and after a compression stage; None where it was not.

    Args:
      accuracy: share of right answers.
      interval: 95 % interval of the accuracy.
      samples: pictures behind the accuracy.
      macs: multiply-adds an image.
      bytes: of the exported file.
      latency_ms: p50 at batch 1, one thread.
    """

    accuracy: float | None = None
    interval: tuple[float, float] | None = None
    samples: int = 0
    macs: int = 0
    bytes: int = 0
    latency_ms: float | None = None


@dataclass(frozen=True, kw_only=True)
class StageReport(Value):
    """What a compression stage did.

    Args:
      stage: its name in STAGES.
      before: facts of the model that came in.
      after: facts of the model that went out.
      notes: what it changed, in words.
      seconds: wall-clock time.
      lost: accuracy against the float file, on the same pictures; None where it was not compared.
    """

    stage: str
    before: Facts
    after: Facts
    notes: tuple[str, ...] = ()
    seconds: float = 0.0
    lost: Paired | None = None
