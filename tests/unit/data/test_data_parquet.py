# SPDX-License-Identifier: Apache-2.0
"""Parquet files as Hugging Face's datasets writes them, against the rows that they were written of."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from opening import is_whole, refused
from source_files import parquet_of, png

from fireforge.base.errors import FireforgeError
from fireforge.data.open import open_dataset

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")


def rows(first: int, last: int) -> list[dict[str, Any]]:
    return [{"bytes": png(i), "label": i % 2} for i in range(first, last)]


def written(path: Path, **columns: Any) -> Path:
    pq.write_table(pa.table(columns), path)
    return path


def test_files_of_a_folder_are_one_dataset(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    parquet_of(tmp_path / "data" / "train-00000-of-00002.parquet", rows(0, 20))
    parquet_of(tmp_path / "data" / "train-00001-of-00002.parquet", rows(20, 40))
    parquet_of(tmp_path / "data" / "test-00000-of-00001.parquet", rows(40, 50))
    dataset = open_dataset(tmp_path)
    assert (dataset.format, dataset.labels) == ("parquet", ("cat", "dog"))
    assert dataset.counts() == {"cat": {"train": 20, "test": 5}, "dog": {"train": 20, "test": 5}}
    order = np.random.default_rng(0).permutation(50)
    assert all(dataset.read(int(i)) == png(int(i)) for i in order)
    assert dataset.samples[21].name == "data/train-00001-of-00002.parquet[1]"
    assert is_whole(dataset)


def test_the_reader_crosses_processes(tmp_path: Path) -> None:
    dataset = open_dataset(parquet_of(tmp_path / "a.parquet", rows(0, 20)))
    assert dataset.read(3) == png(3)  # opened here before the fork
    again = pickle.loads(pickle.dumps(dataset))
    assert again.sha256 == dataset.sha256
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert pool.map(dataset.read, range(20)) == [png(i) for i in range(20)]


def test_plain_bytes_and_texts_serve_too(tmp_path: Path) -> None:
    pictures, texts = [png(i) for i in range(12)], [("ox", "asp")[i % 2] for i in range(12)]
    for i, kind in enumerate((pa.string(), pa.large_string(), pa.dictionary(pa.int8(), pa.string()))):
        path = written(tmp_path / f"{i}.parquet", jpg=pa.array(pictures, pa.large_binary()), y=pa.array(texts, kind))
        dataset = open_dataset(path)
        assert dataset.labels == ("asp", "ox")
        assert [dataset.labels[sample.label] for sample in dataset.samples] == texts
        assert [dataset.read(j) for j in range(12)] == pictures
    numbers = written(tmp_path / "n.parquet", image=pictures, label=[10 * (i % 3) for i in range(12)], other=texts)
    assert open_dataset(numbers).labels == ("0", "10", "20")


def test_rows_without_a_picture_or_a_class_are_skipped(tmp_path: Path) -> None:
    cells = rows(0, 100)
    cells[5]["bytes"], cells[6]["label"], cells[7]["label"] = None, None, -1
    parquet_of(tmp_path / "train.parquet", cells)
    parquet_of(tmp_path / "test.parquet", [{**row, "label": -1} for row in rows(0, 9)])
    dataset = open_dataset(tmp_path)
    assert [(item.name, item.code) for item in dataset.skipped] == [
        ("test.parquet", "NO_LABEL"),
        ("train.parquet[5]", "NO_FILE"),
        ("train.parquet[6]", "NO_LABEL"),
        ("train.parquet[7]", "NO_LABEL"),
    ]
    assert len(dataset.samples) == 97
    assert dataset.read(5) == png(8)
    assert is_whole(dataset)
    parquet_of(
        tmp_path / "train.parquet", [{**row, "bytes": None} if i % 9 == 0 else row for i, row in enumerate(rows(0, 30))]
    )
    assert refused(tmp_path / "train.parquet").code == "TOO_MANY_BAD"


@pytest.mark.parametrize("label, names", [(2, ("cat", "dog")), (-7, ("cat", "dog")), (-1, None), (-3, None)])
def test_a_class_number_out_of_range_names_its_row(tmp_path: Path, label: int, names: tuple[str, ...] | None) -> None:
    cells = rows(0, 20)
    cells[13]["label"] = label
    path = parquet_of(tmp_path / "a.parquet", cells, names=names)
    if label == -1 and names:
        return
    error = refused(path)
    assert (error.code, error.where.endswith("a.parquet[13]")) == ("BAD_LABELS", True)


def test_other_answers_are_named(tmp_path: Path) -> None:
    image = [png(i) for i in range(12)]
    several = written(tmp_path / "s.parquet", image=image, labels=[[0, 1]] * 12)
    assert (refused(several).code, "several labels" in refused(several).what) == ("OUTPUT_KIND", True)
    boxes = written(tmp_path / "b.parquet", image=image, label=[0] * 12, objects=[[{"bbox": [1.0, 2.0]}]] * 12)
    assert (refused(boxes).code, "boxes" in refused(boxes).what) == ("OUTPUT_KIND", True)
    number = written(tmp_path / "n.parquet", image=image, label=[i + 0.5 for i in range(12)])
    assert (refused(number).code, "a number" in refused(number).what) == ("OUTPUT_KIND", True)
    unclear = written(tmp_path / "u.parquet", image=image, p=[1] * 12, q=[2] * 12)
    assert (refused(unclear).code, "'p', 'q'" in refused(unclear).what) == ("BAD_PARQUET", True)
    paths = written(tmp_path / "p.parquet", image=["a.jpg"] * 12, label=[0] * 12)
    assert refused(paths).code == "BAD_PARQUET"


def test_every_cut_is_refused_in_one_line(tmp_path: Path) -> None:
    path = parquet_of(tmp_path / "a.parquet", rows(0, 8))
    whole = path.read_bytes()
    for cut in (*range(16), *range(16, len(whole), 37), len(whole) - 1):
        path.write_bytes(whole[:cut])
        assert refused(path).code in ("BAD_PARQUET", "BAD_LAYOUT"), cut


def test_few_bytes_that_claim_many_are_refused(tmp_path: Path) -> None:
    big = pa.DictionaryArray.from_arrays(
        pa.array([0, 1] * 2000, pa.int32()), pa.array([b"\0" * 10**7, b"1"], pa.binary())
    )
    path = tmp_path / "bomb.parquet"
    pq.write_table(pa.table({"image": big, "label": [0, 1] * 2000}), path, compression="zstd", write_statistics=False)
    assert path.stat().st_size < 10_000
    error = refused(path)
    assert (error.code, "10,000," in error.what) == ("BAD_PARQUET", True)


def test_a_file_that_changed_is_told(tmp_path: Path) -> None:
    path = parquet_of(tmp_path / "a.parquet", rows(0, 20))
    dataset = open_dataset(path)
    os.utime(path, (1, 1))
    with pytest.raises(FireforgeError, match="DATA_CHANGED"):
        dataset.read(0)


def test_files_must_agree(tmp_path: Path) -> None:
    parquet_of(tmp_path / "train-0.parquet", rows(0, 8))
    parquet_of(tmp_path / "train-1.parquet", rows(0, 8), names=("dog", "cat"))
    assert refused(tmp_path).code == "BAD_LABELS"
    written(tmp_path / "train-1.parquet", image=[png(0)], label=["x"])
    assert refused(tmp_path).code == "BAD_PARQUET"


def test_without_pyarrow_the_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = parquet_of(tmp_path / "a.parquet", rows(0, 8))
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    error = refused(path)
    assert (error.code, int(error.exit_code), error.do) == ("NO_PACKAGE", 3, 'pip install "fireforge[sources]"')


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no such count here")
def test_a_process_holds_about_one_group_after_it_was_read(tmp_path: Path) -> None:
    """Held memory by the system's own count; without care pyarrow keeps several times a group."""
    code = (
        "import sys; from fireforge.data.archive.store import stamp_of; from fireforge.data.parquet_file import *\n"
        "def held(): return int(open('/proc/self/status').read().split('RssAnon:')[1].split()[0]) * 1024\n"
        "file = ParquetFile(stamp_of(sys.argv[1]), 'image'); file.count; before = held(); file.read(3)\n"
        "print(held() - before)"
    )
    one = np.random.default_rng(0).bytes(100_000)
    table = pa.table({"image": [one + i.to_bytes(4, "big") for i in range(300)]})
    pq.write_table(table, tmp_path / "x.parquet")
    words = [sys.executable, "-c", code, str(tmp_path / "x.parquet")]
    held = int(subprocess.run(words, capture_output=True, check=True).stdout)
    assert 0.5 * 30e6 < held < 2 * 30e6
