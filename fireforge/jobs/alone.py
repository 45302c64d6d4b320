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


MOST_GROUPS, MOST_LEVELS = 2, 64  # groups a class, and groups in one another: what cards of ours have at most


def answered(scores: np.ndarray, labels: list[str], hedge: dict[str, Any] | None) -> tuple[str, float]:
    """The best label, or the group of classes that (information gain + bonus) * probability prefers to it.

    Args:
      scores: float (K,), probabilities.
      labels: K class names.
      hedge: of the card's "postprocess"; None where answers are classes alone.

    Returns:
      Name and probability of the answer.
    """
    best = int(scores.argmax())
    found = [(labels[best], np.arange(len(scores)) == best)]
    if hedge is not None:
        parents = hedge["tree"]["parents"]
        if len(parents) > MOST_GROUPS * len(scores):
            sys.exit(f"the card has {len(parents)} groups for {len(scores)} classes")
        holds = {name: np.zeros(len(scores), bool) for name in parents}
        for name, spans in hedge["tree"]["members"].items():
            path = [name]
            while parents[path[-1]]:
                path.append(parents[path[-1]])
                if len(path) > MOST_LEVELS:
                    sys.exit(f"the card's group {name!r} lies in more than {MOST_LEVELS} others, or in itself")
            for group in path:
                for first, last in spans:
                    holds[group][first : last + 1] = True
        found += sorted(holds.items(), key=lambda item: int(item[1].sum()))
    worth = []
    for _, inside in found:
        rest = 0.0 if inside.all() else max(scores[~inside].sum(), 1e-300)
        gain = np.log2(len(scores) / inside.sum())
        worth.append(gain * scores[inside].sum() - (hedge or {}).get("bonus", 0.0) * rest)
    name, inside = found[int(np.argmax(worth))]
    return name, min(float(scores[inside].sum()), 1.0)


def main(words: list[str]) -> int:
    """Print a line for each picture: file, label or group of labels, score.

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
        name, score = answered(scores, card["labels"], post.get("hedge"))
        doubt = "none of these, nearest: " if scores.max() < post.get("threshold", 0.0) else ""
        print(f"{word}  {doubt}{name} {score:.1%}")
    return failed


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("usage: python predict.py PICTURE...")
    sys.exit(main(sys.argv[1:]))
