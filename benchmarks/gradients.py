# SPDX-License-Identifier: Apache-2.0
"""Gradient size by depth of plain and residual networks of 8 to 56 layers on CIFAR-10.

    FIREFORGE_DATA=... python benchmarks/gradients.py [--steps 300] [--minutes 60] [--out runs/gradients]

The folder FIREFORGE_DATA holds cifar10_jpegbytes.npz. Each network is trained for some steps of 32 pictures, on one
thread, and looked at at its first step and at one third and two thirds of them. What is done is kept in the folder, so
that the same command goes on; it writes page.html there, with a picture for each family.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

import fireforge.report.parts as parts
from fireforge.base.errors import FireforgeError
from fireforge.base.files import make_folder, write_text
from fireforge.base.gradients import Gradients, growth, ratio_words, verdict
from fireforge.base.journal import Journal
from fireforge.base.machine import this_machine, versions
from fireforge.base.preprocess import ImageSteps, Preprocess
from fireforge.base.record import RunRecord
from fireforge.base.spec import NetSpec
from fireforge.base.trial import Augment, DataRef, Recipe, Trial
from fireforge.data.open import open_dataset
from fireforge.data.pixels import load_pixels
from fireforge.nets.families import build_graph
from fireforge.nets.fillers import Filler
from fireforge.nets.module import GraphModule, arrays_of, initialise
from fireforge.nets.resnet import cifar_resnet_20
from fireforge.report.document import document
from fireforge.report.markup import Markup, tag
from fireforge.report.sections.gradients import size_axis
from fireforge.report.svg import Frame, chart, line
from fireforge.report.table import text_table
from fireforge.report.ticks import axis_of
from fireforge.train.feed import Pictures, Ready
from fireforge.train.trial import run_trial, weights_path
from fireforge.train.weights import write_weights

DEPTHS = (8, 14, 20, 32, 44, 56)
BATCH, EPOCHS, JUDGED = 32, 3, 1_000
STEPS = ImageSteps(
    channels=3, resize=None, crop=(32, 32), order="RGB", mean=(125.3, 123.0, 113.9), std=(63.0, 62.1, 66.7)
)
XAVIER = (Filler(layers="*", law="glorot"),)  # which shrinks gradients by the root of 2 where a ReLU follows
COLOURS = ("#9aa1a7", "#2a6aa8", "#1f7a5c", "#7b4ca6", "#b8450f", "#a8232d")


@dataclass(frozen=True, kw_only=True)
class Family:
    """Networks that differ in depth alone.

    Args:
      name: in the table.
      shortcut: of the ResNet family; "none" for plain ones.
      norm: of the ResNet family.
      lr: greatest rate.
      first: law of the first weights where it is not He's.
    """

    name: str
    shortcut: str
    norm: str
    lr: float
    first: tuple[Filler, ...] = ()

    def spec(self, depth: int) -> NetSpec:
        """The network of so many layers."""
        return cifar_resnet_20(params={"blocks": (depth - 2) // 6, "shortcut": self.shortcut, "norm": self.norm})


FAMILIES = (
    Family(name="plain, batch norm", shortcut="none", norm="batch", lr=0.05),
    Family(name="residual, batch norm", shortcut="padding", norm="batch", lr=0.05),
    Family(name="plain, no norm", shortcut="none", norm="none", lr=0.01),
    Family(name="residual, no norm", shortcut="padding", norm="none", lr=0.01),
    Family(name="plain, no norm, Xavier", shortcut="none", norm="none", lr=0.01, first=XAVIER),
)


def pictures(count: int) -> Ready:
    """So many of the training pictures and JUDGED of the others of the training part."""
    data = open_dataset(str(Path(os.environ["FIREFORGE_DATA"]) / "cifar10_jpegbytes.npz"))
    order = np.random.default_rng(0).permutation(50_000)[: count + JUDGED]
    train, judged = (
        Pictures(pixels=load_pixels(data, ids, STEPS), labels=data.targets[ids], ids=ids)
        for ids in (np.sort(order[:count]), np.sort(order[count:]))
    )
    return Ready(train=train, val=judged)


def trained(family: Family, depth: int, *, folder: Path, ready: Callable[[], Ready]) -> tuple[RunRecord, bool]:
    """The record of one training; of its first step alone where it diverged, and whether it did."""
    spec = family.spec(depth)
    start = ""
    if family.first:
        module = GraphModule(build_graph(spec))
        initialise(module, 0, fillers=family.first)
        start = spec.digest()
        make_folder(weights_path(folder, start).parent)
        write_weights(weights_path(folder, start), arrays_of(module))
    trial = Trial(
        spec=spec,
        recipe=Recipe(
            epochs=EPOCHS, batch=BATCH, lr=family.lr, warmup_epochs=0.3, augment=Augment(flip=True, shift_px=3)
        ),
        data=DataRef(source="cifar10_jpegbytes.npz"),
        preprocess=Preprocess(image=STEPS),
        start=start,
    )
    try:
        return run_trial(trial, folder=folder, ready=ready(), device="cpu", keep=False), False
    except FireforgeError as error:
        if error.code != "DIVERGED":
            raise
        return run_trial(trial, folder=folder, ready=ready(), device="cpu", keep=False, until=1e-6), True


def row(family: str, depth: int, value: dict[str, object]) -> tuple[object, ...]:
    """A line of the table."""
    found = Gradients.from_json(value["gradients"])
    cells: list[object] = []
    for look in (found.looks[0], found.looks[-1]):
        ratio = growth(look.outputs)
        cells += ["" if ratio is None else ratio_words(ratio), verdict(look.outputs)]
    if len(found.looks) == 1:
        cells[2:] = ["", ""]
    said = "diverged" if value["diverged"] else f"{value['accuracy']:.1%}"
    return (family, depth, *cells, said)


def page(found: dict[tuple[str, int], dict[str, object]], table: list[tuple[object, ...]], header: list[str]) -> str:
    """Pictures of all families, first and last look side by side, and the table."""
    sections = []
    for family in FAMILIES:
        drawn = [_drawn(found, family.name, place) for place in (0, -1)]
        keys = [(f"depth-{depth}", f"{depth} layers") for depth in DEPTHS if (family.name, depth) in found]
        title = family.name[0].upper() + family.name[1:]
        sections.append(parts.section(f"f{len(sections)}", title, parts.columns(*drawn), parts.legend(keys)))
    sections.append(parts.section("table", "Numbers", parts.table(header, table, words=(0, 2, 3, 4, 5))))
    style = "".join(
        f".depth-{d} polyline {{ stroke: {colour}; }} .depth-{d} circle {{ fill: {colour}; }}"
        f" .key.depth-{d} {{ background: {colour}; }}"
        for d, colour in zip(DEPTHS, COLOURS)
    )
    return document("Gradient size by depth", tag("h1", "Gradient size by depth"), *sections, style=style)


def _drawn(found: dict[tuple[str, int], dict[str, object]], family: str, place: int) -> Markup:
    lines = {}
    for depth in DEPTHS:
        if (family, depth) in found:
            looks = Gradients.from_json(found[family, depth]["gradients"]).looks
            if place == 0 or len(looks) > 1:
                sizes = looks[place].outputs[:-1]
                lines[depth] = [(float(layer), size) for layer, size in enumerate(sizes, 1) if size]
    every = [size for points in lines.values() for _, size in points]
    if not every:
        return parts.missing("Nothing was seen.")
    frame = Frame(
        x=axis_of([0.0, float(max(lines))], "layer, from the input", "{:g}".format),
        y=size_axis(every),
    )
    drawn = [
        line(frame, points, style=f"depth-{depth}", tip=f"{depth} layers, layer") for depth, points in lines.items()
    ]
    when = "the first step" if place == 0 else "the last look"
    return parts.figure(chart(frame, *drawn, title=f"{family}, {when}"), when)


def main() -> None:
    """Train what is not trained yet, print the table, write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=300, help="of each training")
    parser.add_argument("--minutes", type=float, default=math.inf, help="no training begins later")
    parser.add_argument("--out", type=Path, default=Path("runs/gradients"))
    asked = parser.parse_args()
    begun = time.monotonic()
    torch.set_num_threads(1)
    journal = Journal(make_folder(asked.out) / f"steps-{asked.steps}.jsonl")
    done = {(e.value["family"], e.value["depth"]): e.value for e in journal.read()} if journal.path.exists() else {}
    held: list[Ready] = []

    def ready() -> Ready:
        if not held:
            held.append(pictures(asked.steps // EPOCHS * BATCH))
        return held[0]

    for depth in DEPTHS:
        for family in FAMILIES:
            if (family.name, depth) in done or time.monotonic() - begun > 60 * asked.minutes:
                continue
            record, diverged = trained(family, depth, folder=asked.out, ready=ready)
            value = {"family": family.name, "depth": depth, "diverged": diverged, "accuracy": record.accuracy}
            value |= {"seconds": record.seconds["train"], "gradients": record.gradients.to_json()}
            journal.append("depth", value)
            done[family.name, depth] = json.loads(json.dumps(value))
            print(*row(family.name, depth, value), flush=True)
    header = ["networks", "layers", "first step", "", "last look", "", "accuracy"]
    rows = [row(f.name, depth, done[f.name, depth]) for f in FAMILIES for depth in DEPTHS if (f.name, depth) in done]
    print(*text_table(header, rows), sep="\n")
    print(
        f"first layer beside the last but one; {asked.steps} steps of {BATCH}; N {len(rows)} trainings, one seed each"
    )
    print(this_machine().processor, versions())
    print(write_text(asked.out / "page.html", page(done, rows, header)))


if __name__ == "__main__":
    main()
