# SPDX-License-Identifier: Apache-2.0
"""evaluate: how good a file is on labelled pictures, by class, with its worst mistakes."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fireforge.base.answer import Answer
from fireforge.base.errors import FireforgeError
from fireforge.base.evaluation import AlongTree, Evaluation, Mistake, PerClass, reliability_bins
from fireforge.base.files import write_bytes
from fireforge.base.hedge import hedge_point
from fireforge.base.metrics import (
    accuracy,
    confusion,
    expected_calibration_error,
    per_class,
    top_k_accuracy,
    wilson,
)
from fireforge.base.progress import Progress, Update, silent
from fireforge.base.start import Start
from fireforge.base.trial import DataRef
from fireforge.data.check import drop_broken
from fireforge.data.dataset import Dataset
from fireforge.data.open import open_dataset, open_ref
from fireforge.data.pixels import load_pixels
from fireforge.data.samples import OWNERS
from fireforge.data.split import split
from fireforge.jobs.folder import RunFolder
from fireforge.jobs.scene import thumbnail
from fireforge.runtime.predictor import Predictor, load, model_file

WORST = 24
BATCH = 256  # pictures that are held at once
NAMED = 10  # classes that an error lists


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a file answered about some samples.

    Args:
      predictor: the opened file.
      dataset: where the samples stand.
      ids: of the samples, int64 (n,).
      truth: their classes as the file counts them, int64 (n,).
      scores: float64 (n, K).
    """

    predictor: Predictor
    dataset: Dataset
    ids: np.ndarray
    truth: np.ndarray
    scores: np.ndarray

    @property
    def answers(self) -> np.ndarray:
        """The best class of each sample, int64 (n,)."""
        return np.asarray(self.scores.argmax(axis=1))

    @property
    def sure(self) -> np.ndarray:
        """Its score, float64 (n,)."""
        return np.asarray(self.scores.max(axis=1))


def evaluate(
    model: str | Path, data: str | None = None, *, wrong: Path | None = None, progress: Progress = silent
) -> Evaluation:
    """Answers of a file on a dataset, held against its labels.

    In a run's folder the run's own data gives its test part, which nothing was trained or chosen on. Other data gives
    its own test part where it has one, otherwise all its pictures; whether the network was trained on some of these is
    for the caller to know.

    Args:
      model: an exported file or a run's folder.
      data: a dataset; None for the test part of the run's own. Its classes are some or all of the model's.
      wrong: a CSV file to write the wrong answers to: file, truth, answer, score.
      progress: told how many pictures are done.

    Returns:
      Accuracy with interval, confusion, per class, calibration, worst mistakes; of a build's own file also its accuracy
      on validation.

    Raises:
      FireforgeError: NO_DATA, if no data is named and the model is no run's folder, or no picture can be used;
        BAD_LABELS, if the data has classes that the model lacks.
    """
    predictor = load(model)
    run = _run_of(Path(model))
    dataset, known = data_of(model, data, predictor.labels, progress=progress)
    ids, part = _part(dataset, known)
    asked = ask(predictor, dataset, ids, progress=progress)
    if wrong is not None:
        write_wrong(wrong, asked)
    found = evaluation_of(asked, part=part, name=str(model))
    return found.replace(val_accuracy=_on_validation(run, model_file(model)))


def data_of(
    model: str | Path, data: str | None, labels: tuple[str, ...], *, progress: Progress = silent
) -> tuple[Dataset, DataRef | None]:
    """The data that a file is asked about.

    Args:
      model: an exported file or a run's folder.
      data: a dataset; None for that of the run.
      labels: of the model.
      progress: told how many pictures were looked at.

    Returns:
      The dataset; and the reference by which the run of the model split it, None where it is not the run's own.

    Raises:
      FireforgeError: NO_DATA, if no data is named and the model is no run's; BAD_LABELS; what opening the data raises.
    """
    known = _ref_of(_run_of(Path(model)))
    source = data or (known.source if known else None)
    if source is None:
        raise FireforgeError(
            "NO_DATA", "a file alone does not say on what", where=str(model), do="name a dataset as well"
        )
    if known and source == known.source:
        return open_ref(known), known
    dataset = open_dataset(source, progress=progress)
    check_labels(dataset, labels)
    dataset = drop_broken(dataset, progress=progress)
    return dataset, known if known and known.sha256 == dataset.sha256 else None


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
    return evaluation_of(ask(predictor, dataset, ids), part=part, name=name)


def ask(predictor: Predictor, dataset: Dataset, ids: np.ndarray, *, progress: Progress = silent) -> Asked:
    """Scores for some samples, a batch at a time, so that memory holds few pictures.

    Args:
      predictor: an opened file.
      dataset: its labels must be among the predictor's.
      ids: sample ids, int64 (n,).
      progress: told how many are done.

    Returns:
      The answers.

    Raises:
      FireforgeError: NO_DATA without ids; BAD_LABELS; a picture's own error, with the file named.
    """
    check_labels(dataset, predictor.labels)
    if not len(ids):
        raise FireforgeError("NO_DATA", "no picture to evaluate on", where=dataset.source)
    steps = predictor.card.preprocess.steps()
    rows = []
    for start in range(0, len(ids), BATCH):
        progress(Update(stage="evaluate", done=start, total=len(ids), unit="image"))
        rows.append(predictor.scores(load_pixels(dataset, ids[start : start + BATCH], steps)))
    progress(Update(stage="evaluate", done=len(ids), total=len(ids), unit="image"))
    place = np.array([predictor.labels.index(label) for label in dataset.labels], np.int64)
    truth = place[dataset.targets[ids]]
    return Asked(predictor=predictor, dataset=dataset, ids=ids, truth=truth, scores=np.concatenate(rows))


def evaluation_of(asked: Asked, *, part: str, name: str) -> Evaluation:
    """The figures of some answers.

    Args:
      asked: the answers.
      part: what the samples are called in the record.
      name: of the model, likewise.

    Returns:
      The evaluation, without the accuracy on validation.
    """
    labels, truth, scores = asked.predictor.labels, asked.truth, asked.scores
    right = asked.answers == truth
    table = confusion(truth, asked.answers, len(labels))
    threshold = asked.predictor.card.postprocess.threshold
    accepted = asked.sure >= threshold
    return Evaluation(
        model=name,
        part=part,
        n=len(truth),
        accuracy=accuracy(truth, asked.answers),
        interval=wilson(int(right.sum()), len(truth)),
        top_k={str(k): top_k_accuracy(truth, scores, k) for k in (1, 3, 5) if k <= len(labels)},
        ece=expected_calibration_error(truth, scores),
        confusion=tuple(map(tuple, table.tolist())),
        labels=labels,
        per_class=_per_class(table),
        reliability=reliability_bins(right, asked.sure),
        worst=_worst(asked),
        threshold=threshold,
        refused=int((~accepted).sum()),
        accuracy_accepted=float(right[accepted].mean()) if accepted.any() else None,
        skipped=asked.dataset.ledger()["skipped"],
        along_tree=_along_tree(asked),
    )


def write_wrong(path: Path, asked: Asked) -> None:
    """Write every wrong answer as a row of CSV: file, truth, answer, score; in the order of the samples.

    Args:
      path: the file.
      asked: the answers.

    Raises:
      FireforgeError: CANNOT_WRITE.
    """
    labels, answers = asked.predictor.labels, asked.answers
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["file", "truth", "answer", "score"])
    for i in np.flatnonzero(answers != asked.truth):
        names = (asked.dataset.samples[asked.ids[i]].name, labels[asked.truth[i]], labels[answers[i]])
        writer.writerow([*names, f"{asked.sure[i]:.6f}"])
    write_bytes(path, stream.getvalue().encode("utf-8", "surrogateescape"))


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
    if known is not None:
        return split(dataset, known).test, "test"
    given = np.flatnonzero(dataset.owners == OWNERS.index("test"))
    if len(given):
        return given, "test"
    return np.arange(len(dataset.samples)), "all"


def check_labels(dataset: Dataset, labels: tuple[str, ...]) -> None:
    """Refuse data with classes that the model lacks; the model may know more.

    Args:
      dataset: the data.
      labels: of the model.

    Raises:
      FireforgeError: BAD_LABELS, naming both.
    """
    unknown = [label for label in dataset.labels if label not in labels]
    if unknown:
        few = len(unknown) < len(dataset.labels)
        raise FireforgeError(
            "BAD_LABELS",
            f"{len(unknown)} of the data's {len(dataset.labels)} classes are not the model's: {_few(unknown)}",
            where=dataset.source,
            allowed=f"the model's {len(labels)}: {_few(labels)}",
            do="the data without them" if few else "the model of this data, or classes called as the model calls them",
        )


def _few(labels: Sequence[str]) -> str:
    told = ", ".join(map(repr, labels[:NAMED]))
    return told if len(labels) <= NAMED else f"{told} and {len(labels) - NAMED} more"


def _along_tree(asked: Asked) -> AlongTree | None:
    """What the card's hedge makes of the scores; None where it has none."""
    hedge = asked.predictor.card.postprocess.hedge
    if hedge is None:
        return None
    point, n = hedge_point(asked.scores, asked.truth, hedge), len(asked.truth)
    return AlongTree(
        accuracy=point.accuracy,
        interval=wilson(round(point.accuracy * n), n),
        bits=point.bits,
        most_bits=math.log2(hedge.tree.classes),
        exact=point.exact,
        bonus=hedge.bonus,
        refused=int((asked.sure < asked.predictor.card.postprocess.threshold).sum()),
    )


def _per_class(table: np.ndarray) -> PerClass:
    columns = {name: tuple(np.round(column, 6).tolist()) for name, column in per_class(table).items()}
    return PerClass(**columns)


def _worst(asked: Asked) -> tuple[Mistake, ...]:
    answers, labels = asked.answers, asked.predictor.labels
    wrong = np.flatnonzero(answers != asked.truth)
    order = wrong[np.argsort(-asked.sure[wrong], kind="stable")][:WORST]
    steps = asked.predictor.card.preprocess.steps()
    return tuple(
        Mistake(
            name=asked.dataset.samples[asked.ids[i]].name,
            truth=labels[asked.truth[i]],
            answer=labels[answers[i]],
            score=float(asked.sure[i]),
            png=thumbnail(asked.dataset, int(asked.ids[i]), steps),
        )
        for i in order
    )
