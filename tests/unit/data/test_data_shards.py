# SPDX-License-Identifier: Apache-2.0
"""Packed datasets: what comes out is what went in, to the byte, and nothing is decoded again."""

from __future__ import annotations

import io
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from unit.data.shard_cases import dataset_of, packed, some_pixels

from fireforge.base.errors import FireforgeError
from fireforge.base.pixels import encode_png, open_picture
from fireforge.base.preprocess import ImageSteps
from fireforge.base.sample import Skipped
from fireforge.base.trial import DataRef
from fireforge.data import cache as cache_file
from fireforge.data.cache import PictureCache
from fireforge.data.check import drop_broken, without
from fireforge.data.dataset import content_digest
from fireforge.data.open import open_dataset
from fireforge.data.pixels import load_pixels
from fireforge.data.shards.stored import Stored
from fireforge.data.shards.writer import Packing
from fireforge.data.split import split
from fireforge.jobs.pack import pack

SMALL = 9_000  # bytes of a shard, so that 40 pictures need several


@pytest.mark.parametrize("gray", [False, True])
@pytest.mark.parametrize("side", [8, 64])
def test_decoded_pictures_come_back_to_the_byte(tmp_path: Path, side: int, gray: bool) -> None:
    """Reference: the arrays that were packed. Sides of 8 make shards that are no whole pages."""
    pixels = some_pixels(side=side, gray=gray)
    done, order = packed(dataset_of(pixels), tmp_path / "x.shards", shard_bytes=7 * pixels[0].nbytes)
    stored, want = done.stored, pixels[order].reshape(40, side, side + 1, -1)
    assert len(stored) == 40
    assert len(list((tmp_path / "x.shards").iterdir())) - 1 == len(stored.index.shards) == 6
    rows = np.random.default_rng(2).permutation(40)
    out = np.empty_like(want)
    assert np.array_equal(stored.read_rows(rows), want[rows])
    assert stored.read_rows(rows, out) is out
    assert np.array_equal(out, want[rows])
    assert all(np.array_equal(stored.picture(i), want[i]) for i in range(40))
    assert np.array_equal(stored.block(1, 3), want[1:3])
    assert all(np.array_equal(stored(i), pixels[old]) for i, old in enumerate(order))


def test_shards_of_whole_pages_map_as_one_array(tmp_path: Path) -> None:
    """16 pictures of 32 x 32 x 3 bytes are 12 pages, 17 are not; 33 x 33 x 3 are no whole pages in so few pictures."""
    for side, one in ((32, True), (33, False)):
        pixels = np.random.default_rng(0).integers(0, 256, (40, side, side, 3), dtype=np.uint8)
        done, order = packed(dataset_of(pixels), tmp_path / f"{side}.shards", shard_bytes=17 * pixels[0].nbytes)
        assert len(done.stored.index.shards) == 3
        block = done.stored.block(2, 39)
        assert (block is not None) is one
        if block is not None:
            assert np.array_equal(block, pixels[order[2:39]])
            block[0] = 0  # the file stays as it is
    assert Stored(str(tmp_path / "32.shards")).picture(2).any()


def test_resized_pictures_are_those_that_the_steps_make(tmp_path: Path) -> None:
    """Reference: load_pixels with the same resize and crop, from the pictures before they were packed."""
    shapes = [(30, 20), (24, 40), (16, 16), (50, 51)] * 5
    rng = np.random.default_rng(3)
    pictures = [encode_png(rng.integers(0, 256, (*shape, 3), dtype=np.uint8)) for shape in shapes]
    dataset = dataset_of(pictures)
    done, order = packed(dataset, tmp_path / "x.shards", size=16)
    steps = ImageSteps(channels=3, resize=16, crop=(16, 16))
    assert np.array_equal(
        done.stored.read_rows(np.arange(20)), load_pixels(dataset, order, steps).transpose(0, 2, 3, 1)
    )
    with pytest.raises(FireforgeError) as raised:
        packed(dataset, tmp_path / "y.shards")
    assert raised.value.code == "UNEQUAL_SIZES"
    assert "--size" in raised.value.line()
    assert not (tmp_path / "y.shards").exists()


def test_files_are_kept_to_the_byte_and_only_large_ones_are_shrunk(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    pictures: list[bytes | np.ndarray] = []
    for i in range(24):
        stream = io.BytesIO()
        wide = (20, 30)[i % 2]
        Image.fromarray(rng.integers(0, 256, (40, wide, 3), dtype=np.uint8)).save(stream, ("JPEG", "PNG", "GIF")[i % 3])
        pictures.append(stream.getvalue())
    pictures[5] = rng.integers(0, 256, (9, 9, 3), dtype=np.uint8)
    done, order = packed(dataset_of(pictures), tmp_path / "x.shards", encoded=True, shard_bytes=SMALL)  # type: ignore[arg-type]
    assert done.made == {"kept as stored": 23, "written as PNG": 1}
    assert len(done.stored.index.shards) > 1
    for i, old in enumerate(order):
        kept, was = done.stored.encoded(i), pictures[old]
        same = kept == was if isinstance(was, bytes) else np.array_equal(np.asarray(open_picture(kept)), was)
        assert same
    shrunk, order = packed(dataset_of(pictures), tmp_path / "y.shards", encoded=True, size=20)  # type: ignore[arg-type]
    assert shrunk.made == {"kept as stored": 12, "shrunk to 20 px as JPEG": 11, "written as PNG": 1}
    sizes = {open_picture(shrunk.stored.encoded(i)).size for i in range(24)}
    assert sizes == {(20, 40), (20, 27), (9, 9)}


def test_the_same_data_gives_the_same_bytes(tmp_path: Path) -> None:
    for wish in ({}, {"encoded": True}):
        for name in ("a", "b"):
            packed(dataset_of(some_pixels()), tmp_path / f"{name}{len(wish)}.shards", shard_bytes=SMALL, **wish)
        one, two = (sorted((tmp_path / f"{name}{len(wish)}.shards").iterdir()) for name in "ab")
        assert [path.name for path in one] == [path.name for path in two]
        assert all(a.read_bytes() == b.read_bytes() for a, b in zip(one, two))


def test_labels_parts_names_losses_and_digests_travel(tmp_path: Path) -> None:
    """The digest in the index is the one that reading every picture gives."""
    root = tmp_path / "pictures"
    for i, label in enumerate(["cat", "dog"] * 10):
        (root / label).mkdir(parents=True, exist_ok=True)
        (root / label / f"{i}.png").write_bytes(encode_png(some_pixels(20)[i]))
    (root / "cat" / "broken.png").write_bytes(encode_png(some_pixels()[0])[:90])
    (root / "cat" / "notes.txt").write_text("no picture")
    lines = pack(str(root), tmp_path / "x.shards", seed=3)
    assert "22 found = 20 used + 2 skipped (1 IMG_CORRUPT, 1 IMG_NOT_IMAGE)" in lines
    before, after = drop_broken(open_dataset(root)), open_dataset(tmp_path / "x.shards")
    parts = split(before, DataRef(source=str(root), seed=3))
    order = np.concatenate([parts.train, parts.val, parts.test])
    assert after.labels == before.labels == ("cat", "dog")
    assert [sample.name for sample in after.samples] == [before.samples[i].name for i in order]
    assert np.array_equal(after.targets, before.targets[order])
    assert split(after, DataRef(source="", seed=99)).counts() == parts.counts()
    assert (after.skipped, after.ledger()["skipped"]) == (before.skipped, before.ledger()["skipped"])
    assert json.loads(json.dumps(after.counts()))["cat"].keys() == {"train", "val", "test"}
    naive = [content_digest(after.read(i)) for i in range(20)]
    assert list(after.digests) == naive
    plain = type(after)(**{**vars_of(after), "known": None, "samples": tuple(after.samples)})
    assert plain.sha256 == after.sha256
    assert plain.samples == after.samples == plain.samples


def vars_of(dataset: object) -> dict[str, object]:
    return {name: getattr(dataset, name) for name in dataset.__dataclass_fields__}  # type: ignore[attr-defined]


def test_a_packed_dataset_is_opened_split_and_told_without_reading_a_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed(dataset_of(some_pixels()), tmp_path / "x.shards")
    monkeypatch.setattr(Stored, "__call__", lambda *_: pytest.fail("a picture was read"))
    dataset = drop_broken(open_dataset(tmp_path / "x.shards"))
    assert split(dataset, DataRef(source="")).counts() == {"train": 28, "val": 4, "test": 8}
    assert len(dataset.sha256) == 64
    assert dataset.ledger()["used"] == 40


def test_without_some_pictures_what_is_known_of_all_no_longer_holds(tmp_path: Path) -> None:
    packed(dataset_of(some_pixels()), tmp_path / "x.shards")
    dataset = open_dataset(tmp_path / "x.shards")
    less = without(dataset, {3: Skipped(name="", code="IMG_CORRUPT", reason="")})
    assert (less.known, less.found) == (None, dataset.found)
    assert list(less.digests) == [*dataset.digests[:3], *dataset.digests[4:]]
    assert less.sha256 != dataset.sha256


@pytest.mark.parametrize("shard_bytes", [1 << 28, 5 * 12_288])
def test_the_cache_hands_out_the_map(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shard_bytes: int) -> None:
    """As trained on: the same pictures and labels, in the map's own memory, and no file in the run's folder."""
    pixels = np.random.default_rng(5).integers(0, 256, (40, 64, 64, 3), dtype=np.uint8)
    packed(dataset_of(pixels), tmp_path / "x.shards", shard_bytes=shard_bytes)
    dataset = open_dataset(tmp_path / "x.shards")
    ref = DataRef(source=dataset.source, sha256=dataset.sha256)
    steps = ImageSteps(channels=3, resize=64, crop=(64, 64))
    want = load_pixels(dataset, np.arange(32), steps)
    monkeypatch.setattr(cache_file, "load_pixels", lambda *_: pytest.fail("pictures were prepared"))
    for given in (dataset, None):
        found, labels, ids = PictureCache(tmp_path / "cache", ref, given).pictures(("train", "val"), steps)
        assert np.array_equal(found, want)
        assert np.array_equal(labels, dataset.targets[:32])
        assert ids.tolist() == list(range(32))
        assert not found.flags.owndata
        assert found.strides == (12_288, 1, 192, 3)
    assert not (tmp_path / "cache").exists()


def test_the_cache_prepares_what_is_wanted_otherwise(tmp_path: Path) -> None:
    packed(dataset_of(some_pixels(side=16)), tmp_path / "x.shards")
    dataset = open_dataset(tmp_path / "x.shards")
    ref = DataRef(source=dataset.source, sha256=dataset.sha256)
    for steps in (
        ImageSteps(channels=3, resize=(8, 8), crop=(8, 8)),
        ImageSteps(channels=3, resize=None, crop=(16, 17), order="BGR"),
        ImageSteps(channels=1, resize=None, crop=(16, 17), order="L", mean=(0.0,), std=(255.0,)),
    ):
        found, _, ids = PictureCache(None, ref, dataset).pictures(("val",), steps)
        assert np.array_equal(found, load_pixels(dataset, ids, steps))


def test_a_copy_for_another_process_is_small_and_refuses_another_index(tmp_path: Path) -> None:
    done, order = packed(dataset_of(some_pixels()), tmp_path / "x.shards")
    text = pickle.dumps(done.stored)
    assert len(text) < 500
    assert np.array_equal(pickle.loads(text).picture(7), some_pixels()[order[7]])
    for path in (tmp_path / "x.shards").iterdir():
        path.unlink()
    packed(dataset_of(some_pixels(seed=2)), tmp_path / "x.shards")
    with pytest.raises(FireforgeError) as raised:
        pickle.loads(text)
    assert raised.value.code == "DATA_CHANGED"


@pytest.mark.parametrize(("out", "code"), [("x.zip", "BAD_NAME"), ("x", "BAD_NAME"), ("x.npz", "BAD_USAGE")])
def test_a_name_says_what_is_written(tmp_path: Path, out: str, code: str) -> None:
    with pytest.raises(FireforgeError) as raised:
        pack("digits", tmp_path / out, packing=Packing(size=4))
    assert raised.value.code == code
    assert ".shards" in raised.value.line()
