# SPDX-License-Identifier: Apache-2.0
"""The gate that every file passes before it has its name."""

from __future__ import annotations

import hashlib
import itertools
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from fireforge.base.errors import FireforgeError
from fireforge.base.exported import Exported
from fireforge.base.files import cannot_write, prove_writable, write_bytes
from fireforge.base.model import Card, Model, dense
from fireforge.base.onnx_walk import read_onnx
from fireforge.base.parity import ParityReport
from fireforge.export.retag import retag
from fireforge.export.targets import TARGETS
from fireforge.importers.onnx_file import import_onnx
from fireforge.jobs.verify import Source, refusal, verify_file
from fireforge.runtime.runtimes import SUFFIXES


def place(path: str | Path) -> Path:
    """Where a model's file shall stand, proved before work is spent on it.

    Args:
      path: of the file; its folder is made.

    Returns:
      The path.

    Raises:
      FireforgeError: BAD_USAGE, if no runtime reads files whose names end so; CANNOT_WRITE.
    """
    path = Path(path)
    if path.suffix.lower() not in SUFFIXES:
        allowed = f"a name that ends in {', '.join(SUFFIXES)}"
        raise FireforgeError("BAD_USAGE", "no runtime reads files of this name", where=str(path), allowed=allowed)
    return prove_writable(path)


def write_gated(
    model: Model,
    path: Path,
    *,
    pictures: Sequence[bytes],
    trained: Model,
    target: str = "onnx",
    note: Callable[[ParityReport], None] | None = None,
) -> tuple[Exported, ParityReport]:
    """Write a model and let the file stand under its name only after it passed the parity gate.

    Args:
      model: what is written; its card is what the file must say of itself.
      path: the file, as `place` takes it. Until it passed it is a hidden file beside it; where it is refused it is
        called <name>.refused.<suffix>, with a number where a file is called so.
      pictures: image files' bytes that go the whole way, at least one.
      trained: the network before any stage; a float file is held to it.
      target: a name of TARGETS.
      note: is given the report, also of a file that is refused.

    Returns:
      What was written, and the report.

    Raises:
      FireforgeError: PARITY with exit code 5; CANNOT_WRITE; BAD_USAGE, if no runtime reads files of this name.
    """
    source = Source(trained=trained, model=model)
    return _gated(lambda waiting: TARGETS[target](model, waiting), path, pictures, source, note)


def retag_gated(source: Path, card: Card, path: Path, *, pictures: Sequence[bytes]) -> tuple[Exported, ParityReport]:
    """Write a file once more with another card, float or int8; it stands under its name only after it passed the gate.

    Args:
      source: a file of ours; the bytes of its graph and its numbers are taken as they are.
      card: the new one.
      path: as for `write_gated`.
      pictures: as for `write_gated`.

    Returns:
      What was written, and the report: it is held to the graph of the source in numpy, and to the new card.

    Raises:
      FireforgeError: NO_CARD, if the source has none; PARITY with exit code 5; CANNOT_WRITE; BAD_USAGE.
    """
    data = read_onnx(source)
    graph, arrays, tag = import_onnx(data)
    if tag is None:
        raise FireforgeError("NO_CARD", "the file does not say how it is fed", where=str(source))
    new = retag(data, tag.replace(card=card))
    model = Model(graph=graph, weights=dense(arrays), card=card)

    def write(waiting: Path) -> Exported:
        return Exported(
            path=str(write_bytes(waiting, new)),
            form="int8" if any(node.op == "QuantizeLinear" for node in graph.nodes) else "float32",
            bytes=len(new),
            sha256=hashlib.sha256(new).hexdigest(),
        )

    return _gated(write, path, pictures, Source(trained=model, model=model), None)


def _gated(
    write: Callable[[Path], Exported],
    path: Path,
    pictures: Sequence[bytes],
    source: Source,
    note: Callable[[ParityReport], None] | None,
) -> tuple[Exported, ParityReport]:
    """Write under another name, verify, and rename."""
    path = place(path)
    waiting = path.with_name(f".{path.stem}.waiting{path.suffix}")
    exported = write(waiting)
    report = verify_file(waiting, pictures, source=source, sha256=(exported.sha256,))
    target = path if report.passed else _refused(path)
    try:
        os.replace(waiting, target)
    except OSError as error:
        raise cannot_write(target, error) from error
    report = report.replace(model=str(target))
    if note is not None:
        note(report)
    if not report.passed:
        raise refusal(report)
    return exported.replace(path=str(path)), report


def _refused(path: Path) -> Path:
    """What a refused file is called: nothing that is there is written over."""
    numbers = itertools.chain([""], (f".{number}" for number in itertools.count(2)))
    places = (path.with_name(f"{path.stem}.refused{number}{path.suffix}") for number in numbers)
    return next(place for place in places if not place.exists())
