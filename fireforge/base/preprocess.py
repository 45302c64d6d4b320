# SPDX-License-Identifier: Apache-2.0
"""The one description of how bytes become a network's input; stored in every artefact."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from fireforge.base.errors import FireforgeError
from fireforge.base.value import Value


@dataclass(frozen=True, kw_only=True)
class ImageSteps(Value):
    """Decode, orient by EXIF, resize, centre crop, order channels, normalize: in this order.

    Args:
      channels: 1 (gray, ITU-R 601 luma) or 3.
      resize: (H, W) to stretch to, a whole number for the shorter side, or None for no resizing.
      crop: (H, W) of the centre crop, which is the network's input size; smaller pictures are an error.
      filter: Pillow's resampling filter, antialiased when shrinking.
      order: "L", "RGB" or "BGR".
      mean: for each channel in the given order, in pixel values 0 to 255.
      std: likewise; the input is (pixel - mean) / std as float32.
      background: gray value, 0 to 255, laid under transparent pixels.
    """

    channels: int
    resize: tuple[int, int] | int | None
    crop: tuple[int, int]
    filter: Literal["nearest", "bilinear", "bicubic", "lanczos"] = "bilinear"
    order: Literal["L", "RGB", "BGR"] = "RGB"
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (255.0, 255.0, 255.0)
    background: int = 255

    def __post_init__(self) -> None:
        """Check that channels, order, mean and std agree, and that sizes and the background are possible."""
        sizes = (*self.crop, *(self.resize if isinstance(self.resize, tuple) else (self.resize,)))
        if min(size for size in sizes if size is not None) < 1 or not 0 <= self.background <= 255:
            raise FireforgeError(
                "BAD_PREPROCESS",
                f"resize {self.resize}, crop {self.crop}, background {self.background}",
                allowed="sizes of 1 px or more, background 0 to 255",
            )
        want = len(self.order)
        if not self.channels == want == len(self.mean) == len(self.std) or min(self.std) <= 0:
            raise FireforgeError(
                "BAD_PREPROCESS",
                f"{self.channels} channels, order {self.order}, {len(self.mean)} means, {len(self.std)} stds",
                allowed="one mean and one positive std for each channel of the order",
            )


@dataclass(frozen=True, kw_only=True)
class Preprocess(Value):
    """A tagged union: kind names the field that holds the steps; other kinds of input add a field each.

    Args:
      kind: "image".
      input: name of the graph input that is fed.
      image: the steps of kind "image".
    """

    kind: Literal["image"] = "image"
    input: str = "input"
    image: ImageSteps | None = None

    def steps(self) -> ImageSteps:
        """The steps of an image input.

        Returns:
          The image field.

        Raises:
          FireforgeError: BAD_PREPROCESS, if there are none.
        """
        if self.image is None:
            raise FireforgeError("BAD_PREPROCESS", f"kind {self.kind!r} without steps")
        return self.image
