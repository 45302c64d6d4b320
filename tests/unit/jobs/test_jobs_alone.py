# SPDX-License-Identifier: Apache-2.0
"""The program that lies beside each model, in a process where fireforge cannot be imported, against fireforge."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import fireforge
from fireforge.base.files import write_json
from fireforge.base.hedge import Hedge, LabelTree, hedged
from fireforge.base.pixels import normalize, to_pixels
from fireforge.base.postprocess import Postprocess, softmax
from fireforge.base.preprocess import ImageSteps
from fireforge.jobs import alone

LABELS = ("ape", "bee", "cat")
TREE = LabelTree(parents={"all": "", "mammals": "all"}, members={"all": ((1, 1),), "mammals": ((0, 0), (2, 2))})
HEDGED = Postprocess(temperature=1.7, threshold=0.6, hedge=Hedge(tree=TREE, bonus=0.5))
WITHOUT = """
import runpy, sys
sys.modules["fireforge"] = None
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def told(script: Path, *words: Path) -> list[str]:
    """What the program prints where `import fireforge` fails."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, "-c", WITHOUT, str(script), *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=script.parent, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def pictures(folder: Path) -> list[Path]:
    """Gray and colour, several sizes, one lying on its side by its EXIF orientation."""
    draw = np.random.default_rng(1)
    found = []
    for place, shape in enumerate([(8, 8), (20, 31, 3), (40, 17, 3), (9, 9)]):
        low = draw.integers(0, 256, (3, 3, *shape[2:]), np.uint8)
        picture = Image.fromarray(low).resize(shape[1::-1], Image.Resampling.BICUBIC)
        path = folder / f"{place}.png"
        exif = Image.Exif()
        exif[0x0112] = 6 if place == 2 else 1
        picture.save(path, exif=exif)
        found.append(path)
    return found


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("post", [Postprocess(), Postprocess(temperature=1.7, threshold=0.6), HEDGED])
def test_it_answers_as_fireforge_does(
    channels: int, post: Postprocess, small_model: Callable[..., Path], tmp_path: Path
) -> None:
    """Labels equal; scores to the tenth of a percent that is printed."""
    model = small_model(tmp_path / "model.onnx", LABELS, post=post, channels=channels)
    write_json(tmp_path / "result.json", {"model": {"path": model.name}})
    script = Path(shutil.copy(Path(alone.__file__), tmp_path / "predict.py"))
    paths = pictures(tmp_path)
    answers = fireforge.load(model).predict(paths)
    for line, path, answer in zip(told(script, *paths), paths, answers, strict=True):
        name, words = line.split("  ")
        doubt = "" if answer.accepted else "none of these, nearest: "
        label, score = words.removeprefix(doubt).split(" ")
        assert (name, label, words.startswith("none")) == (str(path), answer.label, not answer.accepted)
        assert float(score.rstrip("%")) == pytest.approx(100 * answer.score, abs=0.1)
    assert told(script, paths[0], model) == told(script, paths[0])


@pytest.mark.parametrize("bonus", [0, 0.4, 3.0, 50.0, 1e300])
def test_its_answers_along_a_tree_are_fireforge_s(bonus: float) -> None:
    """On drawn scores, flat and sharp, against `fireforge.base.hedge`; sums of three numbers differ by 1e-15."""
    draw = np.random.default_rng(2)
    scores = softmax(draw.normal(size=(60, 3)) * draw.choice([0.3, 3.0, 80.0], (60, 1)))
    codes, sure = hedged(scores, Hedge(tree=TREE, bonus=bonus))
    for row, code, score in zip(scores, codes, sure):
        name = LABELS[code] if code < 3 else TREE.groups[code - 3]
        lean = {"tree": TREE.to_json(), **({"bonus": bonus} if bonus else {})}
        assert alone.answered(row, list(LABELS), lean) == (name, pytest.approx(score, abs=1e-12))


@pytest.mark.parametrize(
    ("parents", "said"),
    [
        ({"all": "", "a": "b", "b": "a"}, "group 'a' lies in more than 64 others, or in itself"),
        ({f"g{i}": f"g{i - 1}" if i else "" for i in range(70)}, "group 'g69' lies in more than 64"),
        ({"all": "", **{f"g{i}": "all" for i in range(80)}}, "81 groups for 40 classes"),
    ],
)
def test_a_card_that_fireforge_refuses_ends_it_with_a_line(parents: dict, said: str) -> None:
    """It reads the card without fireforge; in a circle it would go round for ever."""
    hedge = {"tree": {"parents": parents, "members": {list(parents)[-2 if "b" in parents else -1]: [[0, 39]]}}}
    with pytest.raises(SystemExit, match=said):
        alone.answered(np.full(40, 1 / 40), [str(i) for i in range(40)], hedge)


def test_the_shorter_side_is_resized_and_the_centre_cut_as_in_fireforge(tmp_path: Path) -> None:
    """Pixel for pixel against `fireforge.base.pixels`, which holds what a card says."""
    for channels, order in ((1, "L"), (3, "RGB"), (3, "BGR")):
        values = (120.0, 100.0, 90.0)[:channels]
        steps = ImageSteps(channels=channels, resize=12, crop=(9, 10), order=order, mean=values, std=values)
        for path in pictures(tmp_path):
            wanted = normalize(to_pixels(path, steps), steps)[None]
            assert np.array_equal(alone.ready(str(path), steps.to_json()), wanted), (path, order)
