# SPDX-License-Identifier: Apache-2.0
"""A limit of latency held against predictions: what is rejected, and that the truth is written beside."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

import fireforge.jobs.foresight as foresight_file
import fireforge.jobs.profile as profile_file
from fireforge.base.budget import Budget
from fireforge.base.deadline import Deadline
from fireforge.base.errors import FireforgeError
from fireforge.base.prediction import Foretold
from fireforge.base.profile import DeviceProfile
from fireforge.base.progress import silent
from fireforge.base.spec import NetSpec
from fireforge.jobs import crew as crew_file
from fireforge.jobs import explore as explore_file
from fireforge.jobs.explore import explore
from fireforge.jobs.folder import RunFolder
from fireforge.jobs.foresight import OWN, Foresight, held, profile_for, quick
from fireforge.jobs.profiles import kept_path, read_profile, write_profile
from fireforge.jobs.scene import Scene, look
from fireforge.jobs.search import Search
from fireforge.nets.firenet import small_firenet
from fireforge.nets.resnet import small_resnet
from fireforge.space.survey import Candidate, counted


@pytest.fixture(scope="module", autouse=True)
def machine(quick_profile: DeviceProfile, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DeviceProfile]:
    """A quick profile of this machine, kept where commands look."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        patch.setattr(profile_file, "LEAST", 12)
        patch.setattr(crew_file, "usable_cores", lambda: 1)
        patch.setattr(explore_file, "DRAWS", 60)
        before = torch.get_num_threads()
        torch.set_num_threads(1)
        write_profile(quick_profile)
        yield quick_profile
        torch.set_num_threads(before)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    path = tmp_path_factory.mktemp("foresight") / "a.npz"
    pixels = np.random.default_rng(0).integers(0, 256, (60, 16, 16, 3)).astype(np.uint8)
    np.savez(path, x=pixels, y=np.arange(60) % 3)
    return look(str(path), seed=0)


def candidate(width: int) -> Candidate:
    found = counted(small_resnet(3, input_shape=(3, 16, 16), params={"widths": f"{width},{2 * width}"}))
    assert found is not None
    return found


def test_the_quicker_format_less_its_margin_is_held_against_the_limit_by_hand(
    scene: Scene, machine: DeviceProfile
) -> None:
    foresight = Foresight(scene, machine)
    many = [candidate(width) for width in (16, 32, 64, 128)]
    specs = [one.spec for one in many]
    times, around = foresight.networks(specs), foresight.around_ms(specs[0])
    assert 0 < around < 50
    by_hand = [
        around + min(times[form][i].ms / (1 + machine.forms[form].margin) for form in times) for i in range(len(specs))
    ]
    assert foresight.least_ms(specs) == pytest.approx(by_hand)
    ordered = sorted(by_hand)
    limit = (ordered[1] + ordered[2]) / 2  # between two of the times
    assert quick(foresight, many, limit) == [spec.digest() for spec, ms in zip(specs, by_hand) if ms <= limit]
    assert quick(foresight, many, 1e9) == [spec.digest() for spec in specs]
    assert quick(foresight, many, 1e-9) == [specs[int(np.argmin(by_hand))].digest()]


def test_predictions_stand_beside_the_times_of_untrained_files(scene: Scene, machine: DeviceProfile) -> None:
    """A network with 60 times the multiply-adds of another takes longer, foretold and measured."""
    light, heavy = candidate(16), candidate(128)
    found = held(Foresight(scene, machine), [light, heavy], clock=Deadline())
    assert [(row.spec, row.form) for row in found] == [
        (one.spec.digest(), form) for one in (light, heavy) for form in ("float32", "int8")
    ]
    assert all(row.foretold_ms > 0 and row.measured_ms and not row.why for row in found)
    assert all(f"seed {machine.seed}" in row.profile and "1 thread" in row.profile for row in found)
    for form in ("float32", "int8"):
        first, second = (row for row in found if row.form == form)
        assert first.measured_ms is not None
        assert second.measured_ms is not None
        assert first.measured_ms < second.measured_ms
        assert first.foretold_ms < second.foretold_ms
    late = held(Foresight(scene, machine), [light], clock=Deadline(1e-9))
    assert [(row.form, row.measured_ms, row.error()) for row in late] == [("float32", None, None), ("int8", None, None)]
    assert all("time" in row.why for row in late)
    assert Foretold(spec="", family="", form="", foretold_ms=1.2, measured_ms=1.0, margin=0.1).error() == pytest.approx(
        0.2
    )


def test_a_build_with_a_limit_of_latency_writes_down_what_it_rejected_and_what_it_foretold(
    scene: Scene, machine: DeviceProfile, tmp_path: Path
) -> None:
    """The limit is what a small network is foretold; a resumed run and a replay do not measure again."""
    with RunFolder(tmp_path / "run") as run:
        clock = Deadline(60.0)
        search = Search(scene=scene, run=run, seed=0, device="cpu", clock=clock, progress=silent)
        assert profile_for(search) == machine
        assert read_profile(tmp_path / "run" / OWN) == machine
        write_profile(machine.replace(seed=9))  # measured again meanwhile: the run foretells as it began
        assert profile_for(search) == machine
        write_profile(machine)
        spec = small_firenet(3, input_shape=(3, 16, 16))
        limit = min(Foresight(scene, machine).least_ms([spec])[0] for _ in range(5))  # each measures what is around it
        clock.stop()
        explore(search, Budget(max_latency_ms=limit))
        ledger = run.entry("candidates")
        assert ledger["rejected"]["max_latency_ms"] > 0
        assert ledger["counted"] == ledger["kept"] + sum(ledger["rejected"].values())
        kept = next(entry.value["value"] for entry in run.entries() if entry.value.get("name") == "quick")
        assert len(kept) == ledger["kept"]
        before = run.journal.path.read_bytes()
        explore(search, Budget(max_latency_ms=limit))
        assert run.journal.path.read_bytes() == before
        with RunFolder(tmp_path / "again", replay=run) as again:
            other = Search(scene=scene, run=again, seed=0, device="cpu", clock=Deadline(), progress=silent)
            explore(other, Budget(max_latency_ms=limit))
            assert again.entry("candidates") == ledger
            assert again.entry("foretold") is None


def test_a_profile_that_the_build_makes_is_the_one_that_it_goes_on_with(
    scene: Scene, machine: DeviceProfile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "empty"))
    monkeypatch.setattr(foresight_file, "profile", lambda **_: made.append(machine) or machine)
    with RunFolder(tmp_path / "run") as run:
        search = Search(scene=scene, run=run, seed=0, device="cpu", clock=Deadline(60.0), progress=silent)
        assert profile_for(search) == machine
        assert profile_for(search) == machine
    assert len(made) == 1
    assert not kept_path().exists()  # a quick profile does not stand in the way of a whole one


def test_a_limit_is_not_judged_by_a_profile_of_other_threads(scene: Scene, machine: DeviceProfile) -> None:
    with pytest.raises(FireforgeError) as raised:
        Foresight(scene, machine.replace(threads=2))
    assert raised.value.code == "NOT_PROFILED"


def test_a_network_with_unknown_kinds_is_rejected_by_its_lower_bound_alone(
    scene: Scene, machine: DeviceProfile
) -> None:
    """A profile without pools: 1 % above the bound of the known kernels it is kept, 1 % below it is not."""
    some = candidate(32)
    forms = {
        name: form.replace(times=tuple(one for one in form.times if "pool" not in one.kernel.kind))
        for name, form in machine.forms.items()
    }
    whole, blind = Foresight(scene, machine), Foresight(scene, machine.replace(forms=forms))
    around = blind.around_ms(some.spec)
    bound = blind.least_ms([some.spec])[0] - around
    assert all(times[0].margin is None and times[0].unknown for times in blind.networks([some.spec]).values())
    assert 0 < bound <= whole.least_ms([some.spec])[0] - whole.around_ms(some.spec)
    light = candidate(16)
    assert some.spec.digest() in quick(blind, [some, light], around + bound * 1.01)
    assert some.spec.digest() not in quick(blind, [some, light], around + bound * 0.99)


def test_a_network_without_a_file_keeps_its_row_and_says_why(
    scene: Scene, machine: DeviceProfile, monkeypatch: pytest.MonkeyPatch
) -> None:
    light = candidate(16)
    real = foresight_file.blank_files

    def broken(spec: NetSpec) -> dict[str, bytes]:
        if spec == light.spec:
            raise FireforgeError("RUNTIME_FAILED", "no such kernel")
        return real(spec)

    monkeypatch.setattr(foresight_file, "blank_files", broken)
    found = held(Foresight(scene, machine), [light], clock=Deadline())
    assert [(row.form, row.measured_ms) for row in found] == [("float32", None), ("int8", None)]
    assert all("no such kernel" in row.why for row in found)
