# SPDX-License-Identifier: Apache-2.0
"""Pictures a second that a training is given: fireforge's streaming beside torch's DataLoader over Pillow.

    FIREFORGE_DATA=... python benchmarks/loading.py [--rounds 5] [--seconds 2] [--size 128]

Both sides give shuffled batches of 256, uint8 (N, 3, H, W) contiguous, after a random crop (area 0.08 to 1, sides 3
to 4 to 4 to 3) resized with antialias, bilinear, and a random mirror; or, "cut", after the middle of the output's size
is cut out without any resize, and a random mirror. Theirs is Image.open(f).convert("RGB"), with crop and resize in one
call of Pillow, collated by default_collate, workers kept between epochs, two batches ahead each: of batches of 32 to
256 and two to four ahead what came nearest to the bare loop. The bare loop is the same Pillow code without a
DataLoader, on as many processes. An epoch is 60,000 pictures on both sides, the same ones in new orders: at the end of
one the workers run dry, which would weigh as nowhere else where an epoch takes half a second. Shards are what
`fireforge pack` makes of the same pictures, decoded, in their own size. All are measured in turns after their workers
have begun; a round is `--seconds` of each.

The rate is by the clock; on a machine that others use, too, the one by processor seconds is the fairer one: pictures by
what this process and its workers took, as if all cores were at it all the time.
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
from fireforge.jobs.pack import pack
from fireforge.train.render import Take
from fireforge.train.stream import Streamed

BATCH, AREA, ASPECT = 256, 0.08, math.log(4 / 3)
WORKERS = (0, 1, 2)
EPOCH = 60_000  # pictures


def windowed(image: Image.Image, size: int, resized: bool) -> Image.Image:
    """A random crop, resized, or the middle; mirrored or not."""
    wide, high = image.size
    if resized:
        area, aspect = random.uniform(AREA, 1) * wide * high, math.exp(random.uniform(-ASPECT, ASPECT))
        w, h = min(wide, round(math.sqrt(area * aspect))), min(high, round(math.sqrt(area / aspect)))
        left, top = random.randint(0, wide - w), random.randint(0, high - h)
        image = image.resize((size, size), Image.Resampling.BILINEAR, box=(left, top, left + w, top + h))
    else:
        left, top = (wide - size) // 2, (high - size) // 2
        image = image.crop((left, top, left + size, top + size))
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
    more = {"persistent_workers": True, "prefetch_factor": 2} if workers else {}
    order = torch.utils.data.RandomSampler(files, num_samples=EPOCH)
    loader = torch.utils.data.DataLoader(files, batch_size=BATCH, sampler=order, num_workers=workers, **more)
    while True:
        yield from loader


def ours(source: Streamed, take: Take) -> Iterator[torch.Tensor]:
    """Batches without end."""
    epoch = 0
    while True:
        draw = np.random.default_rng(epoch)
        order = np.concatenate([draw.permutation(len(source)) for _ in range(EPOCH // len(source))])
        plan = [order[first : first + BATCH] for first in range(0, len(order), BATCH)]
        yield from source.flow(plan, Take(seed=0, epoch=epoch, augment=take.augment), None)
        epoch += 1


def bare_hand(files: Files, seconds: float, counts: multiprocessing.Queue) -> None:
    """Pictures a second, and a second of the processor, of one process."""
    out, done, start, core = np.empty((BATCH, 3, files.size, files.size), np.uint8), 0, time.perf_counter(), 0.0
    core = time.process_time()
    while time.perf_counter() - start < seconds:
        for row in range(BATCH):
            out[row] = files[random.randrange(len(files))].numpy()
        done += BATCH
    counts.put((done / (time.perf_counter() - start), done, time.process_time() - core))


def bare(files: Files, workers: int, seconds: float) -> tuple[float, float]:
    """Rates of the same Pillow code on as many processes."""
    context, counts = multiprocessing.get_context("fork"), multiprocessing.Queue()
    hands = [context.Process(target=bare_hand, args=(files, seconds, counts)) for _ in range(max(1, workers))]
    for hand in hands:
        hand.start()
    found = [counts.get() for _ in hands]
    for hand in hands:
        hand.join()
    return sum(one[0] for one in found), sum(one[1] for one in found) / sum(one[2] for one in found)


def core_seconds(pid: int = 0) -> float:
    """Processor seconds of this process and all below it that live."""
    pid = pid or os.getpid()
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    below = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK") + sum(core_seconds(int(one)) for one in below)


def rate(flow: Iterator[torch.Tensor], seconds: float) -> tuple[float, float]:
    """Pictures a second, and a processor second; what was prepared before the clock starts is taken out first."""
    for _ in range(2 * max(WORKERS) + 2):
        next(flow)
    done, start, core = 0, time.perf_counter(), core_seconds()
    while time.perf_counter() - start < seconds:
        batch = next(flow)
        assert batch.dtype == torch.uint8
        assert batch.is_contiguous()
        done += len(batch)
    return done / (time.perf_counter() - start), done / (core_seconds() - core)


def ways(data: Dataset, packed: Dataset, ids: np.ndarray, size: int) -> dict[str, Callable[[int], Iterator]]:
    """Name to a flow with so many workers."""
    paths = [str(Path(data.source) / data.samples[i].name) for i in ids]
    steps = ImageSteps(channels=3, resize=size, crop=(size, size), mean=(0.0,) * 3, std=(1.0,) * 3)
    crop = Take(seed=0, epoch=0, augment=Augment(crop_area=AREA, flip=True))
    rows = np.array([sample.id for sample in packed.samples if sample.part == "train"])
    found = {
        "theirs, JPEG": lambda w: theirs(Files(paths, size, True), w),
        "fireforge, JPEG": lambda w: ours(Streamed(data, ids, steps, workers=w), crop),
        "fireforge, shards": lambda w: ours(Streamed(packed, rows, steps, workers=w), crop),
    }
    if size < 224:
        plain, mirror = steps.replace(resize=None), Take(seed=0, epoch=0, augment=Augment(flip=True))
        found |= {
            "theirs, JPEG, cut": lambda w: theirs(Files(paths, size, False), w),
            "fireforge, shards, cut": lambda w: ours(Streamed(packed, rows, plain, workers=w), mirror),
        }
    return found


def main() -> None:
    """Print a row a way, and how they compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--size", type=int, default=128)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    data = open_dataset(Path(os.environ["FIREFORGE_DATA"]) / "photos10")
    ids = np.array([sample.id for sample in data.samples if sample.part == "train"])
    print(this_machine().processor, this_machine().cores, "cores", versions(), f"N {len(ids)}, {asked.size} px")
    found: dict[tuple[str, int], list[tuple[float, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        pack(data.source, Path(folder) / "photos.shards")
        table = ways(data, open_dataset(Path(folder) / "photos.shards"), ids, asked.size)
        flows = {(name, w): way(w) for name, way in table.items() for w in WORKERS}
        files = Files([str(Path(data.source) / data.samples[i].name) for i in ids], asked.size, True)
        for _ in range(asked.rounds):
            for key, flow in flows.items():
                found.setdefault(key, []).append(rate(flow, asked.seconds))
            for w in WORKERS[1:]:
                found.setdefault(("bare loop, JPEG", w), []).append(bare(files, w, asked.seconds))
    tell(found)


def tell(found: dict[tuple[str, int], list[tuple[float, float]]]) -> None:
    """Medians, spreads and ratios by the clock and by processor seconds."""
    best: dict[str, list[float]] = {}
    for (name, w), rates in found.items():
        clock, core = (statistics.median(column) for column in zip(*rates))
        low, high = min(rates)[0], max(rates)[0]
        print(f"{name}, {w} workers: {clock:.0f} pictures/s ({low:.0f} to {high:.0f}), {core:.0f} a processor second")
        best[name] = [max(pair) for pair in zip(best.get(name, [0.0, 0.0]), (clock, core))]
    pairs = [("fireforge, JPEG", "theirs, JPEG"), ("fireforge, shards", "theirs, JPEG")]
    pairs += [("fireforge, shards, cut", "theirs, JPEG, cut"), ("fireforge, shards, cut", "theirs, JPEG")]
    for one, other in [pair for pair in pairs if pair[0] in best]:
        clock, core = (mine / their for mine, their in zip(best[one], best[other]))
        print(f"{one} by {other}: {clock:.2f} by the clock, {core:.2f} by processor seconds")
    clock, core = (mine / their for mine, their in zip(best["theirs, JPEG"], best["bare loop, JPEG"]))
    print(f"theirs by the bare loop: {clock:.0%} by the clock, {core:.0%} by processor seconds")


if __name__ == "__main__":
    main()
