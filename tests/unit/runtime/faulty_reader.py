# SPDX-License-Identifier: Apache-2.0
"""The reader of `fireforge.runtime.executed` with one fault in the code that executes, named by the variable FAULT.

Run in a fresh process in place of the true one; no metadata is touched, and the reference runs elsewhere.
"""

from __future__ import annotations

import os
import sys

import numpy as np
from PIL import Image, ImageOps

import fireforge.base.hedge as hedge
import fireforge.base.pixels as pixels
import fireforge.runtime.executed as executed
import fireforge.runtime.onnx_runtime as onnx_runtime
import fireforge.runtime.predictor as predictor

decode, crop, normalize, classify = pixels.decode, pixels.crop, pixels.normalize, predictor.classify
run = onnx_runtime.OnnxSession.run


def plain_bilinear(image, steps):
    size = (steps.resize[1], steps.resize[0])
    return image.transform(size, Image.Transform.EXTENT, (0, 0, *image.size), Image.Resampling.BILINEAR)


def corner(image, steps):
    high, wide = steps.crop
    return crop(image.crop((0, 0, wide, high)), steps)


def without_mean(array, steps):
    return normalize(array, steps.replace(mean=(0.0,) * steps.channels))


def next_class(outputs, post, labels, **others):
    return classify(outputs, post, (*labels[1:], labels[0]), **others)


def colder(outputs, post, labels, **others):
    return classify(outputs, post.replace(temperature=post.temperature * 1.001), labels, **others)


def strict(outputs, post, labels, **others):
    return classify(outputs, post.replace(threshold=0.999), labels, **others)


def of_answers(outputs, post, labels, **others):
    """The threshold held against the score of the answer, which may be a group's."""
    answers = classify(outputs, post, labels, **others)
    return [answer.replace(accepted=answer.score >= post.threshold) for answer in answers]


def eager(outputs, post, labels, **others):
    """Twice the bonus."""
    twice = post.hedge.replace(bonus=2 * post.hedge.bonus)
    return classify(outputs, post.replace(hedge=twice), labels, **others)


def always_class(outputs, post, labels, **others):
    return classify(outputs, post.replace(hedge=None), labels, **others)


def next_member(tree):
    """The first span that does not end with the last class reaches one class further."""
    table = holds(tree)
    row = next(row for row in table if not row[-1])
    row[np.flatnonzero(row)[-1] + 1] = True
    return table


holds, gains = hedge.LabelTree.holds, hedge.gains
FAULTS = {
    "inverted": [(pixels, "decode", lambda *a, **k: ImageOps.invert(decode(*a, **k)))],
    "exif": [(pixels, "orient", lambda image: image)],
    "bilinear": [(pixels, "resize", plain_bilinear)],
    "corner": [(pixels, "crop", corner)],
    "one off": [(pixels, "crop", lambda *a: np.roll(crop(*a), 1, axis=2))],
    "bgr": [(pixels, "crop", lambda *a: crop(*a)[::-1])],
    "transposed": [(pixels, "crop", lambda *a: crop(*a).transpose(0, 2, 1))],
    "mean": [(predictor, "normalize", without_mean)],
    "std": [(predictor, "normalize", lambda array, steps: normalize(array, steps) * np.float32(1.0001))],
    "class": [(predictor, "classify", next_class)],
    "temperature": [(predictor, "classify", colder)],
    "threshold": [(predictor, "classify", strict)],
    "group threshold": [(predictor, "classify", of_answers)],
    "bonus": [(predictor, "classify", eager)],
    "no groups": [(predictor, "classify", always_class)],
    "span": [(hedge.LabelTree, "holds", next_member)],
    "gain": [(hedge, "gains", lambda tree: gains(tree) / 2)],
    "outputs": [
        (onnx_runtime.OnnxSession, "run", lambda *a: {k: v + np.float32(0.001) * v.max() for k, v in run(*a).items()})
    ],
}

if __name__ == "__main__":
    for owner, name, fault in FAULTS.get(os.environ["FAULT"], ()):
        setattr(owner, name, fault)
    sys.exit(executed.main())
