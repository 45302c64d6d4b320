# SPDX-License-Identifier: Apache-2.0
"""The data of a run, looked at once: labels, parts, preprocessing, pictures."""

from __future__ import annotations

import base64
import dataclasses
import functools
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fireforge.base.datacard import DataCard, SamplePicture
from fireforge.base.errors import FireforgeError
from fireforge.base.machine import usable_cores
from fireforge.base.pixels import encode_png, open_picture, to_channels
from fireforge.base.preprocess import ImageSteps, Preprocess
from fireforge.base.progress import Progress, Update, silent
from fireforge.base.trial import DataRef
from fireforge.data.cache import PictureCache
from fireforge.data.check import drop_broken, lost_pictures
from fireforge.data.check import look as header
from fireforge.data.dataset import Dataset
from fireforge.data.open import open_dataset
from fireforge.data.pixels import MOST_PX, choose_steps
from fireforge.data.remote.address import shown
from fireforge.data.samples import leaders_of
from fireforge.data.split import Parts, split

SHOWN = 24  # pictures on the data card
VAL_SHARE = 0.15  # of what is not the test part is held out for choosing ...
VAL_MOST = 5_000  # ... of so many pictures at most: they tell 0.5 point apart, and more are better trained on
SIDES = (32, 48, 64, 96, 128, 160)  # of the inputs that are tried for larger pictures
ASKED = 64  # pictures whose size is asked for
SMALL_PX = 64  # pictures up to this side are taken as they are
FIRST_PX = 64  # and larger ones are first looked at in this size
DECODE_S = 0.003  # of one core for a picture of a camera, at each size that is tried ...
DECODE_SHARE = 0.1  # ... in this share of the search's time
LONG = 5_000  # pictures whose looking through takes long enough to be shown
MOST_LOST = 0.05  # share of unusable files above which a build stops before it starts


@dataclass(frozen=True, kw_only=True)
class Scene:
    """What every later step needs to know of the data.

    Args:
      dataset: opened.
      ref: finds it again, with its checksum.
      parts: sample ids by part.
      preprocess: chosen from the training part; for pictures that are larger than a network wants, one of several.
      truth: label of each sample, int64 (N,).
      sizes: (H, W) of the inputs that may be tried, by rising area; the preprocessing's own is one of them.
      cache: folder where pictures that were made ready are kept; None for none.
      side_px: shorter side of most pictures, as they are stored; 0 for that of the greatest of the sizes.
    """

    dataset: Dataset
    ref: DataRef
    parts: Parts
    preprocess: Preprocess
    truth: np.ndarray
    sizes: tuple[tuple[int, int], ...]
    cache: Path | None = None
    side_px: int = 0

    @property
    def steps(self) -> ImageSteps:
        """The steps of the preprocessing."""
        return self.preprocess.steps()

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of the network's input."""
        return (self.steps.channels, *self.steps.crop)

    @functools.cached_property
    def pixels(self) -> Mapping[str, np.ndarray]:
        """uint8 (n, C, H, W) of "train" and "val", read when they are asked for."""
        return _Pixels(PictureCache(self.cache, self.ref, self.dataset), self.steps)

    def part(self, name: str) -> np.ndarray:
        """Sample ids of "train", "val" or "test": int64 (n,)."""
        ids: np.ndarray = getattr(self.parts, name)
        return ids

    def at(self, size: tuple[int, int]) -> Scene:
        """The same data at another size of the input.

        Args:
          size: one of `sizes`.

        Returns:
          A scene whose preprocessing resizes to it; mean and std are kept.
        """
        return self if size == self.steps.crop else self.seen_by(Preprocess(image=resized(self.steps, size)))

    def seen_by(self, preprocess: Preprocess) -> Scene:
        """The same data with another preprocessing, such as a winner's."""
        return self if preprocess == self.preprocess else dataclasses.replace(self, preprocess=preprocess)

    def shorter_px(self) -> int:
        """Shorter side of most pictures, or of the greatest size at which they are looked at."""
        return self.side_px or min(self.sizes[-1])


class _Pixels(Mapping[str, np.ndarray]):
    """Pictures of the parts that are trained and judged on, by part; each is read once, when it is asked for."""

    def __init__(self, cache: PictureCache, steps: ImageSteps) -> None:
        self._cache, self._steps = cache, steps
        self._held: dict[str, np.ndarray] = {}

    def __getitem__(self, part: str) -> np.ndarray:
        if part not in ("train", "val"):
            raise KeyError(part)
        if part not in self._held:
            self._held[part] = self._cache.pictures((part,), self._steps)[0]
        return self._held[part]

    def __iter__(self) -> Iterator[str]:
        return iter(("train", "val"))

    def __len__(self) -> int:
        return 2


def look(
    source: str,
    *,
    seed: int,
    image_size: int | None = None,
    known: Preprocess | None = None,
    cache: Path | None = None,
    progress: Progress = silent,
) -> Scene:
    """Open, split, choose the preprocessing.

    Args:
      source: path, URL or name.
      seed: of the split.
      image_size: side of the network's input in px; None to choose by the pictures.
      known: preprocessing that was chosen before.
      cache: folder where pictures that are made ready are kept; None for none.
      progress: told how much of a URL's data is there, how many pictures were looked through, and what is left out.

    Returns:
      The scene; test pictures are not touched.
    """
    opened = open_dataset(source, progress=progress)
    dataset = drop_broken(opened, progress=progress if len(opened.samples) >= LONG else silent)
    _check_losses(opened, dataset, progress)
    judged = min(VAL_SHARE, VAL_MOST / max(1, len(dataset.samples)))
    ref = DataRef(source=shown(source), sha256=dataset.sha256, seed=seed, val_share=round(judged, 6))
    parts = split(dataset, ref)
    steps = known.steps() if known else choose_steps(dataset, parts.train, image_size=image_size)
    sizes = (steps.crop,) if known or image_size else sizes_of(steps)
    scene = Scene(
        dataset=dataset,
        ref=ref,
        parts=parts,
        preprocess=Preprocess(image=steps),
        truth=dataset.targets,
        sizes=sizes,
        cache=cache,
        side_px=_side_px(dataset, parts.train) if image_size else 0,
    )
    return scene.at(max((size for size in sizes if min(size) <= FIRST_PX), default=sizes[0]))


def sizes_of(steps: ImageSteps) -> tuple[tuple[int, int], ...]:
    """Sizes of the input that a search may try: those of SIDES below the pictures' own size, and that one itself.

    Args:
      steps: as chosen by the pictures.

    Returns:
      (H, W) by rising area; one alone where the pictures are small or not square.
    """
    height, width = steps.crop
    if height != width or height <= SMALL_PX:
        return (steps.crop,)
    return (*((side, side) for side in SIDES if side < 0.9 * height), steps.crop)


def sizes_in_time(
    sizes: Sequence[tuple[int, int]], own: tuple[int, int], *, pictures: int, seconds: float
) -> list[tuple[int, int]]:
    """As many of the sizes, the nearest to one first, as a search has the time to decode.

    Args:
      sizes: (H, W).
      own: the one that is decoded already; it is always there.
      pictures: of the data.
      seconds: of the search; may be infinite.

    Returns:
      At least one size.
    """
    near = sorted(sizes, key=lambda size: abs(math.log(min(size) / min(own))))
    if not math.isfinite(seconds):
        return near
    each_s = pictures * DECODE_S / usable_cores()
    return near[: max(1, int(seconds * DECODE_SHARE / each_s))]


def resized(steps: ImageSteps, size: tuple[int, int]) -> ImageSteps:
    """The same steps with another size of the input."""
    return steps.replace(resize=min(size) if isinstance(steps.resize, int) else size, crop=size)


def _side_px(dataset: Dataset, ids: np.ndarray) -> int:
    """The median shorter side of some pictures, as `choose_steps` would have it where no size is asked for."""
    some = ids[np.linspace(0, len(ids) - 1, min(ASKED, len(ids))).astype(int)]
    looks = [header(dataset.read(int(i)), where=dataset.where(int(i)), full=False) for i in some]
    return min(int(np.median([min(item.height_px, item.width_px) for item in looks])), MOST_PX)


def _check_losses(opened: Dataset, dataset: Dataset, progress: Progress) -> None:
    """Pictures that cannot be decoded count and are told; files that are no pictures, such as a README, do not."""
    pictures = lost_pictures(dataset.skipped)
    lost = max(len(pictures), len(opened.samples) - len(dataset.samples))
    if not lost:
        return
    first = (pictures or dataset.skipped)[0]
    codes = Counter(item.code for item in pictures or dataset.skipped).most_common()
    reasons = ", ".join(f"{count:,} {code}" for code, count in codes)
    what = f"{lost:,} of {lost + len(dataset.samples):,} pictures cannot be used: {reasons}"
    told = f"{what}; the first is {first.name} ({first.reason})"
    if lost > MOST_LOST * (lost + len(dataset.samples)):
        raise FireforgeError(
            "TOO_MANY_BAD",
            told,
            where=dataset.source,
            allowed=f"up to {MOST_LOST:.0%}",
            do="fireforge inspect lists them all",
        )
    progress(Update(stage="data", note=f"{told}; fireforge inspect lists them all", lasting=True))


def describe(scene: Scene) -> DataCard:
    """The data card as the record keeps it."""
    ledger = scene.dataset.ledger()
    classes = len(scene.dataset.labels)
    counts = {
        name: tuple(np.bincount(scene.truth[scene.part(name)], minlength=classes).tolist())
        for name in ("train", "val", "test")
    }
    ids = scene.part("train")
    shown = ids[np.linspace(0, len(ids) - 1, min(SHOWN, len(ids))).astype(int)]
    return DataCard(
        source=scene.ref.source,
        format=scene.dataset.format,
        labels=scene.dataset.labels,
        counts=counts,
        found=ledger["found"],
        used=ledger["used"],
        skipped=ledger["skipped"],
        input=scene.input_shape,
        samples=tuple(
            SamplePicture(label=scene.dataset.labels[scene.truth[i]], png=thumbnail(scene.dataset, int(i), scene.steps))
            for i in shown
        ),
        seen=seen(scene),
    )


def seen(scene: Scene) -> int:
    """Test pictures that are equal, to the byte, to pictures that are trained or chosen on: a test on them flatters."""
    leaders = leaders_of(scene.dataset.digests, len(scene.dataset.samples))
    return int(np.isin(leaders[scene.part("test")], leaders[scene.parts.ids("train", "val")]).sum())


def thumbnail(dataset: Dataset, sample: int, steps: ImageSteps, *, side_px: int = 96) -> str:
    """A small PNG of a sample, base64, for the report.

    Args:
      dataset: where it stands.
      sample: its id.
      steps: channels and background are used.
      side_px: greatest side; smaller pictures keep their size.

    Returns:
      Base64 text.
    """
    picture = to_channels(open_picture(dataset.read(sample)), steps)
    picture.thumbnail((side_px, side_px))
    return base64.b64encode(encode_png(np.asarray(picture))).decode()


def encoded(dataset: Dataset, sample: int) -> bytes:
    """A sample as an image file's bytes: as stored, or as PNG where the data holds arrays."""
    content = dataset.read(sample)
    return content if isinstance(content, bytes) else encode_png(content)
