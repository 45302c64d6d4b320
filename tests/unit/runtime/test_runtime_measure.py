# SPDX-License-Identifier: Apache-2.0
"""Measuring in a fresh process, pictures in npz files, and files timed side by side."""

from __future__ import annotations

import errno

import numpy as np
import pytest

import fireforge.base.files as files
import fireforge.runtime.measure as measuring
from fireforge.base.budget import LIMITS
from fireforge.base.errors import Exit, FireforgeError
from fireforge.base.measurement import Measurement
from fireforge.base.pixels import encode_png
from fireforge.runtime.bench import BenchTable, bench
from fireforge.runtime.measure import measure, measure_fresh
from fireforge.runtime.pictures import as_array, generated, read_pictures, save_pictures
from fireforge.runtime.predictor import load


def test_fresh_process_measures_everything(float_file, photos, tmp_path):
    predictor = load(float_file)
    truth = np.asarray([predictor.labels.index(answer.label) for answer in predictor.predict(photos)])
    truth[:10] = (truth[:10] + 1) % 4  # 10 of 40 wrong
    path = save_pictures(tmp_path / "test.npz", photos, truth)
    found = measure_fresh(float_file, pictures=path, runs=30, warmup=3)
    assert found.accuracy == 0.75
    assert (found.n, found.runs, found.threads) == (40, 30, 1)
    assert found.bytes == float_file.stat().st_size
    assert 0 < found.latency_ms <= found.latency_p90_ms < 1000
    assert 0 < found.memory_bytes < 500e6
    assert found.torch_loaded is False
    assert Measurement.from_json(found.to_json()) == found
    figures = found.figures()
    assert set(figures) <= {measurement for measurement, _ in LIMITS.values()}
    assert {name for name, words in found.how.items() if not words.startswith("not measured")} == set(figures)
    assert all("fresh process" in found.how[name] for name in figures)


def test_without_pictures_there_is_no_accuracy(float_file):
    found = measure(float_file, runs=5, warmup=1)
    assert found.accuracy is None
    assert "accuracy" not in found.figures()


def test_errors_come_back_from_the_fresh_process(tmp_path):
    path = tmp_path / "broken.onnx"
    path.write_bytes(b"nothing")
    with pytest.raises(FireforgeError) as caught:
        measure_fresh(path)
    assert caught.value.code == "BAD_MODEL_FILE"
    assert caught.value.where == str(path)


@pytest.mark.parametrize("form", ["array", "gray", "files"])
def test_pictures_come_back_as_they_were_saved(form, photos, tmp_path):
    rng = np.random.default_rng(0)
    given = {
        "array": rng.integers(0, 256, (5, 4, 3, 3)).astype(np.uint8),
        "gray": rng.integers(0, 256, (5, 4, 3)).astype(np.uint8),
        "files": photos[:5],
    }[form]
    found = read_pictures(save_pictures(tmp_path / "p.npz", given, np.arange(5)))
    assert found.labels.tolist() == [0, 1, 2, 3, 4]
    for got, want in zip(found.pictures, given, strict=True):
        np.testing.assert_array_equal(as_array(got), as_array(want))


def test_an_npz_of_something_else_is_refused(tmp_path):
    np.savez(tmp_path / "other.npz", weights=np.zeros(3))
    with pytest.raises(FireforgeError, match=r"BAD_PICTURES.*weights"):
        read_pictures(tmp_path / "other.npz")
    (tmp_path / "text.npz").write_text("no npz")
    with pytest.raises(FireforgeError, match="BAD_PICTURES"):
        read_pictures(tmp_path / "text.npz")
    with pytest.raises(FireforgeError, match="NO_FILE"):
        read_pictures(tmp_path / "none.npz")


def test_generated_pictures_have_the_size_that_the_card_asks_for(card):
    steps = card.preprocess.steps()
    assert [p.shape for p in generated(steps, 2)] == [(12, 10, 3)] * 2
    assert generated(steps.replace(resize=20), 1)[0].shape == (20, 20, 3)
    gray = steps.replace(channels=1, order="L", mean=(0.0,), std=(1.0,), resize=None)
    assert generated(gray, 1)[0].shape == (12, 10)


def test_bench_puts_files_side_by_side(float_file, int8_file):
    table = bench([float_file, int8_file], rounds=8, batch=4)
    assert [row.path for row in table.rows] == [str(float_file), str(int8_file)]
    assert min(row.ratio for row in table.rows) == 1
    for row in table.rows:
        assert 0 < row.least_ms <= row.median_ms <= row.p90_ms
        assert row.images_per_second == pytest.approx(4000 / row.median_ms)
    assert (table.rounds, table.batch) == (8, 4)
    assert BenchTable.from_json(table.to_json()) == table


def test_bench_stops_in_time_and_refuses_nothing_to_do(float_file):
    assert bench([float_file], rounds=10**6, seconds=0.01).rounds < 10**5
    with pytest.raises(FireforgeError, match="BAD_BENCH"):
        bench([])


def test_memory_is_that_of_the_model_and_not_of_the_pictures_shown(float_file, tmp_path):
    """16 pictures of 2000 px are 192 MB decoded; a prediction itself may hold a copy or two of its one picture."""
    found = {}
    for side_px in (50, 2000):
        pictures = [encode_png(np.full((side_px, side_px, 3), i, np.uint8)) for i in range(16)]
        path = save_pictures(tmp_path / f"{side_px}.npz", pictures, np.zeros(16, int))
        found[side_px] = measure_fresh(float_file, pictures=path, runs=6, warmup=1).memory_bytes
    assert abs(found[2000] - found[50]) < 2 * 2000 * 2000 * 3


def test_generated_pictures_do_not_count_as_memory(write_file, networks, card, tmp_path):
    """The card asks for 1500 x 1500 px, of which 12 x 10 are kept: 16 such pictures are 108 MB."""
    steps = card.preprocess.steps().replace(resize=1500)
    large = card.replace(preprocess=card.preprocess.replace(image=steps))
    path = write_file(tmp_path / "large.onnx", *networks["float32"](), large)
    assert measure_fresh(path, runs=3, warmup=0).memory_bytes < 60e6


def test_a_peak_that_cannot_begin_anew_is_no_figure(float_file, monkeypatch):
    monkeypatch.setattr(measuring, "reset_peak", lambda: False)
    found = measure(float_file, runs=3, warmup=1)
    assert found.memory_bytes is None
    assert "memory_bytes" not in found.figures()
    assert found.how["memory_bytes"].startswith("not measured")


def test_pictures_on_a_full_disk_are_an_error_of_the_machine(photos, tmp_path, monkeypatch):
    old = save_pictures(tmp_path / "p.npz", photos[:3], np.arange(3)).read_bytes()

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(FireforgeError, match="No space left") as caught:
        save_pictures(tmp_path / "p.npz", photos, np.arange(40))
    assert (caught.value.code, caught.value.exit_code) == ("CANNOT_WRITE", Exit.ENVIRONMENT)
    assert [path.name for path in tmp_path.iterdir()] == ["p.npz"]
    assert (tmp_path / "p.npz").read_bytes() == old
