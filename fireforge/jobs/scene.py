# SPDX-License-Identifier: Apache-2.0
"""The data of a run, looked at once: labels, parts, preprocessing, pictures."""

from __future__ import annotations

import base64
from dataclasses import dataclass

import numpy as np

from fireforge.base.datacard import DataCard, SamplePicture
from fireforge.base.errors import FireforgeError
from fireforge.base.pixels import SUFFIXES, encode_png, open_picture, to_channels
from fireforge.base.preprocess import ImageSteps, Preprocess
from fireforge.base.trial import DataRef
from fireforge.data.check import drop_broken
from fireforge.data.dataset import Dataset
from fireforge.data.open import open_dataset
from fireforge.data.pixels import choose_steps, load_pixels
from fireforge.data.split import Parts, split

SHOWN = 24  # pictures on the data card
MOST_LOST = 0.05  # share of unusable files above which a build stops before it starts


@dataclass(frozen=True, kw_only=True)
class Scene:
    """What every later step needs to know of the data.

    Args:
      dataset: opened.
      ref: finds it again, with its checksum.
      parts: sample ids by part.
      preprocess: chosen from the training part.
      truth: label of each sample, int64 (N,).
      pixels: uint8 (n, C, H, W) of "train" and "val".
    """

    dataset: Dataset
    ref: DataRef
    parts: Parts
    preprocess: Preprocess
    truth: np.ndarray
    pixels: dict[str, np.ndarray]

    @property
    def steps(self) -> ImageSteps:
        """The steps of the preprocessing."""
        return self.preprocess.steps()

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of the network's input."""
        return (self.steps.channels, *self.steps.crop)

    def part(self, name: str) -> np.ndarray:
        """Sample ids of "train", "val" or "test": int64 (n,)."""
        ids: np.ndarray = getattr(self.parts, name)
        return ids


def look(source: str, *, seed: int, image_size: int | None = None, known: Preprocess | None = None) -> Scene:
    """Open, split, choose the preprocessing, load the pictures that are trained and judged on.

    Args:
      source: path or name.
      seed: of the split.
      image_size: side of the network's input in px; None to choose by the pictures.
      known: preprocessing that was chosen before.

    Returns:
      The scene; test pictures are not touched.
    """
    opened = open_dataset(source)
    dataset = drop_broken(opened)
    _check_losses(opened, dataset)
    ref = DataRef(source=source, sha256=dataset.sha256, seed=seed)
    parts = split(dataset, ref)
    steps = known.steps() if known else choose_steps(dataset, parts.train, image_size=image_size)
    return Scene(
        dataset=dataset,
        ref=ref,
        parts=parts,
        preprocess=Preprocess(image=steps),
        truth=np.array([sample.label for sample in dataset.samples], np.int64),
        pixels={"train": load_pixels(dataset, parts.train, steps), "val": load_pixels(dataset, parts.val, steps)},
    )


def _check_losses(opened: Dataset, dataset: Dataset) -> None:
    """Pictures that cannot be decoded count; files that are no pictures, such as a README, do not."""
    pictures = [skipped for skipped in dataset.skipped if skipped.name.lower().endswith(SUFFIXES)]
    lost = max(len(pictures), len(opened.samples) - len(dataset.samples))
    if lost > MOST_LOST * (lost + len(dataset.samples)):
        first = (pictures or dataset.skipped)[0]
        what = f"{lost} of {lost + len(dataset.samples)} pictures cannot be used"
        raise FireforgeError(
            "TOO_MANY_BAD",
            f"{what}, the first is {first.name} ({first.reason})",
            where=dataset.source,
            allowed=f"up to {MOST_LOST:.0%}",
            do="fireforge inspect lists them all",
        )


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
    )


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
