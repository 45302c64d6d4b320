# SPDX-License-Identifier: Apache-2.0
"""A limit of latency held against predictions: what is rejected, and that the truth is written beside."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

import fireforge.jobs.profile as profile_file
from fireforge.base.budget import Budget
from fireforge.base.deadline import Deadline
from fireforge.base.prediction import Foretold
from fireforge.base.profile import DeviceProfile
from fireforge.base.progress import silent
from fireforge.jobs import crew as crew_file
from fireforge.jobs import explore as explore_file
from fireforge.jobs.explore import explore
from fireforge.jobs.folder import RunFolder
from fireforge.jobs.foresight import Foresight, held, profile_for, quick
from fireforge.jobs.profile import profile
from fireforge.jobs.profiles import write_profile
from fireforge.jobs.scene import Scene, look
from fireforge.jobs.search import Search
from fireforge.nets.firenet import small_firenet
from fireforge.nets.resnet import small_resnet
from fireforge.space.survey import Candidate, counted


@pytest.fixture(scope="module", autouse=True)
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DeviceProfile]:
    """A quick profile of this machine, kept where commands look."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        patch.setattr(profile_file, "LEAST", 12)
        patch.setattr(crew_file, "usable_cores", lambda: 1)
        patch.setattr(explore_file, "DRAWS", 60)
        before = torch.get_num_threads()
        torch.set_num_threads(1)
        found = profile(seconds=0.0)
        write_profile(found)
        yield found
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
    times, around = foresight.network_ms(specs), foresight.around_ms(specs[0])
    assert 0 < around < 50
    by_hand = [
        around + min(times[form][i] / (1 + machine.forms[form].margin) for form in times) for i in range(len(specs))
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
    assert all(row.foretold_ms > 0 < row.measured_ms for row in found)
    for form in ("float32", "int8"):
        first, second = (row for row in found if row.form == form)
        assert first.measured_ms < second.measured_ms
        assert first.foretold_ms < second.foretold_ms
    assert held(Foresight(scene, machine), [light], clock=Deadline(1e-9)) == []
    assert Foretold(spec="", family="", form="", foretold_ms=1.2, measured_ms=1.0, margin=0.1).error() == pytest.approx(
        0.2
    )


def test_a_build_with_a_limit_of_latency_writes_down_what_it_rejected_and_what_it_foretold(
    scene: Scene, machine: DeviceProfile, tmp_path: Path
) -> None:
    """The limit is the median of what 60 draws are foretold; a resumed run and a replay do not measure again."""
    with RunFolder(tmp_path / "run") as run:
        clock = Deadline(60.0)
        search = Search(scene=scene, run=run, seed=0, device="cpu", clock=clock, progress=silent)
        assert profile_for(search) == machine
        foresight = Foresight(scene, machine)
        spec = small_firenet(3, input_shape=(3, 16, 16))
        limit = foresight.least_ms([spec])[0]
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
