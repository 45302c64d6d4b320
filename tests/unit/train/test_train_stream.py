# SPDX-License-Identifier: Apache-2.0
"""Streamed pictures: the same bits by 0 and 2 workers, after a kill too; errors by name; nothing left behind.

Processes are started once for the whole file, since each start loads torch.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fireforge.base.errors import FireforgeError
from fireforge.base.preprocess import ImageSteps
from fireforge.base.trial import Augment
from fireforge.data.dataset import Dataset
from fireforge.data.open import open_dataset
from fireforge.train import hands as hands_module
from fireforge.train import leader, render
from fireforge.train.augment import Moment
from fireforge.train.feed import Batching, batches
from fireforge.train.hands import Hands
from fireforge.train.render import Renderer, Take
from fireforge.train.stopwatch import Stopwatch
from fireforge.train.stream import Streamed
from fireforge.train.world import make_world

CPU = make_world("cpu")
STEPS = ImageSteps(channels=3, resize=24, crop=(24, 24), mean=(100.0,) * 3, std=(50.0,) * 3)
CROPS = Augment(crop_area=0.2, flip=True, colour=0.3, mixup=0.2)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """30 pictures: JPEGs, and some that only Pillow may take."""
    root, rng = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    for number in range(30):
        place = root / "ab"[number % 2]
        place.mkdir(exist_ok=True)
        smooth = Image.fromarray(rng.integers(0, 256, (6, 8, 3)).astype(np.uint8)).resize((60, 44 + number))
        if number % 10 == 3:
            smooth.save(place / f"{number}.png")
        elif number % 10 == 5:
            exif = Image.Exif()
            exif[0x0112] = 6
            smooth.save(place / f"{number}.jpg", exif=exif)
        else:
            smooth.convert({4: "L", 7: "CMYK"}.get(number % 10, "RGB")).save(place / f"{number}.jpg")
    return open_dataset(root)


@pytest.fixture(scope="module")
def two(data: Dataset) -> Iterator[Streamed]:
    source = Streamed(data, np.arange(30), STEPS, workers=2)
    yield source
    source.close()


def how(augment: Augment | None = CROPS, batch: int = 7) -> Batching:
    return Batching(batch=batch, classes=2, steps=STEPS, augment=augment, seed=3)


def digests(source: Streamed, batching: Batching, *, epoch: int = 1, first: int = 0) -> list[str]:
    """Of each batch with its targets."""
    return [
        hashlib.sha256(inputs.numpy().tobytes() + targets.numpy().tobytes()).hexdigest()
        for inputs, targets in batches(source, batching, epoch=epoch, world=CPU, first=first)
    ]


def hands_of(source: Streamed) -> Hands:
    hands = source._studio._hands
    assert hands is not None
    return hands


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.parametrize("augment", [CROPS, Augment(), Augment(flip=True, shift_px=2), None])
def test_batches_are_the_same_bits_with_and_without_workers(
    data: Dataset, two: Streamed, augment: Augment | None
) -> None:
    alone = Streamed(data, np.arange(30), STEPS)
    whole = digests(alone, how(augment))
    assert len(set(whole)) == len(whole) == 5
    assert digests(two, how(augment)) == whole
    assert digests(two, how(augment), first=2) == whole[2:] == digests(alone, how(augment), first=2)
    assert (digests(alone, how(augment), epoch=2) == whole) == (augment is None)


def test_a_flow_that_is_left_does_not_disturb_the_next(data: Dataset, two: Streamed) -> None:
    whole = digests(Streamed(data, np.arange(30), STEPS), how())
    next(batches(two, how(), epoch=5, world=CPU))
    assert digests(two, how()) == whole
    some = np.array([4, 2, 20, 11])
    assert digests(two.take(some), how(batch=2)) == digests(Streamed(data, some, STEPS), how(batch=2))


def test_a_worker_that_is_killed_is_replaced_and_the_bits_are_the_same(data: Dataset, two: Streamed) -> None:
    whole = digests(Streamed(data, np.arange(30), STEPS), how())
    flow = batches(two, how(), epoch=1, world=CPU)
    found = [next(flow)]
    os.kill(children(hands_of(two)._leader.pid)[0], signal.SIGKILL)
    start = time.monotonic()
    found += flow
    assert time.monotonic() - start < 10
    assert [hashlib.sha256(x.numpy().tobytes() + y.numpy().tobytes()).hexdigest() for x, y in found] == whole
    for _ in range(3):  # the dead one may have owed nothing; whoever is asked for more finds it gone
        assert digests(two, how()) == whole
    assert two.deaths() == ["data worker 1 died (signal 9)"]
    assert len(children(hands_of(two)._leader.pid)) == 2


def test_a_training_that_is_to_end_does_not_wait_for_stopped_workers(
    two: Streamed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hands_module, "PATIENCE_S", 1)
    clock = Stopwatch(CPU.device)
    digests(two, how())
    stopped = children(hands_of(two)._leader.pid)
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    clock.halted = lambda: True
    try:
        with pytest.raises(KeyboardInterrupt):
            next(batches(two, how(), epoch=1, world=CPU, clock=clock))
    finally:
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)
    assert len(digests(two, how())) == 5


def test_a_file_that_went_away_or_changed_is_named_by_the_parent(data: Dataset, two: Streamed) -> None:
    """Nothing of it is silent, and afterwards the workers go on."""
    whole = digests(two, how())
    path = Path(data.source) / data.samples[9].name
    content, state = path.read_bytes(), path.stat()
    for broken, code in ((None, "NO_FILE"), (content + b"x", "DATA_CHANGED")):
        path.unlink()
        if broken is not None:
            path.write_bytes(broken)
        for source in (two, Streamed(data, np.arange(30), STEPS)):
            with pytest.raises(FireforgeError) as caught:
                digests(source, how())
            assert caught.value.code == code
            assert data.samples[9].name in caught.value.where
        path.write_bytes(content)
        os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert digests(two, how()) == whole


def test_a_picture_that_cannot_be_decoded_is_named(data: Dataset) -> None:
    def read(sample: int) -> bytes | np.ndarray:
        content = data.read(sample)
        return content[:300] if sample == 12 and isinstance(content, bytes) else content

    source = Streamed(dataclasses.replace(data, reader=read), np.arange(30), STEPS)
    with pytest.raises(FireforgeError, match=data.samples[12].name):
        digests(source, how())


def test_without_crops_a_picture_is_what_is_kept_in_memory(data: Dataset, two: Streamed) -> None:
    from fireforge.data.pixels import load_pixels
    from fireforge.train.feed import Pictures

    kept = Pictures(load_pixels(data, np.arange(30), STEPS), data.targets, np.arange(30))
    for augment in (None, Augment()):
        for (inputs, _), (same, _) in zip(
            batches(kept, how(augment), epoch=0, world=CPU), batches(two, how(augment), epoch=0, world=CPU)
        ):
            assert (inputs == same).all()


def test_crops_are_those_of_pillow_within_a_level_of_255(data: Dataset) -> None:
    """The box that was drawn, cut and resized by Pillow; a mirrored picture is mirrored."""
    from fireforge.base.pixels import open_picture, to_channels
    from fireforge.train.augment import Moment
    from fireforge.train.render import Take, _box, _shares

    ids, take = np.arange(30), Take(seed=3, epoch=1, augment=Augment(crop_area=0.2, flip=True))
    (found,) = Streamed(data, ids, STEPS).flow([ids], take, None)
    mirrored = Moment(seed=3, epoch=1, ids=ids).mirrored().numpy()
    assert 5 < mirrored.sum() < 25
    shares = _shares(take, ids)
    assert shares is not None
    for sample, share in enumerate(shares):
        image = to_channels(open_picture(data.read(sample)), STEPS)
        top, left, high, wide = _box(share, (image.height, image.width))
        assert 0 <= top <= image.height - high
        assert 0 <= left <= image.width - wide
        box = (left, top, left + wide, top + high)
        wanted = np.asarray(image.crop(box).resize((24, 24), Image.Resampling.BILINEAR)).transpose(2, 0, 1)
        wanted = wanted[:, :, ::-1] if mirrored[sample] else wanted
        if high < 48 and wide < 48:  # larger windows come from a smaller decoded picture
            assert np.abs(wanted.astype(int) - found[sample].numpy()).max() <= 1


@pytest.mark.parametrize("order", ["RGB", "BGR", "L"])
@pytest.mark.parametrize("size", [(20, 28), (200, 200), (7, 300)])
def test_crops_have_the_bits_of_torchs_interpolation(order: str, size: tuple[int, int]) -> None:
    channels = 1 if order == "L" else 3
    steps = dataclasses.replace(STEPS, channels=channels, order=order, mean=(1.0,) * channels, std=(1.0,) * channels)
    pixels = np.random.default_rng(0).integers(0, 256, (8, *size, channels)).astype(np.uint8)
    pixels.setflags(write=False)  # as those of a mapped file
    take = Take(seed=3, epoch=1, augment=CROPS)
    out = np.zeros((8, channels, 24, 24), np.uint8)
    Renderer(pixels.__getitem__, steps).fill(out, np.arange(8), take, lambda stage: None)
    mirrored = Moment(seed=3, epoch=1, ids=np.arange(8)).mirrored().tolist()
    assert len(set(mirrored)) == 2
    for picture, share, mirror, found in zip(pixels, render._shares(take, np.arange(8)), mirrored, out):
        top, left, high, wide = render._box(share, size)
        window = torch.from_numpy(picture[top : top + high, left : left + wide].copy()).permute(2, 0, 1)
        wanted = torch.nn.functional.interpolate(window[None], (24, 24), mode="bilinear", antialias=True)[0]
        wanted = wanted.flip(2) if mirror else wanted
        np.testing.assert_array_equal(found, (wanted.flip(0) if order == "BGR" else wanted).numpy())


def test_nothing_is_left_when_the_workers_end(data: Dataset, two: Streamed) -> None:
    before = set(os.listdir("/dev/shm"))
    digests(two, how())
    leader = hands_of(two)._leader.pid
    pids = children(leader)
    two.close()
    end = time.monotonic() + 5
    while time.monotonic() < end and any(Path(f"/proc/{pid}").exists() for pid in pids):
        time.sleep(0.01)
    assert not any(Path(f"/proc/{pid}").exists() for pid in (leader, *pids))
    assert set(os.listdir("/dev/shm")) == before


def test_a_worker_removes_its_folders_before_it_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends without Python's own end, which would have removed them."""
    monkeypatch.setattr(leader, "remove_folders", lambda: (tmp_path / str(os.getpid())).write_text("removed"))
    ours, theirs = socket.socketpair()
    (orders, begun), (end, answers) = os.pipe(), os.pipe()
    lead = leader._Leader(None, None, theirs)  # type: ignore[arg-type]
    os.close(begun)  # no orders come
    lead._fork(0, orders, answers)
    (child,) = lead._hands
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert [path.name for path in tmp_path.iterdir()] == [str(child)]
    os.close(end)
    ours.close()
    theirs.close()
