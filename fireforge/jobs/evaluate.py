# SPDX-License-Identifier: Apache-2.0
"""evaluate: how good a file is on labelled pictures, by class, with its worst mistakes."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np

from fireforge.base.answer import Answer
from fireforge.base.errors import FireforgeError
from fireforge.base.evaluation import Evaluation, Mistake, PerClass, ReliabilityBin
from fireforge.base.files import write_text
from fireforge.base.metrics import (
    accuracy,
    confusion,
    expected_calibration_error,
    per_class,
    top_k_accuracy,
    wilson,
)
from fireforge.base.start import Start
from fireforge.base.trial import DataRef
from fireforge.data.check import drop_broken
from fireforge.data.dataset import Dataset
from fireforge.data.open import open_dataset, open_ref
from fireforge.data.pixels import load_pixels
from fireforge.data.split import split
from fireforge.jobs.folder import RunFolder
from fireforge.jobs.scene import thumbnail
from fireforge.runtime.predictor import Predictor, load, model_file

WORST = 24
BINS = 15  # as many as the calibration error beside them


def evaluate(model: str | Path, data: str | None = None, *, wrong: Path | None = None) -> Evaluation:
    """Answers of a file on a dataset, held against its labels.

    In a run's folder the run's own data gives its test part, which nothing was trained or chosen on. Other data gives
    its own test part where it has one, otherwise all its pictures; whether the network was trained on some of these is
    for the caller to know.

    Args:
      model: an exported file or a run's folder.
      data: a dataset; None for the test part of the run's own.
      wrong: a CSV file to write the wrong answers to: file, truth, answer, score.

    Returns:
      Accuracy with interval, confusion, per class, calibration, worst mistakes; of a build's own file also its accuracy
      on validation.

    Raises:
      FireforgeError: NO_DATA, if no data is named and the model is no run's folder; BAD_LABELS, if classes differ.
    """
    predictor = load(model)
    run = _run_of(Path(model))
    known = _ref_of(run)
    source = data or (known.source if known else None)
    if source is None:
        raise FireforgeError(
            "NO_DATA", "a file alone does not say on what", where=str(model), do="name a dataset as well"
        )
    dataset = open_ref(known) if known and source == known.source else drop_broken(open_dataset(source))
    ids, part = _part(dataset, known)
    if wrong is not None:
        write_wrong(wrong, predictor, dataset, ids)
    found = evaluate_ids(predictor, dataset, ids, part=part, name=str(model))
    return found.replace(val_accuracy=_on_validation(run, model_file(model)))


def evaluate_ids(predictor: Predictor, dataset: Dataset, ids: np.ndarray, *, part: str, name: str) -> Evaluation:
    """Answers on some samples.

    Args:
      predictor: an opened file.
      dataset: its labels must be among the predictor's.
      ids: sample ids, int64 (n,).
      part: what the samples are called in the record.
      name: of the model, likewise.

    Returns:
      The evaluation, without the accuracy on validation.
    """
    labels = predictor.labels
    truth = _truth(dataset, ids, labels)
    scores = predictor.scores(load_pixels(dataset, ids, predictor.card.preprocess.steps()))
    answers = scores.argmax(axis=1)
    right = int((answers == truth).sum())
    table = confusion(truth, answers, len(labels))
    return Evaluation(
        model=name,
        part=part,
        n=len(truth),
        accuracy=accuracy(truth, answers),
        interval=wilson(right, len(truth)),
        top_k={str(k): top_k_accuracy(truth, scores, k) for k in (1, 3, 5) if k <= len(labels)},
        ece=expected_calibration_error(truth, scores),
        confusion=tuple(map(tuple, table.tolist())),
        labels=labels,
        per_class=_per_class(table),
        reliability=_reliability(truth, scores),
        worst=_worst(predictor, dataset, ids, truth, scores),
    )


def write_wrong(path: Path, predictor: Predictor, dataset: Dataset, ids: np.ndarray) -> None:
    """Write every wrong answer as a row of CSV: file, truth, answer, score.

    Args:
      path: the file.
      predictor: an opened file.
      dataset: its labels must be among the predictor's.
      ids: sample ids, int64 (n,).
    """
    truth = _truth(dataset, ids, predictor.labels)
    scores = predictor.scores(load_pixels(dataset, ids, predictor.card.preprocess.steps()))
    answers = scores.argmax(axis=1)
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["file", "truth", "answer", "score"])
    for i in np.flatnonzero(answers != truth):
        names = (dataset.samples[ids[i]].name, predictor.labels[truth[i]], predictor.labels[answers[i]])
        writer.writerow([*names, f"{scores[i, answers[i]]:.6f}"])
    write_text(path, stream.getvalue())


def _run_of(path: Path) -> RunFolder | None:
    folder = path if path.is_dir() else path.parent
    return RunFolder(folder) if (folder / "record.jsonl").exists() else None


def _ref_of(run: RunFolder | None) -> DataRef | None:
    start = run.entry("start") if run else None
    return Start.from_json(start).data if start else None


def _on_validation(run: RunFolder | None, file: Path) -> float | None:
    """What the run's answer says of the file; None where it says nothing."""
    answer = run.entry("answer") if run and file.parent == run.path else None
    files = Answer.from_json(answer).candidates if answer else ()
    return next((row.val_accuracy for row in files if row.path == file.name), None)


def _part(dataset: Dataset, known: DataRef | None) -> tuple[np.ndarray, str]:
    if known is not None and known.sha256 == dataset.sha256:
        return split(dataset, known).test, "test"
    if any(sample.part == "test" for sample in dataset.samples):
        return np.array([s.id for s in dataset.samples if s.part == "test"], np.int64), "test"
    return np.arange(len(dataset.samples)), "all"


def _truth(dataset: Dataset, ids: np.ndarray, labels: tuple[str, ...]) -> np.ndarray:
    unknown = sorted(set(dataset.labels) - set(labels))
    if unknown:
        raise FireforgeError(
            "BAD_LABELS",
            f"class {unknown[0]!r} is not one of the model's",
            where=dataset.source,
            allowed=", ".join(labels),
        )
    place = np.array([labels.index(label) for label in dataset.labels], np.int64)
    return place[np.array([dataset.samples[i].label for i in ids], np.int64)]


def _per_class(table: np.ndarray) -> PerClass:
    columns = {name: tuple(np.round(column, 6).tolist()) for name, column in per_class(table).items()}
    return PerClass(**columns)


def _reliability(truth: np.ndarray, scores: np.ndarray) -> tuple[ReliabilityBin, ...]:
    sure = scores.max(axis=1)
    right = scores.argmax(axis=1) == truth
    which = np.clip(np.ceil(sure * BINS).astype(int) - 1, 0, BINS - 1)
    rows = [which == index for index in range(BINS)]
    return tuple(
        ReliabilityBin(confidence=float(sure[row].mean()), accuracy=float(right[row].mean()), n=int(row.sum()))
        for row in rows
        if row.any()
    )


def _worst(
    predictor: Predictor, dataset: Dataset, ids: np.ndarray, truth: np.ndarray, scores: np.ndarray
) -> tuple[Mistake, ...]:
    answers = scores.argmax(axis=1)
    wrong = np.flatnonzero(answers != truth)
    order = wrong[np.argsort(-scores[wrong, answers[wrong]], kind="stable")][:WORST]
    steps = predictor.card.preprocess.steps()
    return tuple(
        Mistake(
            name=dataset.samples[ids[i]].name,
            truth=predictor.labels[truth[i]],
            answer=predictor.labels[answers[i]],
            score=float(scores[i, answers[i]]),
            png=thumbnail(dataset, int(ids[i]), steps),
        )
        for i in order
    )
