# SPDX-License-Identifier: Apache-2.0
"""What a plan says against counts that are known, its time, and the shares of the time by hand."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fireforge.base.budget import Budget
from fireforge.base.errors import FireforgeError
from fireforge.base.settings import Wish
from fireforge.cost.filesize import onnx_bytes
from fireforge.jobs import scene as scene_file
from fireforge.jobs import tell
from fireforge.jobs.border import check
from fireforge.jobs.plan import Plan, plan
from fireforge.jobs.prospect import DRAWS, hopeless
from fireforge.jobs.scene import look, sizes_in_time
from fireforge.jobs.timetable import FINISH_SHARE, finish_seconds, seconds_of, timetable
from fireforge.jobs.usual import USUAL, usual_for
from fireforge.nets.families import build_graph
from fireforge.nets.resnet import small_resnet
from fireforge.space.spaces import SPACES

DATA = Path(os.environ.get("FIREFORGE_DATA", "/absent"))


@pytest.fixture(scope="module")
def digits() -> Plan:
    pytest.importorskip("sklearn")
    return plan("digits", budget=Budget(max_bytes=8_000, max_latency_ms=3.0, min_accuracy=0.995, seconds=120.0))


def test_counts_are_those_of_scikit_learn_s_description_of_the_data(digits: Plan) -> None:
    """1,797 pictures of 8 x 8 in 10 classes, 174 to 183 a class, of which a fifth and then 15 % are held out."""
    assert (digits.found, digits.used, len(digits.classes)) == (1797, 1797, 10)
    assert sum(digits.parts.values()) == 1797
    assert digits.parts["test"] == 359
    assert (digits.height_px, digits.width_px, digits.channels, digits.sizes) == ((8, 8, 8), (8, 8, 8), 1, ((8, 8),))
    assert digits.per_class[0] <= digits.parts["train"] / 10 <= digits.per_class[1]
    assert digits.given is False


def test_the_parts_are_those_of_the_build(digits: Plan) -> None:
    assert digits.parts == look("digits", seed=0).parts.counts()


def test_limits_that_few_networks_keep_are_tight(digits: Plan) -> None:
    size, latency, accuracy = digits.outlook
    assert (size.limit, size.tight) == ("max_bytes", True)
    assert (latency.limit, latency.tight) == ("max_latency_ms", None)  # only a measurement can tell
    assert (accuracy.limit, accuracy.tight) == ("min_accuracy", True)  # published: 99.0 %
    wide = plan("digits", budget=Budget(max_bytes=1_000_000, min_accuracy=0.9))
    assert [row.tight for row in wide.outlook] == [False, False]


def test_energy_is_held_against_the_estimate_of_the_networks_that_are_counted() -> None:
    """The least that a plan without limits tells is kept by one network of that space; a tenth of it by none."""
    least = min(space.least_mj for space in plan("digits").spaces)
    for limit, passing in ((least, 1), (least / 10, 0)):
        found = plan("digits", budget=Budget(max_energy_mj=limit))
        assert [(row.limit, row.tight) for row in found.outlook] == [("max_energy_mj", True)]
        assert sum(space.passing for space in found.spaces) == passing
        assert f": {passing} of " in found.outlook[0].words
        assert f"{least:.2g} mJ by the estimate" in found.outlook[0].words


def test_a_network_that_was_asked_for_by_name_is_told_alone(digits: Plan) -> None:
    found = plan("digits", wish=Wish(net="resnet-small"))
    assert (found.net, found.counted, found.trained) == ("resnet-small", 1, 1)
    line = next(line for line in tell.plan(found) if line.startswith("networks"))
    assert line == "networks  resnet-small; inputs 8 x 8 px; trained alone"
    assert digits.net == ""
    size = onnx_bytes(build_graph(small_resnet(10, input_shape=(1, 8, 8))), form="int8")
    for limit, tight in ((size, False), (size - 1, True)):
        held = plan("digits", budget=Budget(max_bytes=limit), wish=Wish(net="resnet-small")).outlook
        assert [row.tight for row in held] == [tight]
    with pytest.raises(FireforgeError, match="UNKNOWN_NAME"):
        plan("digits", wish=Wish(net="nonsense"))


def test_a_plan_writes_nothing_and_needs_no_place_to_write(tmp_path: Path) -> None:
    file = tmp_path / "a file"
    file.write_text("in the way of a folder")
    check("digits", budget=Budget(), wish=Wish(), folder=file / "run", writes=False)
    with pytest.raises(FireforgeError):
        check("digits", budget=Budget(), wish=Wish(), folder=file / "run")


def test_what_is_tried_is_what_the_build_tries(digits: Plan) -> None:
    assert tuple(row.space for row in digits.spaces) == tuple(SPACES)
    assert digits.counted == DRAWS >= 500
    assert digits.trained >= 12
    assert {"majority", "neighbours", "convnet"} <= set(digits.baselines)


def test_the_time_is_shared_out_whole(digits: Plan) -> None:
    parts = digits.time.to_json()
    assert sum(parts.values()) == pytest.approx(120.0, abs=1e-9)
    assert parts["baselines"] == 12.0
    assert min(parts.values()) > 0


def test_a_plan_writes_nothing_and_loads_no_torch(tmp_path: Path) -> None:
    code = "import sys, fireforge; fireforge.plan('digits'); print('torch' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
    assert list(tmp_path.iterdir()) == []


def test_lines_and_json_of_a_plan_say_the_same(digits: Plan) -> None:
    lines = tell.plan(digits)
    assert lines[0].startswith("found     digits: digits, 10 classes, 1,797 pictures (0 files skipped)")
    assert sum(line.startswith("TIGHT") for line in lines) == 2
    assert any("no promise" in line for line in lines)
    assert any("scikit-learn's digits" in line for line in lines)
    assert Plan.from_json(json.loads(json.dumps(digits.to_json()))) == digits


def test_a_size_of_the_input_that_was_asked_for_is_the_only_one(digits: Plan) -> None:
    assert plan("digits", wish=Wish(image_size=16)).sizes == ((16, 16),)


def test_too_little_time_is_refused_with_the_least_that_it_needs() -> None:
    with pytest.raises(FireforgeError, match="TOO_LITTLE_TIME: 29 s; allowed: at least 30s"):
        plan("digits", budget=Budget(seconds=29.0))
    assert seconds_of(Budget()) == 600.0


@pytest.mark.data
@pytest.mark.skipif(not DATA.is_dir(), reason="FIREFORGE_DATA names no folder")
@pytest.mark.parametrize(("name", "nearest"), [("photos10", "STL-10"), ("cifar10_jpegbytes.npz", "CIFAR-10")])
def test_real_data_is_planned_within_five_seconds(name: str, nearest: str) -> None:
    begun = time.monotonic()
    found = plan(str(DATA / name), budget=Budget(max_bytes=500_000))
    assert time.monotonic() - begun < 5.0
    assert found.usual[0].data.startswith(nearest)
    assert 0 < found.time.train < 600


def test_a_size_below_half_of_the_smallest_network_is_hopeless_and_one_above_it_is_not() -> None:
    scene = look("digits", seed=0)
    assert hopeless(scene, Budget(max_bytes=10), seed=0) == "max_bytes"
    assert hopeless(scene, Budget(max_bytes=6_000), seed=0) == ""
    assert hopeless(scene, Budget(), seed=0) == ""
    assert hopeless(scene, Budget(max_energy_mj=1e-9, max_bytes=6_000), seed=0) == "max_energy_mj"
    assert hopeless(scene, Budget(max_energy_mj=1.0), seed=0) == ""


def test_sizes_are_those_nearest_to_the_first_that_the_time_can_decode_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """1,000 pictures at 3 ms on one core are 3 s a size, in a tenth of the time: 95 s pay for three."""
    monkeypatch.setattr(scene_file, "usable_cores", lambda: 1)
    sizes = [(side, side) for side in (32, 48, 64, 96, 128)]
    found = [sizes_in_time(sizes, (64, 64), pictures=1_000, seconds=seconds) for seconds in (95.0, 1.0, math.inf)]
    assert found == [[(64, 64), (48, 48), (96, 96)], [(64, 64)], [(s, s) for s in (64, 48, 96, 32, 128)]]


@pytest.mark.parametrize(
    ("left_s", "look_s", "share", "seconds"),
    [
        (600.0, 0.0, 0.3, FINISH_SHARE * 600.0),
        (30.0, 0.0, 0.3, 6.0),  # the least
        (60.0, 20.0, 0.5, 24.0),  # 6 + 3 x 0.5 x 20 = 36 is more than two fifths of what is left
        (300.0, 20.0, 0.5, 36.0),
        (math.inf, 20.0, 0.5, 0.0),
    ],
)
def test_seconds_of_the_finish_by_hand(left_s: float, look_s: float, share: float, seconds: float) -> None:
    assert finish_seconds(left_s, look_s=look_s, share=share) == pytest.approx(seconds, abs=1e-9)


def test_loading_that_takes_all_the_time_leaves_nothing_below_zero() -> None:
    shares = timetable(30.0, look_s=100.0, share=0.3)
    assert (shares.load, shares.baselines, shares.explore, shares.train, shares.finish) == (30.0, 0.0, 0.0, 0.0, 0.0)


def test_results_most_like_the_data_come_first() -> None:
    """Each published result is the nearest to the very data that it was published on."""
    for row in USUAL:
        found = usual_for(gray=row.gray, side_px=row.side_px, classes=row.classes, per_class=row.per_class)
        assert row in found
        assert (found[0].side_px, found[0].per_class) == (row.side_px, row.per_class)
        assert 0 < row.low <= row.high < 1
