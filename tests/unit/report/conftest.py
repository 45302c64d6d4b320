# SPDX-License-Identifier: Apache-2.0
"""A record as a build writes it, with made-up numbers that hang together."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from fireforge.base.answer import Answer, BestBaseline, CandidateFile, Score
from fireforge.base.baseline import BaselineResult
from fireforge.base.budget import Budget, judge
from fireforge.base.calibration import Calibration, calibrate
from fireforge.base.candidates import Candidates
from fireforge.base.choice import Choice
from fireforge.base.cost import Cost
from fireforge.base.datacard import DataCard, SamplePicture
from fireforge.base.evaluation import Evaluation, Mistake, PerClass, ReliabilityBin
from fireforge.base.exported import Exported
from fireforge.base.journal import Entry
from fireforge.base.machine import Hardware
from fireforge.base.measurement import Measurement
from fireforge.base.metrics import per_class, wilson
from fireforge.base.parity import ParityReport, Tap
from fireforge.base.prediction import Prediction
from fireforge.base.preprocess import ImageSteps, Preprocess
from fireforge.base.record import Facts, RunRecord, StageReport
from fireforge.base.spec import NetSpec
from fireforge.base.start import Start
from fireforge.base.trial import Augment, DataRef, Recipe, Trial
from fireforge.base.value import Value, canonical_json
from fireforge.report.spent import Note

LABELS = [str(digit) for digit in range(10)]
VERSIONS = {"python": "3.11.9", "fireforge": "0.1.0", "numpy": "2.1.0", "onnxruntime": "1.20.1", "torch": "2.10.0"}
COMMAND = "fireforge build digits --max-size 40KB --max-latency 0.5ms --time 2m --seed 3"
MACHINE = Hardware(
    processor="Example CPU 3000",
    architecture="x86_64",
    cores=2,
    memory_bytes=8_000_000_000,
    instructions=("avx512_vnni", "avx2"),
    system="Linux 6.1",
)
BUDGET = Budget(max_bytes=40_000, max_latency_ms=0.5, max_energy_mj=2.5, min_accuracy=0.98, seconds=120.0)
DATA = DataRef(source="digits", sha256="5f" * 32, seed=3)
STEPS = ImageSteps(channels=1, resize=(8, 8), crop=(8, 8), order="L", mean=(77.5,), std=(95.25,))


def digit_png(digit: str, *, shade: int = 255, side: int = 8) -> str:
    """Base64 of a small gray picture of a digit."""
    picture = Image.new("L", (12, 12), 0)
    ImageDraw.Draw(picture).text((3, 0), digit, fill=shade)
    stream = io.BytesIO()
    picture.crop((1, 1, 11, 11)).resize((side, side), Image.Resampling.BILINEAR).save(stream, "PNG")
    return base64.b64encode(stream.getvalue()).decode()


def make_spec(base: int, blocks: int, *, family: str = "firenet", side: int = 8) -> NetSpec:
    return NetSpec(family=family, params={"base": base, "blocks": blocks}, classes=10, input_shape=(1, side, side))


def make_trial(index: int, *, rung: int, base: int, blocks: int, family: str = "firenet", side: int = 8) -> RunRecord:
    """A trial whose accuracy grows with size and rung; curves that fall and rise as real ones do."""
    noise = np.random.default_rng(index)
    epochs = 5 * 3**rung
    params = 520 * base * blocks + 37 * index
    top = 0.992 - 0.36 / (base * blocks) - (0.05, 0.015, 0.0)[rung] + float(noise.normal(0, 0.004))
    grown = 1 - np.exp(-np.arange(1, epochs + 1) / (1.5 + 2 * rung))
    wobble = noise.normal(0, 0.006, epochs)
    val = np.clip(top * grown + wobble * (1 - 0.8 * np.linspace(0, 1, epochs)), 0, 1)
    val[-1] = top
    trial = Trial(
        spec=make_spec(base, blocks, family=family, side=side),
        recipe=Recipe(epochs=epochs, augment=Augment(shift_px=1.0, rotate_deg=10.0)),
        data=DATA,
        preprocess=Preprocess(image=STEPS),
        seed=3,
        rung=rung,
        cost=make_cost(params),
    )
    return RunRecord(
        trial=trial,
        trial_digest=trial.digest(),
        metrics={
            "train/loss": tuple((2.3 * (1 - 0.97 * grown) + abs(wobble)).tolist()),
            "train/accuracy": tuple(np.clip(grown * (top + 0.012), 0, 1).tolist()),
            "val/loss": tuple((2.3 * (1 - 0.95 * grown) + abs(wobble) * 2).tolist()),
            "val/accuracy": tuple(val.tolist()),
        },
        accuracy=float(top),
        seconds={"data": 0.1, "train": 0.35 * epochs, "evaluate": 0.02},
        samples={"train": 1221, "val": 216},
        weights=f"trials/{index:012x}.safetensors",
        weights_sha256="ab" * 32,
        hardware=MACHINE,
        versions=VERSIONS,
        command=COMMAND,
    )


def make_cost(params: int) -> Cost:
    return Cost(
        params=params,
        macs=params * 23,
        activations=params // 4,
        peak_activation_bytes=18_432,
        weight_bytes=params * 4 + 640,
        wire_bytes=params * 4,
    )


def make_trials() -> list[RunRecord]:
    shapes = [(base, blocks) for base in (4, 6, 8, 12, 16) for blocks in (1, 2, 3, 4)]
    rungs = [(0, shapes), (1, shapes[6:16:2]), (2, shapes[10:15:2])]
    rows = [(rung, base, blocks) for rung, part in rungs for base, blocks in part]
    trials = [make_trial(i, rung=rung, base=base, blocks=blocks) for i, (rung, base, blocks) in enumerate(rows)]
    others = [("resnet", 8, 0), ("resnet", 12, 1), ("mobilenet", 8, 0), ("mobilenet", 12, 0)]
    more = [
        make_trial(100 + i, rung=rung, base=6 + i, blocks=2, family=family, side=side)
        for i, (family, side, rung) in enumerate(others)
    ]
    return more + trials


def make_start() -> Start:
    counts = {
        "train": (121, 124, 120, 125, 123, 123, 122, 121, 120, 122),
        "val": (21, 22, 21, 22, 22, 22, 21, 22, 21, 22),
        "test": (36, 36, 36, 36, 36, 37, 38, 36, 33, 36),
    }
    used = sum(map(sum, counts.values()))
    samples = (SamplePicture(label=LABELS[i % 10], png=digit_png(LABELS[i % 10], shade=255 - 5 * i)) for i in range(24))
    return Start(
        command=COMMAND,
        data=DATA,
        budget=BUDGET,
        hardware=MACHINE,
        versions=VERSIONS,
        seed=3,
        dataset=DataCard(
            source="digits",
            format="digits",
            labels=tuple(LABELS),
            counts=counts,
            found=used + 5,
            used=used,
            skipped={"IMG_EMPTY": 1, "IMG_TRUNCATED": 4},
            input=(1, 8, 8),
            samples=tuple(samples),
        ),
    )


def make_evaluation() -> Evaluation:
    table = np.diag([36, 34, 36, 35, 36, 36, 38, 36, 31, 34])
    for truth, answer, count in ((1, 8, 1), (1, 7, 1), (3, 9, 1), (5, 9, 1), (8, 1, 1), (8, 3, 1), (9, 3, 2)):
        table[truth, answer] = count
    right, total = int(np.trace(table)), int(table.sum())
    worst = tuple(
        Mistake(
            name=f"test/{index:04d}.png",
            truth=LABELS[index % 10],
            answer=LABELS[(index + 5) % 10],
            score=0.97 - 0.03 * index,
            png=digit_png(LABELS[index % 10], shade=200),
        )
        for index in range(24)
    )
    bins = ((0.35, 0.25, 4), (0.56, 0.6, 10), (0.75, 0.82, 17), (0.88, 0.91, 33), (0.99, 0.996, 296))
    return Evaluation(
        model="model-int8.onnx",
        part="test",
        n=total,
        accuracy=right / total,
        interval=wilson(right, total),
        top_k={"1": right / total, "3": 0.9972},
        ece=0.0137,
        confusion=tuple(map(tuple, table.tolist())),
        labels=tuple(LABELS),
        per_class=PerClass(**{key: tuple(values.tolist()) for key, values in per_class(table).items()}),
        reliability=tuple(ReliabilityBin(confidence=sure, accuracy=share, n=n) for sure, share, n in bins),
        worst=worst,
        val_accuracy=212 / 216,
    )


def make_stages() -> list[StageReport]:
    interval = wilson(213, 216)
    facts = Facts(accuracy=213 / 216, interval=interval, samples=216, macs=572_000, bytes=141_200, latency_ms=0.182)
    folded = facts.replace(bytes=138_900, macs=568_000, latency_ms=0.151)
    small = folded.replace(accuracy=212 / 216, interval=wilson(212, 216), bytes=38_412, latency_ms=0.139)
    return [
        StageReport(stage="fold", before=facts, after=folded, notes=("9 batch norms folded",), seconds=0.4),
        StageReport(
            stage="int8",
            before=folded,
            after=small,
            notes=("per channel", "calibrated on 256 training pictures"),
            seconds=3.2,
        ),
    ]


def make_answer(trial: RunRecord, evaluation: Evaluation) -> Answer:
    how = {
        "bytes": "size of the file on disk",
        "latency_ms": "p50 of 200 predictions after 20, batch 1, one thread",
        "accuracy": "test part, 360 pictures, through fireforge.load",
    }
    measured = Measurement(
        bytes=38_412,
        latency_ms=0.13942,
        latency_p90_ms=0.15,
        memory_bytes=6_344_704,
        load_ms=12.5,
        accuracy=evaluation.accuracy,
        n=evaluation.n,
        runs=200,
        threads=1,
        runtime="OnnxSession",
        torch_loaded=False,
        hardware=MACHINE,
        how=how,
    )
    return Answer(
        model=Exported(path="model-int8.onnx", bytes=38_412, sha256="cd" * 32, form="int8"),
        test=Score(accuracy=evaluation.accuracy, n=evaluation.n, interval=evaluation.interval),
        measured=measured,
        limits=judge(BUDGET, measured.figures(), how),
        feasible=False,
        infeasible_because="max_energy_mj was not measured on this machine",
        spec=trial.trial.spec,
        cost=trial.trial.cost,
        baseline=BestBaseline(name="nearest neighbours", accuracy=0.9722),
        candidates=(
            CandidateFile(path="model.onnx", form="float32", bytes=138_900, val_accuracy=213 / 216),
            CandidateFile(path="model-int8.onnx", form="int8", bytes=38_412, val_accuracy=212 / 216),
        ),
        val_accuracy=212 / 216,
        seconds=112.6,
        command=COMMAND,
        versions=VERSIONS,
        hardware=MACHINE,
    )


def make_parity(path: str) -> ParityReport:
    taps = (("pixels", 0.0, 0.0), ("input", 0.0, 1e-6), ("logits", 0.0831, 0.25))
    return ParityReport(
        passed=True,
        pictures=64,
        taps=tuple(Tap(tap=name, difference=found, bound=bound, passed=True) for name, found, bound in taps),
        agreement=1.0,
        least_agreement=0.995,
        form="int8",
        model=path,
    )


def make_calibration() -> Calibration:
    """A fit to 216 made-up answers of a network that is too sure of itself."""
    noise = np.random.default_rng(8)
    truth = noise.integers(0, 10, 216)
    logits = noise.normal(0, 1.0, (216, 10)) + 3.2 * np.eye(10)[truth]
    others = {"uniform noise": noise.normal(0, 1.5, (100, 10)), "shuffled patches": noise.normal(0, 2.5, (100, 10))}
    return calibrate(2.5 * logits, truth, others=others)


def make_baseline(name: str, accuracy: float, size: int, seconds: float) -> BaselineResult:
    right = round(accuracy * 216)
    return BaselineResult(
        name=name, accuracy=right / 216, interval=wilson(right, 216), bytes=size, seconds=seconds, samples=216
    )


def make_entries() -> list[Entry]:
    trials = make_trials()
    evaluation = make_evaluation()
    rows: list[tuple[str, Value]] = [
        ("start", make_start()),
        ("choice", Choice(name="epochs", value={"0": 5, "1": 15, "2": 45}, why="what fits into 60 % of 2 min")),
        ("choice", Choice(name="threads", value=2, why="fastest of 1 and 2 over 20 steps")),
        ("clock", Note(used=1.5)),
        ("baseline", make_baseline("nearest neighbours", 0.9722, 78_144, 0.05)),
        ("baseline", make_baseline("linear", 0.9491, 2_640, 0.31)),
        ("baseline", make_baseline("most frequent class", 0.1019, 1, 0.0)),
        ("baseline", make_baseline("mlp", 0.0, 0, 0.0).replace(left_out="0.4 s left, it needs about 2 s", samples=0)),
        ("candidates", Candidates(counted=184, rejected={"max_bytes": 151, "max_latency_ms": 13}, kept=20)),
    ]
    rows += [("trial", trial) for trial in trials]
    rows += [("stage", stage) for stage in make_stages()]
    for path, form, size in (("model.onnx", "float32", 138_900), ("model-int8.onnx", "int8", 38_412)):
        rows.append(("export", Exported(path=path, form=form, bytes=size)))
        rows.append(("parity", make_parity(path)))
    rows.insert(-9, ("clock", Note(used=61.0)))
    rows += [("calibration", make_calibration()), ("prediction", Prediction(name="bytes", value=38_700.0, how="table"))]
    rows += [("evaluation", evaluation), ("answer", make_answer(trials[-2], evaluation))]
    return [Entry(type=kind, value=value.to_json()) for kind, value in rows]


def save(folder: Path, entries: list[Entry]) -> Path:
    """A run folder whose record holds the entries."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [canonical_json({"type": entry.type, "value": entry.value}) + "\n" for entry in entries]
    (folder / "record.jsonl").write_text("".join(lines), encoding="utf-8")
    return folder


@pytest.fixture
def entries() -> list[Entry]:
    return make_entries()


@pytest.fixture
def save_run(tmp_path: Path):
    """Writes entries as the record of a run folder and returns the folder."""
    return lambda rows, name="digits": save(tmp_path / "runs" / name, rows)


@pytest.fixture
def png() -> str:
    return digit_png("7")
