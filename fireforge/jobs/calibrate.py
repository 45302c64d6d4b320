# SPDX-License-Identifier: Apache-2.0
"""Temperature and threshold for a trained network, fitted on the validation part before any file is written."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from fireforge.base.calibration import Calibration, calibrate
from fireforge.base.model import Card, Model
from fireforge.base.pixels import normalize
from fireforge.base.preprocess import ImageSteps
from fireforge.base.rng import rng
from fireforge.base.session import Session
from fireforge.export.targets import pack
from fireforge.jobs.folder import RunFolder
from fireforge.jobs.scene import Scene
from fireforge.runtime.onnx_runtime import OnnxSession

BATCH = 256
OTHERS = 200  # pictures of each kind that show none of the classes, at most
GRID = 4  # patches along a side of a shuffled picture
LONGEST = {"temperature": 10.1234, "threshold": 0.1234}  # as many letters in a card as a fit takes


def calibrated(model: Model, scene: Scene, run: RunFolder) -> Model:
    """The model with a fitted temperature and threshold in its card; the record gets the entry "calibration".

    They are fitted once, on the float network, and every file made of it shares them: on the networks that were tried
    the int8 file's own fit has a temperature within 1 % and the same errors on other pictures, and so a score and a
    refusal mean the same whichever file is used.

    Args:
      model: the trained network, float, before any stage.
      scene: its validation pictures; none of them was trained on.
      run: whose record tells of the fit.

    Returns:
      The model with another card.
    """
    session = OnnxSession(pack(model))
    pixels = scene.seen_by(model.card.preprocess).pixels["val"]
    logits = logits_of(session, pixels, model.card)
    others = {kind: logits_of(session, rows, model.card) for kind, rows in other_pictures(pixels).items()}
    card, found = calibrate_card(model.card, logits, scene.truth[scene.part("val")], others=others)
    run.journal.append("calibration", found.to_json())
    return model.replace(card=card)


def calibrate_card(
    card: Card, logits: np.ndarray, truth: np.ndarray, *, others: Mapping[str, np.ndarray] | None = None
) -> tuple[Card, Calibration]:
    """A card with the temperature and the threshold that the logits ask for.

    Args:
      card: its postprocessing is changed in these two fields alone.
      logits: float (N, K) of pictures that the network was not trained on.
      truth: int (N,), their classes.
      others: kind of pictures that show none of the classes to their logits (M, K).

    Returns:
      The card, and what the fit found.

    Raises:
      FireforgeError: BAD_CALIBRATION, if the arrays do not fit.
    """
    found = calibrate(logits, truth, others=others)
    post = card.postprocess.replace(temperature=found.temperature, threshold=found.threshold)
    return card.replace(postprocess=post), found


def longest_card(card: Card) -> Card:
    """The card as long as calibration may make it, for predicting the size of a file that is not yet calibrated."""
    return card.replace(postprocess=card.postprocess.replace(**LONGEST))


def logits_of(session: Session, pixels: np.ndarray, card: Card) -> np.ndarray:
    """A network's raw outputs.

    Args:
      session: of the network.
      pixels: uint8 (N, C, H, W), N at least 1, ready but for normalization.
      card: names input and output, and says how to normalize.

    Returns:
      float (N, K).
    """
    steps: ImageSteps = card.preprocess.steps()
    name, output = card.preprocess.input, card.postprocess.outputs[0]
    batches = [pixels[start : start + BATCH] for start in range(0, len(pixels), BATCH)]
    return np.concatenate([session.run({name: normalize(batch, steps)})[output] for batch in batches])


def other_pictures(pixels: np.ndarray, *, seed: int = 0) -> dict[str, np.ndarray]:
    """Pictures that show none of the classes, of two kinds that need no other data.

    Args:
      pixels: uint8 (N, C, H, W) that do show them.
      seed: of the noise and of the order of the patches.

    Returns:
      "uniform noise", each value of its own, and "shuffled patches", the given pictures cut by a 4 x 4 grid and put
      together in another order; uint8 (M, C, H, W), M up to 200.
    """
    shown = pixels[np.linspace(0, len(pixels) - 1, min(OTHERS, len(pixels))).astype(int)] if len(pixels) else pixels
    noise = rng(seed, 0, len(shown)).integers(0, 256, shown.shape).astype(np.uint8)
    patches = [_shuffled(picture, rng(seed, 1, place)) for place, picture in enumerate(shown)]
    return {"uniform noise": noise, "shuffled patches": np.stack(patches)} if len(shown) else {}


def _shuffled(picture: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """The patches of one picture (C, H, W) in another order; what the grid leaves over stays where it is."""
    high, wide = picture.shape[1] // GRID, picture.shape[2] // GRID
    out = picture.copy()
    for place, source in enumerate(draw.permutation(GRID * GRID)):
        (row, column), (from_row, from_column) = divmod(place, GRID), divmod(int(source), GRID)
        out[:, row * high : (row + 1) * high, column * wide : (column + 1) * wide] = picture[
            :, from_row * high : (from_row + 1) * high, from_column * wide : (from_column + 1) * wide
        ]
    return out
