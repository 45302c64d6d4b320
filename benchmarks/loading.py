# SPDX-License-Identifier: Apache-2.0
"""Pictures a second that a training is given: fireforge's streaming beside torch's DataLoader over Pillow.

    FIREFORGE_DATA=... python benchmarks/loading.py [--rounds 5] [--seconds 2] [--size 128]

Both sides give shuffled batches of 64, uint8 (N, 3, H, W) contiguous, after a random crop (area 0.08 to 1, sides 3 to 4
to 4 to 3) resized with antialias, bilinear, and a random mirror. Theirs is Image.open(f).convert("RGB") with the crop and
the resize in one call of Pillow, collated by default_collate, workers kept between epochs, four batches ahead. The bare
loop is the same Pillow code without a DataLoader, on as many processes. All are measured in turns, after all workers have
begun; a round is `--seconds` of each. From the map means decoded pictures (N, H, W, 3) in a mapped file, cropped alike,
and "crop" a random window of the output's size without any resize, on both sides.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from fireforge.base.machine import this_machine, versions
from fireforge.base.preprocess import ImageSteps
from fireforge.base.trial import Augment
from fireforge.data.dataset import Dataset
from fireforge.data.open import open_dataset
from fireforge.train.render import Take
from fireforge.train.stream import Streamed

BATCH, AREA, ASPECT = 64, 0.08, math.log(4 / 3)
WORKERS = (0, 1, 2)


def windowed(image: Image.Image, size: int, resized: bool) -> Image.Image:
    """A random crop, resized or in the output's own size, mirrored or not."""
    wide, high = image.size
    if resized:
        area, aspect = random.uniform(AREA, 1) * wide * high, math.exp(random.uniform(-ASPECT, ASPECT))
        w, h = min(wide, round(math.sqrt(area * aspect))), min(high, round(math.sqrt(area / aspect)))
    else:
        w = h = size
    left, top = random.randint(0, wide - w), random.randint(0, high - h)
    if resized:
        image = image.resize((size, size), Image.Resampling.BILINEAR, box=(left, top, left + w, top + h))
    else:
        image = image.crop((left, top, left + w, top + h))
    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if random.random() < 0.5 else image


@dataclass
class Files(torch.utils.data.Dataset):
    """What many a training script has: Pillow from the file to the crop."""

    paths: list[str]
    size: int
    resized: bool

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, row: int) -> torch.Tensor:
        image = windowed(Image.open(self.paths[row]).convert("RGB"), self.size, self.resized)
        return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()


def theirs(files: Files, workers: int) -> Iterator[torch.Tensor]:
    """Batches without end."""
    more = {"persistent_workers": True, "prefetch_factor": 4} if workers else {}
    loader = torch.utils.data.DataLoader(files, batch_size=BATCH, shuffle=True, num_workers=workers, **more)
    while True:
        yield from loader


def ours(source: Streamed, take: Take) -> Iterator[torch.Tensor]:
    """Batches without end."""
    epoch = 0
    while True:
        order = np.random.default_rng(epoch).permutation(len(source))
        plan = [order[first : first + BATCH] for first in range(0, len(order), BATCH)]
        yield from source.flow(plan, Take(seed=0, epoch=epoch, augment=take.augment), None)
        epoch += 1


def decode_bare(files: Files, seconds: float, counts: multiprocessing.Queue) -> None:
    """Pictures of one process within so many seconds, and the seconds."""
    out, done, start = np.empty((BATCH, 3, files.size, files.size), np.uint8), 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        for row in range(BATCH):
            out[row] = files[random.randrange(len(files))].numpy()
        done += BATCH
    counts.put(done / (time.perf_counter() - start))


def bare(files: Files, workers: int, seconds: float) -> float:
    """Pictures a second of the same Pillow code on as many processes."""
    context, counts = multiprocessing.get_context("fork"), multiprocessing.Queue()
    hands = [context.Process(target=decode_bare, args=(files, seconds, counts)) for _ in range(max(1, workers))]
    for hand in hands:
        hand.start()
    found = sum(counts.get() for _ in hands)
    for hand in hands:
        hand.join()
    return found


def rate(flow: Iterator[torch.Tensor], seconds: float) -> float:
    """Pictures a second; what was prepared before the clock starts is taken out first."""
    for _ in range(4 * max(WORKERS) + 4):
        next(flow)
    done, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        batch = next(flow)
        assert batch.dtype == torch.uint8
        assert batch.is_contiguous()
        done += len(batch)
    return done / (time.perf_counter() - start)


@dataclass
class Mapped:
    """Reads decoded pictures from a mapped file; picklable."""

    path: str

    def __call__(self, sample: int) -> np.ndarray:
        if not hasattr(self, "_array"):
            self._array = np.load(self.path, mmap_mode="r")
        return self._array[sample]

    def __reduce__(self) -> tuple[type, tuple[str]]:
        return (Mapped, (self.path,))


def decoded(dataset: Dataset, folder: str) -> Dataset:
    """The same pictures, decoded, in one mapped file."""
    arrays = [np.asarray(Image.open(Path(dataset.source) / sample.name).convert("RGB")) for sample in dataset.samples]
    path = os.path.join(folder, "pictures.npy")
    np.save(path, np.stack(arrays))
    return Dataset(
        format="map", source=path, labels=dataset.labels, samples=dataset.samples, reader=Mapped(path)
    )


def ways(data: Dataset, packed: Dataset, ids: np.ndarray, size: int) -> dict[str, Callable[[int], Iterator]]:
    """Name to a flow with so many workers."""
    paths = [str(Path(data.source) / data.samples[i].name) for i in ids]
    steps = ImageSteps(channels=3, resize=size, crop=(size, size), mean=(0.0,) * 3, std=(1.0,) * 3)
    crop = Take(seed=0, epoch=0, augment=Augment(crop_area=AREA, flip=True))
    return {
        "theirs, JPEG files": lambda w: theirs(Files(paths, size, True), w),
        "fireforge, JPEG files": lambda w: ours(Streamed(data, ids, steps, workers=w), crop),
        "fireforge, map": lambda w: ours(Streamed(packed, ids, steps, workers=w), crop),
    }


def main() -> None:
    """Print a row a way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--size", type=int, default=128)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    data = open_dataset(Path(os.environ["FIREFORGE_DATA"]) / "photos10")
    ids = np.array([sample.id for sample in data.samples if sample.part == "train"])
    print(this_machine().processor, this_machine().cores, "cores", versions(), f"N {len(ids)}, {asked.size} px")
    with tempfile.TemporaryDirectory() as folder:
        table = ways(data, decoded(data, folder), ids, asked.size)
        flows = {(name, w): way(w) for name, way in table.items() for w in WORKERS}
        found: dict[tuple[str, int], list[float]] = {}
        files = Files([str(Path(data.source) / data.samples[i].name) for i in ids], asked.size, True)
        for _ in range(asked.rounds):
            for key, flow in flows.items():
                found.setdefault(key, []).append(rate(flow, asked.seconds))
            for w in WORKERS[1:]:
                found.setdefault(("bare loop, JPEG files", w), []).append(bare(files, w, asked.seconds))
    medians = {key: statistics.median(rates) for key, rates in found.items()}
    for (name, w), rates in found.items():
        print(f"{name}, {w} workers: {medians[name, w]:.0f} pictures/s ({min(rates):.0f} to {max(rates):.0f})")
    best = {name: max(value for (other, _), value in medians.items() if other == name) for name, _ in medians}
    for name in list(table)[1:]:
        print(f"{name}: {best[name] / best['theirs, JPEG files']:.2f} times as fast as theirs")
    print(f"theirs is {best['theirs, JPEG files'] / best['bare loop, JPEG files']:.0%} of the bare loop")


if __name__ == "__main__":
    main()
