# SPDX-License-Identifier: Apache-2.0
"""Answer by ONNX Runtime, Pillow and numpy alone: python predict.py PICTURE... [MODEL.onnx]; opaque 8-bit pictures."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from PIL import Image, ImageOps


def ready(path: str, steps: dict[str, Any]) -> np.ndarray:
    """A picture as the network's input: decoded, upright, in its channels, resized, cropped, normalized.

    Args:
      path: of the picture.
      steps: "image" of the card's "preprocess"; what stands at its default is not in it.

    Returns:
      float32 (1, C, H, W).
    """
    picture = ImageOps.exif_transpose(Image.open(path)).convert("L" if steps["channels"] == 1 else "RGB")
    size = steps.get("resize")
    if size is not None:
        short = min(picture.size)
        high, wide = size if isinstance(size, list) else [(s * size + short // 2) // short for s in picture.size[::-1]]
        how = Image.Resampling[steps.get("filter", "bilinear").upper()]
        picture = picture.resize((max(1, wide), max(1, high)), how)
    high, wide = steps["crop"]
    top, left = (picture.height - high) // 2, (picture.width - wide) // 2
    pixels = np.asarray(picture, np.float32).reshape(picture.height, picture.width, -1)
    pixels = pixels[top : top + high, left : left + wide]
    if steps.get("order") == "BGR":
        pixels = pixels[:, :, ::-1]
    mean, std = np.float32(steps.get("mean", 0.0)), np.float32(steps.get("std", 255.0))
    return ((pixels - mean) / std).transpose(2, 0, 1)[None]


def main(words: list[str]) -> int:
    """Print a line for each picture: file, label, score.

    Args:
      words: pictures, and a model where it is not the one that result.json beside this file names.

    Returns:
      0, or 2 where a picture could not be read; the others are answered.
    """
    home = Path(__file__).parent
    models = [word for word in words if word.endswith(".onnx")]
    model = models[0] if models else home / json.loads((home / "result.json").read_text())["model"]["path"]
    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    card = json.loads(session.get_modelmeta().custom_metadata_map["fireforge"])["card"]
    post = card.get("postprocess", {})
    failed = 0
    for word in words:
        if word in models:
            continue
        try:
            inputs = {session.get_inputs()[0].name: ready(word, card["preprocess"]["image"])}
        except OSError as error:
            print(f"{word}: {error}", file=sys.stderr)
            failed = 2
            continue
        logits = session.run(None, inputs)[0][0].astype(np.float64) / post.get("temperature", 1.0)
        scores = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
        doubt = "none of these, nearest: " if scores.max() < post.get("threshold", 0.0) else ""
        print(f"{word}  {doubt}{card['labels'][int(scores.argmax())]} {scores.max():.1%}")
    return failed


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("usage: python predict.py PICTURE...")
    sys.exit(main(sys.argv[1:]))
