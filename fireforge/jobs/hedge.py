# SPDX-License-Identifier: Apache-2.0
"""hedge: a file whose answers are as specific as its scores allow, with an accuracy that is kept."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fireforge.base.errors import FireforgeError
from fireforge.base.files import prove_writable
from fireforge.base.hedge import Hedge, HedgePoint, LabelTree, fit_hedge, hedge_point, hedged, right
from fireforge.base.hedging import HedgedPicture, Hedging
from fireforge.base.model import Card
from fireforge.base.progress import Progress, Update, silent
from fireforge.base.tree_file import read_tree
from fireforge.base.trial import DataRef
from fireforge.base.value import Value
from fireforge.data.dataset import Dataset
from fireforge.data.split import split
from fireforge.jobs.evaluate import Asked, ask, data_of
from fireforge.jobs.gate import place, retag_gated
from fireforge.jobs.scene import VAL_MOST, VAL_SHARE, encoded, thumbnail
from fireforge.report.hedge import write_hedging
from fireforge.runtime.predictor import load, model_file

SEED = 0  # of the split of pictures that have no parts
CURVE = (0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.93, 0.95, 0.97, 0.98, 0.99)  # wanted accuracies that are drawn
PARITY = 64  # pictures that pass the whole path
SHOWN = 24  # pictures on the page, of which ...
GROUPS_SHOWN = 16  # ... so many were answered with a group, where there are as many
OWN = "the file's own"


@dataclass(frozen=True, kw_only=True)
class Wish(Value):
    """How answers shall be hedged.

    Args:
      tree: "imagenet", or a .json file of groups; "" for the tree of the file's card.
      accuracy: share of right answers to keep, above 0; not used where the bonus is given.
      bonus: in bits; None to fit it.
      everything: all pictures of the data, where the network was trained on none of them; else its validation part.
    """

    tree: str = ""
    accuracy: float = 0.95
    bonus: float | None = None
    everything: bool = False


def hedge(
    model: str | Path, data: str, wish: Wish, *, out: str | Path | None = None, progress: Progress = silent
) -> tuple[Hedging, Path]:
    """Write a file once more with answers along a tree, and a page of what they are worth.

    The bonus is fitted on one half of the pictures; everything that is told was measured on the other half.

    Args:
      model: a float or int8 file with a card, or a run's folder.
      data: labelled pictures; their classes are some or all of the model's.
      wish: tree, and accuracy or bonus.
      out: the file; None for <name>-hedge.onnx beside the model. The page lies beside it, with its name and .html.
      progress: receives updates.

    Returns:
      What was found and written, and where the page is. The file passed the parity gate; but for its card it is the
      model's, byte for byte.

    Raises:
      FireforgeError: NO_FILE; NO_CARD; BAD_TREE; BAD_LABELS; BAD_SHARE; TOO_FEW, if there are too few pictures to
        halve; PARITY; CANNOT_WRITE; BAD_USAGE, if the file would replace the model.
    """
    if not 0 < wish.accuracy <= 1:
        raise FireforgeError("BAD_SHARE", f"an accuracy of {wish.accuracy}", allowed="more than 0, up to 1")
    source = model_file(model)
    predictor = load(source)
    card = predictor.card
    tree = _tree(wish.tree, card, source)
    given = None if wish.bonus is None else Hedge(tree=tree, bonus=wish.bonus)
    path, page = _places(source, out)
    dataset, known = data_of(model, data, card.labels, progress=progress)
    asked = ask(predictor, dataset, _ids(dataset, known, wish), progress=progress)
    halves = _Halves(asked, tree, progress)
    chosen = given or halves.fit(wish.accuracy)
    curve = halves.curve({*CURVE, wish.accuracy} if given is None else CURVE)
    new = card.replace(postprocess=card.postprocess.replace(hedge=chosen))
    progress(Update(stage="parity", done=0, total=1, unit="file"))
    shown = [encoded(dataset, int(i)) for i in asked.ids[_some(halves.judged, PARITY)]]
    exported, parity = retag_gated(source, new, path, pictures=shown)
    progress(Update(stage="parity", done=1, total=1, unit="file"))
    found = Hedging(
        exported=exported,
        parity=parity,
        source=str(source),
        tree=wish.tree or OWN,
        data=data,
        part="all" if wish.everything else "val" if known is None else "run",
        groups=len(tree.groups),
        most_bits=math.log2(tree.classes),
        wanted=chosen.accuracy,
        fitted=len(halves.fitted),
        kept=halves.kept(chosen),
        judged=len(halves.judged),
        chosen=halves.point(chosen),
        plain=halves.plain(),
        free=halves.point(Hedge(tree=tree)),
        curve=curve,
        shown=_pictures(asked, halves.judged, chosen),
    )
    return found, write_hedging(found, page)


class _Halves:
    """Answers about some pictures: half of them bonuses are fitted on, the others judge them.

    Classes take turns, and pictures that are equal to the byte are in one half.
    """

    def __init__(self, asked: Asked, tree: LabelTree, progress: Progress) -> None:
        self.asked, self.tree, self._progress = asked, tree, progress
        digests = asked.dataset.digests
        first: dict[bytes, bool] = {}
        order = np.lexsort((asked.ids, asked.truth))
        side = [first.setdefault(digests[asked.ids[i]], len(first) % 2 == 0) for i in order]
        self.fitted, self.judged = np.sort(order[np.array(side, bool)]), np.sort(order[~np.array(side, bool)])
        if not len(self.fitted) or not len(self.judged):
            what = f"{len(order)} pictures, of which one half is fitted on and the other judges"
            raise FireforgeError("TOO_FEW", what, where=asked.dataset.source, allowed="two different ones, better 200")

    def fit(self, accuracy: float) -> Hedge:
        rows = self.fitted
        return fit_hedge(self.asked.scores[rows], self.asked.truth[rows], self.tree, accuracy=accuracy)

    def kept(self, hedge: Hedge) -> float:
        rows = self.fitted
        return hedge_point(self.asked.scores[rows], self.asked.truth[rows], hedge).accuracy

    def point(self, hedge: Hedge) -> HedgePoint:
        rows = self.judged
        return hedge_point(self.asked.scores[rows], self.asked.truth[rows], hedge)

    def plain(self) -> HedgePoint:
        """The best class, whatever its score."""
        accuracy = float((self.asked.answers == self.asked.truth)[self.judged].mean())
        bits = math.log2(self.tree.classes) * accuracy
        return HedgePoint(wanted=0.0, bonus=0.0, accuracy=accuracy, bits=bits, exact=1.0)

    def curve(self, wanted: Sequence[float] | set[float]) -> tuple[HedgePoint, ...]:
        found: dict[float, HedgePoint] = {}
        for done, accuracy in enumerate(sorted(wanted)):
            self._progress(Update(stage="fit", done=done, total=len(wanted), unit="accuracy"))
            hedge = self.fit(accuracy)
            found.pop(hedge.bonus, None)  # so that the greatest accuracy stands in its own place
            found[hedge.bonus] = self.point(hedge)
        self._progress(Update(stage="fit", done=len(wanted), total=len(wanted), unit="accuracy"))
        return tuple(found.values())


def _places(source: Path, out: str | Path | None) -> tuple[Path, Path]:
    """Where the file and its page shall stand, proved before work is spent on them."""
    path = Path(out or source.with_name(f"{source.stem}-hedge{source.suffix}"))
    if path.resolve() == source.resolve():
        raise FireforgeError("BAD_USAGE", "would replace the file that it is made of", where=str(path), do="--out")
    page = path.with_name(f"{path.stem}.html")
    if page.exists() and not path.exists():
        what = "stands there already, and is the page of no file of this name"
        raise FireforgeError("BAD_USAGE", what, where=str(page), do="another --out")
    return place(path), prove_writable(page)


def _tree(name: str, card: Card, source: Path) -> LabelTree:
    if name:
        return read_tree(name, card.labels)
    if card.postprocess.hedge is None:
        raise FireforgeError("BAD_TREE", "the file has no tree yet", where=str(source), do="--tree FILE.json")
    return card.postprocess.hedge.tree


def _ids(dataset: Dataset, known: DataRef | None, wish: Wish) -> np.ndarray:
    """The validation part, as a build splits it, or everything."""
    if wish.everything and known is not None:
        what = "the network was trained on pictures of this data"
        raise FireforgeError("BAD_USAGE", what, where="--all", allowed="its validation part, without --all")
    if wish.everything:
        return np.arange(len(dataset.samples), dtype=np.int64)
    share = min(VAL_SHARE, VAL_MOST / max(1, len(dataset.samples)))
    ref = known or DataRef(source=dataset.source, sha256="", seed=SEED, val_share=round(share, 6))
    try:
        return split(dataset, ref).val
    except FireforgeError as error:
        do = "--all, where the network was trained on none of these pictures"
        raise FireforgeError(error.code, error.what, where=error.where, allowed=error.allowed, do=do) from error


def _some(rows: np.ndarray, most: int) -> np.ndarray:
    """At most so many, evenly spread."""
    return rows[np.linspace(0, len(rows) - 1, min(most, len(rows))).astype(int)] if len(rows) else rows


def _pictures(asked: Asked, rows: np.ndarray, chosen: Hedge) -> tuple[HedgedPicture, ...]:
    """Some of the judged pictures, most of them answered with a group where there are such."""
    codes, sure = hedged(asked.scores[rows], chosen)
    good = right(codes, asked.truth[rows], chosen.tree)
    grouped = codes >= chosen.tree.classes
    groups, classes = np.flatnonzero(grouped), np.flatnonzero(~grouped)
    many = min(len(groups), max(GROUPS_SHOWN, SHOWN - len(classes)), SHOWN)
    labels, steps = asked.predictor.labels, asked.predictor.card.preprocess.steps()
    found = []
    for i in (*_some(groups, many), *_some(classes, SHOWN - many)):
        row = rows[i]
        best, code = int(asked.answers[row]), int(codes[i])
        found.append(
            HedgedPicture(
                name=asked.dataset.samples[asked.ids[row]].name,
                truth=labels[asked.truth[row]],
                best=labels[best],
                best_score=float(asked.sure[row]),
                answer=labels[best] if code < chosen.tree.classes else chosen.tree.groups[code - chosen.tree.classes],
                score=float(sure[i]),
                exact=code < chosen.tree.classes,
                right=bool(good[i]),
                png=thumbnail(asked.dataset, int(asked.ids[row]), steps),
            )
        )
    return tuple(found)
