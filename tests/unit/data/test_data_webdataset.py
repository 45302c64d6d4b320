# SPDX-License-Identifier: Apache-2.0
"""WebDataset shards written by tarfile, against the members that they were written of."""

from __future__ import annotations

import gzip
import json
import pickle
import resource
from pathlib import Path

import pytest
from opening import is_whole, refused
from source_files import keyed, png, tar

from fireforge.base.errors import FireforgeError
from fireforge.data.braces import spelt_out
from fireforge.data.open import open_dataset


def shards(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    for name, first in (("train-000", 0), ("train-001", 10), ("val-000", 20)):
        (folder / f"{name}.tar").write_bytes(tar(keyed(range(first, first + 10))))
    return folder


def test_shards_of_a_folder_are_one_dataset(tmp_path: Path) -> None:
    dataset = open_dataset(shards(tmp_path / "d"))
    assert dataset.format == "webdataset"
    assert dataset.labels == ("cat", "dog")  # each number has one name of its own
    assert dataset.counts() == {"cat": {"train": 10, "val": 5}, "dog": {"train": 10, "val": 5}}
    assert [sample.name for sample in dataset.samples][9:11] == ["train-000/0009.png", "train-001/0010.png"]
    assert all(dataset.read(i) == png(i) for i in range(30))
    assert is_whole(dataset)
    assert not dataset.skipped
    again = pickle.loads(pickle.dumps(dataset))
    assert again.sha256 == dataset.sha256


def test_names_with_braces_and_part_folders_stand_for_shards(tmp_path: Path) -> None:
    folder = shards(tmp_path / "d")
    two = open_dataset(f"{folder}/train-{{000..001}}.tar")
    assert len(two.samples) == 20
    assert {sample.part for sample in two.samples} == {""}  # one part alone is none
    for part in ("train", "val"):
        (tmp_path / "p" / part).mkdir(parents=True)
        (tmp_path / "p" / part / "0.tar").write_bytes(tar(keyed(range(4))))
    assert open_dataset(tmp_path / "p").counts() == {"cat": {"train": 2, "val": 2}, "dog": {"train": 2, "val": 2}}
    assert refused(f"{folder}/train-{{000..002}}.tar").code == "NO_FILE"


def test_the_same_shard_has_the_same_digest_in_any_shell(tmp_path: Path) -> None:
    data = tar(keyed(range(6)))
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "a.tar").write_bytes(data)
    (tmp_path / "a.tar.gz").write_bytes(gzip.compress(data))
    (tmp_path / "dotted.tar").write_bytes(tar({f"./{name}": data for name, data in keyed(range(6)).items()}))
    sources = ("one/a.tar", "one", "a.tar.gz", "dotted.tar")
    found = {open_dataset(tmp_path / source).sha256 for source in sources}
    assert len(found) == 1


def test_class_folders_in_a_tar_stay_class_folders(tmp_path: Path) -> None:
    members = {f"{label}/{i}.png": png(i) for label in ("b", "a") for i in range(4)}
    sides = {f"{name[:-4]}.json": b'{"label": 7}' for name in members}
    (tmp_path / "f.tar").write_bytes(tar({**members, **sides}))
    dataset = open_dataset(tmp_path / "f.tar")
    assert (dataset.format, dataset.labels, len(dataset.skipped)) == ("archive", ("a", "b"), 8)


@pytest.mark.parametrize("key", ["cls", "label", "class", "class_name"])
def test_json_tells_the_class(tmp_path: Path, key: str) -> None:
    told = [json.dumps({key: f"kind {i % 3}" if key == "class_name" else i % 3, "w": 5}).encode() for i in range(9)]
    members = {f"{i}.{end}": data for i in range(9) for end, data in (("jpg", png(i)), ("json", told[i]))}
    (tmp_path / "x.tar").write_bytes(tar(members))
    labels = open_dataset(tmp_path / "x.tar").labels
    assert labels == (("kind 0", "kind 1", "kind 2") if key == "class_name" else ("0", "1", "2"))


def test_captions_are_no_names_and_a_list_beside_the_shards_is(tmp_path: Path) -> None:
    members = {**keyed(range(6)), "0004.txt": b"a cat on a mat"}
    (tmp_path / "s.tar").write_bytes(tar(members))
    assert open_dataset(tmp_path / "s.tar").labels == ("0", "1")
    (tmp_path / "classes.txt").write_text("tabby\nhound\nowl\n")
    assert open_dataset(tmp_path).labels == ("tabby", "hound", "owl")


def test_what_is_found_is_used_or_skipped(tmp_path: Path) -> None:
    members = keyed(range(60))
    members |= {"0001.mask.png": png(1), "README.md": b"hello", "note.png": b"no picture", "note.cls": b"0"}
    del members["0007.cls"], members["0009.png"]
    (tmp_path / "s.tar").write_bytes(tar(members))
    dataset = open_dataset(tmp_path / "s.tar")
    assert len(dataset.samples) == 58
    assert {item.name: item.code for item in dataset.skipped} == {
        "0001.mask.png": "DUP_KEY",
        "README.md": "NO_KEY",
        "note.png": "IMG_NOT_IMAGE",
        "0007.png": "NO_LABEL",
        "0009": "NO_FILE",
    }
    assert is_whole(dataset)


@pytest.mark.parametrize(
    "label, code",
    [
        (b"-1", "BAD_LABELS"),
        (b"9" * 30, "BAD_LABELS"),
        (b"\xff\xfe\xfd", "BAD_LABELS"),
        (b"x" * 600, "BAD_LABELS"),
        (b"1\n2", "BAD_LABELS"),
    ],
)
def test_a_class_that_is_none_is_refused_by_name(tmp_path: Path, label: bytes, code: str) -> None:
    (tmp_path / "s.tar").write_bytes(tar({**keyed(range(4)), "0002.cls": label}))
    error = refused(tmp_path / "s.tar")
    assert error.code == code
    assert "0002" in error.where


def test_other_answers_and_lost_labels_are_refused(tmp_path: Path) -> None:
    for name, told, code in (
        ("several", b'{"label": [1, 2]}', "OUTPUT_KIND"),
        ("boxes", b'{"label": {"x": 1}}', "OUTPUT_KIND"),
    ):
        members = {f"{i}.{end}": data for i in range(4) for end, data in (("png", png(i)), ("json", told))}
        (tmp_path / f"{name}.tar").write_bytes(tar(members))
        assert refused(tmp_path / f"{name}.tar").code == code
    members = keyed(range(10))
    del members["0003.cls"]
    (tmp_path / "lost.tar").write_bytes(tar(members))
    assert refused(tmp_path / "lost.tar").code == "TOO_MANY_BAD"
    one = {name: b"0" if name.endswith("cls") else data for name, data in keyed(range(4)).items()}
    (tmp_path / "one.tar").write_bytes(tar(one))
    assert refused(tmp_path / "one.tar").code == "ONE_CLASS"


def test_a_shard_that_is_cut_off_is_refused_by_name(tmp_path: Path) -> None:
    folder = shards(tmp_path / "d")
    for name in ("train-000.tar", "val-000.tar"):
        whole = (folder / name).read_bytes()
        (folder / name).write_bytes(whole[:5000])
        error = refused(folder)
        assert (error.code, Path(error.where).name) == ("ARC_TRUNCATED", name)
        (folder / name).write_bytes(whole)


def test_doubled_members_are_skipped_and_a_stray_shard_is_named(tmp_path: Path) -> None:
    twice = _twice(keyed(range(40)), "0003.png")
    (tmp_path / "s.tar").write_bytes(twice)
    dataset = open_dataset(tmp_path / "s.tar")
    assert sorted(item.code for item in dataset.skipped) == ["ARC_DUP", "ARC_DUP", "NO_FILE"]
    assert is_whole(dataset)
    folder = shards(tmp_path / "d")
    (folder / "more.tar").write_bytes(tar(keyed(range(3))))
    error = refused(folder)
    assert (error.code, "more.tar" in error.what) == ("BAD_LAYOUT", True)


def _twice(members: dict[str, bytes], name: str) -> bytes:
    body = tar({name: members[name]})[: -(-len(members[name]) // 512) * 512 + 512]  # without the mark of the end
    return body + tar(members)


def test_more_shards_than_files_may_be_open(tmp_path: Path) -> None:
    for i in range(40):
        (tmp_path / f"s-{i:03d}.tar").write_bytes(tar(keyed((2 * i, 2 * i + 1))))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (30 + len(list(Path("/proc/self/fd").iterdir())), hard))
    try:
        dataset = open_dataset(tmp_path)
        assert [dataset.read(i) for i in range(80)] == [png(i) for i in range(80)]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_braces() -> None:
    assert spelt_out("a-{08..11}.tar") == ["a-08.tar", "a-09.tar", "a-10.tar", "a-11.tar"]
    assert spelt_out("{x,y}-{0..1}") == ["x-0", "x-1", "y-0", "y-1"]
    assert spelt_out("plain") == ["plain"]
    for text in ("{3..1}", "{0..999999999}", "{0..99999999999999}", "{0..999}{0..999}", "{a,b}" * 9):
        with pytest.raises(FireforgeError, match="BAD_LAYOUT"):
            spelt_out(text)
