# SPDX-License-Identifier: Apache-2.0
"""The answer of a build: one file, what it is worth, and whether every limit holds."""

from __future__ import annotations

import html
from dataclasses import dataclass

from fireforge.base.budget import Verdict
from fireforge.base.cost import Cost
from fireforge.base.exported import Exported
from fireforge.base.machine import Hardware
from fireforge.base.measurement import Measurement
from fireforge.base.spec import NetSpec
from fireforge.base.units import show_bytes
from fireforge.base.value import Value


@dataclass(frozen=True, kw_only=True)
class Score(Value):
    """Accuracy on the test part.

    Args:
      accuracy: share of right answers.
      n: pictures.
      interval: 95 % interval of the accuracy, by Wilson.
    """

    accuracy: float
    n: int
    interval: tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class CandidateFile(Value):
    """A file that could have been the answer.

    Args:
      path: within the run's folder.
      form: "float32" or "int8".
      bytes: of the whole file.
      val_accuracy: on the validation part; None where it was not judged.
    """

    path: str
    form: str
    bytes: int
    val_accuracy: float | None


@dataclass(frozen=True, kw_only=True)
class BestBaseline(Value):
    """A baseline beside the answer.

    Args:
      name: of the baseline.
      accuracy: on the validation part.
      bytes: of what would have to be stored; 0 in records that did not keep it.
      latency_ms: median time of one answer; None where it was not measured.
    """

    name: str
    accuracy: float
    bytes: int = 0
    latency_ms: float | None = None


@dataclass(frozen=True, kw_only=True)
class Answer(Value):
    """The content of result.json.

    Args:
      model: the one file.
      test: its accuracy on the test part, which played no part in any choice.
      measured: its figures in a fresh process.
      limits: a verdict for each limit that was set.
      feasible: whether all limits are met.
      infeasible_because: which are not; "" where all are.
      spec: the network.
      trial: digest of the training behind it; "" in records that did not keep it.
      epochs: passes over the training part that the network's weights saw in all rungs of the run; None in records that
        did not keep it.
      cost: of the network, counted before training.
      baseline: the best one on the validation part.
      instead: the baseline that makes the network needless, because it meets all limits at no less accuracy on the
        validation part; None where there is none.
      candidates: the files that could have been chosen.
      val_accuracy: of the file on the validation part; None in records that did not keep it.
      seconds: wall-clock time of the whole build.
      command: what was typed; "" where there was no command.
      versions: package to version.
      hardware: the machine.
    """

    model: Exported
    test: Score
    measured: Measurement
    limits: tuple[Verdict, ...]
    feasible: bool
    infeasible_because: str = ""
    spec: NetSpec
    trial: str = ""
    epochs: float | None = None
    cost: Cost | None = None
    baseline: BestBaseline | None = None
    instead: BestBaseline | None = None
    candidates: tuple[CandidateFile, ...] = ()
    val_accuracy: float | None = None
    seconds: float = 0.0
    command: str = ""
    versions: dict[str, str]
    hardware: Hardware

    def on_validation(self) -> float | None:
        """Accuracy of the file on the validation part, which is what baselines are judged on; None where unknown."""
        if self.val_accuracy is not None:
            return self.val_accuracy
        return next((file.val_accuracy for file in self.candidates if file.path == self.model.path), None)

    def beaten_by(self) -> BestBaseline | None:
        """The best baseline where it is better than the network on the validation part; None where it is not."""
        own = self.on_validation()
        return self.baseline if self.baseline and own is not None and own < self.baseline.accuracy else None

    def _repr_html_(self) -> str:
        """A small table for a notebook: the file, its figures, its limits."""
        low, high = self.test.interval
        memory = self.measured.memory_bytes
        rows = [
            ("File", f"{self.model.path} ({self.model.form}), {show_bytes(self.model.bytes)}"),
            ("Test accuracy", f"{self.test.accuracy:.2%} of {self.test.n:,} ({low:.1%} to {high:.1%})"),
            ("Latency", f"{self.measured.latency_ms:.3g} ms"),
            ("Memory", "not measured" if memory is None else show_bytes(memory)),
        ]
        rows += [(limit.name, f"{limit.limit:,g}: {_verdict_words(limit)}") for limit in self.limits]
        if not self.feasible:
            rows.append(("Infeasible", self.infeasible_because))
        better = self.beaten_by()
        if self.instead is not None:
            own = f"{self.instead.accuracy:.1%} on validation, {show_bytes(self.instead.bytes)}"
            rows.append(("Simpler", f"{self.instead.name} needs no search, meets all limits and is no worse: {own}"))
        elif better is not None:
            rows.append(("Warning", f"{better.name} needs no search and is better: {better.accuracy:.1%}"))
        lines = [f"<tr><th>{html.escape(name)}</th><td>{html.escape(told)}</td></tr>" for name, told in rows]
        return f"<table>{''.join(lines)}</table>"


def _verdict_words(limit: Verdict) -> str:
    if limit.achieved is None:
        return "not measured"
    return f"{'met' if limit.met else 'not met'} with {limit.achieved:,g}"
