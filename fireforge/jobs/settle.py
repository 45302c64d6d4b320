# SPDX-License-Identifier: Apache-2.0
"""The answer: choose a file on validation, measure it in a fresh process, judge every limit, write it down."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Sequence
from pathlib import Path

from fireforge.base.answer import Answer, BestBaseline, CandidateFile, Score
from fireforge.base.baseline import BaselineResult
from fireforge.base.budget import Budget, Verdict, judge
from fireforge.base.errors import Exit, FireforgeError
from fireforge.base.files import write_json
from fireforge.base.machine import this_machine, versions
from fireforge.base.measurement import Measurement
from fireforge.base.metrics import wilson
from fireforge.base.prediction import Prediction
from fireforge.base.record import RunRecord
from fireforge.base.trunk import trunk
from fireforge.cost.energy import estimated
from fireforge.cost.filesize import onnx_bytes
from fireforge.importers.onnx_file import import_onnx
from fireforge.jobs.baselines import baseline_answer
from fireforge.jobs.deliver import Delivery, card_bytes
from fireforge.jobs.evaluate import evaluate_ids
from fireforge.jobs.folder import RunFolder
from fireforge.jobs.scene import Scene, encoded
from fireforge.nets.families import build_graph
from fireforge.report.show import limit_words
from fireforge.runtime.measure import measure_fresh
from fireforge.runtime.pictures import save_pictures
from fireforge.runtime.predictor import load


def choose(deliveries: Sequence[Delivery], budget: Budget) -> Delivery:
    """The delivery to answer with, chosen on validation and on what was measured of each.

    Of those that keep all limits it is the smallest whose accuracy is within the tolerance of the best. Where none
    keeps all, it is the nearest: it breaks the fewest limits, and of these by the smallest shares of them together.

    Args:
      deliveries: at least one.
      budget: limits and tolerance.

    Returns:
      One of them.
    """
    verdicts = {id(d): _verdicts(d, budget) for d in deliveries}
    least = min(map(missed, verdicts.values()))
    standing = [d for d in deliveries if missed(verdicts[id(d)]) == least]
    if least:
        return min(standing, key=lambda d: (_shortfall(verdicts[id(d)]), d.exported.bytes))
    best = max(d.facts.accuracy or 0.0 for d in standing)
    good = [d for d in standing if (d.facts.accuracy or 0.0) >= best - budget.tolerance]
    return min(good, key=lambda d: d.exported.bytes)


def promises(winner: RunRecord, before: Answer) -> bool:
    """Whether a trained network may better an answer, so that its files are worth making.

    Args:
      winner: of the present search.
      before: the answer of an earlier one.

    Returns:
      True where limits are still missed, or the network is more accurate on validation.
    """
    return missed(before.limits) > 0 or (winner.accuracy or 0.0) > (before.on_validation() or 0.0)


def ready_to_judge(deliveries: Sequence[Delivery]) -> list[Delivery]:
    """The deliveries with every figure that a limit can be held against, estimates where nothing measures."""
    return [
        dataclasses.replace(one, measurement=_with_energy(one.measurement, Path(one.exported.path)))
        for one in deliveries
    ]


def betters(chosen: Delivery, budget: Budget, before: Answer) -> bool:
    """Whether a file may take the place of an answer: as many limits kept, and better on the validation part.

    Args:
      chosen: the file.
      budget: the limits.
      before: the answer, under the same limits.

    Returns:
      True where it keeps more limits, or as many and is more accurate on validation.
    """
    kept_more = missed(before.limits) - missed(_verdicts(chosen, budget))
    gained = (chosen.facts.accuracy or 0.0) - (before.on_validation() or 0.0)
    return kept_more > 0 or (kept_more == 0 and gained > 0)


def missed(verdicts: Sequence[Verdict]) -> int:
    """How many limits are not met."""
    return sum(not verdict.met for verdict in verdicts)


def _shortfall(verdicts: Sequence[Verdict]) -> float:
    """By how much limits are missed, in shares of them; what was not measured misses by all."""
    shares = [1.0 if v.achieved is None else abs(v.achieved - v.limit) / v.limit for v in verdicts if not v.met]
    return sum(shares)


def _verdicts(delivery: Delivery, budget: Budget) -> tuple[Verdict, ...]:
    """Before the test part is touched: accuracy on validation, the rest as measured."""
    figures = {**delivery.measurement.figures(), "accuracy": delivery.facts.accuracy or 0.0}
    return judge(budget, figures, delivery.measurement.how)


def settle(scene: Scene, run: RunFolder, winner: RunRecord, deliveries: Sequence[Delivery], budget: Budget) -> Answer:
    """Measure the chosen file, judge the limits, evaluate it on the test part.

    Args:
      scene: the data; here its test part is touched, once.
      run: where records and result.json go.
      winner: the trial behind the file.
      deliveries: files to choose from.
      budget: the limits.

    Returns:
      The answer, without seconds and command.
    """
    chosen = choose(deliveries, budget)
    path = Path(chosen.exported.path)
    measurement = _measured(scene, path)
    evaluation = evaluate_ids(load(path), scene.dataset, scene.part("test"), part="test", name=path.name)
    evaluation = evaluation.replace(val_accuracy=chosen.facts.accuracy)
    run.journal.append("evaluation", evaluation.to_json())
    run.journal.append("prediction", _foretold(scene, winner, chosen.exported.form).to_json())
    verdicts = judge(budget, measurement.figures(), measurement.how)
    answer = Answer(
        model=chosen.exported.replace(path=path.name, bytes=measurement.bytes),
        test=_score(measurement),
        measured=measurement,
        limits=verdicts,
        feasible=all(verdict.met for verdict in verdicts),
        infeasible_because=_because(verdicts),
        spec=winner.trial.spec,
        trial=winner.trial_digest,
        epochs=_epochs(run, winner, len(scene.part("train"))),
        cost=winner.trial.cost,
        candidates=tuple(map(_candidate, deliveries)),
        val_accuracy=chosen.facts.accuracy,
        versions=versions(),
        hardware=this_machine(),
    )
    results = [BaselineResult.from_json(entry.value) for entry in run.entries() if entry.type == "baseline"]
    best = max((row for row in results if not row.left_out), key=lambda row: row.accuracy, default=None)
    return answer.replace(baseline=_named(best), instead=_named(baseline_answer(results, answer, budget)))


def _epochs(run: RunFolder, winner: RunRecord, pictures: int) -> float:
    """Passes over so many pictures that a trial's weights saw in this run, those it went on from included; QAT not."""
    known = {record.trial_digest: record for record in (*run.earlier(), *run.trials().values())}
    seen, record = 0.0, winner
    while True:
        seen += record.samples["train"] * record.metrics["train/epoch"][-1]
        if record.trial.start not in known:
            return round(seen / pictures, 3)
        record = known[record.trial.start]


def _foretold(scene: Scene, winner: RunRecord, form: str) -> Prediction:
    """The size of the file, from its graph alone, as the search counts its candidates in int8 before training."""
    size = onnx_bytes(trunk(build_graph(winner.trial.spec)), form=form, card_bytes=card_bytes(scene))
    return Prediction(name="bytes", value=size, how="counted from the graph alone")


def write_result(run: RunFolder, answer: Answer) -> None:
    """Write result.json and the record's last entry."""
    write_json(run.path / "result.json", answer.to_json())
    run.journal.append("answer", answer.to_json())


def refuse_if_infeasible(answer: Answer, folder: Path) -> None:
    """Raise INFEASIBLE with exit code 4 where a limit is not met; the nearest model is kept."""
    if not answer.feasible:
        raise FireforgeError(
            "INFEASIBLE",
            answer.infeasible_because,
            where=str(folder),
            do=f"the nearest model is kept: {folder / answer.model.path}",
            exit_code=Exit.INFEASIBLE,
        )


def _measured(scene: Scene, path: Path) -> Measurement:
    """The file in a fresh process, on the encoded pictures of the test part."""
    ids = scene.part("test")
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        pictures = Path(folder) / "test.npz"
        save_pictures(pictures, [encoded(scene.dataset, int(i)) for i in ids], scene.truth[ids])
        return _with_energy(measure_fresh(path, pictures=pictures), path)


def _with_energy(measurement: Measurement, path: Path) -> Measurement:
    """The measurement with the file's estimated energy, where the machine has no counter; its words say so."""
    graph, _, _ = import_onnx(path)
    return estimated(measurement, graph)


def _score(measurement: Measurement) -> Score:
    share, count = measurement.accuracy or 0.0, measurement.n
    interval = wilson(round(share * count), count) if count else (0.0, 1.0)
    return Score(accuracy=share, n=count, interval=interval)


def _because(verdicts: Sequence[Verdict]) -> str:
    """Which limits bind, and what the nearest that was measured has."""
    told = []
    for verdict in verdicts:
        if not verdict.met:
            allowed, achieved = limit_words(verdict.name, verdict.limit, verdict.achieved)
            told.append(f"{verdict.name} binds: {allowed} allowed, the nearest that was measured has {achieved}")
    return "; ".join(told)


def _candidate(delivery: Delivery) -> CandidateFile:
    file = delivery.exported
    return CandidateFile(
        path=Path(file.path).name, form=file.form, bytes=file.bytes, val_accuracy=delivery.facts.accuracy
    )


def _named(row: BaselineResult | None) -> BestBaseline | None:
    if row is None:
        return None
    return BestBaseline(name=row.name, accuracy=row.accuracy, bytes=row.bytes, latency_ms=row.latency_ms)
