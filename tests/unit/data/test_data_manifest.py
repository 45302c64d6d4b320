# SPDX-License-Identifier: Apache-2.0
"""Lists of pictures written by hand, with the answer known beforehand, and one list of real photographs."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fireforge.base.errors import Exit, FireforgeError
from fireforge.data.dataset import Dataset
from fireforge.data.formats.manifest import open_manifest
from fireforge.data.open import open_dataset
from fireforge.data.table_file import read_table
from fireforge.data.tree import printable

REAL = pytest.mark.skipif("FIREFORGE_DATA" not in os.environ, reason="FIREFORGE_DATA names no folder")


def put(path: Path, value: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((8, 9, 3), value % 251, np.uint8)).save(path)
    return path


def pictures(root: Path, count: int = 8, folder: str = "img") -> Path:
    for i in range(count):
        put(root / folder / f"{i}.png", 20 * i)
    return root


def listed(root: Path, text: str | bytes, name: str = "labels.csv") -> Dataset:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return open_dataset(root)


def rows(count: int = 8, *, sep: str = ",", folder: str = "img/", suffix: str = ".png") -> str:
    return "".join(f"{folder}{i}{suffix}{sep}{'even' if i % 2 == 0 else 'odd'}\n" for i in range(count))


def refused(root: Path, text: str | bytes, name: str = "labels.csv") -> FireforgeError:
    with pytest.raises(FireforgeError) as caught:
        listed(root, text, name)
    assert caught.value.exit_code == Exit.BAD_INPUT
    assert "\n" not in caught.value.line()
    return caught.value


def is_even_odd(dataset: Dataset, count: int = 8) -> bool:
    assert dataset.format == "manifest"
    assert dataset.labels == ("even", "odd")
    names = {sample.name: dataset.labels[sample.label] for sample in dataset.samples}
    return names == {f"img/{i}.png": "even" if i % 2 == 0 else "odd" for i in range(count)}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("labels.csv", "file,label\n" + rows()),
        ("labels.csv", "\ufefffile,label\n" + rows()),
        ("labels.csv", "file,label\r\n" + rows().replace("\n", "\r\n")),
        ("labels.csv", "file,label\r" + rows().replace("\n", "\r")),
        ("labels.csv", "file;label\n" + rows(sep=";")),
        ("labels.csv", "file|label\n" + rows(sep="|")),
        ("labels.csv", "file\tlabel\n" + rows(sep="\t")),
        ("labels.tsv", "file\tlabel\n" + rows(sep="\t")),
        ("labels.csv", rows()),
        ("labels.csv", "file, label\n\n" + rows(sep=" , ") + "\n\n"),
        ("labels.csv", '"file","label"\n' + "".join(f'"{row}"\n' for row in rows(sep='","').split())),
        ("labels.csv", ",file,label,author\n" + "".join(f"{i},{r},x{i}\n" for i, r in enumerate(rows().split()))),
        ("labels.csv", "label,filename\n" + "".join(",".join(r.split(",")[::-1]) + "\n" for r in rows().split())),
        ("labels.csv", ("file,label\n" + rows()).encode("utf-16")),
        ("labels.csv", "id,label\n" + rows(folder="", suffix="")),
        ("labels.csv", "file,label\n" + rows(folder="")),
        ("labels.csv", "file,label\n" + rows(folder="/home/other/data/img/")),
        ("labels.csv", "file,label\n" + rows(folder="img\\")),
        ("labels.csv", "file,label\n" + rows(folder="./img/../img/")),
        ("labels.csv", "id,odd,even\n" + "".join(f"img/{i}.png,{i % 2}.0,{1 - i % 2}.0\n" for i in range(8))),
        (
            "metadata.jsonl",
            "".join(
                json.dumps({"file_name": r.split(",")[0], "label": r.split(",")[1]}) + "\n" for r in rows().split()
            ),
        ),
        (
            "all.jsonl",
            "".join(
                json.dumps({"image": r.split(",")[0], "tags": [r.split(",")[1]], "w": 9}) + "\n\n"
                for r in rows().split()
            ),
        ),
    ],
)
def test_the_same_eight_pictures_however_they_are_written(tmp_path: Path, name: str, text: str | bytes) -> None:
    root = pictures(tmp_path)
    assert is_even_odd(listed(root, text, name))
    assert is_even_odd(open_dataset(root / name))
    assert is_even_odd(open_dataset(f"{root}/{name}"))


def test_pictures_are_read_and_cross_pickle(tmp_path: Path) -> None:
    dataset = pickle.loads(pickle.dumps(listed(pictures(tmp_path), "file,label\n" + rows())))
    assert [dataset.read(i) for i in range(8)] == [(tmp_path / f"img/{i}.png").read_bytes() for i in range(8)]
    (tmp_path / "img/3.png").unlink()
    with pytest.raises(FireforgeError, match=r"NO_FILE: .*img/3\.png"):
        dataset.read(3)


def test_a_bare_name_as_source_from_within_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed(pictures(tmp_path), "file,label\n" + rows())
    monkeypatch.chdir(tmp_path)
    assert is_even_odd(open_dataset("labels.csv"))
    assert is_even_odd(open_dataset("."))


def test_odd_names_and_classes_survive(tmp_path: Path) -> None:
    """A newline, a quote, a comma, Arabic, an emoji, a leading dash; natural order of classes by hand."""
    names = ["a\nb.png", 'say "x".png', "c,d.png", "\u0635\u0648\u0631\u0629.png", "\U0001f525.png", "-rf.png"]
    labels = ["class 10", "class 2", "class 10", "class 2", "class 10", "class 2"]
    for i, name in enumerate(names):
        put(tmp_path / name, i)
    text = "file,label\n" + "".join('"{}",{}\n'.format(n.replace('"', '""'), c) for n, c in zip(names, labels))
    dataset = listed(tmp_path, text)
    assert [sample.name for sample in dataset.samples] == [printable(name) for name in names]
    assert dataset.labels == ("class 2", "class 10")
    assert [dataset.labels[label] for label in dataset.targets] == labels
    assert [dataset.read(i) for i in range(6)] == [(tmp_path / name).read_bytes() for name in names]


def test_parts_from_a_column(tmp_path: Path) -> None:
    parts = ["train", "TRAIN", "training", "train", "valid", "val", "test", "Test"]
    text = "file,split,label\n" + "".join(
        f"img/{i}.png,{parts[i]},{'even' if i % 2 == 0 else 'odd'}\n" for i in range(8)
    )
    dataset = listed(pictures(tmp_path), text)
    one = {"train": 2, "val": 1, "test": 1}
    assert dataset.counts() == {"even": one, "odd": one}
    wrong = refused(tmp_path, text.replace("valid", "vlaid"))
    assert (wrong.code, wrong.where) == ("BAD_LABELS", f"{tmp_path}/labels.csv line 6")
    torn = refused(tmp_path, text + "img/0.png,test,even\n")
    assert (torn.code, torn.where) == ("DUP_ROW", f"{tmp_path}/labels.csv line 10")


def test_a_list_for_each_part_and_one_without_classes(tmp_path: Path) -> None:
    """train.csv and val.csv by hand; test.csv names pictures and no classes, sample_submission.csv invents them."""
    for part, count in (("train", 6), ("val", 4), ("test", 3)):
        pictures(tmp_path, count, part)
    (tmp_path / "val.csv").write_text("file,label\n" + rows(4, folder=""))
    (tmp_path / "test.csv").write_text("file\n" + "".join(f"{i}.png\n" for i in range(3)))
    (tmp_path / "sample_submission.csv").write_text("file,label\n" + rows(3, folder="test/"))
    dataset = listed(tmp_path, "file,label\n" + rows(6, folder=""), "train.csv")
    assert dataset.counts() == {"even": {"train": 3, "val": 2}, "odd": {"train": 3, "val": 2}}
    assert {s.name for s in dataset.samples if s.part == "val"} == {f"val/{i}.png" for i in range(4)}
    unknown = refused(tmp_path, ("file,label\n" + rows(6, folder="")).replace("odd", "even2"), "train.csv")
    assert (unknown.code, unknown.where) == ("BAD_LABELS", f"{tmp_path}/val.csv line 3")
    assert "'odd'" in unknown.what


def test_a_list_inside_the_folder_of_each_part(tmp_path: Path) -> None:
    for part, count in (("train", 6), ("test", 4)):
        pictures(tmp_path, count, part)
        (tmp_path / part / "metadata.csv").write_text("file_name,label\n" + rows(count, folder=""))
    assert open_dataset(tmp_path).counts() == {"even": {"train": 3, "test": 2}, "odd": {"train": 3, "test": 2}}


def test_several_lists_for_the_same_pictures_are_not_chosen_between(tmp_path: Path) -> None:
    pictures(tmp_path)
    (tmp_path / "colours.csv").write_text("file,label\n" + rows().replace("even", "red"))
    error = refused(tmp_path, "file,label\n" + rows())
    assert error.code == "BAD_LAYOUT"
    assert "colours.csv, labels.csv" in error.what
    assert is_even_odd(open_dataset(tmp_path / "labels.csv"))
    (tmp_path / "colours.csv").write_text('never "closed')
    assert is_even_odd(open_dataset(tmp_path))


def test_class_folders_win_only_where_the_list_says_the_same(tmp_path: Path) -> None:
    """Shards such as images_1 and images_2 are no classes; folders that the list confirms are."""
    for i in range(8):
        put(tmp_path / "a" / ("even" if i % 2 == 0 else "odd") / f"{i}.png", i)
        put(tmp_path / "b" / f"images_{i // 4}" / f"{i}.png", i)
    text = "".join(f"{'even' if i % 2 == 0 else 'odd'}/{i}.png,{'even' if i % 2 == 0 else 'odd'}\n" for i in range(8))
    assert listed(tmp_path / "a", "file,label\n" + text).format == "folder"
    assert listed(tmp_path / "b", "image_id,dx\n" + rows(folder="", suffix="")).labels == ("even", "odd")
    relabelled = listed(tmp_path / "a", "file,label\n" + text.replace("7.png,odd", "7.png,even"))
    assert relabelled.counts() == {"even": {"all": 5}, "odd": {"all": 3}}


def test_a_stray_table_changes_nothing(tmp_path: Path) -> None:
    for i in range(4):
        put(tmp_path / "ab"[i % 2] / f"{i}.png", i)
    for text in ("epoch,loss\n1,0.5\n", 'never "closed,\n"x', "one column\n", "\0\0"):
        assert listed(tmp_path, text, "results.csv").format == "folder"


def test_missing_files_are_skipped_up_to_a_twentieth_and_named_above(tmp_path: Path) -> None:
    """I29: 1 of 40 rows is an accident, 3 of 40 are not."""
    pictures(tmp_path, 40)
    text = "file,label\n" + rows(40)
    dataset = listed(tmp_path, text.replace("img/7.png", "img/none.png"))
    assert (dataset.found, len(dataset.samples)) == (40, 39)
    lost = dataset.skipped[0]
    assert (lost.name, lost.code) == ("img/none.png", "NO_FILE")
    assert "labels.csv line 9" in lost.reason
    for i in (7, 8, 9):
        text = text.replace(f"img/{i}.png", f"img/none{i}.png")
    error = refused(tmp_path, text)
    assert (error.code, error.where) == ("TOO_MANY_BAD", f"{tmp_path}/labels.csv line 9")
    assert "3 of 40 rows" in error.what
    assert "none7" in error.what


def test_rows_that_repeat(tmp_path: Path) -> None:
    """I29: the same row twice is skipped with its line; another class for the same picture names both lines."""
    pictures(tmp_path)
    dataset = listed(tmp_path, "file,label\n" + rows() + "./img/2.png,even\n")
    assert is_even_odd(dataset)
    assert (dataset.found, dataset.skipped[0].code, dataset.skipped[0].name) == (9, "DUP_ROW", "labels.csv line 10")
    assert "labels.csv line 4" in dataset.skipped[0].reason
    error = refused(tmp_path, "file,label\n" + rows() + "img/2.png,odd\n")
    assert (error.code, error.where) == ("DUP_ROW", f"{tmp_path}/labels.csv line 10")
    assert "labels.csv line 4" in error.what


def test_class_names_in_a_file_bind_the_numbers(tmp_path: Path) -> None:
    """I29: numbers count into classes.txt; a number past its end and an unknown name give their line."""
    pictures(tmp_path)
    numbers = "file,class_id\n" + rows().replace("even", "0").replace("odd", "1")
    assert listed(tmp_path, numbers).labels == ("0", "1")
    (tmp_path / "classes.txt").write_text("0: even\n1: odd\n")
    assert is_even_odd(listed(tmp_path, numbers))
    assert is_even_odd(listed(tmp_path, "file,label\n" + rows()))
    for wrong in ("2", "-1"):
        error = refused(tmp_path, numbers.replace("5.png,1", f"5.png,{wrong}"))
        assert (error.code, error.where) == ("BAD_LABELS", f"{tmp_path}/labels.csv line 7")
        assert f"class number {wrong}" in error.what
        assert error.allowed.startswith("0 to 1")
    error = refused(tmp_path, "file,label\n" + rows().replace("4.png,even", "4.png,evne"))
    assert (error.code, error.where, error.allowed) == ("BAD_LABELS", f"{tmp_path}/labels.csv line 6", "even, odd")


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ('file,label\nimg/0.png,even\n"img/1.png,odd\n' + rows(), 3, "never closed"),
        ('file,label\nimg/0.png,even\n"img/1.png"x,odd\n', 3, "quote out of place"),
        ("file,label\n" + rows() + "img/1.png,odd,more\n", 10, "3 cells under 2 columns"),
        ("file,label\n" + rows() + "img/1.png\n", 10, "1 cells under 2 columns"),
        ("file:label\n" + rows(sep=":"), 1, "one column only"),
        (b"file,label\nimg/0.png,caf\xe9\n", 2, "not UTF-8"),
        ("file,label\nimg/0.png,a\0b\n", 2, "zero byte"),
        ("file,file\n" + rows(), 1, "2 columns called 'file'"),
        ("file,label\nimg/0.png," + "x" * (1 << 20) + "\n", 2, "more than 1 MiB"),
        ('file,label\n"' + "img/0.png,x\n" * 20_000, 2, "never closed"),
    ],
)
def test_broken_csv_names_its_line(tmp_path: Path, text: str | bytes, line: int, words: str) -> None:
    """I31, each against a line counted by hand."""
    error = refused(pictures(tmp_path), text)
    assert (error.code, error.where) == ("BAD_TABLE", f"{tmp_path}/labels.csv line {line}")
    assert words in error.what


def test_a_hundred_megabytes_in_one_line_are_refused_at_once(tmp_path: Path) -> None:
    with open(pictures(tmp_path) / "labels.csv", "wb") as stream:
        stream.write(b"file,label\nimg/0.png,")
        stream.truncate(100 << 20)
    with pytest.raises(FireforgeError, match=r"BAD_TABLE: .*labels\.csv line 2: a line of more than 1 MiB"):
        open_dataset(tmp_path / "labels.csv")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('{"file": "img/0.png", "label": "a"}\n{"file": \n', 2),
        ('{"file": "img/0.png", "label": "a"}\n["img/1.png", "b"]\n', 2),
        ('{"file": "img/0.png", "label": "a"}\n\n{"file": "img/1.png", "label": "a", "label": "b"}\n', 3),
        ('{"file": "img/0.png", "label": "\\ud800"}\n', 1),
        ('{"file": "img/0.png", "label": NaN}\n', 1),
        ("[" * 100_000 + "\n", 1),
        ('{"file": "img/0.png", "label": ' + "9" * 5_000 + "}\n", 1),
    ],
)
def test_broken_json_lines_name_their_line(tmp_path: Path, text: str, line: int) -> None:
    error = refused(pictures(tmp_path), text, "labels.jsonl")
    assert (error.code, error.where) == ("BAD_TABLE", f"{tmp_path}/labels.jsonl line {line}")


def test_lists_that_are_none(tmp_path: Path) -> None:
    pictures(tmp_path)
    for name, text, words in (
        ("a.csv", "", "empty"),
        ("b.csv", "file,label\n", "no row"),
        ("c.csv", "epoch,loss\n1,2\n", "no column names pictures"),
        ("d.csv", "file,photographer,place\nimg/0.png,a,b\nimg/1.png,c,d\n", "no column that is clearly the class"),
    ):
        (tmp_path / name).write_text(text)
        with pytest.raises(FireforgeError, match=words) as caught:
            open_dataset(tmp_path / name)
        assert caught.value.code == "BAD_TABLE"
        assert f"{tmp_path}/{name}" in caught.value.where
    error = refused(pictures(tmp_path / "e"), "file,label\n" + rows().replace("odd", "even"))
    assert error.code == "ONE_CLASS"


def test_rows_without_a_class_or_a_picture(tmp_path: Path) -> None:
    pictures(tmp_path, 40)
    dataset = listed(tmp_path, "file,label\n" + rows(40).replace("img/3.png,odd", "img/3.png,"))
    assert dataset.ledger()["skipped"] == {"NO_LABEL": 1}
    assert dataset.skipped[0].name == "labels.csv line 5"
    error = refused(tmp_path, "file,label\n" + rows(40).replace("img/3.png,odd", ",odd"))
    assert (error.code, error.where) == ("BAD_TABLE", f"{tmp_path}/labels.csv line 5")


def test_nothing_outside_the_folder_is_read(tmp_path: Path) -> None:
    """Paths that climb or start at the root count as absent, though the files are there."""
    put(tmp_path / "secret.png")
    root = pictures(tmp_path / "data")
    assert is_even_odd(listed(root, "file,label\n" + rows(folder="../data/img/")))
    for path in ("../secret.png", str(tmp_path / "secret.png"), "img/../../secret.png"):
        error = refused(root, "file,label\n" + rows() + f"{path},even\n")
        assert (error.code, error.where) == ("TOO_MANY_BAD", f"{root}/labels.csv line 10")


def test_a_link_that_leads_out_counts_as_absent(tmp_path: Path) -> None:
    """I26: links inside the folder are followed; links to a file or a folder outside are not, by path or by end."""
    put(tmp_path / "out" / "secret.png")
    root = pictures(tmp_path / "data")
    (root / "img" / "8.png").symlink_to(root / "img" / "0.png")
    (root / "file.png").symlink_to(tmp_path / "out" / "secret.png")
    (root / "folder").symlink_to(tmp_path / "out", target_is_directory=True)
    dataset = listed(root, "file,label\n" + rows() + "img/8.png,even\n")
    assert [sample.name for sample in dataset.samples][-1] == "img/8.png"
    for path in ("file.png", "folder/secret.png", "secret.png", "secret"):
        error = refused(root, "file,label\n" + rows() + f"{path},even\n")
        assert (error.code, error.where) == ("TOO_MANY_BAD", f"{root}/labels.csv line 10")


def test_a_picture_that_changes_after_the_list_was_read(tmp_path: Path) -> None:
    """I28."""
    dataset = listed(pictures(tmp_path), "file,label\n" + rows())
    put(tmp_path / "img/3.png", 200)
    os.utime(tmp_path / "img/3.png", ns=(1, 1))
    with pytest.raises(FireforgeError, match=r"DATA_CHANGED: .*img/3\.png"):
        dataset.read(3)


def test_an_ambiguous_end_names_no_file(tmp_path: Path) -> None:
    put(tmp_path / "x" / "0.png")
    error = refused(pictures(tmp_path), "file,label\n" + rows(folder=""))
    assert (error.code, error.where) == ("TOO_MANY_BAD", f"{tmp_path}/labels.csv line 2")


class Shelf:
    """A tree that is no folder, as an archive is one."""

    source = "shelf.zip"

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files

    def names(self) -> list[str]:
        return sorted(self.files)

    def head(self, name: str) -> bytes:
        return self.read(name)[:64]

    def read(self, name: str) -> bytes:
        if name not in self.files:
            raise FireforgeError("NO_FILE", "absent", where=name)
        return self.files[name]


def test_a_list_in_a_tree_that_is_no_folder(tmp_path: Path) -> None:
    root = pictures(tmp_path)
    files = {f"img/{i}.png": (root / f"img/{i}.png").read_bytes() for i in range(8)}
    dataset = open_manifest(Shelf({**files, "labels.csv": ("file,label\n" + rows()).encode()}))
    assert is_even_odd(dataset)
    assert dataset.where(3) == "shelf.zip/img/3.png"
    assert dataset.sha256 == listed(root, "file,label\n" + rows()).sha256


@REAL
def test_real_photographs_with_their_synsets() -> None:
    """300 photographs, 221 synsets, counted with cut, sort and uniq."""
    folder = Path(os.environ["FIREFORGE_DATA"]) / "imagenet_eval300"
    dataset = open_dataset(folder)
    assert (dataset.format, len(dataset.samples), len(dataset.labels), dataset.skipped) == ("manifest", 300, 221, ())
    assert dataset.samples[0].name == "images/000b7d55b6184b08.jpg"
    assert dataset.labels[dataset.samples[0].label] == "n02510455"
    assert dataset.read(0)[:3] == b"\xff\xd8\xff"
    assert open_dataset(folder / "labels.csv").sha256 == dataset.sha256


@REAL
def test_a_list_and_class_folders_of_the_same_pictures_agree() -> None:
    folder = Path(os.environ["FIREFORGE_DATA"]) / "transfer" / "scenes_intel6"
    by_folder, by_list = open_dataset(folder), open_dataset(folder / "labels.csv")
    assert (by_folder.format, by_list.format) == ("folder", "manifest")
    assert by_folder.labels == by_list.labels
    key = {s.name: (s.label, s.part) for s in by_folder.samples}
    assert {s.name: (s.label, s.part) for s in by_list.samples} == key


def test_a_list_of_empty_cells_alone_is_refused_with_its_line() -> None:
    """Found by fuzzing: two quotes and nothing else."""
    with pytest.raises(FireforgeError) as raised:
        read_table(b'""', where="labels.csv")
    assert raised.value.code == "BAD_TABLE"
    assert "labels.csv line 1" in raised.value.line()
