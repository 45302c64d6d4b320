# SPDX-License-Identifier: Apache-2.0
"""Rates and manners, with a crew whose trainings take times that are known."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

pytest.importorskip("torch")

from fireforge.base.cost import Cost
from fireforge.base.deadline import Deadline
from fireforge.base.errors import FireforgeError
from fireforge.base.machine import this_machine
from fireforge.base.preprocess import Preprocess
from fireforge.base.record import RunRecord
from fireforge.base.spec import NetSpec
from fireforge.base.trial import DataRef, Recipe, Trial
from fireforge.base.value import Json
from fireforge.jobs import pace as file
from fireforge.jobs.crew import Orders
from fireforge.jobs.folder import RunFolder
from fireforge.jobs.pace import (
    ACTIVATION,
    LEAST_RATIO,
    PIXEL,
    PLAIN_ACTIVATION,
    PROBE,
    PROBE_SEED,
    TOGETHER,
    WARM_UP,
    Pace,
    work_of,
)
from fireforge.nets.firenet import small_firenet
from fireforge.nets.mobilenet import small_mobilenet
from fireforge.space.survey import Candidate, counted

HARDWARE = this_machine()
Seconds = Callable[[Trial, int], float]  # a trial, and how many train at once, to its seconds a picture


class TimedCrew:
    """Trains nothing and tells times; as many at once as there are workers."""

    def __init__(self, seconds: Seconds, *, size: int = 2, on_cpu: bool = True, lost: Sequence[str] = ()) -> None:
        self.size, self.on_cpu = size, on_cpu
        self.asked: list[list[Trial]] = []
        self._seconds, self._lost = seconds, lost

    def run(self, orders: Orders) -> Iterator[RunRecord | float]:
        self.asked.append(list(orders.trials))
        assert not orders.keep
        for trial in orders.trials:
            yield 0.5
            error = "DIVERGED: the loss is nan" if trial.recipe.precision in self._lost else ""
            yield record(trial, self._seconds(trial, min(self.size, len(orders.trials))), error=error)


def record(trial: Trial, a_picture_s: float, *, error: str = "", epochs: float = 1.0) -> RunRecord:
    pictures = trial.pictures or 1_000
    return RunRecord(
        trial=trial,
        trial_digest=trial.digest(),
        metrics={} if error else {"train/epoch": (epochs,)},
        accuracy=None if error else 0.5,
        seconds={} if error else {"train": a_picture_s * pictures * epochs},
        samples={} if error else {"train": pictures, "val": 1},
        weights="" if error else f"trials/{trial.digest()[:12]}.safetensors",
        weights_sha256="",
        hardware=HARDWARE,
        error=error,
    )


def candidate(width: int, *, mobile: bool = False) -> Candidate:
    spec = small_mobilenet(3, params={"stem": width}) if mobile else small_firenet(3, params={"base_e": width})
    found = counted(spec)
    assert found is not None
    return found


def trial_of(one: Candidate, *, rung: int = 0, **changes: object) -> Trial:
    plain = Trial(
        spec=one.spec,
        recipe=Recipe(epochs=9),
        data=DataRef(source="none"),
        preprocess=Preprocess(),
        rung=rung,
        cost=one.cost,
    )
    return plain.replace(**changes)


def pace_of(run: RunFolder, crew: TimedCrew, *, clock: Deadline | None = None) -> Pace:
    orders = Orders(trials=(), folder=run.path)
    return Pace(run, clock or Deadline(600.0), crew, orders)  # type: ignore[arg-type]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[RunFolder]:
    with RunFolder(tmp_path / "run") as folder:
        yield folder


def knows_bfloat16(monkeypatch: pytest.MonkeyPatch, *, knows: bool) -> None:
    machine = HARDWARE.replace(instructions=("avx2", *(("avx512_bf16",) if knows else ())))
    monkeypatch.setattr(file, "this_machine", lambda: machine)


TIMES = {("float32", "contiguous"): 1.0, ("float32", "channels_last"): 0.7, ("bfloat16", "channels_last"): 0.4}


def by_manner(trial: Trial, together: int) -> float:
    return TIMES[trial.recipe.precision, trial.recipe.layout] * 1e-3


def test_the_fastest_manner_of_each_family_is_chosen_and_written(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    for knows, wanted in ((True, ("bfloat16", "channels_last")), (False, ("float32", "channels_last"))):
        knows_bfloat16(monkeypatch, knows=knows)
        crew = TimedCrew(by_manner)
        with RunFolder(run.path / str(knows)) as own:
            found = pace_of(own, crew).manners([trial_of(candidate(16)), trial_of(candidate(16, mobile=True))])
            assert found == {name: {"precision": wanted[0], "layout": wanted[1]} for name in ("firenet", "mobilenet")}
            assert [entry.value["name"] for entry in own.entries()] == ["manner of firenet", "manner of mobilenet"]
        tried = {(trial.recipe.precision, trial.recipe.layout) for trials in crew.asked for trial in trials}
        assert (("bfloat16", "channels_last") in tried) == knows


def test_a_gain_of_less_than_a_twentieth_changes_nothing(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    knows_bfloat16(monkeypatch, knows=False)
    crew = TimedCrew(lambda trial, together: 1e-3 if trial.recipe.layout == "contiguous" else 0.96e-3)
    assert pace_of(run, crew).manners([trial_of(candidate(16))])["firenet"] == file.PLAIN


def test_a_manner_that_diverges_is_not_chosen_and_all_of_them_are_an_error(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    knows_bfloat16(monkeypatch, knows=True)
    crew = TimedCrew(by_manner, lost=("bfloat16",))
    found = pace_of(run, crew).manners([trial_of(candidate(16))])["firenet"]
    assert found == {"precision": "float32", "layout": "channels_last"}
    with RunFolder(run.path / "other") as other, pytest.raises(FireforgeError, match="ALL_DIVERGED"):
        pace_of(other, TimedCrew(by_manner, lost=("bfloat16", "float32"))).manners([trial_of(candidate(16))])


def test_probes_are_short_of_their_own_seeds_and_leave_no_weights(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By hand: a picture takes 1 ms, the probe may take 0.5 % of the 60 s left, so 300 pictures; held within PROBE."""
    knows_bfloat16(monkeypatch, knows=False)
    for left_s, a_picture_s, wanted in ((60.0, 1e-3, 300), (1.0, 1e-3, PROBE[0]), (1e6, 1e-3, PROBE[1])):
        crew = TimedCrew(lambda trial, together, s=a_picture_s: s)  # type: ignore[misc]
        with RunFolder(run.path / str(left_s)) as own:
            pace_of(own, crew, clock=Deadline(left_s)).manners([trial_of(candidate(16))])
        sizes = [[trial.pictures for trial in trials] for trials in crew.asked]
        assert sizes[:2] == [[WARM_UP] * 2, [WARM_UP]]
        assert sizes[2] == [pytest.approx(wanted, abs=1)] * 2
        every = [trial for trials in crew.asked for trial in trials]
        assert all(trial.seed >= PROBE_SEED and trial.recipe.epochs == 1 and trial.val_pictures == 1 for trial in every)


def test_work_is_macs_activations_and_pixels_by_hand() -> None:
    cost = Cost(params=1, macs=5_000, activations=10, peak_activation_bytes=1, weight_bytes=1, wire_bytes=1)
    spec = NetSpec(family="resnet", classes=2, input_shape=(3, 4, 8))
    assert work_of(spec, cost) == 5_000 + ACTIVATION["resnet"] * 10 + PIXEL * 4 * 8
    assert work_of(spec.replace(family="another"), cost) == 5_000 + PLAIN_ACTIVATION * 10 + PIXEL * 4 * 8


def test_the_rate_is_the_networks_own_or_that_of_the_nearest_of_its_family_by_hand(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seconds grow with the work of the nearest that was trained; a light one takes LEAST_RATIO of its at least."""
    knows_bfloat16(monkeypatch, knows=False)
    light, middle, heavy, other = candidate(8), candidate(48), candidate(64), candidate(16, mobile=True)

    def work(one: Candidate) -> float:
        return work_of(one.spec, one.cost)

    for one, seconds in ((heavy, 4e-3), (other, 9e-3)):
        run.journal.append("trial", record(trial_of(one), seconds).to_json())
    pace = pace_of(run, TimedCrew(by_manner))
    assert (pace.seconds(heavy), pace.seconds(other)) == (pytest.approx(4e-3), pytest.approx(9e-3))
    for one in (light, middle):
        assert pace.seconds(one) == pytest.approx(4e-3 * max(LEAST_RATIO, work(one) / work(heavy)))
    run.journal.append("trial", record(trial_of(heavy, rung=1), 5e-3).to_json())
    assert pace.seconds(heavy) == pytest.approx(5e-3)  # the newest of its own


def test_trials_that_are_done_tell_more_than_probes_and_those_that_cannot_tell_do_not(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    knows_bfloat16(monkeypatch, knows=False)
    one = candidate(16)
    pace = pace_of(run, TimedCrew(by_manner))
    pace.manners([trial_of(one)])
    assert pace.seconds(one) == pytest.approx(0.7e-3)
    for trial, error in ((trial_of(one, rung=1), "DIVERGED"), (trial_of(one, rung=2, threads=2), "")):
        run.journal.append("trial", record(trial, 1.0, error=error).to_json())
    assert pace.seconds(one) == pytest.approx(0.7e-3)
    run.journal.append("trial", record(trial_of(one), 3e-3, epochs=0.25).to_json())
    assert pace.seconds(one) == pytest.approx(3e-3)  # a training that was cut counts the part that it did


def test_a_resumed_run_measures_again_where_nothing_was_trained(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    knows_bfloat16(monkeypatch, knows=False)
    one = candidate(16)
    pace_of(run, TimedCrew(by_manner)).manners([trial_of(one)])
    crew = TimedCrew(by_manner)
    pace = pace_of(run, crew)
    pace.manners([trial_of(one)])
    assert crew.asked == []  # the manners stand in the record
    assert pace.seconds(one) == pytest.approx(0.7e-3)


def test_nothing_is_tried_when_the_time_is_over(run: RunFolder) -> None:
    """What is left to do shall not wait for probes; a rate is then that of a typical core, by the work."""
    crew = TimedCrew(by_manner)
    pace = pace_of(run, crew, clock=Deadline(0.0))
    assert pace.manners([trial_of(candidate(16))]) == {"firenet": file.PLAIN}
    light, heavy = candidate(16), candidate(96)
    assert 0 < pace.seconds(light) < pace.seconds(heavy) < 1
    assert crew.asked == []


def test_the_record_is_read_once_for_many_networks(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    one = candidate(16)
    run.journal.append("trial", record(trial_of(one), 3e-3).to_json())
    pace = pace_of(run, TimedCrew(by_manner))
    reads: list[int] = []
    trials = RunFolder.trials
    monkeypatch.setattr(RunFolder, "trials", lambda self: (reads.append(1), trials(self))[1])
    for _ in range(50):
        pace.seconds(one)
    assert len(reads) == 1
    run.journal.append("trial", record(trial_of(one, rung=1), 5e-3).to_json())
    pace.seconds(one)
    assert len(reads) == 2


@pytest.mark.parametrize("size", [2, 4])
@pytest.mark.parametrize("more", [0.05, -0.05])
def test_all_cores_go_to_one_network_where_enough_of_the_ideal_is_gained(
    run: RunFolder, size: int, more: float
) -> None:
    """The one that has all cores must be measured while the others rest; side by side it would be as slow as they."""
    gain = 1 + (size - 1) * TOGETHER + more

    def seconds(trial: Trial, together: int) -> float:
        return 1e-3 * (together if trial.threads > 1 else 1) / (gain if trial.threads > 1 else 1)

    crew: TimedCrew = TimedCrew(seconds, size=size)
    assert pace_of(run, crew).speedup(trial_of(candidate(16))) == pytest.approx(gain if more > 0 else 1.0)
    threads: list[Json] = [[trial.threads for trial in trials] for trials in crew.asked]
    assert [1] * size in threads
    assert [size] in threads


def test_one_worker_has_nothing_to_gain(run: RunFolder) -> None:
    crew = TimedCrew(by_manner, size=1)
    assert pace_of(run, crew).speedup(trial_of(candidate(16))) == 1.0
    assert crew.asked == []


MAKING_S = 12.0  # until the kernels are there


def by_kernels(gain: float) -> Seconds:
    """Compiled kernels gain so much, once they are made."""
    return lambda trial, together: 1e-3 / gain + MAKING_S / trial.pictures if trial.recipe.compile else 1e-3


@pytest.mark.parametrize(("gain", "told"), [(1.5, 1.5), (1.05, 1.0), (0.8, 1.0)])
def test_compiled_kernels_are_measured_without_the_time_that_making_them_takes(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch, gain: float, told: float
) -> None:
    monkeypatch.setattr(file, "compilable", lambda *, on_cpu: on_cpu)
    crew = TimedCrew(by_kernels(gain))
    assert pace_of(run, crew).compiled_gain(trial_of(candidate(16), threads=2), samples=9_999) == pytest.approx(told)
    assert {trial.threads for trials in crew.asked for trial in trials} == {2}
    assert all(
        trial.pictures % trial.recipe.batch == 0
        for trials in crew.asked
        for trial in trials[:1]
        if trial.recipe.compile
    )


def test_without_a_compiler_nothing_is_tried(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file, "compilable", lambda *, on_cpu: False)
    crew = TimedCrew(by_manner)
    assert pace_of(run, crew).compiled_gain(trial_of(candidate(16)), samples=9_999) == 1.0
    assert crew.asked == []


@pytest.mark.parametrize(("samples", "told"), [(9_999, 1.5), (1_000, 1.5), (600, 1.0)])
def test_few_pictures_give_a_shorter_trial_or_none(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch, samples: int, told: float
) -> None:
    """Of 1,000 pictures 15 whole batches of 64 are taken, of 600 nine, which are fewer than five times two."""
    monkeypatch.setattr(file, "compilable", lambda *, on_cpu: True)
    crew = TimedCrew(by_kernels(1.5))
    assert pace_of(run, crew).compiled_gain(trial_of(candidate(16)), samples=samples) == pytest.approx(told)
    assert all(trial.pictures <= samples for trials in crew.asked for trial in trials)
    assert bool(crew.asked) is (told > 1)


def test_a_trial_that_the_clock_cut_tells_nothing(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file, "compilable", lambda *, on_cpu: True)
    crew = TimedCrew(lambda trial, together: 1e-4 if trial.recipe.compile else 1e-3)
    assert pace_of(run, crew, clock=Deadline(0.0)).compiled_gain(trial_of(candidate(16)), samples=9_999) == 1.0


def test_a_compiled_training_tells_nothing_of_others(run: RunFolder) -> None:
    one = candidate(16)
    run.journal.append("trial", record(trial_of(one), 3e-3).to_json())
    fast = trial_of(one, rung=1, recipe=Recipe(epochs=9, compile=True))
    run.journal.append("trial", record(fast, 1e-3).to_json())
    assert pace_of(run, TimedCrew(by_manner)).seconds(one) == pytest.approx(3e-3)


@pytest.mark.parametrize("code", ["NOT_COMPILED", "DATA_CHANGED"])
def test_a_network_that_cannot_be_compiled_trains_without(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    """Every other error ends the build."""
    monkeypatch.setattr(file, "compilable", lambda *, on_cpu: True)

    def failing(trial: Trial, together: int) -> float:
        raise FireforgeError(code, "told by a worker")

    pace = pace_of(run, TimedCrew(failing))
    if code == "NOT_COMPILED":
        assert pace.compiled_gain(trial_of(candidate(16)), samples=9_999) == 1.0
    else:
        with pytest.raises(FireforgeError, match=code):
            pace.compiled_gain(trial_of(candidate(16)), samples=9_999)
