# SPDX-License-Identifier: Apache-2.0
"""The energy counter on made-up powercap trees whose draw is known."""

from __future__ import annotations

from pathlib import Path

import pytest

import fireforge.runtime.measure as measuring
from fireforge.runtime.energy import Counter, drawn, why_none
from fireforge.runtime.measure import measure, measure_fresh
from fireforge.runtime.pictures import generated
from fireforge.runtime.predictor import load

RANGE_UJ = 262_143_328_850  # of a desktop processor


def tree(root: Path, zones: dict[str, tuple[str, int]], *, range_uj: int = RANGE_UJ) -> Path:
    """A folder as /sys/class/powercap: folder of a zone to its name and counter."""
    for folder, (name, energy_uj) in zones.items():
        (root / folder).mkdir(parents=True)
        (root / folder / "name").write_text(f"{name}\n")
        (root / folder / "energy_uj").write_text(f"{energy_uj}\n")
        (root / folder / "max_energy_range_uj").write_text(f"{range_uj}\n")
    (root / "intel-rapl").mkdir(parents=True, exist_ok=True)
    return root


SERVER = {
    "intel-rapl:0": ("package-0", 5_000),
    "intel-rapl:0:0": ("core", 4_000),
    "intel-rapl:0:1": ("dram", 700),
    "intel-rapl:1": ("package-1", 6_000),
    "intel-rapl:2": ("psys", 20_000),
    "intel-rapl-mmio:0": ("package-0", 5_000),
}


def test_packages_and_memory_count_once(tmp_path):
    """core lies within its package, psys around all, and mmio shows the package again."""
    counter = Counter.open(tree(tmp_path, SERVER))
    assert counter is not None
    assert counter.names() == "package-0 + dram + package-1"
    first = counter.read()
    assert first == (5_000, 700, 6_000)
    assert counter.between_mj(first, (6_000, 1_200, 6_500)) == pytest.approx((1_000 + 500 + 500) / 1e3)


def test_a_counter_that_began_anew(tmp_path):
    """100 uJ before the end of its range, then 400 uJ after 0: 500 uJ."""
    counter = Counter.open(tree(tmp_path, {"intel-rapl:0": ("package-0", RANGE_UJ - 100)}))
    assert counter is not None
    assert counter.between_mj(counter.read(), (400,)) == pytest.approx(0.5)


@pytest.mark.parametrize("what", ["absent", "no zones", "broken", "core alone"])
def test_no_counter(what, tmp_path):
    if what == "broken":
        tree(tmp_path, {"intel-rapl:0": ("package-0", 0)})
        (tmp_path / "intel-rapl:0" / "energy_uj").write_text("")
    elif what == "core alone":
        tree(tmp_path, {"intel-rapl:0:0": ("core", 1)})
    root = tmp_path / "nowhere" if what == "absent" else tmp_path
    assert Counter.open(root) is None
    assert "counter" in why_none(root)


def test_a_counter_for_the_administrator_alone_says_so(tmp_path, monkeypatch):
    """Linux gives energy_uj to root alone since 2020; root, who runs some tests, may read all, so reading refuses."""
    tree(tmp_path, {"intel-rapl:0": ("package-0", 1)})
    plain = Path.read_text

    def refuse(path: Path, *args: object, **kwargs: object) -> str:
        if path.name == "energy_uj":
            raise PermissionError(13, "Permission denied")
        return plain(path, *args, **kwargs)

    monkeypatch.setattr(Path, "read_text", refuse)
    assert Counter.open(tmp_path) is None
    assert why_none(tmp_path) == f"only the system's administrator may read {tmp_path / 'intel-rapl:0' / 'energy_uj'}"


class Machine:
    """A machine that draws idle_w always and busy_mj more for each prediction of 1 ms; its counter is a file."""

    def __init__(self, path: Path, *, idle_w: float, busy_mj: float) -> None:
        self.path, self.idle_w, self.busy_mj = path, idle_w, busy_mj
        self.time_s, self.energy_uj = 0.0, float(path.read_text())

    def now(self) -> float:
        return self.time_s

    def sleep(self, seconds: float) -> None:
        self.time_s += seconds
        self.energy_uj = (self.energy_uj + self.idle_w * seconds * 1e6) % RANGE_UJ
        self.path.write_text(f"{self.energy_uj:.0f}\n")

    def predict(self) -> None:
        self.energy_uj += self.busy_mj * 1e3
        self.sleep(1e-3)


@pytest.mark.parametrize("start_uj", [0, RANGE_UJ - 500_000])
def test_what_the_machine_draws_anyway_is_taken_off(start_uj, tmp_path):
    """7.5 mJ a prediction on top of 12 W, over a counter's new beginning as well; 1 uJ in 6 J is the rounding."""
    tree(tmp_path, {"intel-rapl:0": ("package-0", start_uj)})
    machine = Machine(tmp_path / "intel-rapl:0" / "energy_uj", idle_w=12.0, busy_mj=7.5)
    counter = Counter.open(tmp_path)
    assert counter is not None
    found = drawn(counter, machine.predict, now=machine.now, sleep=machine.sleep)
    assert found.energy_mj == pytest.approx(7.5, rel=1e-4)
    assert found.idle_w == pytest.approx(12.0, rel=1e-4)
    assert found.busy_w == pytest.approx(12.0 + 7.5, rel=1e-3)
    assert found.runs in (800, 801)


def test_a_draw_below_the_noise_is_no_figure(tmp_path):
    """Predictions that seem to give energy back: the machine was busy with something else while it was to rest."""
    tree(tmp_path, {"intel-rapl:0": ("package-0", 10**9)})
    machine = Machine(tmp_path / "intel-rapl:0" / "energy_uj", idle_w=12.0, busy_mj=-1.0)
    counter = Counter.open(tmp_path)
    assert counter is not None
    assert drawn(counter, machine.predict, now=machine.now, sleep=machine.sleep).energy_mj is None


def test_measure_says_counter_where_there_is_one(float_file, tmp_path, monkeypatch):
    tree(tmp_path, {"intel-rapl:0": ("package-0", 1_000)})
    machine = Machine(tmp_path / "intel-rapl:0" / "energy_uj", idle_w=5.0, busy_mj=2.0)

    def known(counter, predict):
        predict()
        return drawn(counter, machine.predict, busy_s=0.01, now=machine.now, sleep=machine.sleep)

    monkeypatch.setattr(measuring, "drawn", known)
    predictor = load(float_file)
    shown = generated(predictor.card.preprocess.steps(), 1)
    energy_mj, how = measuring._energy(predictor, shown, root=tmp_path)
    assert energy_mj == pytest.approx(2.0, rel=1e-3)
    assert how.startswith("counter: package-0 of the whole machine, ")
    assert how.endswith("less 5 W at rest")
    (tmp_path / "intel-rapl:0" / "energy_uj").unlink()
    assert measuring._energy(predictor, shown, root=tmp_path)[0] is None


def test_without_a_counter_there_is_no_energy_and_a_reason(float_file, monkeypatch, tmp_path):
    monkeypatch.setattr(measuring.Counter, "open", lambda *_: None)
    found = measure(float_file, runs=3, warmup=1)
    assert found.energy_mj is None
    assert "energy_mj" not in found.figures()
    assert found.how["energy_mj"].startswith("not measured: ")


def test_energy_comes_back_from_the_fresh_process(float_file):
    """Whatever this machine has: a figure by its counter, or none with its reason."""
    found = measure_fresh(float_file, runs=3, warmup=1)
    assert found.how["energy_mj"].startswith("not measured: " if found.energy_mj is None else "counter: ")
