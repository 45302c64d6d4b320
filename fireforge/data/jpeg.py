# SPDX-License-Identifier: Apache-2.0
"""JPEG decoded fast, for training pictures alone; what is not plain is left to Pillow, and so is all that is judged."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np

from fireforge.base.errors import Exit, FireforgeError
from fireforge.base.picture.decode import MAX_LOCAL_PIXELS, examine

LEAST_FACTOR = 2.0  # a decoder that makes a picture smaller on the way is faster from a half on


class FastJpeg:
    """Decodes pictures one after another into the same memory.

    The checks of `fireforge.base.picture` come first: the format by the first bytes, the limits by the head. A whole
    picture has Pillow's pixels.

    Args:
      channels: 1 or 3 of what is decoded.
      max_pixels: limit for files.

    Raises:
      FireforgeError: NO_PACKAGE with exit code 3, without simplejpeg.
    """

    def __init__(self, channels: int, *, max_pixels: int = MAX_LOCAL_PIXELS) -> None:
        self._decoder = _package()
        self._colours = "GRAY" if channels == 1 else "RGB"
        self._channels = channels
        self._most = max_pixels
        self._room = np.empty(0, np.uint8)

    def size(self, data: bytes, *, where: str) -> tuple[int, int] | None:
        """Height and width of a picture that `decode` may take, None for one that Pillow must.

        Args:
          data: the file's bytes.
          where: named in errors.

        Returns:
          (H, W) as stored, which is how it lies.

        Raises:
          FireforgeError: what `fireforge.base.pixels.decode` raises, as far as it shows without decoding.
        """
        structure = examine(data, where, self._most)[1]
        return structure.size[::-1] if structure.plain else None

    def decode(self, data: bytes, size: tuple[int, int], *, least: tuple[int, int] | None = None) -> np.ndarray | None:
        """Pixels of a picture.

        Args:
          data: the file's bytes.
          size: what `size` gave.
          least: height and width that the result must have at least, where it is to be cropped and resized anyway: a
            smaller picture is then decoded where that is faster, by a half or a quarter of its frequencies. None for
            Pillow's pixels.

        Returns:
          uint8 (H, W, channels), which is overwritten by the next call; None where the decoder finds damage.
        """
        need = size[0] * size[1] * self._channels
        if len(self._room) < need:
            self._room = np.empty(need, np.uint8)
        more: dict[str, Any] = {}
        if least is not None and all(side >= LEAST_FACTOR * part for side, part in zip(size, least)):
            more = {"min_height": least[0], "min_width": least[1], "min_factor": LEAST_FACTOR}
        try:
            found: np.ndarray = self._decoder.decode_jpeg(data, self._colours, buffer=self._room, **more)
        except ValueError:
            return None
        return found


def _package() -> ModuleType:
    try:
        import simplejpeg
    except ImportError as error:
        what = "the package simplejpeg is not installed"
        raise FireforgeError(
            "NO_PACKAGE", what, do="pip install 'fireforge[train]'", exit_code=Exit.ENVIRONMENT
        ) from error
    module: ModuleType = simplejpeg
    return module
